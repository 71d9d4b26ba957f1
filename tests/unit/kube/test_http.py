"""The real transport on a loopback server: streams that end, servers that do not, kubeconfigs that are wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kuryrctl.core.errors import Invalid, Retryable, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Kube, connect
from tests.contract.kube.world import refusal

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: lab
clusters: [{{name: lab, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: s3cret}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: me}}}}]
"""
LINE = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}\n'


class Handler(BaseHTTPRequestHandler):
    """``/watch`` sends two lines, the second in pieces, then nothing; ``/cut`` breaks off, ``/busy`` refuses."""

    protocol_version = "HTTP/1.1"
    seen: list[str] = []  # noqa: RUF012 (one server in this file)

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        self.send_response(429 if self.path == "/busy" else 200)
        self.send_header("Retry-After", "7")
        if self.path not in ("/watch", "/cut"):
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (LINE + LINE[:9], LINE[9:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if self.path == "/watch":
            assert isinstance(self.server, Server)
            self.server.ended.wait(120)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    """Ends its streams when `ended`."""

    ended = threading.Event()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as made:
        made.ended = threading.Event()
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.ended.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def kube(server: Server, tmp_path: Path) -> Iterator[Kube]:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG.format(port=server.server_address[1]))
    made = connect(str(path))
    yield made
    made.close()


def test_lines_are_whole_whatever_the_pieces(kube: Kube) -> None:
    stream = kube.api.transport.stream("/watch", timeout_s=60)
    lines = iter(stream)

    assert [next(lines), next(lines)] == [LINE.strip()] * 2
    stream.close()
    assert list(lines) == []


def test_closing_wakes_a_reader_that_waits(kube: Kube) -> None:
    stream = kube.api.transport.stream("/watch", timeout_s=100)
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(stream))
    reader.start()
    while len(lines) < 2:
        time.sleep(0.01)

    stream.close()
    reader.join(60)

    assert not reader.is_alive()
    stream.close()


def test_a_stream_that_breaks_off_is_unavailable(kube: Kube) -> None:
    with pytest.raises(Unavailable):
        list(kube.api.transport.stream("/cut", timeout_s=60))


def test_a_silent_stream_is_unavailable(kube: Kube) -> None:
    with pytest.raises(Unavailable):
        list(kube.api.transport.stream("/watch", timeout_s=0.3))


def test_the_credential_is_sent(kube: Kube) -> None:
    kube.api.call("GET", "/anything", "ask")

    assert Handler.seen[-1] == "Bearer s3cret"


def test_a_busy_servers_answer_is_the_callers(kube: Kube) -> None:
    """The pool would repeat it by itself, wait, and at last call it no answer."""
    asked = len(Handler.seen)

    error = refusal(lambda: kube.api.call("GET", "/busy", "ask"))

    assert isinstance(error, Retryable)
    assert (error.code, error.after_s) == ("KUBE-BUSY", 7)
    assert len(Handler.seen) == asked + 1


def test_an_answer_that_is_no_list_is_named(kube: Kube) -> None:
    error = refusal(lambda: kube.list_kind(Kind.POD))

    assert (error.code, error.message.partition(":")[0]) == ("KUBE-DECODE", "list pods")


def test_no_server_is_unavailable_and_says_where(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG.format(port=port))

    kube = connect(str(path))
    error = refusal(lambda: kube.list_kind(Kind.POD))

    assert isinstance(error, Unavailable)
    assert f"127.0.0.1:{port}" in error.message
    kube.close()


@pytest.mark.parametrize(
    ("text", "context"),
    [
        (None, None),
        ("", None),
        ("}{", None),
        ("just words", None),
        ("apiVersion: v1\nkind: Config\n", None),
        (KUBECONFIG.format(port=1), "elsewhere"),
    ],
    ids=["no file", "empty", "no YAML", "no mapping", "no context", "no such context"],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(text: str | None, context: str | None, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)

    with pytest.raises(Invalid) as caught:
        connect(str(path), context)

    assert caught.value.code == "KUBE-CONFIG"
    assert str(path) in caught.value.message


def test_the_variable_names_the_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "named-by-variable"))

    with pytest.raises(Invalid, match="named-by-variable"):
        connect()


def test_importing_the_package_costs_nothing_of_the_client() -> None:
    script = "import sys, kuryrctl.kube; print([m for m in ('kubernetes', 'urllib3', 'yaml') if m in sys.modules])"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
