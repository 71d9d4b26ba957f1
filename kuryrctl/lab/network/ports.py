"""Neutron ports that the lab makes by itself: for a VM-like endpoint, for the control plane's host.

An administrator makes them, in the project that owns the network, open to everybody. To Neutron, OVN and the pods they
are another tool's.
"""

from ipaddress import ip_network
from typing import Any

import msgspec

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.network import chassis as ovs
from kuryrctl.lab.network.chassis import Chassis
from kuryrctl.lab.openstack.api import Network
from kuryrctl.lab.process import wait_until
from kuryrctl.lab.stages import Context

READY_TIMEOUT_S = 30.0


class Foot(msgspec.Struct, frozen=True):
    """One address of a port, and the gateway of its subnet (empty for none)."""

    address: str
    prefix: int
    gateway: str

    @property
    def version(self) -> int:
        return 6 if ":" in self.address else 4

    @property
    def everywhere(self) -> str:
        """The destination of a default route."""
        return "::/0" if self.version == 6 else "0.0.0.0/0"

    def address_command(self, link: str) -> str:
        """What gives the address to a link, for ip(8); an IPv6 address is used at once, without asking the others."""
        return f"addr replace {self.address}/{self.prefix} dev {link}" + (" nodad" if self.version == 6 else "")


def opened(cloud: Network, network_id: str, name: str, device_owner: str, host: str) -> dict[str, Any]:
    """The port `name` on that network, bound to `host`, reachable from anywhere; one that is there is used again."""
    project_id = _owner(cloud, network_id)
    found = cloud.find("ports", name=name, network_id=network_id, device_owner=device_owner)
    if found:
        return found[0]
    return cloud.create(
        "ports",
        name=name,
        network_id=network_id,
        project_id=project_id,
        device_owner=device_owner,
        device_id=name,
        security_groups=[_open_group(cloud, name, project_id)],
        **{"binding:host_id": host},
    )


def _owner(cloud: Network, network_id: str) -> str:
    networks = cloud.find("networks", id=network_id)
    if not networks:
        raise LabError(f"no network {network_id} to make a port on", hint="kuryrctl cluster init")
    return str(networks[0]["project_id"])


def _open_group(cloud: Network, name: str, project_id: str) -> str:
    groups = cloud.find("security-groups", name=name, project_id=project_id)
    if groups:
        return str(groups[0]["id"])
    group = cloud.create("security-groups", name=name, project_id=project_id, description=f"{name} of the lab: open")
    for ethertype in ("IPv4", "IPv6"):
        rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": ethertype}
        cloud.create("security-group-rules", project_id=project_id, **rule)
    return str(group["id"])


def feet(cloud: Network, port: dict[str, Any]) -> tuple[Foot, ...]:
    """The port's addresses, IPv4 before IPv6."""
    subnets = {subnet["id"]: subnet for subnet in cloud.find("subnets", network_id=port["network_id"])}
    found = []
    for fixed in port["fixed_ips"]:
        subnet = subnets[fixed["subnet_id"]]
        found.append(Foot(fixed["ip_address"], ip_network(subnet["cidr"]).prefixlen, subnet["gateway_ip"] or ""))
    return tuple(sorted(found, key=lambda foot: foot.version))


def mtu_bytes(cloud: Network, network_id: str) -> int:
    return int(cloud.find("networks", id=network_id)[0]["mtu"])


def plug(layout: Layout, chassis: Chassis, link: str, port: dict[str, Any], *settings: str) -> None:
    """Make the link a port of the chassis' integration bridge, as this Neutron port; `settings` are ovs-vsctl's."""
    ids = {
        "iface-id": port["id"],
        "attached-mac": port["mac_address"],
        "iface-status": "active",
        "vm-id": port["device_id"],
    }
    named = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
    add = ("--may-exist", "add-port", ovs.INTEGRATION_BRIDGE, link, "--", "set", "Interface", link)
    ovs.vsctl(layout, chassis, *add, *named, *settings)


def wait_installed(layout: Layout, chassis: Chassis, link: str) -> None:
    """Return when OVN has installed the flows of the port behind this link."""
    asked = ("--if-exists", "get", "Interface", link, "external_ids:ovn-installed")
    wait_until(
        lambda: "true" in ovs.vsctl(layout, chassis, *asked),
        f"OVN installed the flows of {link} on chassis {chassis.name}",
        READY_TIMEOUT_S,
        log=layout.log_file(chassis.daemons[0]),
    )


def unplug(context: Context, chassis: Chassis, link: str) -> None:
    """Take the link from the integration bridge, where the chassis still has a database."""
    if context.processes.running(chassis.daemons[2]):
        ovs.vsctl(context.layout, chassis, "--if-exists", "del-port", ovs.INTEGRATION_BRIDGE, link)
