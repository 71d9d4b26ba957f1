"""Questions about connections: whom a word names, which ports are worth asking about, and what both judges answer.

Does not know: how the world was read, how an answer is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from ipaddress import ip_network
from itertools import pairwise

from msgspec import Struct

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, NotFound, Owner
from kuryrctl.core.policy.ends import Ends, is_there
from kuryrctl.core.policy.flows import FAMILIES, PROTOCOLS, End, EndKind, Flow, Verdict
from kuryrctl.core.policy.groups import GroupJudge
from kuryrctl.core.policy.kubernetes import KubernetesJudge
from kuryrctl.core.policy.model import Direction, NetworkPolicy
from kuryrctl.core.policy.workloads import is_of

EXPLAIN_SCHEMA = "kuryrctl.policy-explain/1"
MATRIX_SCHEMA = "kuryrctl.policy-matrix/1"
UNNAMED_PORT = 29
"""It stands for every port that nobody names, if nobody names it: 29 is assigned to msg-icp, which nobody runs."""


class PortChoice(Struct, frozen=True, order=True):
    """Destination ports that somebody asks about: from `port` to `last`, which nothing tells apart; 0: `port` alone.

    `others`: all ports of the protocol that nobody names; `port` is one of them.
    """

    protocol: str
    port: int
    last: int = 0
    others: bool = False

    def __str__(self) -> str:
        if self.others:
            return f"every other {self.protocol} port"
        return f"{self.port}-{self.last}/{self.protocol}" if self.last else f"{self.port}/{self.protocol}"


PortRange = tuple[str, int, int]
"""Protocol, first and last port."""


def choices_of(named: Iterable[PortRange]) -> tuple[PortChoice, ...]:
    """All ports of all protocols, cut where one of these ranges begins or ends; the unnamed ones together."""
    known = set(named)
    found: list[PortChoice] = []
    for protocol in PROTOCOLS:
        mine = [(low, high) for each, low, high in known if each == protocol]
        starts = {1, 65536} | {at for low, high in mine for at in (low, high + 1)}
        unnamed: list[int] = []
        for low, after in pairwise(sorted(starts)):
            if any(first <= low <= last for first, last in mine):
                found.append(PortChoice(protocol, low, after - 1 if after - 1 > low else 0))
            else:
                unnamed += [low, *((UNNAMED_PORT,) if low <= UNNAMED_PORT < after else ())]
        if unnamed:
            port = UNNAMED_PORT if UNNAMED_PORT in unnamed else unnamed[0]
            found.append(PortChoice(protocol, port, others=True))
    return tuple(sorted(found))


class Explained(Struct, frozen=True):
    """One connection, as the policies mean it and as the security groups that the cloud holds now do it."""

    flow: Flow
    choice: PortChoice
    policies: Verdict
    cloud: Verdict

    @property
    def agree(self) -> bool:
        """Whether the cloud does what the policies say."""
        return self.policies.allowed == self.cloud.allowed


class Questions:
    """Answers about one world."""

    def __init__(self, cluster: ClusterState, cloud: CloudState, config: Config) -> None:
        self.cluster = cluster
        self._config = config
        self.cloud = cloud
        self.ends = Ends(cluster, cloud)

    @cached_property
    def policies(self) -> KubernetesJudge:
        """What the policies mean."""
        return KubernetesJudge(self.cluster, self._config)

    @cached_property
    def groups(self) -> GroupJudge:
        """What the cloud does."""
        return GroupJudge(self.cloud)

    def who(self, text: str) -> tuple[End, ...]:
        """Whom this names: ``NAMESPACE/POD`` or ``NAMESPACE/WORKLOAD`` (its pods), ``service/NAMESPACE/NAME``,
        ``node/NAME``, ``port/ID`` or a port's name, an address or a CIDR. Raises NotFound, Invalid."""
        kind, _, name = text.partition("/")
        if _is_block(text):
            return (self.ends.at(text),)
        found: Iterable[End]
        if kind == EndKind.SERVICE and name:
            services = self.cluster.services
            found = [self.ends.service(services[name])] if name in services and services[name].cluster_ips else []
        elif kind == EndKind.NODE and name:
            found = self.ends.nodes(self.cluster.nodes[name]) if name in self.cluster.nodes else []
        elif kind == EndKind.PORT and name:
            found = self._ports(name)
        else:
            found = [*self._pods(text)] or self._ports(text)
        ends = tuple(found)
        if not ends:
            raise NotFound(
                f'nothing is called "{text}": no pod that runs, no workload with pods, no port',
                code="POL-END",
                owner=Owner.USER,
                hint="name NAMESPACE/POD, service/NAMESPACE/NAME, node/NAME, port/ID, an address or a CIDR",
            )
        return ends

    def choices(self, sources: Iterable[End], targets: Iterable[End]) -> tuple[PortChoice, ...]:
        """The ports worth asking about between these: those that policies of either name, those that the targets
        declare, and for every protocol one that stands for all others."""
        return choices_of(self.named(sources, targets))

    def named(self, sources: Iterable[End], targets: Iterable[End]) -> set[PortRange]:
        """The ports that policies of either name, and those that the ends declare."""
        targets = tuple(targets)
        found = {(front.protocol, front.port, front.port) for end in targets for front in end.fronts}
        policies: set[str] = set()
        for pod in (self.cluster.pods.get(end.id) for end in (*sources, *targets)):
            if pod is not None:
                found |= {(port.protocol, port.port, port.port) for port in pod.ports}
                isolating = (each for way in Direction for each in self.policies.isolating(pod, way))
                policies |= {policy.full_name for policy in isolating}
        for name in policies:
            found |= set(_named(self.cluster.policies[name]))
        return found

    def ask(self, source: End, target: End, choice: PortChoice) -> Iterator[Explained]:
        """The answer for each IP version that both have."""
        for family in FAMILIES:
            if _has(source, family) and _has(target, family):
                flow = Flow(source, target, family, choice.protocol, choice.port)
                yield Explained(flow, choice, self.policies.verdict(flow), self.groups.verdict(flow))

    def pods(self, namespace: str | None = None) -> list[Pod]:
        """The pods on the pod network, of one namespace or of all, by name."""
        there = [pod for pod in self.cluster.pods.values() if is_there(pod) and not pod.host_network]
        return sorted((p for p in there if namespace in (None, p.namespace)), key=lambda pod: pod.full_name)

    def _pods(self, text: str) -> Iterator[End]:
        """The pod of this name, or the pods of the workload that is called so."""
        full_name = text if "/" in text else f"default/{text}"
        pods = [pod for pod in self.cluster.pods.values() if is_there(pod)]
        exact = [pod for pod in pods if pod.full_name == full_name]
        workload = [pod for pod in pods if is_of(pod, full_name)]
        yield from (self.ends.pod(pod) for pod in exact or sorted(workload, key=lambda pod: pod.full_name))

    def _ports(self, text: str) -> tuple[End, ...]:
        """The port with this id or name; one of a pod is the pod's."""
        found = [port for port in self.cloud.ports.values() if text in (port.id, port.name)]
        if len(found) > 1:
            raise Invalid(
                f'{len(found)} ports are named "{text}"', code="POL-END", owner=Owner.USER, hint="give the port's id"
            )
        return tuple(self.ends.port(port) for port in found)


def parse_port(text: str) -> PortChoice:
    """``5432``, ``5432/TCP``. Raises Invalid."""
    number, _, protocol = text.partition("/")
    wanted = (protocol or "TCP").upper()
    if not number.isdecimal() or not 1 <= int(number) <= 65535 or wanted not in PROTOCOLS:
        raise Invalid(
            f'"{text}" is no port: write NUMBER or NUMBER/PROTOCOL, with {", ".join(PROTOCOLS)}',
            code="USAGE",
            owner=Owner.USER,
            hint="for example 5432/TCP",
        )
    return PortChoice(wanted, int(number))


def _named(policy: NetworkPolicy) -> Iterator[PortRange]:
    for rule in (*policy.ingress, *policy.egress):
        for port in rule.ports:
            if isinstance(port.port, int):
                yield port.protocol, port.port, port.end_port or port.port


def _has(end: End, family: int) -> bool:
    return end.block(family) is not None


def _is_block(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True
