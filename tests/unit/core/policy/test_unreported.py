"""A pod with an address that it has not reported yet: a block finds its named ports only where it holds all pods."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kuryrctl.core.cluster import ClusterState, Interface, KuryrPort
from kuryrctl.kube.documents import parse
from tests.unit.core.policy.agreement import compiled, disagreements

WORLD = """
{kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
 spec: {nodeName: n1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.65.0.10}]}}
---
{kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}},
 spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: sql, containerPort: 5432}]}]}}
---
{kind: NetworkPolicy, metadata: {name: out, namespace: shop},
 spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress],
        egress: [{to: [{ipBlock: {cidr: 10.65.0.0/24}}], ports: [{port: PORT}]}]}}
"""


def world(port: str, block: str = "10.65.0.0/24") -> ClusterState:
    """`db` has the address 10.65.0.11, as its KuryrPort says and its status not yet."""
    cluster = parse(WORLD.replace("PORT", port).replace("10.65.0.0/24", block), "test")
    db = next(pod for pod in cluster.pods.values() if pod.name == "db")
    interface = Interface("eth0", "port", "02:00:00:00:00:11", ("10.65.0.11/22",))
    held = KuryrPort("shop", "db", db.uid, "n1", (interface,))
    return replace(cluster, kuryr_ports={held_name(held): held})


def held_name(held: KuryrPort) -> str:
    return f"{held.namespace}/{held.name}"


def test_both_judges_wait_for_the_address_before_a_name_means_a_number() -> None:
    named = world("sql")
    assert disagreements(named, compiled(named)) == []


def test_a_number_needs_no_report() -> None:
    numbered = world("5432")
    assert disagreements(numbered, compiled(numbered)) == []


@pytest.mark.parametrize("block", ["0.0.0.0/0", "10.65.0.0/16"])
def test_a_block_that_holds_all_pods_needs_no_report(block: str) -> None:
    """Such a rule names the group of all pods with this port, which is on a pod's port before the pod has reported."""
    everywhere = world("sql", block)
    assert disagreements(everywhere, compiled(everywhere)) == []
