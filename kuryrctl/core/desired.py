"""What should exist: a pure function of the cluster, the configuration and what the cloud gave us to start from.

Three parts, each callable alone: what the whole cluster shares, what one node needs, what one pod needs.
Does not know: which of it exists already, how it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.cluster import ClusterState, Interface, KuryrPort, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.index import Own
from kuryrctl.core.ownership import NODE, POD, own_name
from kuryrctl.core.policy.ranges import address, network
from kuryrctl.core.specs import (
    AddressSpec,
    Key,
    KuryrNodeSpec,
    KuryrPortSpec,
    NetworkSpec,
    PortSpec,
    RouterInterfaceSpec,
    RouterSpec,
    RuleSpec,
    SecurityGroupSpec,
    Spec,
    SubnetSpec,
)

NODE_GROUPS: tuple[Key, ...] = ("security-group/nodes",)
_ETHERTYPE = {4: "IPv4", 6: "IPv6"}


def pod_key(uid: str) -> Key:
    """The key of a pod's port."""
    return f"port/{POD}/{uid}"


def node_key(uid: str) -> Key:
    """The key of a node's port. A node re-created under the same name is a new one."""
    return f"port/{NODE}/{uid}"


def kuryr_port_key(namespace: str, name: str, pod_uid: str) -> Key:
    """The key of the KuryrPort of one pod; its successor under the same name has another."""
    return f"kuryr-port/{namespace}/{name}/{pod_uid}"


def kuryr_node_key(name: str) -> Key:
    """The key of a node's KuryrNode."""
    return f"kuryr-node/{name}"


def is_served(pod: Pod, held: KuryrPort | None) -> bool:
    """Whether a pod gets all that it needs, `held` being its own KuryrPort: one that ends untold gets nothing new."""
    return pod.wants_port and (held is not None or not pod.deleting)


def pod_specs(pod: Pod, cluster: ClusterState, config: Config, own: Own, groups: tuple[Key, ...]) -> dict[Key, Spec]:
    """A pod's port, with these `groups`, and its assignment. Empty for a pod without a place on the pod network.

    Addresses that the pod has already been given are pinned: its port, deleted by hand, comes back as it was.
    """
    known = cluster.kuryr_ports.get(pod.full_name)
    held = known if known is not None and known.pod_uid == pod.uid else None
    if not is_served(pod, held):
        return {}
    interfaces = held.interfaces if held is not None else ()
    pins = _addresses(interfaces[0]) if interfaces else _of_networks(pod.ips, config)
    port = PortSpec(
        key=pod_key(pod.uid),
        name=names.shortened(f"{config.cluster_id}/{pod.full_name}"),
        tags=names.tags(config.cluster_id, POD, pod.uid),
        network="network/pods",
        mac_address=names.mac_address(config.cluster_id, POD, pod.uid),
        addresses=_address_specs(pins, config, own),
        security_groups=groups,
        device_owner=names.DEVICE_OWNER,
        device_id=pod.uid,
        host=pod.node,
        description=names.shortened(f"pod {pod.full_name}"),
    )
    assignment = KuryrPortSpec(
        key=kuryr_port_key(pod.namespace, pod.name, pod.uid),
        namespace=pod.namespace,
        name=pod.name,
        pod_uid=pod.uid,
        node=pod.node,
        port=port.key,
    )
    return {port.key: port, assignment.key: assignment}


def node_specs(node: Node, cluster: ClusterState, config: Config, own: Own) -> dict[Key, Spec]:
    """A node's own port on the pod network, and its assignment."""
    mac = names.mac_address(config.cluster_id, NODE, node.uid)
    known = cluster.kuryr_nodes.get(node.name)
    interface = known.node_port if known else None
    pins = _addresses(interface) if interface and interface.mac_address == mac else {}
    port = PortSpec(
        key=node_key(node.uid),
        name=names.shortened(f"{config.cluster_id}/{node.name}"),
        tags=names.tags(config.cluster_id, NODE, node.uid),
        network="network/pods",
        mac_address=mac,
        addresses=_address_specs(pins, config, own),
        security_groups=NODE_GROUPS,
        device_owner=names.DEVICE_OWNER,
        device_id=node.uid,
        host=node.name,
        description=names.shortened(f"node {node.name}"),
    )
    assignment = KuryrNodeSpec(
        key=kuryr_node_key(node.name),
        name=node.name,
        node_uid=node.uid,
        port=port.key,
        routes=config.service_cidrs,
    )
    return {port.key: port, assignment.key: assignment}


def own_specs(cluster: ClusterState, config: Config, own: Own) -> dict[Key, Spec]:
    """What the whole cluster shares, in the order in which it is made; of adopted objects only the network's guard."""
    specs = [*_networks(cluster, config, own), *_router(config, own), *_groups(config, own)]
    return {spec.key: spec for spec in specs}


class ServiceRange(Struct, frozen=True):
    """A subnet that holds Kubernetes' Service addresses, with Neutron's own addresses beside them."""

    cidr: str
    gateway: str
    pool: tuple[str, str]


