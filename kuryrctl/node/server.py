"""The agent's unix socket: who may speak, one request and one answer for each connection, a thread for each.

The wire is `cni`'s: a line of JSON there, ``taken`` at once, then ``ok`` or ``error`` and JSON. Knows nothing of what
is asked.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kuryrctl.core.decoding import decode
from kuryrctl.core.errors import Conflict, Invalid, Owner

_log = logging.getLogger(__name__)
_REQUEST_MAX_BYTES = 4 << 20
_REQUEST_TIMEOUT_S = 10.0
_BACKLOG = 256
_WRITABLE_BY_OTHERS = 0o022
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class Request(Struct, frozen=True):
    """What was asked: a CNI call (`env`, `config` as they came), or a command of ours with its arguments."""

    env: dict[str, str] = {}
    config: str = ""
    command: str = ""
    arguments: dict[str, Any] = {}


class Answer(Struct, frozen=True):
    """What is answered. `undo` is run when the asker is gone by then: what it asked for serves nobody."""

    ok: bool
    body: Any = None
    undo: Callable[[], object] | None = None


class Caller:
    """The other end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def gone(self) -> bool:
        """Whether it has hung up."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return bool(poll.poll(0))


class Server:
    """Serves `handle` at `path` to root. Conflict when another agent does already."""

    def __init__(self, path: Path, handle: Callable[[Request, Caller], Answer]) -> None:
        self._path = path
        self._handle = handle
        self._threads: set[threading.Thread] = set()
        self._listener: socket.socket | None = None
        self._acceptor = threading.Thread(target=self._accept, name="socket", daemon=True)

    def start(self) -> None:
        """Listen."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._path.parent.stat().st_mode & _WRITABLE_BY_OTHERS:
            raise Invalid(
                f"{self._path.parent} may be written by others than root: they could take the agent's place",
                code="NODE-SOCKET-DIR",
                owner=Owner.USER,
                hint=f"chmod go-w {self._path.parent}",
            )
        if _answers(self._path):
            raise Conflict(
                f"another agent listens at {self._path}",
                code="NODE-AGENT-RUNNING",
                owner=Owner.NODE,
                hint="stop it first, or give this one its own --socket",
            )
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
        self._listener = listener
        self._acceptor.start()

    def stop(self, grace_s: float) -> None:
        """No new requests; those under way have `grace_s` to end."""
        if self._listener is None:
            return
        self._path.unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join(grace_s)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(grace_s)

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # shut down
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="request", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection)
        except OSError as error:
            _log.warning("a caller at %s hung up: %s", self._path, error)
        finally:
            self._threads.discard(threading.current_thread())

    def _converse(self, connection: socket.socket) -> None:
        _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid != 0:
            _log.warning("refused a caller with uid %d", uid)
            return
        connection.settimeout(_REQUEST_TIMEOUT_S)
        connection.sendall(b"taken\n")
        line = _line(connection)
        if line is None:
            return
        try:
            request = decode(line, Request)
        except msgspec.DecodeError as error:
            connection.sendall(b"error\n" + msgspec.json.encode({"code": 6, "msg": f"not understood: {error}"}))
            return
        answer = self._handle(request, Caller(connection))
        body = b"" if answer.body is None else msgspec.json.encode(answer.body)
        try:
            connection.sendall((b"ok\n" if answer.ok else b"error\n") + body)
        except OSError:
            if answer.undo is not None:
                _log.warning("the caller did not wait for the answer: undone")
                answer.undo()


def _line(connection: socket.socket) -> bytes | None:
    """The first line; None when the caller hung up before its end, or does not stop."""
    data = bytearray()
    while not data.endswith(b"\n"):
        more = connection.recv(65536)
        if not more or len(data) > _REQUEST_MAX_BYTES:
            return None
        data += more
    return bytes(data)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
