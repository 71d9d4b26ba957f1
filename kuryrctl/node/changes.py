"""Single changes of a network stack, as encoded rtnetlink messages (rtnetlink(7)); `netlink` sends them in batches.

Addresses and networks are text (``10.0.0.2/24``, ``fd00::2/64``), MACs colon-separated, MTUs bytes, links indexes.
Pure: opens nothing.
"""

from __future__ import annotations

import socket
from enum import StrEnum
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from msgspec import Struct
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

_IFF_UP, _IFF_NOARP = 0x1, 0x80
_IFA_F_NODAD = 0x2
_NUD_PERMANENT = 0x80
_RT_TABLE_MAIN, _RTPROT_STATIC, _RTN_UNICAST = 254, 4, 1
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 0, 253
_RTNH_F_ONLINK = 4

_NEW = NLM_F_CREATE | NLM_F_EXCL
_REPLACE = NLM_F_CREATE | NLM_F_REPLACE

_Attributes = list[tuple[str, Any]]


class Change(Struct, frozen=True):
    """One encoded request; `what` names it in errors. `netlink.Netlink.apply` puts the sequence number in."""

    what: str
    encoded: bytes


class State(StrEnum):
    """Whether a link is up."""

    UP = "up"
    DOWN = "down"


class Arp(StrEnum):
    """Whether the kernel answers and asks ARP on a link (IFF_NOARP)."""

    ON = "on"
    OFF = "off"


class VethEnd(Struct, frozen=True):
    """One end of a veth pair as it is born: nothing is moved between namespaces (20 ms).

    `namespace` is an open file descriptor; None: the namespace of the netlink socket. An empty MAC is chosen by the
    kernel, a `mtu` of 0 is its default.
    """

    name: str
    namespace: int | None = None
    mac: str = ""
    mtu: int = 0
    state: State = State.DOWN
    arp: Arp = Arp.ON


def add_veth(end: VethEnd, peer: VethEnd) -> Change:
    """A veth pair, both ends born where and as they are wanted (veth(4), RTM_NEWLINK with VETH_INFO_PEER)."""
    born = ifinfmsg()
    born["flags"] = born["change"] = _veth_flags(peer)
    data = {"index": 0, "flags": _veth_flags(peer), "change": _veth_flags(peer), "attrs": _veth_attributes(peer)}
    info = _link_info("veth", [("VETH_INFO_PEER", data)])
    return _link_change(
        f"add veth {end.name} with peer {peer.name}",
        RTM_NEWLINK,
        _NEW,
        _veth_attributes(end) + info,
        state=_veth_flags(end),
    )


def add_bridge(name: str, *, state: State = State.UP, mtu: int = 0) -> Change:
    """A kernel bridge, without spanning tree."""
    attributes: _Attributes = [("IFLA_IFNAME", name), *_link_info("bridge", [("IFLA_BR_STP_STATE", 0)])]
    if mtu:
        attributes.append(("IFLA_MTU", mtu))
    return _link_change(f"add bridge {name}", RTM_NEWLINK, _NEW, attributes, state=_IFF_UP if state is State.UP else 0)


def set_link(
    index: int,
    *,
    state: State | None = None,
    arp: Arp | None = None,
    name: str = "",
    mac: str = "",
    mtu: int = 0,
    master: int | None = None,
    namespace: int | None = None,
) -> Change:
    """What is given changes, the rest stays. `master` 0 takes the link out of its bridge; `namespace` moves it."""
    attributes: _Attributes = [
        (key, value)
        for key, value in (
            ("IFLA_IFNAME", name or None),
            ("IFLA_ADDRESS", mac or None),
            ("IFLA_MTU", mtu or None),
            ("IFLA_MASTER", master),
            ("IFLA_NET_NS_FD", namespace),
        )
        if value is not None
    ]
    flags, mask = 0, 0
    if state is not None:
        mask |= _IFF_UP
        flags |= _IFF_UP if state is State.UP else 0
    if arp is not None:
        mask |= _IFF_NOARP
        flags |= _IFF_NOARP if arp is Arp.OFF else 0
    return _link_change(f"change link {index}", RTM_NEWLINK, 0, attributes, state=flags, mask=mask, index=index)


def set_link_named(name: str, *, state: State) -> Change:
    """As `set_link`, by name: it can follow the link's creation in one batch."""
    return _link_change(
        f"change link {name}",
        RTM_NEWLINK,
        0,
        [("IFLA_IFNAME", name)],
        state=_IFF_UP if state is State.UP else 0,
        mask=_IFF_UP,
    )


def note_on_link(name: str, note: str) -> Change:
    """A note that the kernel keeps with the link called `name` (its alias). By name, so it can follow its creation."""
    return _link_change(f"note on link {name}", RTM_NEWLINK, 0, [("IFLA_IFNAME", name), ("IFLA_IFALIAS", note)])


