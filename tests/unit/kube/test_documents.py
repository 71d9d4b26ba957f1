"""Manifests from files: what they mean, and one clear sentence for what is wrong with them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.errors import Invalid
from kuryrctl.core.policy.model import Direction, PolicyPort
from kuryrctl.kube.documents import UNPLACED, parse, read_files

DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}}
"""


def refusal(text: str) -> str:
    with pytest.raises(Invalid) as refused:
        parse(text, "shop.yaml")
    assert refused.value.code == "MANIFEST"
    assert refused.value.hint
    return refused.value.message


def rule(text: str) -> str:
    """The error of a policy with this ingress rule."""
    message = refusal(DENY.replace("{podSelector: {}}", f"{{podSelector: {{}}, ingress: [{text}]}}"))
    assert message.startswith("shop.yaml, document 1 (NetworkPolicy deny): spec.ingress[0].")
    return message.partition("spec.ingress[0].")[2]


def test_a_namespace_that_is_only_named_exists_with_the_label_that_every_one_has() -> None:
    cluster = parse(DENY, "shop.yaml")

    assert cluster.policies["shop/deny"].directions == {Direction.INGRESS}
    assert cluster.namespaces["shop"].labels == {"kubernetes.io/metadata.name": "shop"}


def test_a_declared_namespace_keeps_its_labels() -> None:
    cluster = parse(f"kind: Namespace\nmetadata: {{name: shop, labels: {{env: prod}}}}\n---\n{DENY}", "shop.yaml")

    assert cluster.namespaces["shop"].labels == {"kubernetes.io/metadata.name": "shop", "env": "prod"}


def test_the_same_manifest_is_the_same_object_and_another_is_another() -> None:
    first, second = parse(DENY, "a.yaml"), parse(DENY, "b.yaml")

    assert first == second
    assert first.policies["shop/deny"].uid != parse(DENY.replace("shop", "bank"), "c.yaml").policies["bank/deny"].uid


def test_a_pod_without_a_node_is_meant_to_run_somewhere() -> None:
    (pod,) = parse("kind: Pod\nmetadata: {name: web}\nspec: {}\n", "pod.yaml").pods.values()

    assert (pod.full_name, pod.node, pod.wants_port) == ("default/web", UNPLACED, True)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_a_workload_stands_for_one_of_its_pods(kind: str) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
    }
    spec = {"jobTemplate": {"spec": {"template": template}}} if kind == "CronJob" else {"template": template}
    workload = {"kind": kind, "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "x"}}, "spec": spec}

    (pod,) = parse(json.dumps(workload), "web.json").pods.values()

    assert (pod.full_name, pod.labels, pod.ports[0].port) == ("shop/web", {"app": "web"}, 8080)


def test_lists_are_read_and_other_kinds_passed_over() -> None:
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "a"}, "spec": {"podSelector": {}}}
    listed = {"kind": "List", "items": [policy, {"kind": "ConfigMap", "metadata": {"name": "b"}}]}

    assert list(parse(json.dumps(listed), "list.json").policies) == ["default/a"]


def test_a_folder_stands_for_all_its_manifests(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.yaml").write_text(DENY)
    (tmp_path / "deep" / "b.yml").write_text(DENY.replace("name: deny", "name: other"))
    (tmp_path / "readme.txt").write_text("not: [a manifest")

    assert set(read_files([tmp_path]).policies) == {"shop/deny", "shop/other"}


def test_the_same_object_in_several_files_is_one_and_a_differing_one_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"{DENY}---\nkind: Node\nmetadata: {{name: node1}}\n")
    assert set(read_files([tmp_path]).nodes) == {"node1"}
    (tmp_path / "b.yaml").write_text(DENY.replace("{podSelector: {}}", "{podSelector: {matchLabels: {app: db}}}"))
    with pytest.raises(Invalid, match=r"NetworkPolicy shop/deny: .*a\.yaml, .*b\.yaml, "):
        read_files([tmp_path])


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for path, told in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (tmp_path / "binary.yaml", "is no text"),
    ):
        with pytest.raises(Invalid, match=told):
            read_files([path])
    (tmp_path / "binary.yaml").unlink()
    with pytest.raises(Invalid, match="holds no manifest"):
        read_files([tmp_path])


