"""Keystone, Neutron and an API server on one port of 127.0.0.1, with a `World` behind them: the process of `serving`.

They answer lists from memory, keep watches open in silence, and keep Leases. Everything else that would write is
refused, and counted.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from bench.serving import LEASES, PROJECT
from bench.world import World

WATCH_S = 3600.0
_KUBE = (
    "/api/v1/",
    "/apis/kuryr.openstack.org/v1/",
    "/apis/networking.k8s.io/v1/",
    "/apis/discovery.k8s.io/v1/",
)


class Handler(BaseHTTPRequestHandler):
    """One connection. `all_fields`: ports are shown whole, whatever fields were asked for."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer's head and body in one packet: else Nagle's algorithm waits 40 ms between them
    world: World
    all_fields = False
    lists: ClassVar[dict[str, list[bytes]]] = {}
    leases: ClassVar[dict[str, dict[str, Any]]] = {}
    seen: ClassVar[Counter[str]] = Counter()
    lock: ClassVar = threading.Lock()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/bench/requests":
            self._answer(200, self.seen)
            return
        self._count("WATCH" if "watch" in query else "GET", url.path)
        path = url.path.removeprefix("/kube")
        if url.path.startswith("/network"):
            self._neutron(url.path.removeprefix("/network").removeprefix("/v2.0").strip("/"), query)
        elif url.path.startswith("/identity"):
            link = {"rel": "self", "href": f"{self._url}/identity/v3/"}
            self._answer(200, {"version": {"id": "v3.14", "status": "stable", "links": [link]}})
        elif path.startswith(_KUBE) and "watch" in query:
            self._watch()
        elif path.startswith(_KUBE):
            self._page(path, query)
        elif path.rpartition("/")[2] in self.leases:
            self._answer(200, self.leases[path.rpartition("/")[2]])
        else:
            status = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            self._answer(404, status | {"details": {"name": path.rpartition("/")[2]}})

    def do_POST(self) -> None:
        self._write("POST")

    def do_PUT(self) -> None:
        self._write("PUT")

    def do_PATCH(self) -> None:
        self._write("PATCH")

    def do_DELETE(self) -> None:
        self._write("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    # -- what is read

    def _neutron(self, resource: str, query: Mapping[str, list[str]]) -> None:
        if not resource:
            link = {"rel": "self", "href": f"{self._url}/network/v2.0/"}
            self._answer(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})
            return
        if resource.startswith("quotas/"):
            self._answer(200, {"quota": {}})
            return
        plural = resource.replace("-", "_")
        items = [json.dumps(item).encode() for item in self.world.cloud(plural)]
        if resource == "ports":
            fields = () if self.all_fields else tuple(query.get("fields", ()))
            ours = b"kuryr:cluster="
            if "not-tags" in query:
                items = [item for item in items if ours not in item]
            else:
                items = [item for item in items if ours in item] + self._cached(f"ports {fields}", fields)
        self._send(200, b'{"%s":[%s]}' % (plural.encode(), b",".join(items)))

    def _page(self, path: str, query: Mapping[str, list[str]]) -> None:
        items = self._cached(path.rpartition("/")[2])
        begin = int(query.get("continue", ["0"])[0])
        end = begin + int(query.get("limit", ["1000000"])[0])
        more = str(end) if end < len(items) else ""
        meta = json.dumps({"resourceVersion": "4711", "continue": more}).encode()
        self._send(200, b'{"kind":"List","metadata":%s,"items":[%s]}' % (meta, b",".join(items[begin:end])))

    def _watch(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        self.connection.settimeout(WATCH_S)
        self.rfile.read(1)  # returns when the client goes away

    def _cached(self, name: str, fields: tuple[str, ...] = ()) -> list[bytes]:
        with self.lock:
            if name not in self.lists:
                made = self.world.ports(fields) if name.startswith("ports") else self.world.cluster(name)
                self.lists[name] = made
            return self.lists[name]

    # -- what is written

    def _write(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self._count(method, path)
        if path.startswith("/identity"):
            interface = {"interface": "public", "region": "bench", "region_id": "bench", "url": f"{self._url}/network"}
            service = {"type": "network", "name": "neutron", "id": "n", "endpoints": [interface | {"id": "e"}]}
            token = {
                "methods": ["password"],
                "user": {"id": "u", "name": "kuryr", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": PROJECT, "name": PROJECT, "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": "r", "name": "kuryr"}],
                "catalog": [service],
                "issued_at": "2026-11-23T00:00:00.000000Z",
                "expires_at": "2036-11-23T00:00:00.000000Z",
            }
            self._answer(201, {"token": token}, {"X-Subject-Token": "bench"})
        elif path.startswith(f"/kube{LEASES}"):
            lease = json.loads(body)
            lease["metadata"]["resourceVersion"] = str(sum(self.seen.values()))
            self.leases[lease["metadata"]["name"]] = lease
            self._answer(201, lease)
        else:
            self._answer(403, {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403})

    # -- how

    @property
    def _url(self) -> str:
        return f"http://{self.headers['Host']}"

    def _count(self, method: str, path: str) -> None:
        with self.lock:
            self.seen[f"{method} {path.removeprefix('/kube')}"] += 1

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def main() -> None:
    """Serve until SIGTERM; the first line of stdout is the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pods", type=int)
    parser.add_argument("--served", action="store_true")
    parser.add_argument("--all-fields", action="store_true")
    given = parser.parse_args()
    Handler.world = World(given.pods, served=given.served)
    Handler.all_fields = given.all_fields
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
