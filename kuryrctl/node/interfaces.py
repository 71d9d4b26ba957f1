"""What rtnetlink does not do for an interface: checksum offload, sysctls, and announcing its addresses.

Every function acts in the network namespace of the calling thread (`namespaces.entered`).
"""

from __future__ import annotations

import array
import fcntl
import queue
import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17  # linux/ethtool.h: struct ethtool_value of TX checksumming, and with it TSO
_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_BROADCAST, _ALL_NODES_MAC = b"\xff" * 6, bytes.fromhex("333300000001")
_ALL_NODES = IPv6Address("ff02::1")
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT, _OVERRIDE, _TARGET_LINK_ADDRESS = 58, 136, 0x20000000, 2


def checksum_offload_off(name: str) -> None:
    """Have the kernel compute transmit checksums itself: the userspace datapath forwards packets as they are.

    With offload on, ping works and TCP and UDP silently do not.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        value = array.array("B", struct.pack("=II", _ETHTOOL_STXCSUM, 0))
        fcntl.ioctl(control.fileno(), _SIOCETHTOOL, struct.pack("16sP", name.encode(), value.buffer_info()[0]))


def set_sysctl(path: str, value: str) -> None:
    """Write ``net/…`` of this namespace; FileNotFoundError when the kernel does not have it."""
    Path("/proc/sys/net", path).write_text(value)


def keep_silent(name: str) -> None:
    """A port of a switch is no host: no IPv6 address, no router solicitation from the node's end of a veth pair."""
    with suppress(FileNotFoundError):  # a kernel without IPv6
        set_sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")


def static_ipv6(name: str) -> None:
    """IPv6 as assigned: on (runtimes turn it off), no router advertisements, addresses usable without DAD."""
    for key, value in (("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0")):
        set_sysctl(f"ipv6/conf/{name}/{key}", value)


def announce(name: str, mac: str, addresses: Iterable[str]) -> None:
    """Tell the link who has the addresses: gratuitous ARP (RFC 5227), unsolicited neighbour advertisement (RFC 4861).

    Without it a peer that knew another MAC for a re-used address sends into the void for up to 31 s.
    """
    hardware = bytes.fromhex(mac.replace(":", ""))
    # Protocol 0 receives nothing, so bind does not wait; closing waits 10-20 ms for an RCU grace period.
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        for text in addresses:
            address = ip_address(text.partition("/")[0])
            if isinstance(address, IPv4Address):
                link.sendto(gratuitous_arp(hardware, address), (name, _ETH_P_ARP))
            else:
                link.sendto(neighbour_advertisement(hardware, address), (name, _ETH_P_IPV6))
    finally:
        _closer().put(link)


def gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    """The Ethernet frame of an ARP request for the sender's own address."""
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + address.packed + bytes(6) + address.packed
    return _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + arp


def neighbour_advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """The Ethernet frame of an unsolicited advertisement to all nodes that overrides what they knew."""
    option = struct.pack("!BB", _TARGET_LINK_ADDRESS, 1) + mac
    body = struct.pack("!I", _OVERRIDE) + address.packed + option
    length = 4 + len(body)
    pseudo = address.packed + _ALL_NODES.packed + struct.pack("!II", length, _ICMPV6)
    head = struct.pack("!BB", _NEIGHBOUR_ADVERTISEMENT, 0)
    checksum = internet_checksum(pseudo + head + b"\0\0" + body)
    header = struct.pack("!IHBB", 0x60000000, length, _ICMPV6, 255) + address.packed + _ALL_NODES.packed
    return _ALL_NODES_MAC + mac + struct.pack("!H", _ETH_P_IPV6) + header + head + struct.pack("!H", checksum) + body


def internet_checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@cache
def _closer() -> queue.SimpleQueue[socket.socket]:
    """Where sockets whose closing takes long are put; one thread closes them."""
    closing: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()

    def run() -> None:
        while True:
            closing.get().close()

    threading.Thread(target=run, name="socket-closer", daemon=True).start()
    return closing
