"""A beam of datagrams from inside a network namespace, each from a new socket: when they began or ceased to pass.

The network sees every datagram as a new connection. The server must answer what it gets. Does not know: pods, policies.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from kuryrctl.core.probe import PAYLOAD
from kuryrctl.node import namespaces

STEP_S: Final = 0.01
"""Between two datagrams: as exact are the answers."""
PATIENCE_S: Final = 1.0
"""So long an answer is waited for; also how long silence must last to count."""


class Beam(threading.Thread):
    """From the namespace at `netns` to an IPv4 address. A context: it shines inside."""

    def __init__(self, netns: Path, address: str, port: int) -> None:
        super().__init__(name="beam", daemon=True)
        self._netns = netns
        self._target = (address, port)
        self._over = threading.Event()
        self._sockets: dict[int, tuple[socket.socket, float]] = {}
        self._answered: list[float] = []
        """When those datagrams were sent that were answered (monotonic seconds), as the answers came."""

    def __enter__(self) -> Beam:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self.join()

    def opened_s(self, since_s: float, timeout_s: float) -> float:
        """When the first datagram passed that was sent after `since_s`. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            passed = [sent for sent in self._answered[:] if sent >= since_s]
            if passed:
                return min(passed)
            time.sleep(STEP_S / 2)
        raise TimeoutError(f"nothing passed within {timeout_s:g} s")

    def closed_s(self, since_s: float, timeout_s: float) -> float:
        """When the first datagram went of those that no longer passed. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while (now := time.monotonic()) < until:
            last = max(self._answered[-50:], default=since_s)
            if now - max(last, since_s) > PATIENCE_S:
                return max(last + STEP_S, since_s)
            time.sleep(STEP_S)
        raise TimeoutError(f"it still passed after {timeout_s:g} s")

    def run(self) -> None:
        poll = select.epoll()
        with namespaces.entered(self._netns), poll:
            due = time.monotonic()
            while not self._over.is_set():
                self._send(poll)
                due += STEP_S
                while (left := due - time.monotonic()) > 0:
                    self._receive(poll, left)
                self._receive(poll, 0.0)
                self._forget(time.monotonic() - PATIENCE_S)
            self._forget(float("inf"))

    def _send(self, poll: select.epoll) -> None:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        opened.connect(self._target)
        poll.register(opened, select.EPOLLIN)
        self._sockets[opened.fileno()] = (opened, time.monotonic())
        opened.send(PAYLOAD.encode())

    def _receive(self, poll: select.epoll, timeout_s: float) -> None:
        for descriptor, _ in poll.poll(timeout_s):
            opened, sent = self._sockets.pop(descriptor)
            opened.close()
            self._answered.append(sent)

    def _forget(self, before_s: float) -> None:
        """Close the sockets that waited long enough."""
        for descriptor in [each for each, (_, sent) in self._sockets.items() if sent < before_s]:
            self._sockets.pop(descriptor)[0].close()
