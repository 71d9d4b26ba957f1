"""Which Services the pods whose egress is isolated may reach by their VIPs, and how their packets get there.

A VIP is let out to exactly when the policies together allow every ready endpoint behind it: OVN checks the first packet
of a connection against the VIP, so a VIP's rule alone would let first datagrams through to endpoints that no policy
allows. Pods with the same egress policies share a group; where policies only say the same, they are one `Client`, and
what may be reached is found out once.
Does not know: how a change is noticed, ingress.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.policy.allowance import Allowance, Span
from kuryrctl.core.policy.entries import ByAddress, Egress, Entry, Parsed, span_of
from kuryrctl.core.policy.peers import Peers, PodClass, Term
from kuryrctl.core.policy.ranges import Range, Ranges, covers, minus, union
from kuryrctl.core.policy.vips import Address, Gate, View
from kuryrctl.core.specs import Key

PodsAt = Callable[[Address], Sequence[PodClass]]
"""The classes of the pods at an address: none where no pod of ours is there."""


class Client:
    """Pods whose egress policies say the same, whoever's they are: `egress` is that, `keys` are the pods' groups.

    `vips`: the addresses of the gates that they may reach, by IP version and port. Until somebody asks, nobody knows.
    """

    __slots__ = ("_gates", "_open", "egress", "entries", "keys", "vips")

    def __init__(self, egress: Iterable[Egress]) -> None:
        self.egress = tuple(egress)
        self.entries = tuple(entry for each in self.egress for entry in each.entries)
        self.keys: set[Key] = set()
        self.vips: dict[tuple[int, Span], Ranges] = {}
        self._gates: dict[str, tuple[Gate, ...]] | None = None
        self._open: Counter[Gate] = Counter()

    @property
    def asked(self) -> bool:
        """Whether somebody asked."""
        return self._gates is not None

    def learn(self, gates: Mapping[str, tuple[Gate, ...]]) -> None:
        """The reachable gates of all Services, by name."""
        self._gates = dict(gates)
        self._open = Counter(gate for each in gates.values() for gate in each)
        numbers: dict[tuple[int, Span], list[Range]] = defaultdict(list)
        for (version, number), span in self._open:
            numbers[version, span].append((number, number))
        self.vips = {where: union(ranges) for where, ranges in numbers.items()}

    def turn(self, service: str, gates: tuple[Gate, ...]) -> bool:
        """The reachable gates of one Service from now on; whether they are others than before."""
        known = self._gates or {}
        before = known.get(service, ())
        if gates == before:
            return False
        known[service] = gates
        self._open.update(gates)
        self._open.subtract(before)
        for gate in {*before, *gates}:
            (version, number), span = gate
            ranges = self.vips.get((version, span), ())
            one = ((number, number),)
            self.vips[version, span] = union(ranges + one) if self._open[gate] > 0 else minus(ranges, one)
        return True


class Alike(Struct, frozen=True):
    """Endpoints of one port and IP version, at these addresses (sorted), with pods of the same classes."""

    span: Span
    version: int
    pods: tuple[PodClass, ...]
    numbers: tuple[int, ...]

    @property
    def first(self) -> Alike:
        """The first of them."""
        return Alike(self.span, self.version, self.pods, self.numbers[:1])

    def has(self, where: Address) -> bool:
        """Whether one of them is at this address."""
        return where[0] == self.version and where[1] in self.numbers

    def only(self, where: Address) -> Alike:
        """The one at this address."""
        return Alike(self.span, self.version, self.pods, (where[1],))

    def without(self, where: Address) -> Alike | None:
        """All but the one at this address; None: there are no others."""
        if not self.has(where):
            return self
        others = tuple(number for number in self.numbers if number != where[1])
        return Alike(self.span, self.version, self.pods, others) if others else None


Door: TypeAlias = tuple[Gate, tuple[Alike, ...]]
"""A gate and who is behind it."""


def client_key(policies: Iterable[Parsed]) -> Key:
    """The key of the group of all pods that exactly these policies isolate."""
    return _vip_key("policies", *sorted(policy.policy.uid for policy in policies))


def own_key(pod_uid: str) -> Key:
    """The key of the group by which a pod reaches itself through a VIP."""
    return _vip_key("pod", pod_uid)


def sorted_out(view: View, pods_at: PodsAt) -> tuple[Door, ...]:
    """Each gate of a Service with its ready endpoints, those together that differ by their addresses alone."""
    doors = []
    for front in view.fronts:
        found: dict[tuple[Span, int, tuple[PodClass, ...]], list[int]] = {}
        for span, (version, number) in front.backends:
            found.setdefault((span, version, tuple(pods_at((version, number)))), []).append(number)
        doors.append((front.gate, tuple(Alike(*kind, tuple(numbers)) for kind, numbers in found.items())))
    return tuple(doors)


def reachable(doors: Iterable[Door], entries: Sequence[Entry], peers: Peers) -> tuple[Gate, ...]:
    """The gates that these rules together let pods reach: every ready endpoint, and there is one."""
    return tuple(
        gate for gate, behind in doors if behind and all(_all_allowed(entries, peers, alike) for alike in behind)
    )


def ajar(doors: Iterable[Door], entries: Sequence[Entry], peers: Peers) -> bool:
    """Whether rules allow the first endpoint behind one of the gates at least."""
    return any(_all_allowed(entries, peers, behind[0].first) for _, behind in doors if behind)


def opens_by_address(how: ByAddress, view: View) -> bool:
    """Whether an entry allows the first endpoint of a front by its address; one with names may."""
    anybody, addresses, spans, names = how
    for front in view.fronts:
        for span, (version, number) in front.backends[:1]:
            there = anybody or any(each == version and covers(ranges, number, number) for each, ranges in addresses)
            if there and (names or any(each.covers(span) for each in spans)):
                return True
    return False


def own_gates(
    doors: Iterable[Door], where: Address, entries: Sequence[Entry], peers: Peers
) -> tuple[tuple[Gate, Span], ...]:
    """The gates (and the ports behind them) that only the pod at `where` may reach, since it may reach itself."""
    found: list[tuple[Gate, Span]] = []
    for gate, behind in doors:
        own = [alike for alike in behind if alike.has(where)]
        if all(_all_allowed(entries, peers, alike.only(where)) for alike in own):
            continue
        others = filter(None, (alike.without(where) for alike in behind))
        if all(_all_allowed(entries, peers, alike) for alike in others):
            found += [(gate, alike.span) for alike in own]
    return tuple(found)


def at(where: Address, span: Span) -> Allowance:
    """One address, on one port."""
    version, number = where
    return Allowance((span,), addresses={version: ((number, number),)})


def _vip_key(*client: str) -> Key:
    return f"security-group/vip/{hashlib.sha256('/'.join(client).encode()).hexdigest()[:16]}"


def _all_allowed(entries: Sequence[Entry], peers: Peers, alike: Alike) -> bool:
    """Whether rules together allow all of these: whoever they are, or each one by its address."""
    with_blocks = []
    for entry in entries:
        if _by(entry, peers, alike.pods, alike.span, in_block=False):
            return True
        blocks = entry.addresses.get(alike.version)
        if blocks and _by(entry, peers, alike.pods, alike.span, in_block=True):
            with_blocks.append(blocks)
    numbers = alike.numbers
    if any(covers(blocks, numbers[0], numbers[-1]) for blocks in with_blocks):
        return True
    return bool(with_blocks) and all(any(covers(each, one, one) for each in with_blocks) for one in numbers)


def _by(entry: Entry, peers: Peers, pods: Sequence[PodClass], span: Span, *, in_block: bool) -> bool:
    """Whether one rule allows this endpoint. Where several pods report one address, all of them must be allowed."""
    if any(each.covers(span) for each in entry.spans):
        if entry.anybody or in_block:
            return True
        if pods and all(any(_is(each, peers, one) for each in entry.terms) for one in pods):
            return True
    return bool(pods and entry.names) and all(_by_name(entry, one, span, in_block) for one in pods)


def _by_name(entry: Entry, pods: PodClass, span: Span, in_block: bool) -> bool:
    ports = [port for port in pods.ports if port[:2] in entry.names and span_of(port) == span]
    if in_block:
        return bool(ports)
    return any(
        (each.id, port[2]) in pods.memberships for each in entry.named for port in ports if each.port == port[:2]
    )


def _is(each: Term, peers: Peers, pods: PodClass) -> bool:
    return peers.in_scope(each.scope, pods.namespace) if each.whole_namespaces else (each.id, 0) in pods.memberships
