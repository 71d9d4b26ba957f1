"""The lab's VM-like endpoint: a Neutron port `compute:nova` bound to node2, with a namespace of its own behind it.

To Neutron, OVN and the pods it is a virtual machine of another tool. The pod network is made by
`kuryrctl cluster init`, so the endpoint comes after it.
"""

from typing import Any

import msgspec

from kuryrctl.lab import layout as places
from kuryrctl.lab.network import links, ports
from kuryrctl.lab.network.chassis import Chassis
from kuryrctl.lab.openstack import password
from kuryrctl.lab.openstack.api import Network
from kuryrctl.lab.stages import Context

NAME = "lab-vm"
NETNS = "lab-vm"
DEVICE_OWNER = "compute:nova"
LINK = "tap-lab-vm"  # on node2's integration bridge
NODE = places.NODES[1]


class Vm(msgspec.Struct, frozen=True):
    """The endpoint as it stands: its Neutron port, and its addresses (IPv4 before IPv6)."""

    port_id: str
    addresses: tuple[str, ...]
    netns: str = NETNS


def vm_up(context: Context, network_id: str) -> Vm:
    """Give the endpoint a port on that network, with one address of each of its address families, and plug it.

    Idempotent: a port that is there is used again. Returns when OVN has installed its flows on node2.
    """
    cloud = Network("admin", password(context.layout))
    port = ports.opened(cloud, network_id, NAME, DEVICE_OWNER, NODE.name)
    feet = ports.feet(cloud, port)
    _plug(context, port, ports.mtu_bytes(cloud, network_id))
    commands = []
    for foot in feet:
        commands.append(foot.address_command("eth0"))
        if foot.gateway:
            commands.append(f"route replace {foot.everywhere} via {foot.gateway} dev eth0")
    links.ip(*commands, netns=NETNS)
    return Vm(port["id"], tuple(foot.address for foot in feet))


def _plug(context: Context, port: dict[str, Any], mtu: int) -> None:
    """A veth from the endpoint's namespace into node2's integration bridge, as the port."""
    layout, chassis = context.layout, Chassis(NODE.name, NODE)
    links.ensure_namespace(NETNS)
    if not (links.exists(LINK, NODE.netns) and links.exists("eth0", NETNS)):
        if links.exists(LINK, NODE.netns):
            links.ip(f"link del {LINK}", netns=NODE.netns)
        links.ensure_veth(LINK, "eth0", NETNS)
        links.ip(f"link set {LINK} netns {NODE.netns}")
    links.ip(f"link set {LINK} arp off up", netns=NODE.netns)
    ports.plug(layout, chassis, LINK, port)
    links.sysctl(NETNS, net__ipv6__conf__all__accept_ra=0, net__ipv6__conf__eth0__accept_ra=0)
    links.ip(f"link set eth0 address {port['mac_address']} mtu {mtu} up", netns=NETNS)
    ports.wait_installed(layout, chassis, LINK)


def vm_down(context: Context) -> None:
    """Unplug the endpoint and remove its namespace; its Neutron port stays, to be used again."""
    chassis = Chassis(NODE.name, NODE)
    ports.unplug(context, chassis, LINK)
    links.remove_namespace(NETNS)
    links.remove_links([LINK])
