"""The words of verdicts, the arithmetic of addresses, and what a comparison says of a spoilt cloud."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, Namespace, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.policy.ends import Ends
from kuryrctl.core.policy.flows import ALLOWING, Flow, Reason, block_of, cut, inside
from kuryrctl.core.policy.kubernetes import KubernetesJudge
from kuryrctl.core.policy.model import Direction, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.policy.verify import probes_of, verify
from kuryrctl.core.selectors import Selector
from tests.unit.core.policy.agreement import compiled
from tests.unit.core.policy.worlds import random_world

INGRESS, EGRESS = Direction


def _shop(*policies: NetworkPolicy) -> ClusterState:
    pods = [Pod("shop", name, name, "n1", "Running", ips=(f"10.65.0.{8 + place}",)) for place, name in enumerate("ab")]
    return ClusterState(
        pods={pod.uid: pod for pod in pods},
        namespaces={"shop": Namespace("shop", "shop")},
        nodes={"n1": Node("n1", "n1", ("172.16.0.1",))},
        policies={policy.full_name: policy for policy in policies},
    )


FROM_PODS = NetworkPolicy(
    "shop", "p", "p", Selector(), frozenset({INGRESS}), (PolicyRule((Peer(Selector()),), (PolicyPort("TCP", 80, 90),)),)
)


def test_a_block_is_an_address_or_a_cidr() -> None:
    """Host bits do not count; anything else is no block."""
    assert block_of("10.0.0.7") == (4, 167772167, 167772167)
    assert block_of("10.0.0.7/31") == (4, 167772166, 167772167)
    assert block_of("::1/127") == (6, 0, 1)
    with pytest.raises(ValueError, match="shop/web"):
        block_of("shop/web")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6), st.integers(0, 30), st.integers(0, 30))
def test_cut_leaves_what_nobody_takes(away: list[tuple[int, int]], low: int, more: int) -> None:
    """Address by address; another family takes nothing."""
    blocks = [(4, first, first + length) for first, length in away]
    left = cut((4, low, low + more), [*blocks, (6, 0, 100)])
    taken = {number for _, first, last in blocks for number in range(first, last + 1)}
    assert {number for _, first, last in left for number in range(first, last + 1)} == {
        number for number in range(low, low + more + 1) if number not in taken
    }
    assert all(inside(piece, (4, low, low + more)) for piece in left)


@pytest.mark.parametrize("text", ["10.65.0.0/22", "fd00:10:65::/64", "10.65.0.9"])
def test_blocks_are_those_of_the_standard_library(text: str) -> None:
    """First and last address."""
    network = ip_network(text)
    assert block_of(text) == (network.version, int(network[0]), int(network[-1]))
    assert inside(block_of(str(ip_address(int(network[0])))), block_of(text)) or network.version == 6


def test_reasons_allow_or_refuse() -> None:
    """Every reason is one or the other, on purpose."""
    refusing = {Reason.ISOLATED, Reason.RANGES, Reason.NO_GROUPS, Reason.NO_PORT, Reason.NO_ENDPOINT, Reason.FINISHED}
    assert set(Reason) - ALLOWING == refusing


def test_a_verdict_reads_as_a_sentence() -> None:
    """Who, what, why, by which."""
    world = _shop(FROM_PODS)
    a, b = (Ends(world).pod(world.pods[name]) for name in "ab")
    flow = Flow(a, b, 4, "TCP", 443)
    out, into = KubernetesJudge(world, Config()).verdict(flow).sides
    assert str(flow) == "pod shop/a to pod shop/b, port 443/TCP, IPv4"
    assert str(out) == "pod shop/a lets it out to pod shop/b port 443: no policy isolates it"
    assert str(into) == "pod shop/b lets it in from pod shop/a port 443: not: no rule allows it: policy shop/p"


def test_probes_stand_for_all_ports() -> None:
    """The first port of each range that policies and rules tell apart."""
    world = _shop(FROM_PODS)
    assert probes_of(world, CloudState()) == [("TCP", 1), ("TCP", 80), ("TCP", 91), ("UDP", 1), ("SCTP", 1)]
    assert probes_of(world, compiled(world)) == probes_of(world, CloudState())


def test_a_lost_rule_is_named_by_the_pairs_that_it_shuts() -> None:
    """Right: nothing; without the rule for TCP 80 to 90: both ways between both pods, on the one port that stands."""
    world = _shop(FROM_PODS)
    cloud = compiled(world)
    assert verify(world, cloud, Config()).differing == 0
    groups = {
        id_: msgspec.structs.replace(
            group,
            security_group_rules=tuple(rule for rule in group.security_group_rules if rule.port_range_min != 80),
        )
        for id_, group in cloud.security_groups.items()
    }
    found = verify(world, msgspec.structs.replace(cloud, security_groups=groups), Config(), explain=1)
    assert found.differing == 2
    (first,) = found.disagreements
    assert str(first.flow) == "pod shop/b to pod shop/a, port 80/TCP, IPv4"
    assert first.kubernetes.allowed
    assert [side.reason for side in first.groups.side(INGRESS)] == [Reason.ISOLATED]


def test_a_lost_port_differs_about_all_that_its_pod_may_do() -> None:
    """No port in the cloud: what policies allow does not pass."""
    world = _shop()
    cloud = compiled(world)
    found = verify(world, msgspec.structs.replace(cloud, ports={"port-a": cloud.ports["port-a"]}), Config())
    assert {side.reason for each in found.disagreements for side in each.groups.sides if not side.allowed} == {
        Reason.NO_PORT
    }


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_explaining_less_counts_the_same(random: Random) -> None:
    """How many differ does not depend on how many are explained."""
    world = random_world(random)
    cloud = msgspec.structs.replace(compiled(world), ports={})
    few, all_ = verify(world, cloud, Config(), explain=2), verify(world, cloud, Config(), explain=10**9)
    assert (few.pairs, few.differing) == (all_.pairs, all_.differing)
    assert len(all_.disagreements) == all_.differing
    assert few.disagreements == all_.disagreements[:2]
