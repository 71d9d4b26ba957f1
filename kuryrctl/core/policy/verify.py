"""Whether the policies of a cluster and the security groups of a cloud allow the same: every pair, every port.

Only what pods say is compared: a policy isolates nothing else, and groups of a VM are its owner's. Pure. Does not know:
how the groups were made, how it is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from msgspec import Struct

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.config import Config, ServiceOptions
from kuryrctl.core.policy.ends import Ends
from kuryrctl.core.policy.flows import FAMILIES, PROTOCOLS, Block, End, EndKind, Flow, Front, Verdict, block_of, inside
from kuryrctl.core.policy.groups import GroupJudge
from kuryrctl.core.policy.kubernetes import KubernetesJudge
from kuryrctl.core.policy.model import Direction, NetworkPolicy
from kuryrctl.core.policy.pieces import blocks_of, pieces
from kuryrctl.core.policy.sweeps import Crowd, GroupSweep, KubernetesSweep, Mask
from kuryrctl.core.service_external import let_in

INGRESS, EGRESS = Direction
_NUMBERS = {"6": "TCP", "17": "UDP", "132": "SCTP"}
_ANYBODY = "*"
"""Stands for the groups of a port without port security."""
Probe = tuple[str, int]
"""A protocol and a port that stands for all ports up to the next probe's: no policy and no rule tells them apart."""


class Disagreement(Struct, frozen=True):
    """A connection that the policies allow and the groups do not, or the other way round, with both reasons."""

    flow: Flow
    kubernetes: Verdict
    groups: Verdict


class Verification(Struct, frozen=True):
    """What was compared: `ends`, and `pairs`: sides of connections (end, end, family, protocol, port).

    `differing` of them differ; `disagreements` explains the first of these.
    """

    ends: int
    pairs: int
    differing: int
    disagreements: tuple[Disagreement, ...]


def verify(
    cluster: ClusterState,
    cloud: CloudState,
    config: Config,
    *,
    outside: Iterable[str] = (),
    namespace: str | None = None,
    explain: int = 100,
) -> Verification:
    """Compare both for all pods with all ends, the addresses `outside`, and one of each piece that a CIDR cuts out.

    Of the Services' ranges only the Services are ends: nobody else has an address there. With a `namespace`, only
    connections that its pods or Services take part in. At most so many disagreements are explained.
    """
    ends = Ends(cluster, cloud)
    everyone = [*ends.all(), *map(ends.at, outside)]
    everyone += _strangers(ends, everyone, _named(cluster, cloud), [*map(block_of, config.service_cidrs)])
    judges = KubernetesJudge(cluster, config), GroupJudge(cloud)
    probes = probes_of(cluster, cloud)
    pairs = differing = 0
    found: list[Disagreement] = []
    for family in FAMILIES:
        crowd = Crowd([*everyone, *_behind(everyone)], family)
        comparison = _Comparison(cluster, judges, crowd, probes, namespace=namespace, most=explain - len(found))
        comparison.compare()
        found += [Disagreement(flow, *(judge.verdict(flow) for judge in judges)) for flow in comparison.flows]
        pairs += comparison.pairs
        differing += comparison.differing
    return Verification(len(everyone), pairs, differing, tuple(found))


def ours(verdict: Verdict) -> bool:
    """Whether all pods allow it, whatever others say: what both judges must agree on."""
    return all(side.allowed for side in verdict.sides if side.end.kind is EndKind.POD and not side.end.host)


def agree(flow: Flow, kubernetes: Verdict, groups: Verdict) -> bool:
    """Whether both say the same of all pods; and no packet leaves for a Service that the policies do not open."""
    to_vip = flow.source.kind is EndKind.POD and flow.target.kind is EndKind.SERVICE and groups.sides[0].allowed
    if to_vip and not all(side.allowed for side in kubernetes.side(EGRESS)):
        return False
    return ours(kubernetes) == ours(groups)


def probes_of(cluster: ClusterState, cloud: CloudState) -> list[Probe]:
    """One port for each range of ports that no policy, no named port and no group's rule tells apart, by protocol."""
    starts: dict[str, set[int]] = {protocol: {1} for protocol in PROTOCOLS}
    for policy in cluster.policies.values():
        for port in (port for rule in (*policy.ingress, *policy.egress) for port in rule.ports):
            if isinstance(port.port, int):
                starts[port.protocol] |= {port.port, (port.end_port or port.port) + 1}
    for named in (port for pod in cluster.pods.values() for port in pod.ports):
        starts[named.protocol] |= {named.port, named.port + 1}
    limiting = {service.full_name for service in cluster.services.values() if service.source_ranges}
    for each in cluster.endpoint_slices.values():
        for offered in each.ports if f"{each.namespace}/{each.service}" in limiting else ():
            if offered.port is not None:
                starts[offered.protocol] |= {offered.port, offered.port + 1}
    for rule in (rule for group in cloud.security_groups.values() for rule in group.security_group_rules):
        text = str(rule.protocol)
        protocol = _NUMBERS.get(text, text.upper())
        if protocol in starts and rule.port_range_min is not None and rule.port_range_max is not None:
            starts[protocol] |= {rule.port_range_min, rule.port_range_max + 1}
    return [(protocol, port) for protocol in PROTOCOLS for port in sorted(starts[protocol]) if 1 <= port <= 65535]


