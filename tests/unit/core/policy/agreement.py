"""What the agreement of both judges is asked over: random worlds as the compiler makes them, right and spoilt."""

from __future__ import annotations

import time
from random import Random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.ends import Ends
from kuryrctl.core.policy.flows import FAMILIES, End, EndKind, Flow
from kuryrctl.core.policy.groups import GroupJudge
from kuryrctl.core.policy.kubernetes import KubernetesJudge
from kuryrctl.core.policy.verify import Disagreement, agree, probes_of, verify
from tests.unit.core.policy.worlds import CONFIG, cloud_of, random_world

OUTSIDE = ("203.0.113.5", "203.0.113.77", "8.8.8.8", "2001:db8::5", "2001:db8:1::1")
RANGES = ("203.0.113.0/24", "203.0.113.64/26", "10.65.0.8/30", "2001:db8:1::/48")


class Count(Struct):
    """Worlds that were compared, and sides of connections in them."""

    worlds: int = 0
    pairs: int = 0

    def __str__(self) -> str:
        return f"{self.worlds} worlds, {self.pairs} pairs"


def compiled(world: ClusterState) -> CloudState:
    """The cloud that a world's policies make."""
    policies = Policies(CONFIG)
    policies.replace(world)
    return cloud_of(world, policies)


def disagreements(world: ClusterState, cloud: CloudState, count: Count | None = None) -> list[Disagreement]:
    """The first on which both judges differ: all ends by sweeps, ranges of addresses one by one."""
    found = verify(world, cloud, CONFIG, outside=OUTSIDE, explain=3)
    if count is not None:
        count.worlds += 1
        count.pairs += found.pairs
    return [*found.disagreements, *of_ranges(world, cloud)]


def of_ranges(world: ClusterState, cloud: CloudState) -> list[Disagreement]:
    """Disagreements of pods about ranges of addresses, in both directions, on a port of each kind."""
    ends = Ends(world, cloud)
    pods = [end for end in ends.all() if end.kind is EndKind.POD]
    wide = [ends.at(text) for text in RANGES]
    pairs = [pair for pod in pods for other in wide for pair in ((pod, other), (other, pod))]
    flows = [Flow(*pair, family, "TCP", port) for pair in pairs for family in FAMILIES for port in (80, 9999)]
    both = KubernetesJudge(world, CONFIG), GroupJudge(cloud)
    return differing(both, [flow for flow in flows if has_addresses(flow)])


def differing(judges: tuple[KubernetesJudge, GroupJudge], flows: list[Flow]) -> list[Disagreement]:
    """The flows about which the pods' own sides differ, one by one."""
    said = [Disagreement(flow, judges[0].verdict(flow), judges[1].verdict(flow)) for flow in flows]
    return [each for each in said if not agree(each.flow, each.kubernetes, each.groups)]


def has_addresses(flow: Flow) -> bool:
    """Whether both ends have an address of the family."""
    return all(end.block(flow.family) for end in (flow.source, flow.target))


def all_flows(world: ClusterState, cloud: CloudState) -> list[Flow]:
    """Every pair of ends on every port that matters; from pods to every port of every Service."""
    ends = Ends(world, cloud)
    known = [*ends.all(), *map(ends.at, OUTSIDE)]
    known += [backend for end in known for front in end.fronts for backend, _ in front.backends]
    known = list(dict.fromkeys(known))
    probes = probes_of(world, cloud)
    return [
        flow for source in known for target in known for flow in _flows(source, target, probes) if has_addresses(flow)
    ]


def _flows(source: End, target: End, probes: list[tuple[str, int]]) -> list[Flow]:
    if source.kind is EndKind.SERVICE:
        return []
    if target.kind is not EndKind.SERVICE:
        return [Flow(source, target, family, *probe) for family in FAMILIES for probe in probes]
    fronts = target.fronts if source.kind is EndKind.POD and not source.host else ()
    return [Flow(source, target, front.family, front.protocol, front.port) for front in fronts]


def spoilt(random: Random, cloud: CloudState) -> CloudState:
    """The cloud after somebody's hands: ports with other groups or none, without port security, gone; rules gone."""
    ports, groups = dict(cloud.ports), dict(cloud.security_groups)
    for _ in range(random.randint(1, 3)):
        port = ports[random.choice(sorted(ports))]
        group = groups[random.choice(sorted(groups))]
        match random.randint(0, 3):
            case 0:
                lists = tuple(random.sample(sorted(groups), random.randint(0, min(3, len(groups)))))
                ports[port.id] = msgspec.structs.replace(port, security_groups=lists)
            case 1:
                ports[port.id] = msgspec.structs.replace(port, port_security_enabled=False)
            case 2 if len(ports) > 1:
                del ports[port.id]
            case _:
                kept = [rule for rule in group.security_group_rules if random.random() < 0.5]
                groups[group.id] = msgspec.structs.replace(group, security_group_rules=tuple(kept))
    return msgspec.structs.replace(cloud, ports=ports, security_groups=groups)


def agree_for(seconds: float, examples: int) -> Count:
    """Ask hypothesis for so many worlds again and again until the time is over; a disagreement fails, shrunk."""
    count, end = Count(), time.monotonic() + seconds

    @settings(max_examples=examples, database=None)
    @given(st.randoms(use_true_random=False))
    def some(random: Random) -> None:
        world = random_world(random)
        assert not disagreements(world, compiled(world), count), explain(world)

    while time.monotonic() < end:
        some()
    return count


def explain(world: ClusterState) -> str:
    """The first disagreement of a world, as people read it."""
    first = disagreements(world, compiled(world))[0]
    kubernetes, groups = (
        "\n".join(f"  {side}" for side in verdict.sides) for verdict in (first.kubernetes, first.groups)
    )
    return f"{first.flow}\nby policies:\n{kubernetes}\nby groups:\n{groups}\n{world}"
