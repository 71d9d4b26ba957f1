"""Deliberate mistakes of the compiler: what a test of it must find. At least one for each construct.

A mutant is a name and the patches that make it, to be applied by `pytest.MonkeyPatch` around a compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgspec
import pytest

from kuryrctl.core.cluster import Pod
from kuryrctl.core.config import ServiceOptions
from kuryrctl.core.policy import allowance, compiler, doors, entries, guards, index, peers, reach, rulebook, vips
from kuryrctl.core.policy.allowance import Allowance, Span
from kuryrctl.core.policy.doors import Door, Rules
from kuryrctl.core.policy.entries import Entry, Parsed
from kuryrctl.core.policy.lines import Lines
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.policy.nodes import Nodes
from kuryrctl.core.policy.peers import Membership, Peers, PodClass
from kuryrctl.core.policy.ranges import Ranges, minus, network, union
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key

Patch: TypeAlias = Callable[[pytest.MonkeyPatch], None]
MUTANTS: dict[str, Patch] = {}
"""All mistakes, by what they are."""


@contextmanager
def mistaken(name: str) -> Iterator[None]:
    """The compiler with this mistake."""
    with pytest.MonkeyPatch.context() as patch:
        MUTANTS[name](patch)
        yield


def mutant(name: str) -> Callable[[Patch], Patch]:
    """Enter a mistake."""

    def enter(patch: Patch) -> Patch:
        MUTANTS[name] = patch
        return patch

    return enter


def of_policy(change: Callable[[NetworkPolicy], NetworkPolicy]) -> Patch:
    """The compiler misreads each policy."""
    right = entries.parse
    return lambda patch: patch.setattr(index, "parse", lambda policy, pods: right(change(policy), pods))


def of_rules(change: Callable[[PolicyRule], PolicyRule]) -> Patch:
    """The compiler misreads each rule."""
    return of_policy(
        lambda policy: msgspec.structs.replace(
            policy, ingress=tuple(map(change, policy.ingress)), egress=tuple(map(change, policy.egress))
        )
    )


def of_ports(change: Callable[[PolicyPort], PolicyPort]) -> Patch:
    """The compiler misreads each port."""
    return of_rules(lambda rule: msgspec.structs.replace(rule, ports=tuple(map(change, rule.ports))))


def of_peers(change: Callable[[Peer], Peer]) -> Patch:
    """The compiler misreads each peer."""
    return of_rules(lambda rule: msgspec.structs.replace(rule, peers=tuple(map(change, rule.peers))))


# Policies and isolation -----------------------------------------------------------------------------------------------

MUTANTS["a policy of one direction isolates both"] = of_policy(
    lambda policy: msgspec.structs.replace(policy, directions=frozenset(Direction), **_counting(policy))
)
MUTANTS["rules of a direction that policyTypes leaves out count"] = of_policy(
    lambda policy: msgspec.structs.replace(
        policy, directions=policy.directions | {way for way in Direction if getattr(policy, way.value)}
    )
)
MUTANTS["only the first rule counts"] = of_policy(
    lambda policy: msgspec.structs.replace(policy, ingress=policy.ingress[:1], egress=policy.egress[:1])
)


@mutant("one direction opens the other")
def _opens_other(patch: pytest.MonkeyPatch) -> None:
    right = index.Index._groups

    def groups(self: index.Index, pods: PodClass) -> tuple[Key, ...]:
        return tuple(sorted({*right(self, pods), *((index.OPEN_INGRESS,) if pods.egress else ())}))

    patch.setattr(index.Index, "_groups", groups)


@mutant("of several policies only the first counts")
def _first_policy(patch: pytest.MonkeyPatch) -> None:
    right = index.Index._isolate

    def isolate(self: index.Index, pods: PodClass) -> None:
        right(self, pods)
        pods.ingress_groups, pods.egress = pods.ingress_groups[:1], pods.egress[:1]

    patch.setattr(index.Index, "_isolate", isolate)


@mutant("of several policies all must allow: union as intersection")
def _intersection(patch: pytest.MonkeyPatch) -> None:
    right = rulebook.Rulebook._of_ingress

    def of_ingress(self: rulebook.Rulebook, key: Key) -> Lines | None:
        beside = {other for pods in self._index.carriers.classes.of(key) for other in pods.ingress_groups}
        said, others = right(self, key), [right(self, other) for other in beside]
        return said and Lines(line for line in said.by_id.values() if all(o and line.id in o.by_id for o in others))

    patch.setattr(rulebook.Rulebook, "_of_ingress", of_ingress)


@mutant("an isolated pod keeps its open group")
def _stays_open(patch: pytest.MonkeyPatch) -> None:
    right = index.Index._groups
    patch.setattr(index.Index, "_groups", lambda self, pods: tuple(sorted({*right(self, pods), index.OPEN_EGRESS})))


# Peers ----------------------------------------------------------------------------------------------------------------

MUTANTS["empty from and to are nowhere"] = of_rules(
    lambda rule: rule if rule.peers else msgspec.structs.replace(rule, peers=(Peer(),))
)
MUTANTS["a namespaceSelector means the policy's own namespace"] = of_peers(
    lambda peer: peer if peer.ip_block else Peer(pod_selector=peer.pod_selector or Selector())
)
MUTANTS["a podSelector means all namespaces"] = of_peers(
    lambda peer: peer if peer.ip_block else Peer(peer.pod_selector, peer.namespace_selector or Selector())
)
MUTANTS["a podSelector beside a namespaceSelector is forgotten"] = of_peers(
    lambda peer: Peer(namespace_selector=peer.namespace_selector) if peer.namespace_selector else peer
)
MUTANTS["of both selectors' values only the first counts"] = of_peers(
    lambda peer: msgspec.structs.replace(
        peer, pod_selector=_first_values(peer.pod_selector), namespace_selector=_first_values(peer.namespace_selector)
    )
)
MUTANTS["NotIn needs the key"] = of_peers(
    lambda peer: msgspec.structs.replace(peer, pod_selector=_present(peer.pod_selector))
)


@mutant("of several namespaces only the last counts")
def _last_namespace(patch: pytest.MonkeyPatch) -> None:
    right = Peers.groups

    def groups(self: Peers, each: peers.Term) -> frozenset[Key]:
        return frozenset(sorted(right(self, each))[-1:])

    patch.setattr(Peers, "groups", groups)


@mutant("a pod carries no group of its peer selectors")
def _no_membership(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Peers, "memberships", lambda self, pods: frozenset[Membership]())


# Blocks ---------------------------------------------------------------------------------------------------------------

MUTANTS["exceptions of a block are allowed"] = of_peers(
    lambda peer: Peer(ip_block=IPBlock(peer.ip_block.cidr)) if peer.ip_block else peer
)


@mutant("each exception of a block is taken away alone")
def _exceptions_alone(patch: pytest.MonkeyPatch) -> None:
    def block_ranges(block: IPBlock) -> tuple[int, Ranges]:
        version, whole = network(block.cidr)
        pieces = [minus((whole,), (network(each)[1],)) for each in block.except_] or [(whole,)]
        return version, union(piece for part in pieces for piece in part)

    patch.setattr(entries, "block_ranges", block_ranges)


# Ports ----------------------------------------------------------------------------------------------------------------

MUTANTS["endPort is dropped"] = of_ports(lambda port: msgspec.structs.replace(port, end_port=None))
MUTANTS["every protocol is TCP"] = of_ports(lambda port: msgspec.structs.replace(port, protocol="TCP"))
MUTANTS["a protocol without a port is every protocol"] = of_rules(
    lambda rule: PolicyRule(rule.peers, () if any(port.port is None for port in rule.ports) else rule.ports)
)
MUTANTS["a protocol without a port is no port"] = of_ports(
    lambda port: msgspec.structs.replace(port, port=port.port if port.port is not None else 1)
)
MUTANTS["ports are ignored"] = of_rules(lambda rule: msgspec.structs.replace(rule, ports=()))


@mutant("all selected pods share the numbers of a named port")
def _shared_names(patch: pytest.MonkeyPatch) -> None:
    def ingress_of(self: index.Index, key: Key) -> tuple[Parsed, frozenset[peers.NamedPort]] | None:
        found = right(self, key)
        if found is None:
            return None
        home = found[0].policy.namespace
        every = (ports for pods in self._classes_in.of(home) for ports in pods.ports)
        return found[0], frozenset(every)

    right = index.Index.ingress_of
    patch.setattr(index.Index, "ingress_of", ingress_of)


@mutant("a named port of another protocol counts")
def _any_protocol(patch: pytest.MonkeyPatch) -> None:
    def resolved(self: Entry, ports: frozenset[peers.NamedPort]) -> tuple[Span, ...]:
        named = {name for name, _ in self.names}
        return (*self.spans, *(entries.span_of(port) for port in ports if port[0] in named))

    patch.setattr(Entry, "resolved", resolved)


@mutant("a named egress port means the numbers of the client")
def _wrong_side(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Peers, "numbers", lambda self, each: [80] if each.port else [])


# Families, nodes ------------------------------------------------------------------------------------------------------


@mutant("rules of groups are IPv4 only")
def _ipv4(patch: pytest.MonkeyPatch) -> None:
    right = allowance.put_together

    def put_together(allowances: Iterable[Allowance]) -> allowance.Allowed:
        made = right(allowances)
        return msgspec.structs.replace(made, groups={to: spans for to, spans in made.groups.items() if to[0] == 4})

    patch.setattr(rulebook, "put_together", put_together)


@mutant("a node is open to the pods of every node")
def _every_node(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Nodes, "_addresses", lambda self, name: {text for node in self._nodes.values() for text in node.addresses}
    )


@mutant("a pod is closed to its own node")
def _no_node(patch: pytest.MonkeyPatch) -> None:
    right = compiler.Policies.groups_of

    def groups_of(self: compiler.Policies, pod: Pod) -> tuple[Key, ...]:
        return tuple(key for key in right(self, pod) if not key.startswith("security-group/node/"))

    patch.setattr(compiler.Policies, "groups_of", groups_of)


@mutant("a node's port on the pod network is forgotten")
def _no_node_port(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Nodes, "_addresses", lambda self, name: set(self._nodes[name].addresses) if name in self._nodes else set()
    )


# Services -------------------------------------------------------------------------------------------------------------


@mutant("a VIP's rule comes when the first endpoint is allowed")
def _too_early(patch: pytest.MonkeyPatch) -> None:
    right = doors.reachable

    def reachable(behind_gates: list[Door], *about: Any) -> tuple[vips.Gate, ...]:
        return tuple(
            gate for gate, behind in behind_gates if any(right([(gate, (alike,))], *about) for alike in behind)
        )

    patch.setattr(reach, "reachable", reachable)


@mutant("a VIP's rule never comes")
def _never(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reach, "reachable", lambda *about: ())


@mutant("a VIP's rule asks one rule alone to allow all endpoints")
def _one_rule(patch: pytest.MonkeyPatch) -> None:
    right = doors.reachable

    def reachable(behind_gates: list[Door], rules: Rules, *about: Any) -> tuple[vips.Gate, ...]:
        return right(behind_gates, Rules(rules.entries[:1]), *about)

    patch.setattr(reach, "reachable", reachable)


@mutant("a VIP's rule has the endpoints' port")
def _target_port(patch: pytest.MonkeyPatch) -> None:
    right = doors.reachable

    def reachable(behind_gates: list[Door], *about: Any) -> tuple[vips.Gate, ...]:
        ports = {gate: behind[0].span for gate, behind in behind_gates if behind}
        return tuple((gate[0], ports[gate]) for gate in right(behind_gates, *about))

    patch.setattr(reach, "reachable", reachable)


@mutant("blocks hold Service addresses")
def _with_services(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rulebook, "without", lambda allowed, *_: allowed)


@mutant("a pod does not reach itself through a VIP")
def _no_own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reach, "own_gates", lambda *about: {})


@mutant("the VIP as a source is refused")
def _no_hairpin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reach.Reach, "hairpins", lambda self, key: [])


# Source ranges of Services --------------------------------------------------------------------------------------------


@mutant("source ranges are not enforced")
def _no_guard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guards.Guards, "key", lambda self, uid: None)


@mutant("source ranges keep the cluster's pods and nodes out")
def _guarded_from_all(patch: pytest.MonkeyPatch) -> None:
    right = guards.Guards._allowances
    patch.setattr(
        guards.Guards,
        "_allowances",
        lambda self, *about: (msgspec.structs.replace(each, groups=frozenset()) for each in right(self, *about)),
    )


@mutant("source ranges close all ports")
def _guarded_wholly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guards, "minus", lambda ranges, closed: ())


@mutant("a Service that lets everybody in does not open the port")
def _stricter(patch: pytest.MonkeyPatch) -> None:
    right = guards.let_in
    everybody = {4: ("0.0.0.0/0",), 6: ("::/0",)}

    def narrowed(service: Service, settings: ServiceOptions) -> Any:
        found = right(service, settings)
        return {} if dict(found) == everybody else found

    patch.setattr(guards, "let_in", narrowed)


# Which pods -----------------------------------------------------------------------------------------------------------


@mutant("a terminating pod loses its groups")
def _terminating(patch: pytest.MonkeyPatch) -> None:
    right = Pod.wants_port
    patch.setattr(Pod, "wants_port", property(lambda self: right.fget(self) and not self.deleting))  # type: ignore[attr-defined]


def _counting(policy: NetworkPolicy) -> dict[str, Any]:
    """The rules that count, and no others."""
    return {way.value: policy.rules(way) for way in Direction}


def _first_values(selector: Selector | None) -> Selector | None:
    if selector is None:
        return None
    return Selector(tuple(Requirement(one.key, one.operator, one.values[:1]) for one in selector.requirements))


def _present(selector: Selector | None) -> Selector | None:
    if selector is None:
        return None
    keys = [one.key for one in selector.requirements if one.operator is Operator.NOT_IN]
    return Selector((*selector.requirements, *(Requirement(key, Operator.EXISTS) for key in keys)))
