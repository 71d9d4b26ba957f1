"""An HTTP proxy between us and one real API that does to calls what a test's rules say, and counts what it did.

    with Proxy("http://127.0.0.1:9696") as proxy:
        proxy.add(Rule(Swallow(), kind="POST ports"))          # the next creation of ports: time-out after success
        proxy.add(Rule(lost(every=3), kind="WATCH pods", times=0))  # every watch from now on
        ...proxy.url is the address to give to the engine...
        assert proxy.injected == [("time-out after success", "POST ports")]

Plain HTTP towards us; upstream HTTP, or TLS with a client certificate (`of_kubeconfig`). Answers are streamed. The name
under which we asked is passed on, so that links in answers (Keystone's versions) lead through the proxy again. Does not
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
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tests.faults.faults import Answer, Cut, Delay, EditLines, Fault, Hook, Refuse, Rewrite, Silence, Swallow
from tests.faults.rules import Call, Rule, Rules, kind_of

__all__ = ["Call", "Proxy", "Rule", "kind_of", "kubeconfig_of", "of_kubeconfig"]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_LINGER_NOT = struct.pack("ii", 1, 0)


class Proxy(Rules):
    """See the module."""

    def __init__(self, upstream: str, context: ssl.SSLContext | None = None) -> None:
        super().__init__()
        url = urlsplit(upstream)
        assert url.hostname, upstream
        self._host, self._port, self._context = url.hostname, url.port, context
        self._tls = url.scheme == "https"
        self._open: set[_Handler] = set()
        self._open_lock = threading.Lock()
        self._refusing_until_s = 0.0
        self._listen(0)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where we are to connect to."""
        return f"http://127.0.0.1:{self._address[1]}"

    def cut(self, kind: str = "WATCH .*") -> int:
        """Reset the connections of these kinds that are open now; how many."""
        with self._open_lock:
            handlers = [handler for handler in self._open if re.fullmatch(kind, handler.call.kind)]
        for handler in handlers:
            self.record("cut", handler.call)
            handler.abort()
        return len(handlers)

    def close(self) -> None:
        """End the listener and every connection."""
        self.clear()
        self._stop_listening()
        with self._open_lock:
            handlers = list(self._open)
        for handler in handlers:
            handler.abort()

    # -- for the handlers

    def _opened(self, handler: _Handler) -> Fault | None:
        with self._open_lock:
            self._open.add(handler)
        return self.take(handler.call)

    def _ended(self, handler: _Handler) -> None:
        with self._open_lock:
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
            self._do(proxy._opened(self), body)
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
