"""The lab's VM-like endpoint: a Neutron port `compute:nova` bound to node2, with a namespace of its own behind it.

To Neutron, OVN and the pods it is a virtual machine of another tool. The pod network is made by
`kuryrctl cluster init`, so the endpoint comes after it.
"""

from ipaddress import ip_network
from typing import Any

import msgspec

from kuryrctl.lab import layout as places
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.network import chassis as ovs
from kuryrctl.lab.network import links
from kuryrctl.lab.network.chassis import Chassis
from kuryrctl.lab.openstack import password
from kuryrctl.lab.openstack.api import Network
from kuryrctl.lab.process import wait_until
from kuryrctl.lab.stages import Context

NAME = "lab-vm"
NETNS = "lab-vm"
DEVICE_OWNER = "compute:nova"
LINK = "tap-lab-vm"  # on node2's integration bridge
NODE = places.NODES[1]
READY_TIMEOUT_S = 30.0


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
    port = _port(cloud, network_id)
    subnets = {subnet["id"]: subnet for subnet in cloud.find("subnets", network_id=network_id)}
    mtu = cloud.find("networks", id=network_id)[0]["mtu"]
    _plug(context, port, mtu)
    commands, addresses = [], []
    for fixed in sorted(port["fixed_ips"], key=lambda fixed: ":" in fixed["ip_address"]):
        subnet = subnets[fixed["subnet_id"]]
        address = f"{fixed['ip_address']}/{ip_network(subnet['cidr']).prefixlen}"
        everywhere, flags = ("::/0", " nodad") if subnet["ip_version"] == 6 else ("0.0.0.0/0", "")
        commands.append(f"addr replace {address} dev eth0{flags}")
        if subnet["gateway_ip"]:
            commands.append(f"route replace {everywhere} via {subnet['gateway_ip']} dev eth0")
        addresses.append(fixed["ip_address"])
    links.ip(*commands, netns=NETNS)
    return Vm(port["id"], tuple(addresses))


def _port(cloud: Network, network_id: str) -> dict[str, Any]:
    """The endpoint's port, in project demo, reachable by ping, TCP and UDP from anywhere."""
    project_id = _demo_project(cloud, network_id)
    found = cloud.find("ports", name=NAME, network_id=network_id, device_owner=DEVICE_OWNER)
    if found:
        return found[0]
    groups = cloud.find("security-groups", name=NAME, project_id=project_id)
    if groups:
        group = groups[0]
    else:
        group = cloud.create("security-groups", name=NAME, project_id=project_id, description="The lab's VM: open")
        for ethertype in ("IPv4", "IPv6"):
            rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": ethertype}
            cloud.create("security-group-rules", project_id=project_id, **rule)
    return cloud.create(
        "ports",
        name=NAME,
        network_id=network_id,
        project_id=project_id,
        device_owner=DEVICE_OWNER,
        device_id=NAME,
        security_groups=[group["id"]],
        **{"binding:host_id": NODE.name},
    )


def _demo_project(cloud: Network, network_id: str) -> str:
    """The project that owns the network is the one the VM lives in."""
    networks = cloud.find("networks", id=network_id)
    if not networks:
        raise LabError(f"no network {network_id} to plug the VM into", hint="kuryrctl cluster init")
    return str(networks[0]["project_id"])


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
    interface = {"iface-id": port["id"], "attached-mac": port["mac_address"], "iface-status": "active", "vm-id": NAME}
    settings = [f'external_ids:{key}="{value}"' for key, value in interface.items()]
    add = ("--may-exist", "add-port", ovs.INTEGRATION_BRIDGE, LINK, "--", "set", "Interface", LINK, *settings)
    ovs.vsctl(layout, chassis, *add)
    links.sysctl(NETNS, net__ipv6__conf__all__accept_ra=0, net__ipv6__conf__eth0__accept_ra=0)
    links.ip(f"link set eth0 address {port['mac_address']} mtu {mtu} up", netns=NETNS)
    wait_until(
        lambda: "true" in _installed(context, chassis),
        f"OVN installed the flows of port {port['id']} on {NODE.name}",
        READY_TIMEOUT_S,
        log=layout.log_file(chassis.daemons[0]),
    )


def _installed(context: Context, chassis: Chassis) -> str:
    return ovs.vsctl(context.layout, chassis, "--if-exists", "get", "Interface", LINK, "external_ids:ovn-installed")


def vm_down(context: Context) -> None:
    """Unplug the endpoint and remove its namespace; its Neutron port stays, to be used again."""
    chassis = Chassis(NODE.name, NODE)
    if context.processes.running(chassis.daemons[2]):
        ovs.vsctl(context.layout, chassis, "--if-exists", "del-port", ovs.INTEGRATION_BRIDGE, LINK)
    links.remove_namespace(NETNS)
    links.remove_links([LINK])
