"""The control plane's host on the pods' network: a port of the gateway chassis, with routes to pods and Services.

The API server calls webhooks at ClusterIPs, and these exist only where OVN is. A control plane that is a node of the
cluster has its node port for that; the lab's runs in the root namespace, which is none.
"""

from kuryrctl.lab import layout as places
from kuryrctl.lab.network import links, ports
from kuryrctl.lab.network.chassis import GATEWAY
from kuryrctl.lab.openstack import password
from kuryrctl.lab.openstack.api import Network
from kuryrctl.lab.process import wait_until
from kuryrctl.lab.stages import Context

NAME = "lab-host"
DEVICE_OWNER = "compute:nova"
LINK = places.HOST_LINK


def host_up(context: Context, network_id: str) -> tuple[str, ...]:
    """Plug the host into that network and route the Services' ranges there; its addresses, IPv4 first. Idempotent."""
    layout = context.layout
    cloud = Network("admin", password(layout))
    port = ports.opened(cloud, network_id, NAME, DEVICE_OWNER, GATEWAY.name)
    feet = ports.feet(cloud, port)
    ports.plug(layout, GATEWAY, LINK, port, "type=internal", f'mac="{port["mac_address"]}"')
    wait_until(lambda: links.exists(LINK), f"{LINK} is there", ports.READY_TIMEOUT_S, 0.02)
    links.keep_to_itself(LINK)
    commands = [f"link set {LINK} address {port['mac_address']} mtu {ports.mtu_bytes(cloud, network_id)} up"]
    for foot in feet:
        commands.append(foot.address_command(LINK))
        ranges = [cidr for cidr in places.SERVICE_CIDRS if (":" in cidr) == (foot.version == 6)]
        commands += [f"route replace {cidr} via {foot.gateway} dev {LINK}" for cidr in ranges]
    links.ip(*commands)
    ports.wait_installed(layout, GATEWAY, LINK)
    return tuple(foot.address for foot in feet)
