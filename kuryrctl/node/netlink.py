"""The network stack of one namespace: read it, and change it in batches, over one rtnetlink socket.

pyroute2 encodes and decodes the messages; the socket is our own: pyroute2's brings an event loop (0.5 ms to open), its
`NetNS` forks (6.4 ms), and one `sendmsg` for all changes of an interface is a third of a cold ADD's kernel time.
The socket stays in the namespace it was opened in, whatever thread uses it later. One thread at a time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import nullcontext
from ipaddress import ip_interface, ip_network
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import Struct
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kuryrctl.core.errors import KuryrError, Owner
from kuryrctl.node import changes, namespaces
from kuryrctl.node.changes import Change

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id (struct nlmsghdr)
_RECEIVE_BYTES = 1 << 20
_TIMEOUT_S = 10.0
_RT_TABLE_MAIN, _RTN_UNICAST = 254, 1
_LOOPBACK_INDEX = 1


class NetlinkError(KuryrError):
    """The kernel refused a change or a question; `errno` is its answer (errno(3))."""

    def __init__(self, what: str, errno_: int) -> None:
        super().__init__(f"{what}: {os.strerror(errno_)}", code="NODE-NETLINK", owner=Owner.NODE)
        self.errno = errno_


class Link(Struct, frozen=True):
    """A network device. `peer_index` is the other end of a veth pair (in its own namespace), else 0."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    arp: bool
    master: int = 0
    peer_index: int = 0
    alias: str = ""


class Address(Struct, frozen=True):
    """An address of a link, ``ADDRESS/PREFIX``; not the link-local one that the kernel makes."""

    index: int
    address: str
    link_local: bool = False


class RouteEntry(Struct, frozen=True):
    """A unicast route of the main table; an empty gateway: on the link."""

    destination: str
    gateway: str
    index: int


class Neighbour(Struct, frozen=True):
    """A neighbour entry."""

    index: int
    address: str
    mac: str


class Netlink:
    """One namespace's stack; None: the caller's own. Use it with ``with``, or close it."""

    def __init__(self, namespace: int | Path | str | None = None) -> None:
        with namespaces.entered(namespace) if namespace is not None else nullcontext():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    # --- reading ---
    def link(self, name: str) -> Link | None:
        """The link called `name`, or None."""
        message = ifinfmsg()
        message["attrs"] = [("IFLA_IFNAME", name)]
        try:
            found = self._ask(f"link {name}", message, RTM_GETLINK, 0)
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(found[0])

    def links(self) -> list[Link]:
        """Every link."""
        return [_link(message) for message in self._ask("links", ifinfmsg(), RTM_GETLINK, NLM_F_DUMP)]

    def addresses(self, index: int) -> list[Address]:
        """The addresses of a link."""
        found = self._ask("addresses", ifaddrmsg(), RTM_GETADDR, NLM_F_DUMP)
        return [_address(message) for message in found if message["index"] == index]

    def routes(self) -> list[RouteEntry]:
        """The unicast routes of the main table, of both families."""
        found: list[RouteEntry] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            message = rtmsg()
            message["family"] = family
            found += _routes(self._ask("routes", message, RTM_GETROUTE, NLM_F_DUMP))
        return found

    def neighbours(self, index: int) -> list[Neighbour]:
        """The neighbours of a link whose MAC is known."""
        found = self._ask("neighbours", ndmsg(), RTM_GETNEIGH, NLM_F_DUMP)
        return [
            Neighbour(index, message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR"))
            for message in found
            if message["ifindex"] == index and message.get_attr("NDA_LLADDR") and message.get_attr("NDA_DST")
        ]

    # --- changing ---
    def apply(self, *wanted: Change) -> None:
        """Send all changes at once, in order. NetlinkError names the first one refused; later ones are still done."""
        first = self._sequence + 1
        packet = b""
        for change in wanted:
            self._sequence += 1
            length, kind, flags, _, port = _HEADER.unpack_from(change.encoded)
            packet += _HEADER.pack(length, kind, flags, self._sequence, port)
            packet += change.encoded[_HEADER.size :] + bytes(-len(change.encoded) % 4)
        self._socket.send(packet)
        refused: dict[int, int] = {}
        waiting = len(wanted)
        while waiting:
            for kind, sequence, body in self._receive():
                if kind == _NLMSG_ERROR and sequence >= first:
                    waiting -= 1
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        refused[sequence] = number
        if refused:
            sequence = min(refused)
            raise NetlinkError(wanted[sequence - first].what, refused[sequence])

    def index_of(self, name: str) -> int:
        """Index of the link called `name`; NetlinkError ENODEV when there is none."""
        found = self.link(name)
        if found is None:
            raise NetlinkError(f"link {name}", errno.ENODEV)
        return found.index

    def delete(self, name: str) -> bool:
        """Without the link called `name`; whether there was one."""
        found = self.link(name)
        return found is not None and self.delete_index(found.index)

    def delete_index(self, index: int) -> bool:
        """Without the link of that index; whether there was one."""
        try:
            self.apply(changes.delete_link(index))
        except NetlinkError as error:
            if error.errno != errno.ENODEV:  # somebody else, or the end of its namespace, was faster
                raise
            return False
        return True

    def loopback_up(self) -> Change:
        """The change that brings lo up."""
        return changes.set_link(_LOOPBACK_INDEX, state=changes.State.UP)

    # --- the wire ---
    def _ask(self, what: str, message: Any, kind: int, flags: int) -> list[Any]:
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = NLM_F_REQUEST | flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        self._socket.send(bytes(message.data))
        answers: list[Any] = []
        while True:
            for answer_kind, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if answer_kind == _NLMSG_ERROR:
                    raise NetlinkError(what, -struct.unpack_from("=i", body)[0])
                if answer_kind == _NLMSG_DONE:
                    return answers
                answer = type(message)(_HEADER.pack(_HEADER.size + len(body), answer_kind, 0, sequence, 0) + body)
                answer.decode()
                answers.append(answer)
                if not flags & NLM_F_DUMP:
                    return answers

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        offset = 0
        while offset < len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
            yield kind, sequence, data[offset + _HEADER.size : offset + length]
            offset += (length + 3) & ~3


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=(info.get_attr("IFLA_INFO_KIND") if info else "") or "",
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & 0x1),
        arp=not message["flags"] & 0x80,
        master=message.get_attr("IFLA_MASTER") or 0,
        peer_index=message.get_attr("IFLA_LINK") or 0,
        alias=message.get_attr("IFLA_IFALIAS") or "",
    )


def _address(message: Any) -> Address:
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    parsed = ip_interface(f"{text}/{message['prefixlen']}")
    return Address(message["index"], str(parsed), parsed.version == 6 and parsed.is_link_local)


def _routes(messages: list[Any]) -> Iterator[RouteEntry]:
    for message in messages:
        table = message.get_attr("RTA_TABLE") or message["table"]
        if table != _RT_TABLE_MAIN or message["type"] != _RTN_UNICAST:
            continue
        anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
        destination = ip_network(f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}")
        index = message.get_attr("RTA_OIF") or 0
        yield RouteEntry(str(destination), message.get_attr("RTA_GATEWAY") or "", index)