def _named(cluster: ClusterState, cloud: CloudState) -> set[Block]:
    """The CIDRs that policies, source ranges and groups' rules name."""
    ranges = {text for service in cluster.services.values() for text in let_in(service, ServiceOptions()).values()}
    rules = (rule for group in cloud.security_groups.values() for rule in group.security_group_rules)
    prefixes = (rule.remote_ip_prefix for rule in rules if rule.remote_ip_prefix)
    texts = {*prefixes, *(text for some in ranges for text in some)}
    return blocks_of(cluster.policies.values()) | set(map(block_of, texts))


def _strangers(ends: Ends, known: Iterable[End], named: set[Block], services: list[Block]) -> Iterator[End]:
    """An address that nobody has of each piece that these blocks cut out, where no known one stands for it."""
    addresses = [end.block(family) for end in known if end.kind is EndKind.ADDRESS for family in FAMILIES]
    for piece in pieces([*named, *services]):
        if any(inside(piece, each) for each in services) or any(at and inside(at, piece) for at in addresses):
            continue
        stranger = ends.stranger(piece)
        if stranger is not None:
            yield stranger


def _behind(ends: Iterable[End]) -> Iterator[End]:
    """The endpoints of the Services among these."""
    for end in ends:
        for front in end.fronts:
            yield from (backend for backend, _ in front.backends)


class _Class:
    """Pods that say the same: the same policies isolate them, with the same named ports, node and groups."""

    def __init__(
        self, pod: Pod, groups: tuple[str, ...], isolating: Mapping[Direction, tuple[NetworkPolicy, ...]]
    ) -> None:
        self.pod = pod
        self.groups = groups
        self.isolating = isolating
        self.ends: list[End] = []


