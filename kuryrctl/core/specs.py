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


class SecurityGroupSpec(Struct, frozen=True, tag="security-group", gc=False):
    """A group. Neutron's default egress rules are not desired: only the rule specs of the group are."""

    key: Key
    name: str
    description: str
    tags: tuple[str, ...]


class RuleSpec(Struct, frozen=True, tag="security-group-rule", gc=False):
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


class MemberSpec(Struct, frozen=True, gc=False):
    """A member; `subnet` is a key, None where the address is on no subnet of ours."""

    address: str
    port: int
    subnet: Key | None = None
    name: str = ""
    weight: int = 1


class MembersSpec(Struct, frozen=True, tag="member"):
    """All members of one pool, sorted by address and port: one batch update. A step on them has the pool's id."""

    key: Key
    balancer: Key
    pool: Key
    members: tuple[MemberSpec, ...] = ()


class HealthMonitorSpec(Struct, frozen=True, tag="health-monitor"):
    """A pool's monitor: its Octavia type is `method`; `delay` and `timeout` in seconds."""

    key: Key
    balancer: Key
    pool: Key
    name: str
    method: str
    delay: int
    timeout: int
    max_retries: int


class PoolSpec(Struct, frozen=True, tag="pool"):
    """A pool, and what is below it. `persistence` is Octavia's type and its time-out in seconds (None: provider's)."""

    key: Key
    balancer: Key
    name: str
    protocol: str
    algorithm: str
    members: MembersSpec
    persistence: tuple[str, int | None] | None = None
    monitor: HealthMonitorSpec | None = None


class ListenerSpec(Struct, frozen=True, tag="listener"):
    """A port of the VIP with its pool. None fields are the provider's defaults; time-outs in milliseconds."""

    key: Key
    balancer: Key
    name: str
    protocol: str
    port: int
    pool: PoolSpec
    allowed_cidrs: tuple[str, ...] = ()
    timeout_client_data: int | None = None
    timeout_member_data: int | None = None


class LoadBalancerSpec(Struct, frozen=True, tag="load-balancer"):
    """A load balancer with all that is below it. `vip_address` None: any free address.

    `vip_subnet` is a key of ours, or empty: then `vip_subnet_id` or `vip_network_id` is given.
    """

    key: Key
    name: str
    description: str
    tags: tuple[str, ...]
    provider: str
    vip_subnet: Key
    vip_address: str | None
    listeners: tuple[ListenerSpec, ...] = ()
    vip_subnet_id: str = ""
    vip_network_id: str = ""


class FloatingIPSpec(Struct, frozen=True, tag="floating-ip"):
    """A floating IP on the VIP of a load balancer (a key). `network` is the id of the external network.

    `address` None: any free one, of `subnet` (an id) where that is given. `balancer` empty: it is kept, and associated
    with nothing. `ours` False: it is its user's, who named it: associated, never made, tagged, deleted.
    """

    key: Key
    description: str
    tags: tuple[str, ...]
    network: str
    balancer: Key
    address: str | None = None
    ours: bool = True
    subnet: str = ""


class ServiceStatusSpec(Struct, frozen=True, tag="service"):
    """The addresses in a Service's `status.loadBalancer.ingress`, sorted."""

    key: Key
    namespace: str
    name: str
    uid: str
    ingress: tuple[str, ...] = ()


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
    | LoadBalancerSpec
    | ListenerSpec
    | PoolSpec
    | MembersSpec
    | HealthMonitorSpec
    | FloatingIPSpec
    | ServiceStatusSpec
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
    LoadBalancerSpec: Kind.LOAD_BALANCER,
    ListenerSpec: Kind.LISTENER,
    PoolSpec: Kind.POOL,
    MembersSpec: Kind.MEMBER,
    HealthMonitorSpec: Kind.HEALTH_MONITOR,
    FloatingIPSpec: Kind.FLOATING_IP,
    ServiceStatusSpec: Kind.SERVICE,
}


def kind_of_key(key: Key) -> Kind:
    """The kind of the object with this key."""
    return Kind(key.partition("/")[0])


def kind_of(spec: Spec) -> Kind:
    """The kind of a spec."""
    return KIND_OF[type(spec)]
