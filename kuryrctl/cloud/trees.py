"""Reads load balancers as whole trees: one list for each kind, and the members of those pools that may have changed.

Octavia has no list of members over pools, so they cost a call for each pool; but the list of pools names their ids, and
every change of a member moves its pool's `updated_at` (octavia, ``test_and_set_lb_and_listeners_prov_status``).
Does not know: what trees are for.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.octavia_wire import (
    BALANCERS,
    LISTENERS,
    MEMBERS,
    MONITORS,
    POOLS,
    ListenerRow,
    MonitorRow,
    PoolRow,
    Ref,
    as_,
)
from kuryrctl.core.balancers import PENDING_PREFIX, BalancerHead, HealthMonitor, Listener, LoadBalancer, Member, Pool

T = TypeVar("T")
SETTLED_S = 2.0
"""`updated_at` is in whole seconds: members that were read so long after it was first seen are those of its end."""


class _Known(Struct, frozen=True):
    """The members of a pool as they were read, while its list said `mark`, which it first did at `since_s`."""

    mark: tuple[object, ...]
    since_s: float
    settled: bool
    members: tuple[Member, ...]


class Trees:
    """One project's load balancers. Safe to use from several threads. `clock` is monotonic, in seconds."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def all(self, ours: Callable[[BalancerHead], bool]) -> tuple[LoadBalancer, ...]:
        """Those of the project's load balancers that `ours` chooses. Raises Refused, KuryrError."""
        mine = [("project_id", self._client.project_id)]
        rows = [row for row in self._client.list(BALANCERS, mine) if ours(row)]
        if not rows:
            return ()
        wanted = {row.id for row in rows}
        listeners = self._client.list(LISTENERS, mine)
        pools = [pool for pool in self._client.list(POOLS, mine) if _parent(pool.loadbalancers) in wanted]
        monitored = any(pool.healthmonitor_id for pool in pools)
        monitors = self._client.list(MONITORS, mine) if monitored else ()
        self._forget_all_but({pool.id for pool in pools})
        return self._assembled(rows, listeners, pools, monitors)

    def one(self, id_: str) -> LoadBalancer:
        """The load balancer with this id. Raises Refused (404: there is none), KuryrError."""
        row = self._client.get(BALANCERS, id_)
        below = [("loadbalancer_id", id_)]
        listeners = self._client.list(LISTENERS, below)
        pools = self._client.list(POOLS, below)
        monitors = [self._client.get(MONITORS, pool.healthmonitor_id) for pool in pools if pool.healthmonitor_id]
        return self._assembled([row], listeners, pools, monitors)[0]

    def members(self, pool_id: str) -> tuple[Member, ...]:
        """The members of a pool as they are now, sorted by id. Raises Refused, KuryrError."""
        resource = msgspec.structs.replace(MEMBERS, path=f"{POOLS.path}/{pool_id}{MEMBERS.path}")
        return tuple(sorted((as_(Member, row) for row in self._client.list(resource, ())), key=lambda each: each.id))

    def _assembled(
        self,
        rows: Iterable[BalancerHead],
        listeners: Iterable[ListenerRow],
        pools: Iterable[PoolRow],
        monitors: Iterable[MonitorRow],
    ) -> tuple[LoadBalancer, ...]:
        watched = {_parent(row.pools): as_(HealthMonitor, row) for row in monitors}
        pools_of: defaultdict[str, list[Pool]] = defaultdict(list)
        for pool in pools:
            members = self._members(pool)
            if members is not None:
                whole = as_(Pool, pool, members=members, health_monitor=watched.get(pool.id))
                pools_of[_parent(pool.loadbalancers)].append(whole)
        listeners_of: defaultdict[str, list[Listener]] = defaultdict(list)
        for listener in listeners:
            listeners_of[_parent(listener.loadbalancers)].append(as_(Listener, listener))
        return tuple(
            as_(LoadBalancer, row, listeners=_by_id(listeners_of, row.id), pools=_by_id(pools_of, row.id))
            for row in rows
        )

    def _members(self, pool: PoolRow) -> tuple[Member, ...] | None:
        """The pool's members, sorted; None where the pool is gone meanwhile."""
        if not pool.members:
            return ()
        ids = tuple(sorted(ref.id for ref in pool.members))
        mark = (ids, pool.updated_at, pool.provisioning_status, pool.operating_status)
        now_s = self._clock()
        with self._lock:
            known = self._known.get(pool.id)
        if known is not None and known.mark == mark and known.settled:
            return known.members
        since_s = known.since_s if known is not None and known.mark == mark else now_s
        try:
            members = self.members(pool.id)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        moving = [pool.provisioning_status, *(member.provisioning_status for member in members)]
        settled = now_s - since_s >= SETTLED_S and not any(status.startswith(PENDING_PREFIX) for status in moving)
        with self._lock:
            self._known[pool.id] = _Known(mark, since_s, settled, members)
        return members

    def _forget_all_but(self, pools: set[str]) -> None:
        with self._lock:
            self._known = {id_: known for id_, known in self._known.items() if id_ in pools}


S = TypeVar("S", Listener, Pool)


def _by_id(below: Mapping[str, Sequence[S]], id_: str) -> tuple[S, ...]:
    return tuple(sorted(below.get(id_, ()), key=lambda thing: thing.id))


def _parent(refs: Sequence[Ref]) -> str:
    return refs[0].id if refs else ""
