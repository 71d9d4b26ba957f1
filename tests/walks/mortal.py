"""A process that ends in the middle of its work: from a chosen call on, nothing of it reaches a server any more.

A crash is what the servers see of it. `Life` counts the calls that change something, of the cloud and of the cluster
together; at the chosen one the process dies, before the call was sent, or after it was done and before its answer came.
Does not know: the engine, what the calls mean.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from kuryrctl.cloud.transport import Transport as CloudTransport
from kuryrctl.core.errors import KuryrError
from kuryrctl.kube.transport import Transport as KubeTransport
from tests.faults.rules import Call

A = TypeVar("A")
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
