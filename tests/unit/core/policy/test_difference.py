"""What a change of manifests changes: connections, groups, rules and calls."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid
from kuryrctl.core.policy.difference import (
    PolicyDifference,
    applied,
    placed,
    policy_difference,
    with_twins,
    without_policies,
)
from kuryrctl.core.policy.workloads import is_of
from kuryrctl.kube.controllers import Manifests, replicated
from kuryrctl.kube.documents import cluster_of, documents, parse, read_files
from tests.repository import ROOT

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: x, ports: [{name: sql, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, namespace: shop, labels: {app: db}}
spec: {containers: [{name: c, image: x, ports: [{name: sql, containerPort: 5432}]}]}
"""
DENY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: db, namespace: shop}\nspec: "
CLOSED = f"{DENY}{{podSelector: {{matchLabels: {{app: db}}}}}}"
SQL = (
    f"{DENY}{{podSelector: {{matchLabels: {{app: db}}}},"
    " ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: sql}]}]}"
)


def world(*documents: str) -> ClusterState:
    return parse("\n---\n".join((PODS, *documents)), "test")


def difference(before: ClusterState, after: ClusterState) -> PolicyDifference:
    return policy_difference(before, after, Config())


def lines(found: PolicyDifference) -> tuple[list[str], list[str]]:
    return tuple(  # type: ignore[return-value]
        [f"{pair.source.name} {pair.target.name} {' '.join(map(str, pair.ports))}" for pair in pairs]
        for pairs in (found.opened, found.closed)
    )


def test_nothing_changes_between_equal_worlds() -> None:
    found = difference(world(SQL), world(SQL))
    assert not found
    assert (found.calls, found.updates) == (0, 0)


def test_a_rule_added_to_a_policy_opens_its_port_and_nothing_else() -> None:
    found = difference(world(CLOSED), world(SQL))
    assert found.policies == {"shop/db": "~"}
    opened, closed = lines(found)
    assert opened == ["shop/web shop/db-0 5432/TCP"]
    assert closed == []


def test_pods_alike_are_one_side() -> None:
    (pair, *_) = difference(world(CLOSED), world(SQL)).opened
    assert (pair.target.name, pair.target.others) == ("shop/db-0", 1)


def test_a_new_policy_closes_what_it_isolates() -> None:
    opened, closed = lines(difference(world(), world(SQL)))
    assert opened == []
    assert {line.rpartition(" ")[0].split()[0] for line in closed} == {"0.0.0.0/0", "::/0", "shop/web", "shop/db-0"}
    assert not any("5432/TCP" in line for line in closed if line.startswith("shop/web"))


def ports(spec: str) -> str:
    return f"{DENY}{{podSelector: {{matchLabels: {{app: db}}}}, ingress: [{spec}]}}"


@pytest.mark.parametrize(
    ("was", "is_", "expected"),
    [
        ("{port: 8000, endPort: 8999}", "{port: 8000, endPort: 8500}", "8501-8999/TCP"),
        ("{port: 80, protocol: SCTP}", "{port: 81, protocol: UDP}", "80/SCTP"),
        ("{protocol: SCTP}", "{protocol: UDP}", "every other SCTP port"),
    ],
)
def test_ranges_and_all_protocols_are_told(was: str, is_: str, expected: str) -> None:
    opened, closed = lines(difference(world(ports(f"{{ports: [{was}]}}")), world(ports(f"{{ports: [{is_}]}}"))))
    assert f"shop/web shop/db-0 {expected}" in closed
    opened, _ = lines(difference(world(ports(f"{{ports: [{is_}]}}")), world(ports(f"{{ports: [{was}]}}"))))
    assert f"shop/web shop/db-0 {expected}" in opened


def test_exceptions_of_a_block_are_told_by_themselves() -> None:
    block = "{{from: [{{ipBlock: {{cidr: 203.0.113.0/24{}}}}}]}}".format
    before, after = world(ports(block(""))), world(ports(block(", except: [203.0.113.64/26]")))
    assert {pair.source.name for pair in difference(before, after).closed} == {"203.0.113.64/26"}
    assert {pair.source.name for pair in difference(world(CLOSED), after).opened} == {
        "203.0.113.0/24 without 203.0.113.64/26"
    }
    assert {pair.source.name for pair in difference(world(), after).closed} >= {"0.0.0.0/0 without 203.0.113.0/24"}


def test_a_pod_in_a_block_is_told_apart_from_its_like() -> None:
    cluster = placed(world(CLOSED), Config())
    (address,) = [pod.ips[0] for pod in cluster.pods.values() if pod.name == "db-1"]
    only = placed(world(ports(f"{{from: [{{ipBlock: {{cidr: {address}/32}}}}]}}")), Config())
    assert {pair.source.name for pair in difference(cluster, only).opened} == {"shop/db-1"}


