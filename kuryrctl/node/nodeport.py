"""The node port: the node's own foot in the pod network, an internal port of the integration bridge.

Kubelet probes and host processes reach the pods through it. It is kept as the KuryrNode says: plugged, addressed,
routed; what somebody changed by hand is put right. Only its routes are set, never a default one.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import Final

from kuryrctl.core.assign import NODE_INTERFACE
from kuryrctl.core.cluster import Interface
from kuryrctl.node import changes, interfaces
from kuryrctl.node.binder import covers
from kuryrctl.node.changes import Change, State
from kuryrctl.node.netlink import Link, Netlink
from kuryrctl.node.ovs import INSTALL_TIMEOUT_S
from kuryrctl.node.ovsdb import Attachment, Ovsdb

NAME: Final = NODE_INTERFACE


def keep(ovsdb: Ovsdb, node: str, wanted: Interface, *, timeout_s: float = INSTALL_TIMEOUT_S) -> bool:
    """Make the node port as wanted; whether anything had to be done. Raises KuryrError."""
    plugged = _plug(ovsdb, _attachment(node, wanted), timeout_s)
    with Netlink() as host:
        link = host.link(NAME)
        index = host.index_of(NAME) if link is None else link.index
        todo = list(_differences(host, index, link, wanted))
        if not (plugged or todo):
            return False
        if any(":" in address for address in wanted.addresses):
            interfaces.static_ipv6(NAME)
        if todo:
            host.apply(*todo)
    interfaces.announce(NAME, wanted.mac_address, wanted.addresses)
    return True


def _plug(ovsdb: Ovsdb, wanted: Attachment, timeout_s: float) -> bool:
    known = ovsdb.attachment(NAME)
    if known is not None and (known.mac, known.node) != (wanted.mac, wanted.node):
        ovsdb.unplug(known)
        known = None
    if known is None:
        ovsdb.plug_and_wait(wanted, timeout_s)
        return True
    if known.mtu != wanted.mtu:
        ovsdb.set_mtu(NAME, wanted.mtu)
    if known.port_id != wanted.port_id:
        ovsdb.repoint(NAME, wanted.port_id, timeout_s)
    return (known.mtu, known.port_id) != (wanted.mtu, wanted.port_id)


def _differences(host: Netlink, index: int, link: Link | None, wanted: Interface) -> Iterator[Change]:
    """The changes that make the device as wanted, in an order that works."""
    if link is None or link.mac != wanted.mac_address or link.mtu != wanted.mtu or not link.up:
        yield changes.set_link(index, mac=wanted.mac_address, mtu=wanted.mtu, state=State.UP)
    want = {str(ip_interface(address)) for address in wanted.addresses}
    have = {address.address for address in host.addresses(index) if not address.link_local}
    for address in sorted(have - want):
        yield changes.delete_address(index, address)
    for address in sorted(want - have):
        yield changes.add_address(index, address)
    routes = {(str(ip_network(route.destination)), str(ip_address(route.gateway))): route for route in wanted.routes}
    there = {(route.destination, route.gateway) for route in host.routes() if route.index == index and route.gateway}
    for destination, gateway in sorted(there - set(routes)):
        yield changes.delete_route(destination, index=index, gateway=gateway)
    for key in sorted(set(routes) - there):
        on_link = not covers(wanted, routes[key].gateway)
        yield changes.add_route(key[0], index=index, gateway=key[1], on_link=on_link)


def _attachment(node: str, wanted: Interface) -> Attachment:
    return Attachment(
        name=NAME,
        port_id=wanted.port_id,
        mac=wanted.mac_address,
        addresses=wanted.addresses,
        ifname=NAME,
        node=node,
        mtu=wanted.mtu,
    )
