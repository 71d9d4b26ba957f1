"""Cloud objects as observed: flat, frozen, with the ids the cloud gave them.

Field names are Neutron's (API reference v2.0). Unknown fields of an answer are ignored; a missing one that we rely on
is an error of decoding, not a default. Does not know: how they were read, which of them are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from msgspec import Struct, field

from kuryrctl.core.balancers import FloatingIP, LoadBalancer
from kuryrctl.core.kinds import Kind


class FixedIP(Struct, frozen=True, gc=False):
    """One address of a port."""

    subnet_id: str
    ip_address: str


class AddressPair(Struct, frozen=True, gc=False):
    """An address (or a CIDR) that a port may use beside its own ones."""

    ip_address: str


class SubPort(Struct, frozen=True):
    """A port that travels on a trunk's parent port, under a VLAN id. Only the trunk tells of it."""

    port_id: str
    segmentation_id: int = 0
    segmentation_type: str = "vlan"


class Trunk(Struct, frozen=True, weakref=True):
    """A parent port (`port_id`, a VM's as a rule) with the ports that travel on its interface."""

    id: str
    port_id: str
    sub_ports: tuple[SubPort, ...] = ()


_UNBOUND_VIFS = ("unbound", "binding_failed")


class Port(Struct, frozen=True, weakref=True):
    """A Neutron port."""

    id: str
    network_id: str
    mac_address: str
    name: str = ""
    project_id: str = ""
    fixed_ips: tuple[FixedIP, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    security_groups: tuple[str, ...] = ()
    device_owner: str = ""
    device_id: str = ""
    status: str = ""
    admin_state_up: bool = True
    port_security_enabled: bool = True
    host: str = field(default="", name="binding:host_id")
    vif_type: str = field(default="", name="binding:vif_type")
    vnic_type: str = field(default="normal", name="binding:vnic_type")
    tags: tuple[str, ...] = ()
    description: str = ""
    revision_number: int = 0
    created_at: str = ""

    @property
    def unbound(self) -> bool:
        """Whether it has a host and no binding: Neutron's attempt failed, or ended with the server that made it.

        Neutron's ML2 tries again with the next update of the port, and never by itself.
        """
        return bool(self.host) and self.vif_type in _UNBOUND_VIFS


class Network(Struct, frozen=True, weakref=True):
    """A Neutron network; `mtu` in bytes."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    mtu: int = 1500
    external: bool = field(default=False, name="router:external")
    shared: bool = False
    tags: tuple[str, ...] = ()
    revision_number: int = 0


class AllocationPool(Struct, frozen=True):
    """Addresses that Neutron hands out by itself, both ends included."""

    start: str
    end: str


class Subnet(Struct, frozen=True, weakref=True):
    """A Neutron subnet. `gateway_ip` is None where the subnet has no gateway."""

    id: str
    network_id: str
    cidr: str
    ip_version: int
    name: str = ""
    project_id: str = ""
    description: str = ""
    gateway_ip: str | None = None
    enable_dhcp: bool = False
    allocation_pools: tuple[AllocationPool, ...] = ()
    tags: tuple[str, ...] = ()
    revision_number: int = 0


class GatewayInfo(Struct, frozen=True):
    """Where a router leaves the cloud."""

    network_id: str


class Router(Struct, frozen=True, weakref=True):
    """A Neutron router. Its interfaces are ports (device_owner ``network:router_interface…``)."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    external_gateway_info: GatewayInfo | None = None
    tags: tuple[str, ...] = ()
    revision_number: int = 0


class SecurityGroupRule(Struct, frozen=True, weakref=True):
    """One rule. `protocol`, both port ends and the remote are None where they do not restrict."""

    id: str
    security_group_id: str
    direction: str
    ethertype: str
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None
    description: str = ""


class SecurityGroup(Struct, frozen=True, weakref=True):
    """A security group with its rules."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    stateful: bool = True
    security_group_rules: tuple[SecurityGroupRule, ...] = ()
    tags: tuple[str, ...] = ()
    revision_number: int = 0


UNLIMITED = -1


class QuotaUse(Struct, frozen=True):
    """One quota of the project. `limit` -1: none. `reserved` are creations that have begun and not ended."""

    resource: str
    used: int
    limit: int
    reserved: int = 0

    @property
    def free(self) -> int:
        """How many more can be made now; a large number where there is no limit."""
        return 2**31 if self.limit == UNLIMITED else self.limit - self.used - self.reserved


CloudObject: TypeAlias = (
    Port | Network | Subnet | Router | SecurityGroup | SecurityGroupRule | LoadBalancer | FloatingIP
)


class CloudState(Struct, frozen=True):
    """One observation of the cloud, each mapping by id.

    `complete` names the kinds that were listed in full. A kind that is not in it is *unknown*: what is absent from its
    mapping may exist, and nothing that depends on it may be deleted. `trunks` are for people: commands read them, the
    engine does not. `quotas` are the project's, none where the cloud does not tell them.
    """

    project_id: str = ""
    networks: Mapping[str, Network] = MappingProxyType({})
    subnets: Mapping[str, Subnet] = MappingProxyType({})
    routers: Mapping[str, Router] = MappingProxyType({})
    security_groups: Mapping[str, SecurityGroup] = MappingProxyType({})
    ports: Mapping[str, Port] = MappingProxyType({})
    complete: frozenset[Kind] = frozenset()
    trunks: Mapping[str, Trunk] = MappingProxyType({})
    load_balancers: Mapping[str, LoadBalancer] = MappingProxyType({})
    floating_ips: Mapping[str, FloatingIP] = MappingProxyType({})
    quotas: tuple[QuotaUse, ...] = ()
