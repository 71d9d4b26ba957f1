"""Waits until Octavia and its provider are done with a load balancer: bounded, with growing pauses.

A load balancer can become ACTIVE before what is below it, which is immutable (409) until it is ACTIVE, too. One call
tells the statuses of all of it. OVN's provider does a change of members in parts, and between them it calls all of them
ACTIVE, also those to be deleted (``member_create``): that nothing is pending does not prove that a deletion has ended.
Does not know: what was asked for, who asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.meanings import OCTAVIA, PENDING
from kuryrctl.cloud.octavia_wire import BALANCERS, POOLS, PoolRow, Status, Statuses
from kuryrctl.core.balancers import (
    ERROR,
    PENDING_PREFIX,
    BalancerHead,
    HealthMonitor,
    Listener,
    LoadBalancer,
    Member,
    Pool,
)
from kuryrctl.core.errors import Conflict, Owner, Retryable

WAIT_S = 60.0
"""OVN takes 1 to 5 s, an amphora one to three minutes: whoever asks again finds what was begun."""
FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.1, 2.0, 1.6
_AFTER_S = 10.0


class Waiter:
    """Looks and pauses. `clock` is monotonic; `sleep` pauses for so many seconds."""

    def __init__(
        self, client: Client, clock: Callable[[], float], sleep: Callable[[float], None], wait_s: float = WAIT_S
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._wait_s = wait_s

    def active(self, row: BalancerHead) -> None:
        """Wait until nothing of a load balancer that was just read is pending. Raises Retryable, Conflict (ERROR)."""
        if row.provisioning_status == ERROR:
            raise in_error(_name(row), [])
        if row.provisioning_status.startswith(PENDING_PREFIX):
            self.settled(row)

    def settled(
        self,
        balancer: BalancerHead,
        touched: str = "",
        holds: Callable[[Status], bool] = lambda _: True,
    ) -> Status:
        """Wait until nothing of it is pending and `holds` says that a change has come to its end; the statuses then.

        Raises Conflict where it, or what has the id `touched` (and what is below that), is in ERROR; Retryable where
        it takes too long. What no listener uses is asked for by itself, unless `touched` is something else.
        """
        for _ in self._looks(balancer):
            status = self._quiet(balancer, touched)
            if status is None:
                continue
            parts = [part for each in walk(status) if each.id == touched for part in walk(each)]
            broken = [part.id for part in parts if part.provisioning_status == ERROR]
            if status.provisioning_status == ERROR or broken:
                raise in_error(_name(balancer), [id_ for id_ in dict.fromkeys(broken) if id_ != balancer.id])
            if holds(status):
                return status
        raise AssertionError("the looks end by an exception")

    def not_pending(self, balancer: BalancerHead) -> None:
        """Wait until it is ACTIVE or in ERROR: either can be deleted."""
        if balancer.provisioning_status.startswith(PENDING_PREFIX):
            next(None for _ in self._looks(balancer) if self._quiet(balancer, balancer.id))

    def gone(self, balancer: BalancerHead) -> None:
        """Wait until it does not exist. Raises Conflict where its deletion ended in ERROR, Retryable."""
        for _ in self._looks(balancer):
            try:
                row = self._client.get(BALANCERS, balancer.id)
            except Refused as refused:
                if refused.status == 404:
                    return
                raise
            if row.provisioning_status == ERROR:
                raise in_error(_name(balancer), [])

    def _quiet(self, balancer: BalancerHead, touched: str) -> Status | None:
        """The statuses, if nothing is pending."""
        body = self._client.call("GET", f"{BALANCERS.path}/{balancer.id}/status").body
        status = wire.decode_member(body, "statuses", Statuses, OCTAVIA).loadbalancer
        told = {each.id for each in walk(status)}
        if _any_pending(walk(status)) or (touched not in told and self._loose_pending(balancer)):
            return None
        return status

    def _loose_pending(self, balancer: BalancerHead) -> bool:
        """Whether a pool is pending: the statuses of those that no listener uses are told by nothing else."""
        pools = self._client.list(POOLS, [("loadbalancer_id", balancer.id)])
        return _any_pending(pools)

    def _looks(self, balancer: BalancerHead) -> Iterator[None]:
        """One turn for each look, after a pause. Raises Retryable when the time is up."""
        until_s = self._clock() + self._wait_s
        pause_s = FIRST_PAUSE_S
        while True:
            if self._clock() + pause_s > until_s:
                raise _pending(balancer, self._wait_s)
            self._sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * GROWTH)
            yield


def with_statuses(tree: LoadBalancer, status: Status) -> LoadBalancer:
    """The tree with the statuses of a later look."""
    later = {each.id: each for each in walk(status)}
    return msgspec.structs.replace(
        _now(tree, later),
        listeners=tuple(_now(listener, later) for listener in tree.listeners),
        pools=tuple(
            msgspec.structs.replace(
                _now(pool, later),
                members=tuple(_now(member, later) for member in pool.members),
                health_monitor=_now(pool.health_monitor, later) if pool.health_monitor else None,
            )
            for pool in tree.pools
        ),
    )


def in_error(name: str, parts: list[str]) -> Conflict:
    """A load balancer, or parts of it, that Octavia's provider has given up. Octavia does not tell why."""
    where = f" at {', '.join(parts)}" if parts else ""
    return Conflict(
        f"{name} is in ERROR{where}",
        code="OCT-ERROR",
        owner=Owner.OCTAVIA,
        hint="the log of Octavia's provider says why; kuryrctl service sync --repair makes it anew",
    )


def _pending(balancer: BalancerHead, waited_s: float) -> Retryable:
    since = balancer.updated_at or balancer.created_at
    return Retryable(
        f"{_name(balancer)} is still at work after {waited_s:.0f} s"
        + (f" (changed last at {since} UTC)" if since else ""),
        code=PENDING,
        owner=Owner.OCTAVIA,
        hint=f"openstack loadbalancer status show {balancer.id}; see whether Octavia's provider runs",
        after_s=_AFTER_S,
    )


def _name(balancer: BalancerHead) -> str:
    return f"load balancer {balancer.id}" + (f' "{balancer.name}"' if balancer.name else "")


def _any_pending(things: Iterable[Status] | Iterable[PoolRow]) -> bool:
    return any(thing.provisioning_status.startswith(PENDING_PREFIX) for thing in things)


def walk(status: Status) -> Iterator[Status]:
    """It and everything below it."""
    yield status
    for below in (*status.listeners, *status.pools, *status.members):
        yield from walk(below)
    if status.health_monitor is not None and status.health_monitor.id:
        yield status.health_monitor


P = TypeVar("P", LoadBalancer, Listener, Pool, Member, HealthMonitor)


def _now(thing: P, later: Mapping[str, Status]) -> P:
    status = later.get(thing.id)
    if status is None:
        return thing
    return msgspec.structs.replace(
        thing, provisioning_status=status.provisioning_status, operating_status=status.operating_status
    )