def service_range(cidrs: tuple[str, ...], version: int) -> ServiceRange | None:
    """The smallest subnet of which the ServiceCIDRs fill one half; the gateway and the pool are in the other.

    Kubernetes hands out all addresses of its ranges, beginning with the first one, which is Neutron's choice for a
    gateway. None: no range of this IP version. Decision: docs/decisions/020-services-fill-one-half.md.
    """
    ranges = [ip_network(cidr) for cidr in cidrs if ip_network(cidr).version == version]
    if not ranges:
        return None
    services = ranges[0]
    while not all(_inside(each, services) for each in ranges):
        services = services.supernet()
    if services.prefixlen == 0:
        raise Invalid(
            f"service_cidrs: {', '.join(map(str, ranges))} leave no room for a gateway beside them",
            code="CFG-INVALID",
            owner=Owner.USER,
        )
    whole = services.supernet()
    (beside,) = (half for half in whole.subnets() if half != services)
    return ServiceRange(str(whole), str(beside[-2]), (str(beside[1]), str(beside[-3])))


def _networks(cluster: ClusterState, config: Config, own: Own) -> Iterator[Spec]:
    guard = names.guard_tag(config.cluster_id, cluster.kube_system_uid)
    adopted = "network/pods" in own.adopted
    shared = _shared(config, "network", "pods") | ({"tags": ()} if adopted else {})
    yield NetworkSpec(guard=guard, **shared)
    if not adopted:
        for cidr in config.pod_network.cidrs:
            pods = ip_network(cidr)
            yield SubnetSpec(
                network="network/pods",
                cidr=cidr,
                gateway=str(pods[1]),  # Neutron's own choice for IPv6 is the network's address, which nobody expects
                **_shared(config, "subnet", f"pods-{pods.version}"),
            )
    yield NetworkSpec(**_shared(config, "network", "services"))
    for version in (4, 6):
        range_ = service_range(config.service_cidrs, version)
        if range_:
            yield SubnetSpec(
                network="network/services",
                cidr=range_.cidr,
                gateway=range_.gateway,
                pool=range_.pool,
                **_shared(config, "subnet", f"services-{version}"),
            )


def _router(config: Config, own: Own) -> Iterator[Spec]:
    if "router/pods" not in own.adopted:
        yield RouterSpec(external_network=own.external_network_id or None, **_shared(config, "router", "pods"))
    pods = own.pod_versions if "network/pods" in own.adopted else _versions(config)
    legs = [f"pods-{version}" for version in pods]
    legs += [f"services-{version}" for version in (4, 6) if service_range(config.service_cidrs, version)]
    for leg in legs:
        yield RouterInterfaceSpec(key=f"router-interface/{leg}", router="router/pods", subnet=f"subnet/{leg}")


def _groups(config: Config, own: Own) -> Iterator[Spec]:
    for role in ("open-ingress", "open-egress", "nodes"):
        description = names.description(names.tags(config.cluster_id, role))
        yield SecurityGroupSpec(description=description, **_shared(config, "security-group", role))
    for version in (4, 6):
        yield _rule("open-ingress", "ingress", version)
        yield _rule("open-egress", "egress", version)
        yield _rule("nodes", "egress", version)
    adopted = [subnet.cidr for subnet in own.pod_subnets.values()] if "network/pods" in own.adopted else []
    for cidr in adopted or config.pod_network.cidrs:
        yield _rule("nodes", "ingress", ip_network(cidr).version, str(ip_network(cidr)))


def _rule(role: str, direction: str, version: int, remote: str | None = None) -> RuleSpec:
    return RuleSpec(
        key=f"security-group-rule/{role}/{direction}-{version}",
        group=f"security-group/{role}",
        direction=direction,
        ethertype=_ETHERTYPE[version],
        remote_ip_prefix=remote,
    )


def _shared(config: Config, kind: str, role: str) -> dict[str, Any]:
    """The fields by which an object that the whole cluster shares is recognised."""
    return {
        "key": f"{kind}/{role}",
        "name": own_name(config.cluster_id, role),
        "tags": names.tags(config.cluster_id, role),
    }


def _versions(config: Config) -> tuple[int, ...]:
    return tuple(sorted(ip_network(cidr).version for cidr in config.pod_network.cidrs))


def _address_specs(pins: dict[int, str], config: Config, own: Own) -> tuple[AddressSpec, ...]:
    versions = own.pod_versions or _versions(config)
    return tuple(AddressSpec(f"subnet/pods-{version}", pins.get(version)) for version in versions)


def _addresses(interface: Interface) -> dict[int, str]:
    """The addresses of an interface by IP version."""
    return {6 if ":" in address else 4: address.partition("/")[0] for address in interface.addresses}


def _of_networks(ips: tuple[str, ...], config: Config) -> dict[int, str]:
    """Those of a pod's reported addresses that are on the pod network (others are from a time before it)."""
    networks = [network(cidr) for cidr in config.pod_network.cidrs]
    known = [(*address(ip), ip) for ip in ips]
    return {
        version: ip
        for version, number, ip in known
        if any(version == other and low <= number <= high for other, (low, high) in networks)
    }


def _inside(network: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(network, IPv4Network) and isinstance(other, IPv4Network):
        return network.subnet_of(other)
    return isinstance(network, IPv6Network) and isinstance(other, IPv6Network) and network.subnet_of(other)
