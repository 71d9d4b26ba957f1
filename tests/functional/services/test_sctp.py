"""SCTP through a Service: this kernel has no SCTP sockets, so both ends speak it by raw ones, packet by packet.

Each association comes from a port of its own: conntrack remembers what was sent before the load balancer was there, and
sends all that follows from the same port the same way, to nobody (docs/service-mapping.md).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count, product
from typing import NamedTuple

from tests.functional.lab import addresses, wait_for
from tests.functional.services.shop import BOTH, PATIENT_S, WEB, Shop
from tests.functional.services.wire import Client, inside, is_ipv6

PORT, TARGET_PORT, ANOTHER = 7000, 7001, 7002
TAG = 0x1234567
INIT = struct.pack("!BBHIIHHI", 1, 0, 20, TAG, 65536, 1, 1, 1)
ABORT = struct.pack("!BBH", 6, 0, 4)
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: one-port, namespace: {namespace}}}
spec: {{podSelector: {{matchLabels: {{app: web}}}}, ingress: [{{ports: [{{port: {port}, protocol: SCTP}}]}}]}}
"""


def packet(source_port: int, target_port: int, tag: int, chunk: bytes) -> bytes:
    """The common header, with its checksum, and one chunk (RFC 9260, 3)."""
    head = struct.pack("!HHI", source_port, target_port, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def crc32c(data: bytes) -> int:
    """RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def raw(client: Client, address: str) -> socket.socket:
    """A socket that hears all SCTP of the client's namespace in the address' IP version."""
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    with client.within():
        return socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_SCTP)


def heard(ears: Collection[socket.socket], expected: bytes, timeout_s: float) -> tuple[socket.socket, str] | None:
    """Who hears exactly this packet, and from which address; None when nobody does in time."""
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        for ear in select.select(ears, (), (), left)[0]:
            data, (source, *_) = ear.recvfrom(4096)
            at = 0 if ear.family == socket.AF_INET6 else (data[0] & 15) * 4  # the header is there in IPv4 only: raw(7)
            if data[at:] == expected:
                return ear, source
    return None


class Asked(NamedTuple):
    """An association that a server is asked for: from which address and port, and whose socket heard it."""

    source: str
    port: int
    ear: socket.socket


class Line(NamedTuple):
    """The socket of a client, those of the servers, with their names, and the ports to ask from."""

    mouth: socket.socket
    ears: dict[socket.socket, str]
    ports: Iterator[int]

    def ask(self, address: str, port: int, target_port: int, timeout_s: float) -> Asked | None:
        """Ask for an association there; None when no server hears it at the target port."""
        own = next(self.ports)
        self.mouth.sendto(packet(own, port, 0, INIT), (address, 0))
        arrival = heard(self.ears, packet(own, target_port, 0, INIT), timeout_s)
        return arrival and Asked(arrival[1], own, arrival[0])

    def refuse(self, asked: Asked, port: int, timeout_s: float) -> str | None:
        """Let the server refuse; the address from whose port the client hears it, None when it does not."""
        asked.ear.sendto(packet(TARGET_PORT, asked.port, TAG, ABORT), (asked.source, 0))
        arrival = heard([self.mouth], packet(port, asked.port, TAG, ABORT), timeout_s)
        return arrival and arrival[1]


@contextmanager
def line(shop: Shop, client: Client, address: str, ports: Iterator[int]) -> Iterator[Line]:
    """From the client to the servers, in the address' IP version."""
    servers = {
        pod["metadata"]["name"]: inside(pod, shop.lab.layout) for pod in shop.lab.pods(shop.namespace, "app=web")
    }
    with ExitStack() as opened:
        mouth = opened.enter_context(closing(raw(client, address)))
        ears = {opened.enter_context(closing(raw(server, address))): name for name, server in servers.items()}
        yield Line(mouth, ears, ports)


def test_each_server_hears_the_client_at_its_own_port_and_answers_as_the_vip(shop: Shop) -> None:
    ports, sources = [{"port": PORT, "targetPort": TARGET_PORT, "protocol": "SCTP"}], count(40000)
    pods = {pod["metadata"]["name"]: addresses(pod) for pod in shop.lab.pods(shop.namespace)}
    shop.apply("sctp", {**BOTH, "selector": WEB, "ports": ports})
    vips = shop.addresses("sctp")
    try:
        assert [is_ipv6(vip) for vip in vips] == [False, True]
        for vip, client in product(vips, shop.clients.values()):
            with line(shop, client, vip, sources) as to:
                all_answer(to, vip, pods[client.name], shop)
    finally:
        shop.delete("sctp")
    shop.gone(*vips)


def all_answer(to: Line, vip: str, own: list[str], shop: Shop) -> None:
    """Once one association arrives each does, and its answer; return when every server has had one."""
    wait_for(lambda: to.ask(vip, PORT, TARGET_PORT, 1.0) is not None, PATIENT_S, shop.told)
    answered: set[str] = set()

    def all_did() -> bool:
        asked = to.ask(vip, PORT, TARGET_PORT, 10.0)
        assert asked and asked.source in own, (vip, asked)
        assert to.refuse(asked, PORT, 10.0) == vip, (vip, asked)
        answered.add(to.ears[asked.ear])
        return answered == set(to.ears.values())

    wait_for(all_did, PATIENT_S, lambda: (answered, shop.told()))


def test_a_policy_lets_in_sctp_at_the_port_that_it_names_only(shop: Shop) -> None:
    server, sources = shop.lab.pods(shop.namespace, "app=web")[0], count(40000)

    def heard_at(port: int) -> set[bool]:
        """Whether the server hears the clients at that port, by each of its addresses."""
        found = set()
        for address, client in product(addresses(server), shop.clients.values()):
            with line(shop, client, address, sources) as to:
                found.add(to.ask(address, port, port, 2.0) is not None)
        return found

    assert heard_at(TARGET_PORT) == heard_at(ANOTHER) == {True}
    shop.lab.kubectl("apply", "-f", "-", stdin=POLICY.format(namespace=shop.namespace, port=TARGET_PORT))
    try:
        wait_for(lambda: heard_at(ANOTHER) == {False}, PATIENT_S, shop.told)
        wait_for(lambda: heard_at(TARGET_PORT) == {True}, PATIENT_S, shop.told)  # an INIT is sent once: it may be lost
        assert heard_at(ANOTHER) == {False}
    finally:
        shop.lab.kubectl("delete", "networkpolicy", "-n", shop.namespace, "one-port")
    wait_for(lambda: heard_at(ANOTHER) == {True}, PATIENT_S, shop.told)
