"""Every finding of `policy lint`: a manifest that has it, beside one that has not."""

from __future__ import annotations

import msgspec
import pytest

from kuryrctl.core.config import Config, PodNetwork
from kuryrctl.core.lint import Level, LintFinding, worst
from kuryrctl.core.policy import lint
from kuryrctl.core.policy.lint import lint as find
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyRule
from kuryrctl.core.selectors import Selector
from kuryrctl.kube.documents import parse

WORLD = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: x, ports: [{name: http, containerPort: 80}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: shop, labels: {app: probe}}
spec: {hostNetwork: true, containers: [{name: c, image: x}]}
"""
FINE = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}"


def findings(*specs: str, note: str = "", config: Config | None = None) -> list[LintFinding]:
    policies = [
        f"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: p{number}, namespace: shop, annotations: {{kuryr.openstack.org/lint-ignore: '{note}'}}}}\n"
        f"spec: {spec}"
        for number, spec in enumerate(specs)
    ]
    return list(find(parse("\n---\n".join([WORLD, *policies]), "test"), config or Config()))


def codes(*specs: str, **more: object) -> list[tuple[str, str]]:
    return [(each.check.code, each.field) for each in findings(*specs, **more)]  # type: ignore[arg-type]


def web(rules: str) -> str:
    return f"{{podSelector: {{matchLabels: {{app: web}}}}, {rules}}}"


def test_a_policy_without_fault_has_no_finding() -> None:
    assert codes(FINE) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("{podSelector: {matchLabels: {app: wbe}}}", ("POL-SELECTS-NOTHING", "spec.podSelector")),
        (web("policyTypes: [Egress], ingress: [{}]"), ("POL-UNREACHABLE-RULE", "spec.ingress[0]")),
        (
            web("ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}, {from: [{podSelector: {}}]}]"),
            ("POL-UNREACHABLE-RULE", "spec.ingress[0]"),
        ),
        (
            web("ingress: [{from: [{podSelector: {matchLabels: {app: x}}}]}]"),
            ("POL-UNREACHABLE-RULE", "spec.ingress[0].from[0]"),
        ),
        (
            web("ingress: [{from: [{ipBlock: {cidr: 192.168.0.0/24, except: [192.168.0.0/25, 192.168.0.128/25]}}]}]"),
            ("POL-UNREACHABLE-RULE", "spec.ingress[0].from[0]"),
        ),
        (
            web("ingress: [{from: [{podSelector: {}}], ports: [{port: htpp}]}]"),
            ("POL-NAMED-PORT", "spec.ingress[0].ports[0]"),
        ),
        (
            web("ingress: [{from: [{podSelector: {}}], ports: [{port: http, protocol: UDP}]}]"),
            ("POL-NAMED-PORT", "spec.ingress[0].ports[0]"),
        ),
        (
            web("egress: [{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: http}]}]"),
            ("POL-NAMED-PORT", "spec.egress[0].ports[0]"),
        ),
        ("{podSelector: {matchLabels: {app: probe}}}", ("POL-HOST-NETWORK", "spec.podSelector")),
        (
            web("ingress: [{from: [{podSelector: {matchLabels: {app: probe}}}]}]"),
            ("POL-HOST-NETWORK-PEER", "spec.ingress[0].from[0]"),
        ),
        (web("ingress: [{}]"), ("POL-OPENS-ALL", "spec.ingress[0]")),
        (web("egress: [{to: [{ipBlock: {cidr: '::/0'}}]}]"), ("POL-OPENS-ALL", "spec.egress[0]")),
        (web("egress: [{to: [{ipBlock: {cidr: 10.96.0.10/32}}]}]"), ("POL-SERVICE-RANGE", "spec.egress[0].to[0]")),
    ],
)
def test_each_fault_is_found_at_its_place(spec: str, expected: tuple[str, str]) -> None:
    assert expected in codes(spec)


def test_a_named_egress_port_without_peers_may_be_any_pods() -> None:
    assert codes(web("egress: [{ports: [{port: http}]}]")) == []


def test_the_later_one_of_two_equal_policies_is_told_of() -> None:
    assert [(each.check.code, each.subject) for each in findings(FINE, FINE)] == [("POL-DUPLICATE", "shop/p1")]


def test_a_family_that_the_pod_network_has_not() -> None:
    four = Config(pod_network=PodNetwork(cidrs=("10.65.0.0/22",)))
    block = web("ingress: [{from: [{ipBlock: {cidr: 'fd00::/64'}}]}]")
    assert codes(block, config=four) == [("POL-NOT-ENFORCEABLE", "spec.ingress[0].from[0]")]
    assert codes(block) == []


def test_many_rules_are_told_of() -> None:
    cluster = parse("\n---\n".join([WORLD, f"kind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {FINE}"]), "test")
    told = {each.check.code for each in find(cluster, Config(), {"default/p": lint.MANY_RULES + 1})}
    assert "POL-RULE-COUNT" in told
    assert "POL-RULE-COUNT" not in {each.check.code for each in find(cluster, Config(), {"default/p": 50})}


def test_a_finding_is_accepted_with_a_reason_only() -> None:
    opens = web("ingress: [{}]")
    (accepted,) = findings(opens, note="POL-OPENS-ALL: the front door")
    assert accepted.accepted == "the front door"
    assert worst([accepted]) is None
    for note in ("POL-OPENS-ALL", "POL-OPENS: typing error"):
        told = findings(opens, note=note)
        assert [each.check.code for each in told] == ["POL-IGNORE", "POL-OPENS-ALL"]
        assert worst(told) is Level.ERROR


def test_a_block_that_is_none_is_told_of() -> None:
    """No file may hold one; an API server may, from an earlier version."""
    rule = PolicyRule((Peer(ip_block=IPBlock("10.0.0.0/8", ("nothing",))),))
    policy = NetworkPolicy("shop", "old", "uid", Selector(), frozenset({Direction.INGRESS}), (rule,))
    cluster = msgspec.structs.replace(parse(WORLD, "test"), policies={policy.full_name: policy})

    (found,) = [each for each in find(cluster, Config()) if each.field != "spec.podSelector"]

    assert (found.check, found.field) == (lint.BAD_BLOCK, "spec.ingress[0].from[0]")
    assert "10.0.0.0/8, nothing" in found.message


def test_without_any_pod_a_named_port_is_a_note() -> None:
    manifest = "kind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, ingress: [{ports: [{port: http}]}]}"
    found = [each for each in find(parse(manifest, "test"), Config()) if each.field == "spec.ingress[0].ports[0]"]
    assert [each.check for each in found] == [lint.UNKNOWN_PORT]
    assert worst(found) is Level.NOTE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "{matchExpressions: [{key: app, operator: In, values: [a, b]}]}",
            "{matchExpressions: [{key: app, operator: In, values: [b, a]}]}",
        ),
        ("{matchLabels: {app: web}}", "{matchExpressions: [{key: app, operator: In, values: [web]}]}"),
    ],
)
def test_the_order_and_the_spelling_do_not_hide_a_duplicate(one: str, other: str) -> None:
    specs = [f"{{podSelector: {{}}, ingress: [{{from: [{{podSelector: {each}}}]}}]}}" for each in (one, other)]
    assert ("POL-DUPLICATE", "spec") in codes(*specs)


@pytest.mark.parametrize(
    ("narrow", "wide", "told"),
    [
        ("[{ipBlock: {cidr: 192.168.1.0/24}}]", "[{ipBlock: {cidr: 192.168.0.0/16}}]", True),
        (
            "[{ipBlock: {cidr: 10.0.0.0/24}}]",
            "[{ipBlock: {cidr: 10.0.0.0/25}}, {ipBlock: {cidr: 10.0.0.128/25}}, {ipBlock: {cidr: 10.9.0.0/16}}]",
            True,
        ),
        ("[{ipBlock: {cidr: 10.0.1.0/24}}]", "[{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.1.0/25]}}]", False),
    ],
)
def test_a_block_within_others_allows_nothing_more(narrow: str, wide: str, told: bool) -> None:
    found = codes(web(f"ingress: [{{from: {narrow}}}, {{from: {wide}}}]"))
    assert (("POL-UNREACHABLE-RULE", "spec.ingress[0]") in found) is told
    assert ("POL-UNREACHABLE-RULE", "spec.ingress[1]") not in found


def test_of_two_rules_that_say_the_same_the_second_is_told() -> None:
    found = codes(web("ingress: [{from: [{ipBlock: {cidr: 10.0.0.1/24}}]}, {from: [{ipBlock: {cidr: 10.0.0.0/24}}]}]"))
    assert [field for code, field in found if code == "POL-UNREACHABLE-RULE"] == ["spec.ingress[1]"]
