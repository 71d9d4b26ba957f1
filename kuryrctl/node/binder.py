"""What a binder is: it gives a pod's network namespace one interface, checks it, and takes it away again.

Knows the words of binding; does not know how any data plane does it, nor who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import ip_address, ip_interface
from types import TracebackType
from typing import Protocol

from msgspec import Struct

from kuryrctl.core.cluster import Interface, Route
from kuryrctl.core.errors import KuryrError

_log = logging.getLogger(__name__)


class BindRequest(Struct, frozen=True):
    """Give the namespace at path `netns` this interface.

    `sandbox` is the runtime's container id, `network` the name of the CNI network, `pod` is ``namespace/name``.
    """

    interface: Interface
    pod: str
    pod_uid: str
    sandbox: str
    netns: str
    network: str = ""


class UnbindRequest(Struct, frozen=True):
    """Take away what this sandbox has as `ifname`."""

    sandbox: str
    ifname: str


class Bound(Struct, frozen=True):
    """An interface that is up and announced. `host_link` is the node's end; `since` is RFC 3339."""

    request: BindRequest
    host_link: str
    since: str


class Finding(Struct, frozen=True):
    """One thing of a bound interface that is not as it should be. `part` is stable: address, route, mtu, …"""

    part: str
    message: str


def routes_of(interface: Interface) -> tuple[Route, ...]:
    """Its routes: the default ones by its gateways, then the others."""
    default = tuple(Route("::/0" if ":" in gateway else "0.0.0.0/0", gateway) for gateway in interface.gateways)
    return default + interface.routes


def covers(interface: Interface, gateway: str) -> bool:
    """Whether one of the interface's networks contains the gateway."""
    wanted = ip_address(gateway)
    return any(wanted in ip_interface(address).network for address in interface.addresses)


class UndoStack:
    """What must be undone if the rest fails; on success, nothing.

    Used with ``with``: an exception runs the steps, last one first, and goes on. A step that fails is logged, the
    others still run, and the first cause is what the caller sees.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[str, Callable[[], object]]] = []

    def push(self, what: str, step: Callable[[], object]) -> None:
        """To be run if something fails later."""
        self._steps.append((what, step))

    def __enter__(self) -> UndoStack:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            return
        for what, step in reversed(self._steps):
            try:
                step()
            except (KuryrError, OSError):
                _log.exception("undo of a failed bind: %s", what)


class Binder(Protocol):
    """A way to give a namespace one interface. Every method may be repeated."""

    def validate(self, request: BindRequest) -> None:
        """Raise KuryrError for what can never work, before anything was touched."""
        ...

    def setup(self, request: BindRequest, undo: UndoStack) -> Bound:
        """Bind; what was done is pushed on `undo` before the next thing is tried."""
        ...

    def teardown(self, request: UnbindRequest) -> bool:
        """Unbind; whether there was anything. Of the missing: success. The namespace may be gone."""
        ...

    def check(self, request: BindRequest) -> list[Finding]:
        """What is not as `setup` left it."""
        ...