def delete_link(index: int) -> Change:
    """Without the link; of a veth pair without both ends."""
    return _link_change(f"delete link {index}", RTM_DELLINK, 0, [], index=index)


def add_address(index: int, address: str) -> Change:
    """The address on the link, or as it was. IPv6 is usable at once: no duplicate address detection (RFC 4862)."""
    return _address_change(f"add address {address}", RTM_NEWADDR, _REPLACE, index, address)


def delete_address(index: int, address: str) -> Change:
    """The link without the address."""
    return _address_change(f"delete address {address}", RTM_DELADDR, 0, index, address)


def add_route(destination: str, *, index: int, gateway: str = "", on_link: bool = False) -> Change:
    """The route, in place of another one to the same destination. `on_link`: no address covers the gateway."""
    message = _route(destination, index, gateway)
    message["flags"] = _RTNH_F_ONLINK if on_link else 0
    return _encoded(f"add route {destination}" + _via(gateway), message, RTM_NEWROUTE, _REPLACE)


def delete_route(destination: str, *, index: int, gateway: str = "") -> Change:
    """Without the route."""
    message = _route(destination, index, gateway)
    return _encoded(f"delete route {destination}" + _via(gateway), message, RTM_DELROUTE, 0)


def add_neighbour(index: int, address: str, mac: str) -> Change:
    """A permanent neighbour entry."""
    message = _neighbour(index, address, [("NDA_LLADDR", mac)])
    return _encoded(f"add neighbour {address}", message, RTM_NEWNEIGH, _REPLACE)


def delete_neighbour(index: int, address: str) -> Change:
    """Without the neighbour entry."""
    return _encoded(f"delete neighbour {address}", _neighbour(index, address, []), RTM_DELNEIGH, 0)


def _veth_flags(end: VethEnd) -> int:
    return (_IFF_UP if end.state is State.UP else 0) | (_IFF_NOARP if end.arp is Arp.OFF else 0)


def _veth_attributes(end: VethEnd) -> _Attributes:
    attributes: _Attributes = [("IFLA_IFNAME", end.name)]
    if end.mac:
        attributes.append(("IFLA_ADDRESS", end.mac))
    if end.mtu:
        attributes.append(("IFLA_MTU", end.mtu))
    if end.namespace is not None:
        attributes.append(("IFLA_NET_NS_FD", end.namespace))
    return attributes


def _link_info(kind: str, data: _Attributes) -> _Attributes:
    return [("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]})]


def _link_change(
    what: str,
    kind: int,
    flags: int,
    attributes: _Attributes,
    *,
    state: int = 0,
    mask: int | None = None,
    index: int = 0,
) -> Change:
    message = ifinfmsg()
    message["index"], message["flags"], message["change"] = index, state, state if mask is None else mask
    message["attrs"] = attributes
    return _encoded(what, message, kind, flags)


def _address_change(what: str, kind: int, flags: int, index: int, address: str) -> Change:
    parsed = ip_interface(address)
    message = ifaddrmsg()
    message["index"], message["prefixlen"] = index, parsed.network.prefixlen
    attributes: _Attributes = [("IFA_LOCAL", str(parsed.ip)), ("IFA_ADDRESS", str(parsed.ip))]
    if parsed.version == 4:
        message["family"] = socket.AF_INET
        if kind == RTM_NEWADDR and parsed.network.prefixlen < 31:
            attributes.append(("IFA_BROADCAST", str(parsed.network.broadcast_address)))
    else:
        message["family"] = socket.AF_INET6
        attributes.append(("IFA_FLAGS", _IFA_F_NODAD))
    message["attrs"] = attributes
    return _encoded(what, message, kind, flags)


def _route(destination: str, index: int, gateway: str) -> Any:
    network = ip_network(destination)
    message = rtmsg()
    message["family"] = socket.AF_INET if network.version == 4 else socket.AF_INET6
    message["dst_len"], message["table"] = network.prefixlen, _RT_TABLE_MAIN
    message["proto"], message["type"] = _RTPROT_STATIC, _RTN_UNICAST
    message["scope"] = _RT_SCOPE_UNIVERSE if gateway or network.version == 6 else _RT_SCOPE_LINK
    attributes: _Attributes = [("RTA_OIF", index)]
    if network.prefixlen:
        attributes.append(("RTA_DST", str(network.network_address)))
    if gateway:
        attributes.append(("RTA_GATEWAY", gateway))
    message["attrs"] = attributes
    return message


def _via(gateway: str) -> str:
    return f" via {gateway}" if gateway else ""


def _neighbour(index: int, address: str, attributes: _Attributes) -> Any:
    message = ndmsg()
    message["family"] = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    message["ifindex"], message["state"] = index, _NUD_PERMANENT
    message["attrs"] = [("NDA_DST", address), *attributes]
    return message


def _encoded(what: str, message: Any, kind: int, flags: int) -> Change:
    message["header"]["type"] = kind
    message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
    message.encode()
    return Change(what, bytes(message.data))
