"""Which Services the pods whose egress is isolated may reach by their VIPs, and how their packets get there.

A VIP is let out to exactly when the policies together allow every ready endpoint behind it: OVN checks the first packet
of a connection against the VIP, so a VIP's rule alone would let first datagrams through to endpoints that no policy
allows. Pods with the same egress policies are one `Client` and share a group.
Does not know: how a change is noticed, ingress.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.policy.allowance import Allowance, Span
from kuryrctl.core.policy.entries import ByAddress, Entry, Parsed, span_of
from kuryrctl.core.policy.peers import Peers, PodClass, Term
from kuryrctl.core.policy.ranges import covers
from kuryrctl.core.policy.vips import Address, Gate, View
from kuryrctl.core.specs import Key

PodsAt = Callable[[Address], Sequence[PodClass]]
"""The classes of the pods at an address: none where no pod of ours is there."""


class Client:
    """Pods with the same egress policies. `gates` are the reachable ones by Service; None: nobody asked yet."""

    __slots__ = ("classes", "gates", "key", "policies")

    def __init__(self, key: Key, policies: tuple[str, ...]) -> None:
        self.key = key
        self.policies = policies
        self.classes: set[PodClass] = set()
        self.gates: dict[str, tuple[Gate, ...]] | None = None


class Alike(Struct, frozen=True):
    """Endpoints of one port and IP version, at these addresses (sorted), with pods of the same classes."""

    span: Span
    version: int
    pods: tuple[PodClass, ...]
    numbers: tuple[int, ...]


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


def reachable(doors: Iterable[Door], policies: Sequence[Parsed], peers: Peers) -> tuple[Gate, ...]:
    """The gates that these policies together let their pods reach: every ready endpoint, and there is one."""
    return tuple(
        gate for gate, behind in doors if behind and all(_all_allowed(policies, peers, alike) for alike in behind)
    )


def opens_by_address(how: ByAddress, view: View) -> bool:
    """Whether an entry allows the first endpoint of a front by its address; one with names may."""
    anybody, addresses, spans, names = how
    for front in view.fronts:
        for span, (version, number) in front.backends[:1]:
            there = anybody or any(each == version and covers(ranges, number, number) for each, ranges in addresses)
            if there and (names or any(each.covers(span) for each in spans)):
                return True
    return False


def own_fronts(
    view: View, where: Address, policies: Sequence[Parsed], peers: Peers, pods_at: PodsAt
) -> tuple[tuple[Gate, Span], ...]:
    """The gates (and the ports behind them) that only the pod at `where` may reach, since it may reach itself."""
    found = []
    for front in view.fronts:
        own = [span for span, address in front.backends if address == where]
        others = (each for each in front.backends if each[1] != where)
        if own and all(allowed(policies, peers, pods_at, *each) for each in others):
            refused = any(not allowed(policies, peers, pods_at, span, where) for span in own)
            found += [(front.gate, span) for span in own if refused]
    return tuple(found)


def at(where: Address, span: Span) -> Allowance:
    """One address, on one port."""
    version, number = where
    return Allowance((span,), addresses={version: ((number, number),)})


def _vip_key(*client: str) -> Key:
    return f"security-group/vip/{hashlib.sha256('/'.join(client).encode()).hexdigest()[:16]}"


def allowed(policies: Sequence[Parsed], peers: Peers, pods_at: PodsAt, span: Span, where: Address) -> bool:
    """Whether policies allow an endpoint."""
    version, number = where
    return _all_allowed(policies, peers, Alike(span, version, tuple(pods_at(where)), (number,)))


def _all_allowed(policies: Sequence[Parsed], peers: Peers, alike: Alike) -> bool:
    """Whether policies together allow all of these: whoever they are, or each one by its address."""
    with_blocks = []
    for policy in policies:
        for entry in policy.egress:
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
