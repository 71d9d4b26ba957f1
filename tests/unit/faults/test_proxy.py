"""The proxy that injects faults does exactly what its rules say, and counts it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from tests.faults.faults import (
    Answer,
    Cut,
    Delay,
    Fault,
    Hook,
    Refuse,
    Silence,
    Swallow,
    doubled,
    lost,
    neutron_error,
    shortened,
    swapped,
)
from tests.faults.proxy import Proxy, Rule, kind_of
from tests.unit.reconcile.site import eventually


class Server(ThreadingHTTPServer):
    """Counts its POSTs; a GET of ``/api/v1/pods?watch=true`` is a stream of four lines."""

    posts = 0
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts += 1
        self._answer(b'{"ports": []}')

    def do_GET(self) -> None:
        if "watch" not in self.path:
            self._answer(b'{"items": [1, 2, 3]}')
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in (b"1\n", b"2\n", b"3\n", b"4\n"):
            self.wfile.write(b"2\r\n%s\r\n" % line)
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(f"http://127.0.0.1:{server.server_port}") as proxy:
        yield proxy


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False, timeout=5) as pool:
        yield pool


def post(http: urllib3.PoolManager, proxy: Proxy) -> int:
    return http.request("POST", f"{proxy.url}/v2.0/ports", body=b"{}").status


def watch(http: urllib3.PoolManager, proxy: Proxy) -> bytes:
    return http.request("GET", f"{proxy.url}/api/v1/pods?watch=true").data


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/v2.0/ports?fields=id", "GET ports"),
        ("PUT", "/v2.0/ports/0b/tags", "PUT ports/tags"),
        ("PUT", "/v2.0/routers/0b/add_router_interface", "PUT routers/add_router_interface"),
        ("GET", "/v2.0/quotas/p/details", "GET quotas/details"),
        ("POST", "/v3/auth/tokens", "POST auth/tokens"),
        ("GET", "/api/v1/pods?limit=500", "GET pods"),
        ("GET", "/api/v1/pods?watch=true&resourceVersion=1", "WATCH pods"),
        ("GET", "/api/v1/namespaces/kube-system", "GET namespaces"),
        ("POST", "/apis/kuryr.openstack.org/v1/namespaces/shop/kuryrports", "POST kuryrports"),
        ("PUT", "/apis/kuryr.openstack.org/v1/namespaces/shop/kuryrports/web/status", "PUT kuryrports/status"),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x", "PUT leases"),
        ("GET", "/", "GET "),
    ],
)
def test_calls_are_told_apart_by_method_and_resource(method: str, target: str, kind: str) -> None:
    assert kind_of(method, target) == kind


def test_without_rules_everything_passes(server: Server, proxy: Proxy, http: urllib3.PoolManager) -> None:
    assert post(http, proxy) == 200
    assert http.request("GET", f"{proxy.url}/api/v1/pods").json() == {"items": [1, 2, 3]}
    assert watch(http, proxy) == b"1\n2\n3\n4\n"
    assert server.posts == 1
    assert [call.kind for call in proxy.calls] == ["POST ports", "GET pods", "WATCH pods"]
    assert proxy.injected == []


def test_an_answer_of_the_tests_own_is_not_forwarded(server: Server, proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.add(Rule(neutron_error(429, Retry_After="7"), kind="POST ports"))

    answer = http.request("POST", f"{proxy.url}/v2.0/ports", body=b"{}")

    assert (answer.status, answer.headers["Retry-After"], answer.json()["NeutronError"]["type"]) == (
        429,
        "7",
        "HTTP429",
    )
    assert (server.posts, post(http, proxy), server.posts) == (0, 200, 1)
    assert proxy.injected == [("429", "POST ports")]


@pytest.mark.parametrize(
    ("fault", "forwarded"), [(Silence(0.05), 0), (Swallow(0.05), 1), (Refuse(0.05), 0), (Cut(), 1)]
)
def test_a_call_without_an_answer(
    server: Server, proxy: Proxy, http: urllib3.PoolManager, fault: Fault, forwarded: int
) -> None:
    proxy.add(Rule(fault))

    with pytest.raises(urllib3.exceptions.ProtocolError):
        post(http, proxy)

    assert server.posts == forwarded
    assert proxy.injected == [(fault.name, "POST ports")]


def test_while_it_refuses_nobody_listens(proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.add(Rule(Refuse(2.0)))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        post(http, proxy)

    def outcome() -> object:
        """Connections are reset until it has stopped to listen."""
        try:
            return post(http, proxy)
        except urllib3.exceptions.HTTPError as failure:
            return type(failure)

    eventually(lambda: outcome() is urllib3.exceptions.NewConnectionError)
    eventually(lambda: outcome() == 200)


def test_a_rule_lets_calls_pass_then_acts_so_often(proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.add(Rule(Answer(503), kind="POST .*", skip=1, times=2), Rule(Answer(400), kind="GET .*", times=0))

    assert [post(http, proxy) for _ in range(4)] == [200, 503, 503, 200]
    assert [http.request("GET", proxy.url).status for _ in range(3)] == [400] * 3
    assert proxy.waiting() == []
    assert proxy.count("POST .*") == 4


def test_a_call_is_delayed_or_acted_in(server: Server, proxy: Proxy, http: urllib3.PoolManager) -> None:
    seen: list[int] = []
    proxy.add(Rule(Delay(0.01)), Rule(Hook(lambda: seen.append(server.posts), lambda: seen.append(server.posts))))

    assert (post(http, proxy), post(http, proxy)) == (200, 200)
    assert seen == [1, 2]
    assert proxy.injected == [("delayed", "POST ports")]


@pytest.mark.parametrize(
    ("fault", "received"),
    [
        (lost(every=2), b"1\n3\n"),
        (lost(), b""),
        (doubled(), b"1\n1\n2\n2\n3\n3\n4\n4\n"),
        (swapped(), b"2\n1\n4\n3\n"),
    ],
)
def test_the_events_of_a_watch_are_edited(
    proxy: Proxy, http: urllib3.PoolManager, fault: Fault, received: bytes
) -> None:
    proxy.add(Rule(fault, kind="WATCH pods"))

    assert watch(http, proxy) == received
    assert watch(http, proxy) == b"1\n2\n3\n4\n"


def test_a_stream_is_cut_in_the_middle(proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.add(Rule(Cut(lines=2), kind="WATCH pods"))
    answer = http.request("GET", f"{proxy.url}/api/v1/pods?watch=true", preload_content=False)

    received = []
    with pytest.raises(urllib3.exceptions.ProtocolError):
        received += [answer.read1() for _ in range(9)]
    assert proxy.injected == [("cut", "WATCH pods")]


def test_a_list_is_shortened(proxy: Proxy, http: urllib3.PoolManager) -> None:
    proxy.add(Rule(shortened("items", keep=1), kind="GET pods"))

    assert http.request("GET", f"{proxy.url}/api/v1/pods").json() == {"items": [1]}