class _Comparison:
    """The comparison for one family: `pairs` were compared, `differing` of them differ, `flows` are the first."""

    def __init__(
        self,
        cluster: ClusterState,
        judges: tuple[KubernetesJudge, GroupJudge],
        crowd: Crowd,
        probes: list[Probe],
        *,
        namespace: str | None,
        most: int,
    ) -> None:
        self.pairs = self.differing = 0
        self.flows: list[Flow] = []
        self._most = most
        self._cluster = cluster
        self._judges = judges
        self._crowd = crowd
        self._probes = probes
        self._kubernetes = KubernetesSweep(judges[0], cluster, crowd)
        self._groups = GroupSweep(judges[1], crowd)
        self._reached: dict[str, Mask] = {}
        self._services = [end for end in crowd.ends if end.kind is EndKind.SERVICE]
        self._of_service = sum(map(crowd.one, self._services))  # no two share a bit
        self._namespace = namespace
        self._there = sum(crowd.one(end) for end in crowd.ends if end.kind is EndKind.POD and self._concerns(end))

    def compare(self) -> None:
        """Compare all connections of all pods."""
        compared = self._crowd.everyone & ~self._of_service
        for each in self._classes():
            node = self._crowd.node(each.pod.node)
            others = compared if self._concerns(each.ends[0]) else compared & self._there
            if not others:
                continue
            for direction in Direction:
                for protocol, port in self._probes:
                    allowed = self._by_policies(each, direction, protocol, port) | node
                    differ = (allowed ^ self._by_groups(each, direction, protocol, port)) & others
                    for end in each.ends if differ else ():
                        found = differ & ~self._crowd.one(end)
                        flows = (
                            self._flow(direction, end, other, protocol, port) for other in self._crowd.named(found)
                        )
                        self._note(flows, found.bit_count())
            itself = bool(others & self._crowd.one(each.ends[0]))
            self.pairs += len(each.ends) * (others.bit_count() - itself) * 2 * len(self._probes)
        self._compare_services()

    def _concerns(self, end: End) -> bool:
        """Whether this pod or Service is in the namespace that is asked about."""
        return self._namespace in (None, end.name.partition("/")[0])

    def _note(self, flows: Iterable[Flow], count: int) -> None:
        """So many connections differ: when everything does, they are far too many to hold."""
        self.differing += count
        self.flows += islice(flows, self._most - len(self.flows))

    def _flow(self, direction: Direction, end: End, other: End, protocol: str, port: int) -> Flow:
        source, target = (end, other) if direction is EGRESS else (other, end)
        return Flow(source, target, self._crowd.family, protocol, port)

    def _classes(self) -> Iterable[_Class]:
        """All pods of the crowd that have a port of their own; the judges themselves are asked about others."""
        found: dict[tuple[object, ...], _Class] = {}
        isolating: dict[tuple[object, ...], dict[Direction, tuple[NetworkPolicy, ...]]] = {}
        for end in self._crowd.ends:
            pod = self._cluster.pods.get(end.id) if end.kind is EndKind.POD else None
            if pod is None or pod.host_network:
                continue
            labels = (pod.namespace, tuple(sorted(pod.labels.items())))
            if labels not in isolating:
                judge = self._judges[0]
                isolating[labels] = {direction: tuple(judge.isolating(pod, direction)) for direction in Direction}
            port = self._judges[1].port_of(end, self._crowd.family)
            groups = None if port is None else port.security_groups if port.port_security_enabled else (_ANYBODY,)
            block = end.block(self._crowd.family)
            limits = self._judges[0].limits.at(block) if block else ()
            key = (labels, pod.node, pod.ports, groups, limits)
            if key not in found:
                found[key] = _Class(pod, groups or (), isolating[labels])
            found[key].ends.append(end)
        return found.values()

    def _by_policies(self, each: _Class, direction: Direction, protocol: str, port: int) -> Mask:
        return self._kubernetes.by_policies(each.pod, each.isolating[direction], direction, protocol, port)

    def _by_groups(self, each: _Class, direction: Direction, protocol: str, port: int) -> Mask:
        if each.groups == (_ANYBODY,):
            return self._crowd.everyone
        return self._groups.allowed(each.groups, direction, protocol, port)

    # Services --------------------------------------------------------------------------------------------------------

    def _compare_services(self) -> None:
        """Compare the way to all VIPs' ports; an endpoint that is its own client is asked of the judges themselves."""
        fronts = [
            (service, front)
            for service in self._services
            for front in service.fronts
            if front.family == self._crowd.family and front.backends
        ]
        behind = self._of_service
        own: dict[str, list[int]] = defaultdict(list)
        for place, (_, front) in enumerate(fronts):
            behind |= self._all(front)
            for member in {backend.id for backend, _ in front.backends}:
                own[member].append(place)
        everything = set(range(len(fronts)))
        there = {place for place, (service, _) in enumerate(fronts) if self._concerns(service)}
        answers: dict[tuple[object, ...], list[int]] = {}
        for each in self._classes() if fronts else ():
            asked = everything if self._concerns(each.ends[0]) else there
            if not asked:
                continue
            self.pairs += len(each.ends) * len(asked)
            key = (tuple(policy.full_name for policy in each.isolating[EGRESS]), self._relevant(each.groups, behind))
            if key not in answers:
                answers[key] = [place for place, front in enumerate(fronts) if self._differs(each, *front)]
            for end in each.ends:
                mine = asked.intersection(own.get(end.id, ()))
                others = asked.difference(mine)
                differing = [self._to(end, *fronts[place]) for place in answers[key] if place in others]
                flows = (self._to(end, *fronts[place]) for place in sorted(mine))
                differing += [
                    flow for flow in flows if not agree(flow, *(judge.verdict(flow) for judge in self._judges))
                ]
                self._note(differing, len(differing))

    def _to(self, end: End, service: End, front: Front) -> Flow:
        return self._flow(EGRESS, end, service, front.protocol, front.port)

    def _relevant(self, groups: tuple[str, ...], mask: Mask) -> tuple[str, ...]:
        """Those of the groups that can let out to anybody in the mask."""
        for group in groups:
            if group not in self._reached:
                self._reached[group] = self._groups.ever_allowed(group, EGRESS)
        return tuple(sorted(group for group in groups if group == _ANYBODY or self._reached[group] & mask))

    def _differs(self, each: _Class, service: End, front: Front) -> bool:
        """Whether a client's policies and groups differ about a front of which it is no endpoint."""
        by_policies = by_groups = True
        for end, port in front.backends:
            who = self._crowd.one(end)
            by_policies &= bool(self._by_policies(each, EGRESS, front.protocol, port) & who)
            by_groups &= bool(self._by_groups(each, EGRESS, front.protocol, port) & who)
        vip = bool(self._by_groups(each, EGRESS, front.protocol, front.port) & self._crowd.one(service))
        return not (by_groups and vip) if by_policies else vip

    def _all(self, front: Front) -> Mask:
        mask = 0
        for end, _ in front.backends:
            mask |= self._crowd.one(end)
        return mask
