"""A process that ends in the middle of its work: from a chosen call on, nothing of it reaches a server any more.

A crash is what the servers see of it. `Life` counts the calls that change something, of the cloud and of the cluster
together; at the chosen one the process dies, before the call was sent, or after it was done and before its answer came.
Does not know: the engine, what the calls mean.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeVar

from kuryrctl.cloud.transport import Transport as CloudTransport
from kuryrctl.core.errors import KuryrError
from kuryrctl.kube.transport import Transport as KubeTransport
from tests.faults.rules import Call

A = TypeVar("A")
S = TypeVar("S")
UNCOUNTED = re.compile(r"\w+ (leases|events)")
"""Calls about the run itself: what they change is no step of a plan."""


class Life:
    """`last` is the number of the call at which it ends (0: never), `effect`: that call is still done.

    `calls` are the kinds of all counted calls that were sent, or were to be; `ended` says whether it has ended.
    """

    def __init__(self, last: int = 0, *, effect: bool = False) -> None:
        self._last, self._effect = last, effect
        self._lock = threading.Lock()
        self.calls: list[str] = []
        self.ended = False

    def sent(self) -> None:
        """A counted call is about to be sent."""

    def call(self, method: str, path: str, forward: Callable[[], A]) -> A:
        """Send it, unless the process is dead by then."""
        called = Call(method, path)
        with self._lock:
            if self.ended:
                raise _dead()
            if not called.mutates or UNCOUNTED.fullmatch(called.kind):
                return forward()
            self.calls.append(called.kind)
            self.sent()
            if len(self.calls) != self._last:
                return forward()
            self.ended = True
            if self._effect:
                forward()
            raise _dead()


def deaths(begin: Callable[[], S], live: Callable[[S, Life], None], *, effect: bool) -> Iterator[tuple[S, str]]:
    """What is left by a process that died at its first call, at its second, …, each from a new beginning, and where it
    died. The last one lives on (empty)."""
    for last in count(1):
        site, life = begin(), Life(last, effect=effect)
        live(site, life)
        if not life.ended:
            yield site, ""
            return
        yield site, f"{begin.__name__}: {'after' if effect else 'before'} call {last}, {life.calls[-1]}"


def die_again_and_again(site: S, live: Callable[[S, Life], None]) -> int:
    """Processes that each do one call and die before its answer, until one finds nothing to do; how many died.

    The worst history that still gets anywhere.
    """
    for died in count():
        life = Life(1, effect=True)
        live(site, life)
        if not life.ended:
            return died
    raise AssertionError("they die for ever")


class MortalCloud:
    """A Transport of the cloud that ends with its life."""

    def __init__(self, transport: CloudTransport, life: Life) -> None:
        self._transport, self._life = transport, life

    @property
    def project_id(self) -> str:
        """See `Transport.project_id`."""
        return self._transport.project_id

    def request(self, method: str, path: str, **given: Any) -> Any:
        """See `Transport.request`."""
        return self._life.call(method, path, lambda: self._transport.request(method, path, **given))


class MortalKube:
    """A Transport of the cluster that ends with its life."""

    def __init__(self, transport: KubeTransport, life: Life) -> None:
        self._transport, self._life = transport, life

    def request(self, method: str, path: str, **given: Any) -> Any:
        """See `Transport.request`."""
        return self._life.call(method, path, lambda: self._transport.request(method, path, **given))

    def stream(self, path: str, *, timeout_s: float) -> Any:
        """See `Transport.stream`."""
        return self._life.call("GET", path, lambda: self._transport.stream(path, timeout_s=timeout_s))

    def close(self) -> None:
        """See `Transport.close`."""


def _dead() -> KuryrError:
    """No retryable one: whoever is dead does not try again."""
    return KuryrError("the process is dead", code="DEAD")