def test_a_bad_document_is_named_by_file_number_and_field() -> None:
    assert refusal("a: [").startswith("shop.yaml, document 1: this is not YAML: ")
    assert refusal(f"{DENY}---\n- 1\n") == "shop.yaml, document 2: an object is a mapping, not a list"
    assert refusal("metadata: {name: x}") == "shop.yaml, document 1 (x): kind: it names no kind of object"
    assert refusal("kind: Pod") == "shop.yaml, document 1 (Pod): metadata.name: the object has no name"
    assert refusal("kind: List\nitems: 3") == "shop.yaml, document 1 (List): items: a List needs a list of objects"
    twice = refusal(f"{DENY}---{DENY}")
    assert (
        twice == "there are two versions of NetworkPolicy shop/deny: shop.yaml, document 1, and shop.yaml, document 2"
    )
    assert refusal("kind: Namespace\nmetadata: {name: a, labels: {env: yes}}").endswith(
        "metadata.labels[...]: Expected str, got bool"
    )


def test_what_an_api_server_refuses_is_refused() -> None:
    assert rule("{ports: [{port: []}]}").startswith("ports[0].port: Expected")
    assert rule("{ports: [{port: 0}]}") == "ports[0].port: 0 is not between 1 and 65535"
    assert rule("{ports: [{port: 80, protocol: ICMP}]}") == 'ports[0].protocol: "ICMP" is none of TCP, UDP, SCTP'
    assert rule("{ports: [{port: http, endPort: 80}]}") == "ports[0].endPort: a range begins with a port number"
    assert rule("{ports: [{port: 80, endPort: 79}]}") == "ports[0].endPort: 79 is not between 80 and 65535"
    assert rule("{from: [{}]}").startswith("from[0]: a peer needs a podSelector")
    assert rule("{from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]}").endswith("without podSelector")
    assert rule("{from: [{ipBlock: {cidr: 10.0.0.1}}]}") == 'from[0].ipBlock.cidr: "10.0.0.1" is no CIDR'
    block = "{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}}]}"
    assert rule(block) == "from[0].ipBlock.except[1]: 11.0.0.0/16 is no part of 10.0.0.0/8"
    for operator, values, told in (("In", "[]", "In needs values"), ("Exists", "[a]", "Exists takes none")):
        selector = f"{{matchExpressions: [{{key: a, operator: {operator}, values: {values}}}]}}"
        assert rule(f"{{from: [{{podSelector: {selector}}}]}}").endswith(told)


def test_defaults_are_the_api_servers() -> None:
    text = DENY.replace("{podSelector: {}}", "{podSelector: {}, egress: [{ports: [{port: 53}]}]}")

    policy = parse(text, "shop.yaml").policies["shop/deny"]

    assert policy.directions == {Direction.INGRESS, Direction.EGRESS}
    assert policy.egress[0].ports == (PolicyPort("TCP", 53),)


def test_nothing_makes_an_empty_cluster() -> None:
    assert parse("---\n---\n", "empty.yaml") == ClusterState(complete=parse("", "none").complete)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{podSelectr: {}}", "spec.podSelectr: there is no such field"),
        ("{podSelector: {matchLabel: {app: web}}}", "spec.podSelector.matchLabel: there is no such field"),
        ("{ingress: [{form: []}]}", "spec.ingress[0].form: there is no such field"),
        ("{egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, exept: []}}]}]}", "spec.egress[0].to[0].ipBlock.exept: there"),
        ("{ingress: [{ports: [{port: 1, endport: 9}]}]}", "spec.ingress[0].ports[0].endport: there is no such field"),
    ],
)
def test_a_misspelt_field_of_a_policy_is_refused_by_its_name(spec: str, told: str) -> None:
    with pytest.raises(Invalid, match=re.escape(told)):
        parse(f"kind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}", "test")
