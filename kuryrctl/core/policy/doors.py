"""The gates of Services and who is behind them: which endpoints egress rules allow, and so which gates they open.

Does not know: clients, how a change is noticed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.policy.allowance import Span
from kuryrctl.core.policy.entries import Entry, span_of
from kuryrctl.core.policy.peers import Membership, NamedPort, Peers, PodClass, Term
from kuryrctl.core.policy.ranges import WHOLE, Range, Ranges, covers, union
from kuryrctl.core.policy.vips import Address, Gate, View
from kuryrctl.core.selectors import Selector

PodsAt = Callable[[Address], Sequence[PodClass]]
"""The classes of the pods at an address: none where no pod of ours is there."""
Kind: TypeAlias = tuple[Span, int, tuple[frozenset[NamedPort], ...]]
"""An endpoint's port and IP version, and the named ports of the pods there."""


class Alike(Struct, frozen=True):
    """Endpoints of one kind, with pods of the same classes, at these addresses (sorted)."""

    kind: Kind
    pods: tuple[PodClass, ...]
    numbers: tuple[int, ...]

    @property
    def span(self) -> Span:
        """Their port."""
        return self.kind[0]

    @property
    def version(self) -> int:
        """Their IP version."""
        return self.kind[1]


Door: TypeAlias = tuple[Gate, tuple[Alike, ...]]
"""A gate and who is behind it."""


class Named(Struct, frozen=True):
    """The pods that one rule names: those with one of these memberships, or in a namespace of one of these scopes."""

    memberships: frozenset[Membership]
    scopes: tuple[str | Selector, ...] = ()

    def has_all(self, classes: Iterable[PodClass], peers: Peers) -> bool:
        """Whether all of these are among them."""
        return all(
            not self.memberships.isdisjoint(pods.memberships)
            or any(peers.in_scope(scope, pods.namespace) for scope in self.scopes)
            for pods in classes
        )


class Rules:
    """Egress rules that count together. What they say of a kind of endpoints is found out once."""

    __slots__ = ("_by_kind", "entries")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._by_kind: dict[Kind, tuple[Ranges, tuple[Named, ...]]] = {}

    def refused(self, alike: Alike, peers: Peers) -> tuple[int, ...]:
        """The addresses of these endpoints that the rules allow neither by the address nor by who is there."""
        said = self._by_kind.get(alike.kind)
        if said is None:
            said = self._by_kind[alike.kind] = _said(self.entries, alike.kind)
        ranges, named = said
        numbers = alike.numbers
        if covers(ranges, numbers[0], numbers[-1]) or any(each.has_all(alike.pods, peers) for each in named):
            return ()
        return tuple(number for number in numbers if not covers(ranges, number, number)) if ranges else numbers


def sorted_out(view: View, pods_at: PodsAt) -> tuple[Door, ...]:
    """Each gate of a Service with its ready endpoints, those together that differ by their addresses alone."""
    doors = []
    for front in view.fronts:
        found: dict[tuple[Span, int, tuple[PodClass, ...]], list[int]] = defaultdict(list)
        for span, (version, number) in front.backends:
            found[span, version, tuple(pods_at((version, number)))].append(number)
        behind = tuple(
            Alike((span, version, tuple(each.ports for each in pods)), pods, tuple(numbers))
            for (span, version, pods), numbers in found.items()
        )
        doors.append((front.gate, behind))
    return tuple(doors)


def reachable(doors: Iterable[Door], rules: Rules, peers: Peers) -> tuple[Gate, ...]:
    """The gates that these rules let pods reach: every ready endpoint, and there is one."""
    return tuple(gate for gate, behind in doors if behind and not any(rules.refused(alike, peers) for alike in behind))


def ajar(doors: Iterable[Door], rules: Rules, peers: Peers) -> bool:
    """Whether rules allow the first endpoint behind one of the gates at least."""
    return any(behind[0].numbers[0] not in rules.refused(behind[0], peers) for _, behind in doors if behind)


def own_gates(doors: Iterable[Door], rules: Rules, peers: Peers) -> Mapping[Address, Sequence[tuple[Gate, Span]]]:
    """By address: the gates (and the ports behind them) that the pod there may reach, since it may reach itself,
    and no other pod under these rules: all of the others behind them are allowed, and it is not."""
    found: dict[Address, list[tuple[Gate, Span]]] = defaultdict(list)
    for gate, behind in doors:
        refused = {(alike.version, number) for alike in behind for number in rules.refused(alike, peers)}
        if len(refused) == 1:
            (version, number) = where = refused.pop()
            there = (alike for alike in behind if alike.version == version and number in alike.numbers)
            found[where] += ((gate, alike.span) for alike in there)
    return found


def _said(entries: Sequence[Entry], kind: Kind) -> tuple[Ranges, tuple[Named, ...]]:
    """At which addresses rules allow endpoints of this kind whoever they are, and the pods that each of them names.

    Where several pods report one address, the name of a port must be right for all of them.
    """
    span, version, ports = kind
    ranges: list[Range] = []
    named: list[Named] = []
    for entry in entries:
        on_port = any(each.covers(span) for each in entry.spans)
        if on_port and entry.anybody:
            return WHOLE[version], ()
        if on_port or (ports and all(any(_means(entry, port, span) for port in each) for each in ports)):
            ranges += entry.addresses.get(version, ())
        if on_port and entry.terms:
            marks = frozenset((each.id, 0) for each in entry.terms if not each.whole_namespaces)
            named.append(Named(marks, tuple(each.scope for each in entry.terms if each.whole_namespaces)))
        if marks := frozenset((each.id, span.low) for each in entry.named if _means_term(each, span)):
            named.append(Named(marks))
    return union(ranges), tuple(named) if ports else ()


def _means(entry: Entry, port: NamedPort, span: Span) -> bool:
    """Whether a rule names this port, and it is the span."""
    return port[:2] in entry.names and span_of(port) == span


def _means_term(each: Term, span: Span) -> bool:
    """Whether the named port of a term may be the span."""
    return each.port is not None and span_of((*each.port, span.low)) == span
