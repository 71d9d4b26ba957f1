"""Which Services the pods whose egress is isolated may reach by their VIPs, and how their packets get there.

A VIP is let out to exactly when the policies together allow every ready endpoint behind it: OVN checks the first packet
of a connection against the VIP, so a VIP's rule alone would let first datagrams through to endpoints that no policy
allows. Pods with the same egress policies are one `Client` and share a group.
Does not know: how a change is noticed, ingress.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

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


def client_key(policies: Iterable[Parsed]) -> Key:
    """The key of the group of all pods that exactly these policies isolate."""
    return _vip_key("policies", *sorted(policy.policy.uid for policy in policies))


def own_key(pod_uid: str) -> Key:
    """The key of the group by which a pod reaches itself through a VIP."""
    return _vip_key("pod", pod_uid)


def reachable(view: View, policies: Sequence[Parsed], peers: Peers, pods_at: PodsAt) -> tuple[Gate, ...]:
    """The gates that these policies together let their pods reach: every ready endpoint, and there is one."""
    return tuple(
        front.gate
        for front in view.fronts
        if front.backends and all(allowed(policies, peers, pods_at, *backend) for backend in front.backends)
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
        refused = [each for each in front.backends if not allowed(policies, peers, pods_at, *each)]
        if own and refused and all(address == where for _, address in refused):
            found += [(front.gate, span) for span in own]
    return tuple(found)


def at(where: Address, span: Span) -> Allowance:
    """One address, on one port."""
    version, number = where
    return Allowance((span,), addresses={version: ((number, number),)})


def _vip_key(*client: str) -> Key:
    return f"security-group/vip/{hashlib.sha256('/'.join(client).encode()).hexdigest()[:16]}"


def allowed(policies: Sequence[Parsed], peers: Peers, pods_at: PodsAt, span: Span, where: Address) -> bool:
    """Whether policies allow an endpoint."""
    pods = pods_at(where)
    return any(_by(entry, peers, pods, span, where) for policy in policies for entry in policy.egress)


def _by(entry: Entry, peers: Peers, pods: Sequence[PodClass], span: Span, where: Address) -> bool:
    """Whether one rule allows this endpoint. Where several pods report one address, all of them must be allowed."""
    in_block = covers(entry.addresses.get(where[0], ()), where[1], where[1])
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
