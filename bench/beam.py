"""A beam of questions from inside a network namespace, each from a new socket: when they began or ceased to pass.

The network sees every question as a new connection: a datagram, or a stream of TCP. Does not know: pods, policies.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Final

from kuryrctl.core.probe import PAYLOAD
from kuryrctl.node import namespaces

STEP_S: Final = 0.01
"""Between two questions: as exact are the answers."""
PATIENCE_S: Final = 0.9
"""So long an answer is waited for: TCP asks again after 1 s (RFC 6298). Also how long silence must last to count."""
TIMEOUT_S: Final = 30.0
"""So long a change may take."""


class Beam(threading.Thread):
    """From the namespace at `netns` to an IPv4 address, by sockets of one kind. A context: it shines inside.

    Answers count that have `awaited` in them.
    """

    def __init__(
        self,
        netns: Path,
        address: str,
        port: int,
        *,
        kind: socket.SocketKind = socket.SOCK_DGRAM,
        question: bytes = PAYLOAD.encode(),
        awaited: bytes = b"",
    ) -> None:
        super().__init__(name="beam", daemon=True)
        self._netns = netns
        self._target = (address, port)
        self._kind = kind
        self._question = question
        self._awaited = awaited
        self._over = threading.Event()
        self._sockets: dict[int, tuple[socket.socket, float]] = {}
        self._answered: list[float] = []
        """When those questions were asked that were answered (monotonic seconds), as the answers came."""

    def __enter__(self) -> Beam:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self.join()

    def opened_ms(self, change: Callable[[], object], timeout_s: float = TIMEOUT_S) -> float:
        """Milliseconds from the start of a change to the first question that is answered. Raises TimeoutError."""
        start = time.monotonic()
        change()
        return (self.opened_s(start, timeout_s) - start) * 1e3

    def closed_ms(self, change: Callable[[], object], timeout_s: float = TIMEOUT_S) -> float:
        """Milliseconds from the start of a change to the first question that is not. Raises TimeoutError."""
        start = time.monotonic()
        change()
        return (self.closed_s(start, timeout_s) - start) * 1e3

    def opened_s(self, since_s: float, timeout_s: float = TIMEOUT_S) -> float:
        """When the first question was asked after `since_s` that was answered. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if passed := self._passed(since_s):
                return min(passed)
            time.sleep(STEP_S / 2)
        raise TimeoutError(f"nothing was answered within {timeout_s:g} s")

    def closed_s(self, since_s: float, timeout_s: float = TIMEOUT_S) -> float:
        """When the first question was asked of those that were no longer answered. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while (now := time.monotonic()) < until:
            last = max(self._passed(since_s), default=since_s)
            if now - last > PATIENCE_S:
                return max(last + STEP_S, since_s)
            time.sleep(STEP_S)
        raise TimeoutError(f"there were still answers after {timeout_s:g} s")

    def _passed(self, since_s: float) -> list[float]:
        late_enough = takewhile(lambda asked: asked >= since_s - PATIENCE_S, reversed(self._answered[:]))
        return [asked for asked in late_enough if asked >= since_s]

    def run(self) -> None:
        poll = select.epoll()
        with namespaces.entered(self._netns), poll:
            due = time.monotonic()
            while not self._over.is_set():
                self._open(poll)
                due += STEP_S
                while (left := due - time.monotonic()) > 0:
                    self._turn(poll, left)
                self._turn(poll, 0.0)
                self._forget(time.monotonic() - PATIENCE_S)
            self._forget(float("inf"))

    def _open(self, poll: select.epoll) -> None:
        opened = socket.socket(socket.AF_INET, self._kind | socket.SOCK_NONBLOCK)
        opened.connect_ex(self._target)
        poll.register(opened, select.EPOLLOUT)
        self._sockets[opened.fileno()] = (opened, time.monotonic())

    def _turn(self, poll: select.epoll, timeout_s: float) -> None:
        """Ask where a socket is open, hear where there is an answer; what was refused is no answer."""
        for descriptor, event in poll.poll(timeout_s):
            opened, asked = self._sockets[descriptor]
            try:
                if event & select.EPOLLOUT:
                    opened.send(self._question)
                    poll.modify(descriptor, select.EPOLLIN)
                    continue
                if self._awaited in opened.recv(4096):
                    self._answered.append(asked)
            except OSError:
                pass
            self._sockets.pop(descriptor)[0].close()

    def _forget(self, before_s: float) -> None:
        """Close the sockets that waited long enough."""
        for descriptor in [each for each, (_, asked) in self._sockets.items() if asked < before_s]:
            self._sockets.pop(descriptor)[0].close()
