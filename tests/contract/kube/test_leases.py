"""The cluster's lease: one holder at a time, taken over only from one that is silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from kuryrctl.core.errors import Conflict
from kuryrctl.kube import Lease
from tests.contract.kube.world import World, refusal


class Clock:
    """A monotonic clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lease(world: World, identity: str, clock: Callable[[], float] = time.monotonic) -> Lease:
    return Lease(world.kube, namespace=world.namespace, name="kuryrctl", identity=identity, clock=clock)


def test_one_holds_it_and_the_other_is_told_who_and_since_when(world: World) -> None:
    one, other = lease(world, "host/1/root"), lease(world, "host/2/root")
    assert one.holder() is None

    one.acquire()

    holder = other.holder()
    assert holder is not None
    assert holder.identity == "host/1/root"
    error = refusal(other.acquire)
    assert isinstance(error, Conflict)
    assert error.code == "KUBE-LEASE-HELD"
    assert "host/1/root" in error.message
    assert holder.since in error.message
    assert (one.valid(), other.valid()) == (True, False)


def test_renewing_extends_it_and_keeps_since_when(world: World) -> None:
    one = lease(world, "one")
    one.acquire()
    first = one.holder()

    one.renew()

    second = one.holder()
    assert first and second
    assert second.since == first.since
    assert second.renewed > first.renewed


def test_a_released_lease_is_free_at_once(world: World) -> None:
    one, other = lease(world, "one"), lease(world, "other")
    one.acquire()

    one.release()

    assert not one.valid()
    assert one.holder() is None
    other.acquire()
    assert other.valid()
    one.release()
    assert other.holder() is not None


def test_a_silent_holder_is_taken_over_and_learns_of_it(world: World) -> None:
    clock = Clock()
    silent, other = lease(world, "silent"), lease(world, "other", clock)
    silent.acquire()
    assert isinstance(refusal(other.acquire), Conflict)

    clock.now += 15
    other.acquire()

    assert other.valid()
    error = refusal(silent.renew)
    assert error.code == "KUBE-LEASE-LOST"
    assert "other" in error.message
    assert not silent.valid()


def test_a_holder_that_renews_is_not_taken_over(world: World) -> None:
    clock = Clock()
    one, other = lease(world, "one"), lease(world, "other", clock)
    one.acquire()

    for _ in range(4):
        assert isinstance(refusal(other.acquire), Conflict)
        clock.now += 14
        one.renew()

    assert isinstance(refusal(other.acquire), Conflict)


def test_waiting_ends_when_it_is_released_or_when_told_to(world: World) -> None:
    one, other = lease(world, "one"), lease(world, "other")
    one.acquire()
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    assert isinstance(refusal(lambda: other.acquire(wait_s=600, stop=stop)), Conflict)

    threading.Timer(0.5, one.release).start()
    other.acquire(wait_s=600)

    assert other.valid()


def test_a_lease_that_was_never_acquired_cannot_be_renewed(world: World) -> None:
    with pytest.raises(Conflict):
        lease(world, "one").renew()


def test_a_paused_holder_knows_by_its_own_clock(world: World) -> None:
    clock = Clock()
    one = lease(world, "one", clock)
    one.acquire()
    assert one.valid()

    clock.now += 15

    assert not one.valid()
    assert one.valid(clock.now - 1)
