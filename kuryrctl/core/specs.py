"""Objects as they should be: what the desired state is made of.

Networks, subnets, routers and groups take no tags in the call that creates them: until they are tagged, their name and
description (`names.description`) prove whose they are.
A spec names other objects by *key* (``network/pods``), never by id: ids are known only once the objects exist. A key is
``<kind>/<what for>``: the same object has the same key in every run.
Does not know: how a spec is matched with what exists (`diff`), how it becomes an API body (`cloud`, `kube`).
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.kinds import Kind

Key: TypeAlias = str


class NetworkSpec(Struct, frozen=True, tag="network"):
    """A network. `mtu` 0: the cloud's default. `guard` is added to the tags and never taken away."""

    key: Key
    name: str
    tags: tuple[str, ...]
    mtu: int = 0
    guard: str = ""


class SubnetSpec(Struct, frozen=True, tag="subnet"):
    """A subnet without DHCP: the node configures addresses. `gateway`, `pool` (start, end) None: Neutron's choice."""

    key: Key
    name: str
    tags: tuple[str, ...]
    network: Key
    cidr: str
    gateway: str | None = None
    pool: tuple[str, str] | None = None


class RouterSpec(Struct, frozen=True, tag="router"):
    """A router; `external_network` is the id of an existing network, or None."""

    key: Key
    name: str
    tags: tuple[str, ...]
    external_network: str | None = None


class RouterInterfaceSpec(Struct, frozen=True, tag="router-interface"):
    """A subnet's leg on a router, at the subnet's gateway address."""

    key: Key
    router: Key
    subnet: Key


class SecurityGroupSpec(Struct, frozen=True, tag="security-group"):
    """A group. Neutron's default egress rules are not desired: only the rule specs of the group are."""

    key: Key
    name: str
    description: str
    tags: tuple[str, ...]


class RuleSpec(Struct, frozen=True, tag="security-group-rule"):
    """A rule of one group. `remote_group` is a key; None fields do not restrict."""

    key: Key
    group: Key
    direction: str
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group: Key | None = None
    description: str = ""


class AddressSpec(Struct, frozen=True):
    """One address of a port; None: any free address of the subnet."""

    subnet: Key
    address: str | None = None


class PortSpec(Struct, frozen=True, tag="port"):
    """A port, bound to a host. `security_groups` are keys and are the whole list."""

    key: Key
    name: str
    tags: tuple[str, ...]
    network: Key
    mac_address: str
    addresses: tuple[AddressSpec, ...]
    security_groups: tuple[Key, ...]
    device_owner: str
    device_id: str
    host: str
    description: str = ""


class KuryrPortSpec(Struct, frozen=True, tag="kuryr-port"):
    """The assignment of `port` (a key) to a pod, as a KuryrPort object."""

    key: Key
    namespace: str
    name: str
    pod_uid: str
    node: str
    port: Key


class KuryrNodeSpec(Struct, frozen=True, tag="kuryr-node"):
    """The assignment of a node port (a key) to a node, as a KuryrNode object; `routes` are destinations (CIDRs)."""

    key: Key
    name: str
    node_uid: str
    port: Key
    routes: tuple[str, ...] = ()


Spec: TypeAlias = (
    NetworkSpec
    | SubnetSpec
    | RouterSpec
    | RouterInterfaceSpec
    | SecurityGroupSpec
    | RuleSpec
    | PortSpec
    | KuryrPortSpec
    | KuryrNodeSpec
)

KIND_OF: dict[type, Kind] = {
    NetworkSpec: Kind.NETWORK,
    SubnetSpec: Kind.SUBNET,
    RouterSpec: Kind.ROUTER,
    RouterInterfaceSpec: Kind.ROUTER_INTERFACE,
    SecurityGroupSpec: Kind.SECURITY_GROUP,
    RuleSpec: Kind.SECURITY_GROUP_RULE,
    PortSpec: Kind.PORT,
    KuryrPortSpec: Kind.KURYR_PORT,
    KuryrNodeSpec: Kind.KURYR_NODE,
}


def kind_of_key(key: Key) -> Kind:
    """The kind of the object with this key."""
    return Kind(key.partition("/")[0])


def kind_of(spec: Spec) -> Kind:
    """The kind of a spec."""
    return KIND_OF[type(spec)]
