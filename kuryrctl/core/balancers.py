"""Load balancers and floating IPs as observed: each load balancer a whole tree, with the ids the cloud gave it.

Field names are Octavia's (API reference v2) and Neutron's. Octavia changes one load balancer at a time: while anything
below it is PENDING_*, all of it is immutable (409), so the tree is the unit of observation.
Does not know: which of them are ours, what they are for.
"""

from __future__ import annotations

from msgspec import Struct

ACTIVE, ERROR = "ACTIVE", "ERROR"
PENDING_PREFIX = "PENDING_"


class Member(Struct, frozen=True, gc=False):
    """Who answers behind a pool. `weight` 0 gets no new connections."""

    id: str
    address: str
    protocol_port: int
    name: str = ""
    subnet_id: str | None = None
    weight: int = 1
    admin_state_up: bool = True
    provisioning_status: str = ""
    operating_status: str = ""


class HealthMonitor(Struct, frozen=True):
    """How a pool's members are watched; `delay` and `timeout` in seconds."""

    id: str
    type: str
    delay: int
    timeout: int
    max_retries: int
    max_retries_down: int = 3
    name: str = ""
    admin_state_up: bool = True
    provisioning_status: str = ""
    operating_status: str = ""


class SessionPersistence(Struct, frozen=True):
    """How a client stays with a member. `persistence_timeout` in seconds, None: the provider's."""

    type: str
    persistence_timeout: int | None = None


class PoolHead(Struct, frozen=True):
    """A pool without what is below it."""

    id: str
    protocol: str
    lb_algorithm: str
    name: str = ""
    session_persistence: SessionPersistence | None = None
    admin_state_up: bool = True
    provisioning_status: str = ""
    operating_status: str = ""
    tags: tuple[str, ...] = ()


class Pool(PoolHead, frozen=True):
    """A pool with its members (by address and port) and its monitor."""

    members: tuple[Member, ...] = ()
    health_monitor: HealthMonitor | None = None


class Listener(Struct, frozen=True):
    """A port of the VIP; time-outs in milliseconds, None where the provider has none."""

    id: str
    protocol: str
    protocol_port: int
    name: str = ""
    default_pool_id: str | None = None
    allowed_cidrs: tuple[str, ...] = ()
    timeout_client_data: int | None = None
    timeout_member_data: int | None = None
    admin_state_up: bool = True
    provisioning_status: str = ""
    operating_status: str = ""
    tags: tuple[str, ...] = ()


class BalancerHead(Struct, frozen=True, weakref=True):
    """An Octavia load balancer without what is below it. Times are Octavia's texts (UTC)."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    provider: str = ""
    vip_address: str = ""
    vip_port_id: str = ""
    vip_subnet_id: str = ""
    vip_network_id: str = ""
    admin_state_up: bool = True
    provisioning_status: str = ""
    operating_status: str = ""
    tags: tuple[str, ...] = ()
    created_at: str = ""
    updated_at: str = ""


class LoadBalancer(BalancerHead, frozen=True, weakref=True):
    """An Octavia load balancer with all that is below it, sorted by id."""

    listeners: tuple[Listener, ...] = ()
    pools: tuple[Pool, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether Octavia or its provider is at work on it: nothing of it can be changed."""
        return self.provisioning_status.startswith(PENDING_PREFIX)


class FloatingIP(Struct, frozen=True, weakref=True):
    """A floating IP of Neutron. `port_id` None: associated with nothing."""

    id: str
    floating_ip_address: str
    floating_network_id: str
    project_id: str = ""
    port_id: str | None = None
    fixed_ip_address: str | None = None
    description: str = ""
    status: str = ""
    tags: tuple[str, ...] = ()
    revision_number: int = 0
