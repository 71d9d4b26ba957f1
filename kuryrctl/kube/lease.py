"""The Lease by which one writer at a time is chosen (coordination.k8s.io/v1, as the control plane's own).

Two clocks: the times in the object are for people and are never trusted alone; whether the lease is *ours* is judged by
our monotonic clock, and whether another's has run out by how long we saw it unchanged. A Lease does not fence a paused
holder: ask `valid` before each write. Does not know: what is protected.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from msgspec import Struct

from kuryrctl.core.errors import Conflict, KuryrError, Owner
from kuryrctl.kube.api import decoded
from kuryrctl.kube.client import Kube
from kuryrctl.kube.wire import Meta, micro_time

RETRY_S = 1.0
_SKEW_FACTOR = 3
"""Taken over at first sight only when last renewed this many durations ago: the holder's clock may be wrong."""


class Holder(Struct, frozen=True):
    """Who holds a lease. Times are RFC 3339, by the holder's clock."""

    identity: str
    since: str
    renewed: str


class _Spec(Struct, rename="camel", omit_defaults=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: datetime | None = None
    renew_time: datetime | None = None
    lease_transitions: int | None = None


class _LeaseWire(Struct):
    metadata: Meta
    spec: _Spec


def own_identity() -> str:
    """``host/pid/user/random``: which process this is, for people, and never the same twice."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{socket.gethostname()}/{os.getpid()}/{user}/{secrets.token_hex(3)}"


class Lease:
    """One lease as one holder sees it. `acquire`, `renew` and `release` are one thread's; `valid` is anybody's."""

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str = "",
        duration_s: int = 15,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.identity = identity or own_identity()
        self._api = kube.api
        self._name = name
        self._namespace = namespace
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases"
        self._path = f"{self._collection}/{quote(name)}"
        self._duration_s = duration_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._valid_until = 0.0
        self._ours: _LeaseWire | None = None
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0

    def acquire(self, wait_s: float = 0.0, stop: threading.Event | None = None) -> None:
        """Take the lease; try for `wait_s`, or until `stop`.

        Raises Conflict, naming the holder and since when, if another still holds it.
        """
        stop = stop or threading.Event()
        deadline = self._clock() + wait_s
        while True:
            held = self._try()
            if held is None:
                return
            remaining = deadline - self._clock()
            if remaining <= 0 or stop.wait(min(RETRY_S, remaining)):
                raise self._held_by(held)

    def renew(self) -> None:
        """Extend it by its duration. Raises Conflict when it is not ours any more; then stop writing at once."""
        if self._ours is None:
            raise self._lost("it was not acquired")
        try:
            self._write(self._ours, self._ours.spec.acquire_time)
        except Conflict:
            self._renew_what_is_there()

    def release(self) -> None:
        """Give it up, so that the next holder need not wait. Not ours any more: nothing."""
        ours, self._ours, self._valid_until = self._ours, None, 0.0
        if ours is None:
            return
        try:
            self._put(ours, _Spec("", 1, ours.spec.acquire_time, self._wall(), ours.spec.lease_transitions))
        except Conflict:
            return

    def holder(self) -> Holder | None:
        """Whose name is in it, None when it was given back: one that died stays there until another takes it."""
        there = self._read()
        if there is None or not there.spec.holder_identity:
            return None
        spec = there.spec
        return Holder(there.spec.holder_identity, _text(spec.acquire_time), _text(spec.renew_time))

    def valid(self, now: float | None = None) -> bool:
        """Whether it is surely ours still, at `now` of the monotonic clock (None: now)."""
        return (self._clock() if now is None else now) < self._valid_until

    def _try(self) -> _LeaseWire | None:
        """Take it if it is free; the lease as another holds it, None when it is ours."""
        while True:
            there = self._read()
            try:
                if there is None:
                    self._create()
                elif self._free(there):
                    self._write(there, self._wall())
                else:
                    return there
            except Conflict:  # another was faster: look who
                continue
            return None

    def _free(self, there: _LeaseWire) -> bool:
        spec = there.spec
        duration_s = spec.lease_duration_seconds or self._duration_s
        if not spec.holder_identity or spec.holder_identity == self.identity:
            return True
        seen = (spec.holder_identity, there.metadata.resource_version)
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock()
        renewed_s = spec.renew_time.timestamp() if spec.renew_time else 0.0
        long_ago = self._wall_clock() - renewed_s > _SKEW_FACTOR * duration_s
        return long_ago or self._clock() - self._seen_at >= duration_s

    def _renew_what_is_there(self) -> None:
        """After a Conflict: our own last write may have come through although its answer did not."""
        there = self._read()
        if there is None or there.spec.holder_identity != self.identity:
            holder = there.spec.holder_identity if there else ""
            raise self._lost(f"held by {holder}" if holder else "nobody holds it")
        self._write(there, there.spec.acquire_time)

    def _read(self) -> _LeaseWire | None:
        return self._api.get(self._path, f"read lease {self._name}", _LeaseWire)

    def _create(self) -> None:
        started = self._clock()
        now = self._wall()
        body = self._body("", _Spec(self.identity, self._duration_s, now, now, 0))
        doing = f"acquire lease {self._name}"
        self._taken(decoded(self._api.call("POST", self._collection, doing, body=body), doing, _LeaseWire), started)

    def _write(self, there: _LeaseWire, acquired: datetime | None) -> None:
        started = self._clock()
        transitions = (there.spec.lease_transitions or 0) + (there.spec.holder_identity != self.identity)
        spec = _Spec(self.identity, self._duration_s, acquired or self._wall(), self._wall(), transitions)
        self._taken(self._put(there, spec), started)

    def _put(self, there: _LeaseWire, spec: _Spec) -> _LeaseWire:
        doing = f"renew lease {self._name}"
        body = self._body(there.metadata.resource_version, spec)
        response = self._api.call("PUT", self._path, doing, body=body, timeout_s=self._duration_s / 3)
        return decoded(response, doing, _LeaseWire)

    def _taken(self, ours: _LeaseWire, started: float) -> None:
        """It runs from when we asked: the server counted no earlier."""
        self._ours = ours
        self._valid_until = started + self._duration_s

    def _body(self, resource_version: str, spec: _Spec) -> dict[str, object]:
        meta = {"name": self._name, "namespace": self._namespace}
        if resource_version:
            meta["resourceVersion"] = resource_version
        times = {"acquireTime": _text(spec.acquire_time), "renewTime": _text(spec.renew_time)}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": meta,
            "spec": {
                "holderIdentity": spec.holder_identity,
                "leaseDurationSeconds": spec.lease_duration_seconds,
                "leaseTransitions": spec.lease_transitions,
                **{name: text for name, text in times.items() if text},
            },
        }

    def _wall(self) -> datetime:
        return datetime.fromtimestamp(self._wall_clock(), UTC)

    def _held_by(self, there: _LeaseWire) -> Conflict:
        spec = there.spec
        message = (
            f"another writer holds the cluster's lease {self._namespace}/{self._name}: {spec.holder_identity},"
            f" since {_text(spec.acquire_time) or 'an unknown time'} (renewed {_text(spec.renew_time) or 'never'})"
        )
        hint = "stop it, or wait for it with --wait"
        return Conflict(message, code="KUBE-LEASE-HELD", owner=Owner.USER, hint=hint)

    def _lost(self, why: str) -> KuryrError:
        self._ours, self._valid_until = None, 0.0
        return Conflict(f"lease {self._namespace}/{self._name} is lost: {why}", code="KUBE-LEASE-LOST")


def _text(time: datetime | None) -> str:
    return micro_time(time.timestamp()) if time else ""
