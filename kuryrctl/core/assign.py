"""What a node must know to give a network namespace its interface: the assignment, computed from the cloud's objects.

Does not know: how the assignment reaches the node (KuryrPort, KuryrNode), how an interface is made.
"""

from __future__ import annotations

from collections.abc import Mapping

from kuryrctl.core.cloud import Network, Port, Subnet
from kuryrctl.core.cluster import Interface, Route

DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")
POD_INTERFACE = "eth0"
NODE_INTERFACE = "k8snode"


def interface(
    port: Port,
    subnets: Mapping[str, Subnet],
    network: Network,
    name: str = POD_INTERFACE,
    destinations: tuple[str, ...] = DEFAULT_ROUTES,
) -> Interface:
    """The interface of a port: its addresses with prefix lengths, IPv4 first, and the routes by its subnets' gateways.

    `subnets` by id; an address in another subnet is left out: its prefix is not known. `destinations` are CIDRs; one
    of an IP version in which the port has no gateway is left out. `mtu` is the network's.
    """
    placed = sorted(
        ((subnets[fixed.subnet_id], fixed.ip_address) for fixed in port.fixed_ips if fixed.subnet_id in subnets),
        key=lambda pair: (pair[0].ip_version, pair[1]),
    )
    gateways = {subnet.ip_version: subnet.gateway_ip for subnet, _ in placed if subnet.gateway_ip}
    routes = [(destination, gateways.get(6 if ":" in destination else 4)) for destination in destinations]
    return Interface(
        name=name,
        port_id=port.id,
        mac_address=port.mac_address,
        addresses=tuple(f"{address}/{subnet.cidr.rpartition('/')[2]}" for subnet, address in placed),
        gateways=tuple(gateways.values()),
        routes=tuple(Route(destination, gateway) for destination, gateway in routes if gateway),
        mtu=network.mtu,
    )
