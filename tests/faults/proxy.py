"""An HTTP proxy between us and one real API that does to calls what a test's rules say, and counts what it did.

    with Proxy("http://127.0.0.1:9696") as proxy:
        proxy.add(Rule(Swallow(), kind="POST ports"))          # the next creation of ports: time-out after success
        proxy.add(Rule(lost(every=3), kind="WATCH pods", times=0))  # every watch from now on
        ...proxy.url is the address to give to the engine...
        assert proxy.injected == [("time-out after success", "POST ports")]

Plain HTTP towards us; upstream HTTP, or TLS with a client certificate (`of_kubeconfig`). Answers are streamed. Does not
know: what the calls mean.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

from tests.faults.faults import Answer, Cut, Delay, EditLines, Fault, Hook, Refuse, Rewrite, Silence, Swallow

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
_LINGER_NOT = struct.pack("ii", 1, 0)


class Rule(Struct, frozen=True):
    """The calls whose kind matches `kind` and whose path and query contain `target` (both regular expressions).

    The first `skip` of them pass, the next `times` (0: all) get the fault.
    """

    fault: Fault
    kind: str = ".*"
    target: str = ""
    skip: int = 0
    times: int = 1


class Call(Struct, frozen=True):
    """One call that came. `target` is path and query."""

    method: str
    target: str

    @property
    def kind(self) -> str:
        """``POST ports``, ``PUT ports/tags``, ``WATCH pods``, ``PATCH kuryrports/status``, ``POST auth/tokens``."""
        return kind_of(self.method, self.target)

    @property
    def mutates(self) -> bool:
        """Whether its method is one that changes something."""
        return self.method in MUTATING


def kind_of(method: str, target: str) -> str:
    """The method (``WATCH`` for a watch) and the resource of a call, without names and ids."""
    url = urlsplit(target)
    parts = [part for part in url.path.split("/") if part]
    if "true" in parse_qs(url.query).get("watch", []) or "1" in parse_qs(url.query).get("watch", []):
        method = "WATCH"
    match parts:
        case ["v3", *rest]:
            return f"{method} {'/'.join(rest)}"
        case ["v2.0", *rest] | ["api", _, *rest] | ["apis", _, _, *rest]:
            pass
        case rest:
            pass
    if len(rest) > 2 and rest[0] == "namespaces" and parts[0] in ("api", "apis"):
        rest = rest[2:]
    return f"{method} {'/'.join((*rest[:1], *rest[2:3]))}"


class Proxy:
    """See the module. `calls` are those that came, `injected` is what was done, as (fault, kind of call)."""

    def __init__(self, upstream: str, context: ssl.SSLContext | None = None) -> None:
        url = urlsplit(upstream)
        assert url.hostname, upstream
        self._host, self._port, self._context = url.hostname, url.port, context
        self._tls = url.scheme == "https"
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._seen: Counter[int] = Counter()
        self._open: set[_Handler] = set()
        self._refusing_until_s = 0.0
        self.calls: list[Call] = []
        self.injected: list[tuple[str, str]] = []
        self._listen(0)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where we are to connect to."""
        return f"http://127.0.0.1:{self._address[1]}"

    def add(self, *rules: Rule) -> None:
        """More rules; of those that match a call, the oldest that is not used up acts."""
        with self._lock:
            self._rules += rules

    def clear(self) -> None:
        """No more faults; what was recorded stays."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()

    def waiting(self) -> list[Rule]:
        """The rules that have not done all they were added for."""
        with self._lock:
            return [rule for n, rule in enumerate(self._rules) if self._seen[n] < rule.skip + max(rule.times, 1)]

    def count(self, kind: str = ".*") -> int:
        """How many calls of these kinds (a regular expression) came."""
        with self._lock:
            return sum(bool(re.fullmatch(kind, call.kind)) for call in self.calls)

    def cut(self, kind: str = "WATCH .*") -> int:
        """Reset the connections of these kinds that are open now; how many."""
        with self._lock:
            handlers = [handler for handler in self._open if re.fullmatch(kind, handler.call.kind)]
        for handler in handlers:
            self._record("cut", handler.call)
            handler.abort()
        return len(handlers)

    def close(self) -> None:
        """End the listener and every connection."""
        self.clear()
        self._stop_listening()
        with self._lock:
            handlers = list(self._open)
        for handler in handlers:
            handler.abort()

    # -- for the handlers

    def _take(self, handler: _Handler) -> Fault | None:
        """Record a call; the fault that it gets."""
        call = handler.call
        with self._lock:
            self.calls.append(call)
            self._open.add(handler)
            for n, rule in enumerate(self._rules):
                if not re.fullmatch(rule.kind, call.kind) or not re.search(rule.target, call.target):
                    continue
                if rule.times and self._seen[n] >= rule.skip + rule.times:
                    continue
                self._seen[n] += 1
                if self._seen[n] > rule.skip:
                    if not isinstance(rule.fault, Hook):
                        self.injected.append((rule.fault.name, call.kind))
                    return rule.fault
        return None

    def _record(self, fault: str, call: Call) -> None:
        with self._lock:
            self.injected.append((fault, call.kind))

    def _ended(self, handler: _Handler) -> None:
        with self._lock:
            self._open.discard(handler)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(self._host, self._port, context=self._context)
        return http.client.HTTPConnection(self._host, self._port)

    def _refuse(self, for_s: float) -> None:
        self._refusing_until_s = time.monotonic() + for_s
        threading.Thread(target=self._refuse_now, args=(for_s,), daemon=True).start()

    def _refuse_now(self, for_s: float) -> None:
        port = self._address[1]
        self._stop_listening()
        time.sleep(for_s)
        self._listen(port)

    @property
    def _refusing(self) -> bool:
        return time.monotonic() < self._refusing_until_s

    def _listen(self, port: int) -> None:
        self._server = _Server(self, port)
        self._address: Any = self._server.server_address
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="proxy", daemon=True).start()

    def _stop_listening(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the proxy's."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: _Server
    call: Call

    def _serve(self) -> None:
        proxy = self.server.proxy
        if proxy._refusing:
            self.abort()
            return
        self.call = Call(self.command, self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            self._do(proxy._take(self), body)
        except (OSError, http.client.HTTPException):  # one of the two sides is gone: the other is told the same way
            self.abort()
        finally:
            proxy._ended(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve  # noqa: N815  # http.server's names

    def _do(self, fault: Fault | None, body: bytes) -> None:
        match fault:
            case Answer():
                self._answer(fault.status, fault.headers.items(), fault.body)
                return
            case Refuse():
                self.server.proxy._refuse(fault.for_s)
                self.abort()
                return
            case Silence():
                time.sleep(fault.after_s)
                self.abort()
                return
            case Delay():
                time.sleep(fault.for_s)
            case Hook():
                fault.before()
        upstream = self.server.proxy._connect()
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            upstream.request(self.command, self.path, body or None, headers)
            self._pass_on(upstream.getresponse(), fault)
        finally:
            upstream.close()

    def _pass_on(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        match fault:
            case Swallow():
                answer.read()
                time.sleep(fault.after_s)
                self.abort()
            case Rewrite():
                self._answer(answer.status, answer.getheaders(), fault.edit(answer.read()))
            case Cut():
                self._stream(answer, _first(answer, fault.lines))
                self.abort()
            case EditLines():
                self._stream(answer, fault.edit(answer))
                self.wfile.write(b"0\r\n\r\n")
            case _ if answer.chunked:
                if isinstance(fault, Hook):
                    fault.after()
                self._stream(answer, iter(lambda: answer.read1(65536), b""))
                self.wfile.write(b"0\r\n\r\n")
            case _:
                content = answer.read()
                if isinstance(fault, Hook):
                    fault.after()
                self._answer(answer.status, answer.getheaders(), content)

    def _answer(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self._head(status, headers)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: http.client.HTTPResponse, pieces: Iterable[bytes]) -> None:
        """All pieces as they come; the end of the body is the caller's."""
        self._head(answer.status, answer.getheaders())
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    def _head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)

    def abort(self) -> None:
        """Reset the connection: the client learns at once that no answer comes."""
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # it was gone already
            return
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at `Proxy.calls`."""


def _first(lines: Iterable[bytes], count: int) -> Iterator[bytes]:
    for n, line in enumerate(lines):
        if n == count:
            return
        yield line


def of_kubeconfig(kubeconfig: Path) -> Proxy:
    """A proxy to the API server of a kubeconfig of the lab (everything in the file), as its user."""
    content = msgspec.yaml.decode(kubeconfig.read_bytes())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as file:
        for part in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(user[part]))
        file.flush()
        context.load_cert_chain(file.name)
    return Proxy(cluster["server"], context)


def kubeconfig_of(proxy: Proxy, file: Path) -> Path:
    """Write the kubeconfig with which a client speaks to the proxy; the proxy has the credential."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": proxy.url}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
    }
    file.write_bytes(msgspec.yaml.encode(content))
    return file