def test_the_cost_is_one_group_with_one_call_for_its_rules_and_one_for_each_port() -> None:
    found = difference(world(), world(SQL))
    assert (found.groups.made, found.groups.removed) == (2, 0)  # of the policy, and of its peer
    assert found.rules.made == 2  # one for each IP version
    assert found.updates == 3
    assert found.calls == 2 * 2 + 1 + 3


def test_applying_replaces_what_has_the_same_name_and_deletes_nothing() -> None:
    base = world(CLOSED)
    after = applied(base, parse(SQL, "test"))
    assert after.pods == base.pods
    assert after.policies["shop/db"].ingress
    assert lines(difference(base, after))[0] == ["shop/web shop/db-0 5432/TCP"]


RUNNING = """
apiVersion: v1
kind: Pod
metadata: {name: web-7d9f8b6c5d-x2x4z, namespace: shop, labels: {app: web, pod-template-hash: 7d9f8b6c5d}}
spec: {containers: []}
---
apiVersion: v1
kind: Pod
metadata: {name: web-admin-5f6c7b8d9f-k4k6v, namespace: shop, labels: {app: admin}}
spec: {containers: []}
"""
TEMPLATE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: shop}
spec: {replicas: 3, template: {metadata: {labels: {app: web, tier: front}}, spec: {containers: []}}}
"""


def test_a_workload_that_runs_gets_its_templates_labels() -> None:
    after = applied(parse(RUNNING, "test"), parse(TEMPLATE.replace("NAME", "web"), "test"))
    labels = {pod.name: dict(pod.labels) for pod in after.pods.values()}
    assert labels == {
        "web-7d9f8b6c5d-x2x4z": {"app": "web", "tier": "front", "pod-template-hash": "7d9f8b6c5d"},
        "web-admin-5f6c7b8d9f-k4k6v": {"app": "admin"},
    }


def test_a_new_workload_is_not_one_that_runs_under_a_longer_name() -> None:
    base = parse(RUNNING.partition("---")[2], "test")
    after = applied(base, parse(TEMPLATE.replace("NAME", "web"), "test"))
    assert {pod.name for pod in after.pods.values()} == {"web", "web-admin-5f6c7b8d9f-k4k6v"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", True),
        ("web-0", True),
        ("web-x2x4z", True),
        ("web-7d9f8b6c5d-x2x4z", True),
        ("web-admin", False),
        ("web-admin-5f6c7b8d9f-k4k6v", False),
        ("web-admin-0", False),
        ("web-proxy-abcde", False),
        ("website", False),
    ],
)
def test_pods_are_a_workloads_by_their_names(name: str, expected: bool) -> None:
    assert is_of(Pod(namespace="shop", name=name, uid="1"), "shop/web") is expected


def test_a_namespace_that_loses_its_labels_counts_and_one_that_is_only_named_does_not() -> None:
    declared = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}"
    base = world(declared)
    assert applied(base, world()).namespaces["shop"].labels["team"] == "a"
    assert "team" not in applied(base, world(), {"shop"}).namespaces["shop"].labels


def test_replicas_of_a_workload_are_told_of_too(tmp_path: Path) -> None:
    deny = f"{DENY}{{podSelector: {{}}}}"
    (tmp_path / "web.yaml").write_text(TEMPLATE.replace("NAME", "web") + "---\n" + deny)
    read = list(documents([tmp_path]))
    alone, all_ = cluster_of(read), with_twins(cluster_of(read), replicated(read))
    assert not any("shop/web shop/web" in line for line in lines(difference(without_policies(alone), alone))[1])
    closed = lines(difference(without_policies(all_), all_))[1]
    assert any(line.startswith("shop/web shop/web ") for line in closed)


SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: sql}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: shop}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80, targetPort: sql}]}
"""


def egress(spec: str) -> str:
    return (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec: "
        f"{{podSelector: {{matchLabels: {{app: web}}}}, policyTypes: [Egress], egress: [{spec}]}}"
    )


TO_DB = "{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: PORT}]}"


def of_files(path: Path, *documents: str) -> PolicyDifference:
    """What the policies of these manifests change."""
    path.write_text("\n---\n".join((PODS, *documents)))
    after = Manifests([path], Config()).alone()
    return difference(without_policies(after), after)


