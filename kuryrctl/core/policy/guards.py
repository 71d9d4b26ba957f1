"""Source ranges of Services, enforced at the ports of their members, because the load balancer does not (OVN).

A pod that no policy isolates carries a *guard* instead of the group that opens its ingress: everything but the ports on
which only such Services send to it; these for their ranges and for the cluster. A policy that isolates a pod closes by
itself; whether it lets in more than the ranges is looked at before anything leads to the Service from outside.
Source: DESIGN §8. Does not know: who makes the way from outside.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TypeAlias

from kuryrctl.core.config import Config
from kuryrctl.core.policy.allowance import EVERY_PORT, PORT_MAX, Allowance, Span, put_together
from kuryrctl.core.policy.index import Changes, Index
from kuryrctl.core.policy.lines import Lines, allowing
from kuryrctl.core.policy.model import Direction
from kuryrctl.core.policy.peers import EVERY_POD
from kuryrctl.core.policy.ranges import WHOLE, Ranges, minus, network, union
from kuryrctl.core.policy.reach import Reach
from kuryrctl.core.policy.sets import Sets
from kuryrctl.core.service_external import let_in
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key

Limit: TypeAlias = tuple[int, Span, Ranges]
"""IP version, a port, and from where it may be reached."""
Sources: TypeAlias = Mapping[int, Ranges]
NODES: Key = "security-group/nodes"
_PROTOCOLS = ("sctp", "tcp", "udp")
_PINGS = {4: "icmp", 6: "ipv6-icmp"}


class Guards:
    """Which pods are guarded, and how. `put`, `drop` before and `turn` after `reach` has looked at a change."""

    def __init__(self, config: Config, index: Index, reach: Reach) -> None:
        self._settings = config.services
        self._index = index
        self._reach = reach
        self._sources: dict[str, Sources] = {}
        self._uids: dict[str, str] = {}
        self._key_of: dict[str, Key] = {}
        self._limits: dict[Key, tuple[Limit, ...]] = {}
        self._carriers: Sets[Key, str] = Sets()
        self._vips: dict[int, Ranges] = {
            version: union(found for each, found in map(network, config.service_cidrs) if each == version)
            for version in (4, 6)
        }

    def put(self, service: Service) -> None:
        """A Service came or changed."""
        found = let_in(service, self._settings).items()
        self._uids[service.full_name] = service.uid
        self._sources[service.full_name] = {
            version: union(network(cidr)[1] for cidr in ranges) for version, ranges in found
        }

    def drop(self, service: Service) -> None:
        """A Service went."""
        self._sources.pop(service.full_name, None)
        self._uids.pop(service.full_name, None)

    def turn(self, uid: str, changes: Changes) -> None:
        """Look again at a pod: it, or a Service that sends to it, has changed."""
        pods = self._index.class_of(uid)
        limits = tuple(sorted(self._found(uid).items())) if pods is not None and not pods.ingress else ()
        now = _key(limits) if limits else ""
        before = self._key_of.pop(uid, "")
        if now == before:
            if now:
                self._key_of[uid] = now
            return
        changes.pods.add(uid)
        if before:
            if self._carriers.take(before, uid):
                del self._limits[before]
            changes.groups.add(before)
        if now:
            self._key_of[uid] = now
            self._carriers.put(now, uid)
            self._limits[now] = tuple((*where, ranges) for where, ranges in limits)
            changes.groups.add(now)

    def key(self, uid: str) -> Key | None:
        """The guard of a pod that no policy isolates; None: its ingress is open."""
        return self._key_of.get(uid)

    def keys(self) -> Iterable[Key]:
        """All guards."""
        return self._limits

    def lines(self, key: Key, versions: tuple[int, ...]) -> Lines | None:
        """What the rules of a guard say; None: there is no such guard."""
        limits = self._limits.get(key)
        if limits is None:
            return None
        allowances = [each for version in versions for each in self._allowances(version, limits)]
        return Lines(allowing(put_together(allowances), Direction.INGRESS, versions))

    def limits_of(self, full_name: str) -> Iterator[tuple[str, Limit]]:
        """Of a Service with source ranges: each pod that it sends to, and how its port would have to be limited.

        The uid is empty for an endpoint that is no pod of ours.
        """
        sources, view = self._sources.get(full_name, {}), self._reach.view(full_name)
        for where in sorted(view.endpoints):
            if where[0] in sources:
                for (vip, _), target in sorted(view.targets):
                    if vip[0] == where[0] and target.low == target.high:
                        for uid in self._index.pods_at(where) or ("",):
                            yield uid, (where[0], target, sources[where[0]])

    def is_limited(self, uid: str, limit: Limit) -> bool:
        """Whether a pod's port is limited in just this way: by all Services that send to it."""
        version, span, ranges = limit
        return self._found(uid).get((version, span)) == ranges

    def services_at(self, uids: Iterable[str]) -> set[str]:
        """The uids of the Services with source ranges that send to one of these pods."""
        found = {name for uid in uids for where in self._index.addresses(uid) for name in self._reach.at(where)}
        limiting = (name for name in found if any(WHOLE[v] != r for v, r in self._sources.get(name, {}).items()))
        return {self._uids[name] for name in limiting}

    def within(self, limit: Limit) -> Ranges:
        """From where a port may be reached: the ranges, and a pod itself by a VIP, which is then its source."""
        version, _, ranges = limit
        return union((*ranges, *self._vips[version]))

    def _found(self, uid: str) -> dict[tuple[int, Span], Ranges]:
        """The ports on which a pod is limited: where no Service lets in everybody, all their ranges together."""
        found: dict[tuple[int, Span], list[Ranges]] = defaultdict(list)
        for where in self._index.addresses(uid):
            for name in self._reach.at(where):
                sources = self._sources.get(name, {})
                for (vip, _), target in self._reach.view(name).targets if where[0] in sources else ():
                    if vip[0] == where[0] and target.low == target.high:
                        found[where[0], target].append(sources[where[0]])
        together = {at: union(piece for ranges in some for piece in ranges) for at, some in found.items()}
        return {at: ranges for at, ranges in together.items() if ranges != WHOLE[at[0]]}

    def _allowances(self, version: int, limits: tuple[Limit, ...]) -> Iterator[Allowance]:
        limited = [limit for limit in limits if limit[0] == version]
        if not limited:
            yield Allowance((EVERY_PORT,), frozenset({version}))
            return
        spans = [Span(_PINGS[version])]
        for protocol in _PROTOCOLS:
            closed = union((span.low, span.high) for _, span, _ in limited if span.protocol == protocol)
            free = minus(((1, PORT_MAX),), closed) if closed else ((0, PORT_MAX),)
            spans += [Span(protocol, *ports) for ports in free]
        yield Allowance(tuple(spans), frozenset({version}))
        for limit in limited:
            yield Allowance(
                (limit[1],),
                addresses={version: self.within(limit)},
                groups=frozenset(product((version,), (EVERY_POD, NODES))),
            )


def _key(limits: object) -> Key:
    return f"security-group/guard/{hashlib.sha256(repr(limits).encode()).hexdigest()[:16]}"
