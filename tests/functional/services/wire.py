"""Requests from network namespaces of the lab: pods', the VM's, the nodes' and the root one's. Real packets, no tool.

A request opens a connection of its own, so that each one is balanced anew.
"""

from __future__ import annotations

import http.client
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from kuryrctl.lab.kubernetes.cgroups import hierarchies
from kuryrctl.lab.layout import NETNS_DIR, Layout
from kuryrctl.node import namespaces

A, AAAA = 1, 28  # RFC 1035, RFC 3596


class Client(NamedTuple):
    """Somebody who asks; `netns` is the path of the network namespace, empty for that of the tests."""

    name: str
    netns: str = ""

    def fetch(self, address: str, port: int, path: str = "/hostname", timeout_s: float = 3.0) -> str:
        """The body of a 200 answer by HTTP. Raises OSError for none, AssertionError for another one."""
        connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
        with self.within():
            connection.connect()
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"{address} port {port} cut its answer short: {error!r}") from error
        finally:
            connection.close()
        assert answer.status == 200, (self.name, answer.status, body)
        return body

    def reaches(self, address: str, port: int, timeout_s: float = 3.0) -> bool:
        """Whether there is an answer by HTTP at all."""
        try:
            self.fetch(address, port, timeout_s=timeout_s)
        except OSError:
            return False
        return True

    def opens(self, address: str, port: int, timeout_s: float = 1.0) -> bool:
        """Whether a TCP connection is accepted."""
        with self._socket(address, socket.SOCK_STREAM, timeout_s) as channel:
            return channel.connect_ex((address, port)) == 0

    def names(self, address: str, port: int, times: int) -> set[str]:
        """The host names of who answered so many requests."""
        return {self.fetch(address, port) for _ in range(times)}

    def says(self, address: str, port: int, text: bytes, timeout_s: float = 3.0) -> bytes:
        """The answer to one datagram. Raises OSError for none."""
        with self._socket(address, socket.SOCK_DGRAM, timeout_s) as channel:
            channel.connect((address, port))
            channel.send(text)
            return channel.recv(4096)

    def hears(self, address: str, port: int, timeout_s: float = 3.0) -> bool:
        """Whether a datagram is answered."""
        try:
            return bool(self.says(address, port, b"hostname", timeout_s))
        except OSError:
            return False

    def looks_up(self, server: str, name: str, kind: int = A, *, tcp: bool = False) -> list[str]:
        """The addresses of a name, asked of that DNS server. Raises OSError for no answer."""
        query = struct.pack("!6H", secrets.randbelow(1 << 16), 0x0100, 1, 0, 0, 0)
        query += b"".join(struct.pack("B", len(label)) + label.encode() for label in name.split(".")) + b"\0"
        query += struct.pack("!2H", kind, 1)
        if not tcp:
            return _addresses(self.says(server, 53, query), len(query))
        with self._socket(server, socket.SOCK_STREAM, 3.0) as channel:
            channel.connect((server, 53))
            channel.sendall(struct.pack("!H", len(query)) + query)
            answer = channel.makefile("rb")
            return _addresses(answer.read(struct.unpack("!H", answer.read(2))[0]), len(query))

    def within(self) -> Any:
        """For as long as it lasts this thread is in that network namespace; a socket stays where it was made."""
        return namespaces.entered(self.netns) if self.netns else nullcontext()

    def _socket(self, address: str, kind: socket.SocketKind, timeout_s: float) -> socket.socket:
        with self.within():
            made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        made.settimeout(timeout_s)
        return made


def _addresses(answer: bytes, question: int) -> list[str]:
    """The records of an answer that are addresses; a name ends with an empty label or a pointer (RFC 1035, 4.1.4)."""
    found = []
    (count,) = struct.unpack_from("!H", answer, 6)
    at = question
    for _ in range(count):
        while 0 < answer[at] < 0xC0:
            at += 1 + answer[at]
        at += 2 if answer[at] else 1
        kind, _, _, length = struct.unpack_from("!2HIH", answer, at)
        data = answer[at + 10 : at + 10 + length]
        if kind in (A, AAAA):
            found.append(str((IPv4Address if kind == A else IPv6Address)(data)))
        at += 10 + length
    return found


OUTSIDE = Client("outside")  # the root namespace has the external network's gateway
VM = Client("the VM", str(NETNS_DIR / "lab-vm"))


def inside(pod: Mapping[str, Any], layout: Layout) -> Client:
    """A client in the pod's own network namespace."""
    name, node, uid = pod["metadata"]["name"], pod["spec"]["nodeName"], pod["metadata"]["uid"]
    for hierarchy in hierarchies():
        for file in (hierarchy / layout.cgroup(node)).glob(f"kubepods/**/pod{uid}/*/cgroup.procs"):
            for pid in file.read_text().split():
                return Client(name, f"/proc/{pid}/ns/net")
    raise AssertionError(f"no process of pod {name} on {node}")


class Heard:
    """What a stream of requests met: who answered, and which requests failed, as (seconds since its start, why)."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.failed: list[tuple[float, str]] = []
        self.count = 0


@contextmanager
def asking(client: Client, address: str, port: int) -> Iterator[Heard]:
    """One request after the other for as long as this lasts."""
    heard, over, began = Heard(), threading.Event(), time.monotonic()

    def ask() -> None:
        while not over.wait(0.02):
            at = time.monotonic() - began
            try:
                heard.names.add(client.fetch(address, port))
            except (OSError, AssertionError) as error:
                heard.failed.append((round(at, 1), repr(error)))
            heard.count += 1

    thread = threading.Thread(target=ask, name=f"{client.name} asks")
    thread.start()
    try:
        yield heard
    finally:
        over.set()
        thread.join()


def is_ipv6(address: str) -> bool:
    return ip_address(address).version == 6