@pytest.mark.parametrize(
    ("policy", "closed"),
    [
        pytest.param(egress(TO_DB.replace("PORT", "5432")), [], id="the endpoints' port is the one that counts"),
        pytest.param(egress(TO_DB.replace("PORT", "sql")), [], id="by its name, too"),
        pytest.param(egress(TO_DB.replace("PORT", "80")), ["shop/web service shop/db 80/TCP"], id="not the Service's"),
        pytest.param(
            egress("{to: [{ipBlock: {cidr: 10.96.0.0/16}}]}"), ["shop/web service shop/db 80/TCP"], id="nor a VIP"
        ),
        pytest.param(
            CLOSED,
            ["shop/db-0 service shop/db 80/TCP", "shop/web service shop/db 80/TCP"],
            id="closed at the endpoints",
        ),
        pytest.param(SQL, ["shop/db-0 service shop/db 80/TCP"], id="open there"),
    ],
)
def test_a_service_is_reached_as_all_its_endpoints_are(policy: str, closed: list[str], tmp_path: Path) -> None:
    found = of_files(tmp_path / "shop.yaml", SERVICES, policy)
    assert [line for line in lines(found)[1] if " service " in line] == closed
    assert found.untold == ()


def test_the_group_of_those_who_may_reach_a_service_is_counted(tmp_path: Path) -> None:
    alone = of_files(tmp_path / "alone.yaml", egress(TO_DB.replace("PORT", "sql")))
    served = of_files(tmp_path / "served.yaml", SERVICES, egress(TO_DB.replace("PORT", "sql")))
    assert (served.groups.made, served.rules.made) == (alone.groups.made, alone.rules.made + 1)


def test_a_service_for_which_nobody_answers_is_said_and_not_guessed(tmp_path: Path) -> None:
    nobody = SERVICES.partition("---")[0].replace("app: db", "app: gone")
    without = nobody.replace("selector: {app: gone}, ", "").replace("name: db", "name: outside")
    found = of_files(tmp_path / "shop.yaml", nobody, without, egress(""))
    assert found.untold == ("shop/db", "shop/outside")
    assert not any(" service " in line for line in lines(found)[1])


def test_slices_that_are_written_count_and_not_the_selector(tmp_path: Path) -> None:
    outside = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.9]}]
ports: [{port: 5432}]
"""
    found = of_files(tmp_path / "shop.yaml", SERVICES, outside, egress(TO_DB.replace("PORT", "5432")))
    assert "shop/web service shop/db 80/TCP" in lines(found)[1]


def test_on_a_cluster_a_service_keeps_its_address_and_who_was_not_ready(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"{PODS}---{SERVICES}".replace("metadata: {name: db,", "metadata: {name: db,"))
    (tmp_path / "new.yaml").write_text(f"{SERVICES}---{PODS.split('---')[2].replace('db-1', 'db-2')}")
    base = Manifests([tmp_path / "base.yaml"], Config()).alone()
    base = msgspec.structs.replace(
        base,
        services={
            name: msgspec.structs.replace(each, cluster_ips=("10.96.7.7",)) if name == "shop/db" else each
            for name, each in base.services.items()
        },
        endpoint_slices={
            name: msgspec.structs.replace(
                each, endpoints=tuple(msgspec.structs.replace(one, ready=False) for one in each.endpoints[:1])
            )
            for name, each in base.endpoint_slices.items()
        },
    )
    after = Manifests([tmp_path / "new.yaml"], Config()).on(base)
    assert after.services["shop/db"].cluster_ips == ("10.96.7.7",)
    ready = {
        after.pods[one.pod_uid].name: one.ready for each in after.endpoint_slices.values() for one in each.endpoints
    }
    assert ready == {"db-0": False, "db-1": True, "db-2": True}


def test_a_pod_network_that_is_too_small_is_one_sentence() -> None:
    small = msgspec.structs.replace(Config().pod_network, cidrs=("10.65.0.0/30",))
    with pytest.raises(Invalid, match="pod shop/db-1 finds no free address"):
        placed(world(), msgspec.structs.replace(Config(), pod_network=small))


def test_pods_without_addresses_get_one_of_each_family_and_keep_it() -> None:
    config = Config()
    once, again = placed(world(), config), placed(world(SQL), config)
    assert [pod.ips for pod in once.pods.values()] == [pod.ips for pod in again.pods.values()]
    assert len({address for pod in once.pods.values() for address in pod.ips}) == 6


def test_the_shipped_example_needs_nothing_but_its_file() -> None:
    shop = read_files([Path(ROOT) / "examples" / "shop.yaml"])
    found = difference(without_policies(shop), shop)
    assert set(found.policies.values()) == {"+"}
    assert found.opened == ()
    assert any(pair.target.name == "shop/db" for pair in found.closed)
