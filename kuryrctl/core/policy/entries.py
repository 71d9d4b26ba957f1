"""A policy taken apart once: its rules as entries of peers and ports, ready to be resolved against the cluster.

Does not know: pods, namespaces, groups of the cloud.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.policy.allowance import EVERY_PORT, PORT_MAX, Span, Spans, merged
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.policy.peers import NamedPort, PortName, Term, every_pod, term
from kuryrctl.core.policy.ranges import WHOLE, Range, Ranges, covers, minus, network, union
from kuryrctl.core.specs import Key

ByAddress: TypeAlias = tuple[bool, tuple[tuple[int, Ranges], ...], Spans, bool]
"""Whether anybody is allowed, or else which addresses; on which ports; whether on named ones, too."""


class Entry(Struct, frozen=True, gc=False):
    """One rule of a policy: any of the peers, on any of the ports.

    Peers: `anybody`, `addresses` by IP version, `terms`. Ports: `spans`, and `names`: for ingress those of the selected
    pods, for egress those of the peers, and there `named` are the peers that have one, `named_in` those that are so by
    their address alone: `addresses` holds all pods' of that IP version.
    """

    anybody: bool
    addresses: Mapping[int, Ranges]
    terms: tuple[Term, ...]
    spans: Spans
    names: frozenset[PortName]
    named: tuple[Term, ...] = ()
    named_in: Mapping[int, tuple[Term, ...]] = {}

    @property
    def by_address(self) -> ByAddress:
        """What it allows whatever pod is at an address: the same for the same meaning."""
        return self.anybody, tuple(sorted(self.addresses.items())), self.spans, bool(self.names)

    @property
    def meaning(self) -> str:
        """The same for the same meaning, however it was written."""
        return repr((*self.by_address, sorted(self.names), sorted(each.id for each in (*self.terms, *self.named))))

    def resolved(self, ports: frozenset[NamedPort]) -> Spans:
        """The spans, with what the names mean on pods with these named ports."""
        return (*self.spans, *(span_of(port) for port in ports if port[:2] in self.names))


class Egress(Struct, frozen=True, gc=False):
    """All egress rules of a policy; `id` is the same for the same meaning, whoever's policy it is."""

    id: str
    entries: tuple[Entry, ...]

    @property
    def opens_all(self) -> bool:
        """Whether everything may be reached."""
        return any(entry.anybody and EVERY_PORT in entry.spans for entry in self.entries)

    def wide(self, version: int, span: Span) -> bool:
        """Whether a rule allows this port at all addresses of an IP version."""
        return any(
            any(each.covers(span) for each in entry.spans)
            and (entry.anybody or entry.addresses.get(version) == WHOLE[version])
            for entry in self.entries
        )


class Parsed(Struct, frozen=True, gc=False):
    """A policy and its entries. `names`: all named ports of its ingress rules."""

    policy: NetworkPolicy
    ingress: tuple[Entry, ...]
    egress: Egress
    names: frozenset[PortName]

    @property
    def egress_key(self) -> Key:
        """The key of the group of its egress rules."""
        return f"security-group/policy-egress/{self.policy.uid}"

    def keys(self) -> Iterator[Key]:
        """The keys of its groups that exist whatever pods there are."""
        if Direction.INGRESS in self.policy.directions and not self.names:
            yield f"security-group/policy-ingress/{self.policy.uid}"
        if Direction.EGRESS in self.policy.directions:
            yield self.egress_key

    def terms(self) -> Iterator[Term]:
        """All terms that its rules name, some more than once."""
        for entry in (*self.ingress, *self.egress.entries):
            yield from entry.terms
            yield from entry.named
            for terms in entry.named_in.values():
                yield from terms


def parse(policy: NetworkPolicy, pods: Mapping[int, Ranges]) -> Parsed:
    """The policy, taken apart. `pods`: where all pods' addresses are, by IP version, as far as that is known.

    A block that is none, or whose exception is none, allows nothing (`policy lint` tells of it).
    """
    ingress = tuple(_entry(rule, policy.namespace) for rule in policy.rules(Direction.INGRESS))
    egress = tuple(_with_named(rule, policy.namespace, pods) for rule in policy.rules(Direction.EGRESS))
    names = frozenset(name for entry in ingress for name in entry.names)
    return Parsed(policy, ingress, Egress(_meaning(egress), egress), names)


def span_of(port: NamedPort) -> Span:
    """The destination port that a named port stands for."""
    return Span(port[1].lower(), port[2], port[2])


def block_ranges(block: IPBlock) -> tuple[int, Ranges]:
    """The IP version of a block, and its addresses: all exceptions are taken away together. Raises ValueError."""
    version, whole = network(block.cidr)
    exceptions: list[Range] = []
    for cidr in block.except_:
        other, excepted = network(cidr)
        if other == version:
            exceptions.append(excepted)
    return version, minus((whole,), union(exceptions))


def is_block(block: IPBlock) -> bool:
    """Whether its CIDR and all its exceptions are CIDRs: without one of them nobody knows what it should allow."""
    return all(map(_is_network, (block.cidr, *block.except_)))


def _is_network(cidr: str) -> bool:
    try:
        network(cidr)
    except ValueError:
        return False
    return True


def _entry(rule: PolicyRule, namespace: str) -> Entry:
    blocks: dict[int, list[Range]] = {}
    for peer in rule.peers:
        if peer.ip_block is not None and is_block(peer.ip_block):
            version, ranges = block_ranges(peer.ip_block)
            blocks.setdefault(version, []).extend(ranges)
    return Entry(
        anybody=not rule.peers,
        addresses={version: union(ranges) for version, ranges in blocks.items()},
        terms=tuple(term(peer, namespace) for peer in _pods(rule)),
        spans=merged(_span(port) for port in rule.ports if not isinstance(port.port, str))
        if rule.ports
        else (EVERY_PORT,),
        names=frozenset((port.port, port.protocol) for port in rule.ports if isinstance(port.port, str)),
    )


def _meaning(entries: tuple[Entry, ...]) -> str:
    said = sorted({entry.meaning for entry in entries})
    return hashlib.sha256("|".join(said).encode()).hexdigest()[:16]


def _with_named(rule: PolicyRule, namespace: str, pods: Mapping[int, Ranges]) -> Entry:
    entry = _entry(rule, namespace)
    names = sorted(entry.names)
    everywhere = tuple(every_pod(name) for name in names)
    named = tuple(term(peer, namespace, name) for peer in _pods(rule) for name in names)
    whole = [
        version
        for version, ranges in entry.addresses.items()
        if version in pods and all(covers(ranges, *each) for each in pods[version])
    ]
    return Entry(
        anybody=entry.anybody,
        addresses=entry.addresses,
        terms=entry.terms if entry.spans else (),
        spans=entry.spans,
        names=entry.names,
        named=named if rule.peers else everywhere,
        named_in=dict.fromkeys(whole, everywhere) if names else {},
    )


def _pods(rule: PolicyRule) -> Iterator[Peer]:
    return (peer for peer in rule.peers if peer.pod_selector is not None or peer.namespace_selector is not None)


def _span(port: PolicyPort) -> Span:
    low = port.port if isinstance(port.port, int) else 0
    high = PORT_MAX if port.port is None else port.end_port or low
    return Span(port.protocol.lower(), low, high)
