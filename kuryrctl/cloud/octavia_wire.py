"""Octavia's JSON: rows of its lists, whole trees of its answers, bodies out of specs.

Source: Load-balancer API v2. A list names parents and children by id only; the answer to a creation holds the tree.
Does not know: when calls are made, what their errors mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from kuryrctl.cloud.meanings import OCTAVIA
from kuryrctl.cloud.wire import Body, decode_member, members_of, resolve, resource_of
from kuryrctl.core.balancers import BalancerHead, HealthMonitor, Listener, LoadBalancer, Member, Pool, PoolHead
from kuryrctl.core.kinds import Kind
from kuryrctl.core.specs import (
    HealthMonitorSpec,
    Key,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    MembersSpec,
    PoolSpec,
)

T = TypeVar("T", bound=Struct)


class Ref(Struct, frozen=True):
    """Another object, by its id; empty in a list's listener whose load balancer is being deleted (``[{}]``)."""

    id: str = ""


class ListenerRow(Listener, frozen=True, weakref=True):
    """A listener of a list."""

    loadbalancers: tuple[Ref, ...] = ()


class PoolRow(PoolHead, frozen=True, weakref=True):
    """A pool of a list. `updated_at` moves with every change of its members (`test_and_set_lb_and_listeners_…`)."""

    updated_at: str = ""
    loadbalancers: tuple[Ref, ...] = ()
    members: tuple[Ref, ...] = ()
    healthmonitor_id: str = ""


class MonitorRow(HealthMonitor, frozen=True, weakref=True):
    """A health monitor of a list."""

    pools: tuple[Ref, ...] = ()


class MemberRow(Member, frozen=True, weakref=True, gc=True):
    """A member of a pool's list."""


class PoolTree(PoolHead, frozen=True):
    """A pool in the answer to a creation."""

    members: tuple[Member, ...] = ()
    healthmonitor: HealthMonitor | None = None


class BalancerTree(BalancerHead, frozen=True, weakref=True):
    """A load balancer in the answer to its creation."""

    listeners: tuple[Listener, ...] = ()
    pools: tuple[PoolTree, ...] = ()


class Status(Struct, frozen=True):
    """An object's two statuses in ``/loadbalancers/ID/status``, and those of what is below it."""

    id: str = ""
    address: str = ""
    protocol_port: int = 0
    provisioning_status: str = ""
    operating_status: str = ""
    listeners: tuple[Status, ...] = ()
    pools: tuple[Status, ...] = ()
    members: tuple[Status, ...] = ()
    health_monitor: Status | None = None


class Statuses(Struct, frozen=True):
    """The answer of ``/loadbalancers/ID/status``, within its envelope."""

    loadbalancer: Status


BALANCERS: Final = resource_of(Kind.LOAD_BALANCER, "loadbalancer", BalancerHead, OCTAVIA)
LISTENERS: Final = resource_of(Kind.LISTENER, "listener", ListenerRow, OCTAVIA)
POOLS: Final = resource_of(Kind.POOL, "pool", PoolRow, OCTAVIA)
MONITORS: Final = resource_of(Kind.HEALTH_MONITOR, "healthmonitor", MonitorRow, OCTAVIA)
MEMBERS: Final = resource_of(Kind.MEMBER, "member", MemberRow, OCTAVIA)


def as_(type_: type[T], row: Struct, **more: Any) -> T:
    """The object of this type that has the row's fields, and these."""
    shared = {name: getattr(row, name) for name in type_.__struct_fields__ if name in row.__struct_fields__}
    return type_(**(shared | more))


def id_in(answer: bytes) -> str:
    """The id of the object in an answer; empty where there is none (202, 204). Raises Unavailable (OCT-ANSWER)."""
    member = next(iter(members_of(answer, OCTAVIA)), "") if answer else ""
    return decode_member(answer, member, Ref, OCTAVIA).id if member else ""


def tree_of(made: BalancerTree) -> LoadBalancer:
    """The whole tree of the answer to a creation."""
    pools = [as_(Pool, pool, members=_sorted(pool.members), health_monitor=pool.healthmonitor) for pool in made.pools]
    return as_(LoadBalancer, made, listeners=_sorted(made.listeners), pools=_sorted(pools))


def balancer_body(spec: LoadBalancerSpec, ids: Mapping[Key, str]) -> Body:
    """POST /loadbalancers: everything below it in the same call (fully populated), its tags as well."""
    subnet = spec.vip_subnet_id or (resolve(ids, spec.vip_subnet) if spec.vip_subnet else "")
    body: Body = {
        "name": spec.name,
        "description": spec.description,
        "tags": list(spec.tags),
        "provider": spec.provider,
        "admin_state_up": True,
        "listeners": [
            listener_body(listener) | {"default_pool": _whole_pool(listener.pool, ids, subnet)}
            for listener in spec.listeners
        ],
    }
    vip = {"vip_subnet_id": subnet, "vip_network_id": spec.vip_network_id, "vip_address": spec.vip_address}
    body |= {field: value for field, value in vip.items() if value}
    return {"loadbalancer": body}


def listener_body(spec: ListenerSpec) -> Body:
    """A listener without its parents and its pool."""
    body: Body = {"name": spec.name, "protocol": spec.protocol, "protocol_port": spec.port, "admin_state_up": True}
    if spec.allowed_cidrs:
        body["allowed_cidrs"] = list(spec.allowed_cidrs)
    return body | _timeouts(spec)


def pool_body(spec: PoolSpec) -> Body:
    """A pool without its parent and what is below it."""
    body: Body = {
        "name": spec.name,
        "protocol": spec.protocol,
        "lb_algorithm": spec.algorithm,
        "admin_state_up": True,
    }
    persistence = persistence_body(spec)
    return body | ({"session_persistence": persistence} if persistence else {})


def persistence_body(spec: PoolSpec) -> Body | None:
    """How clients stay with a member; None: they do not."""
    if spec.persistence is None:
        return None
    type_, timeout_s = spec.persistence
    return {"type": type_} | ({} if timeout_s is None else {"persistence_timeout": timeout_s})


def monitor_body(spec: HealthMonitorSpec) -> Body:
    """A health monitor without its pool."""
    return {
        "name": spec.name,
        "type": spec.method,
        "delay": spec.delay,
        "timeout": spec.timeout,
        "max_retries": spec.max_retries,
        "admin_state_up": True,
    }


def members_body(spec: MembersSpec, ids: Mapping[Key, str], vip_subnet_id: str) -> list[Body]:
    """PUT /pools/ID/members: the whole list. Who stays (by address and port) keeps its id."""
    return [_member(member, ids, vip_subnet_id) for member in spec.members]


def _whole_pool(spec: PoolSpec, ids: Mapping[Key, str], vip_subnet_id: str) -> Body:
    body = pool_body(spec) | {"members": members_body(spec.members, ids, vip_subnet_id)}
    return body | ({"healthmonitor": monitor_body(spec.monitor)} if spec.monitor else {})


def _member(spec: MemberSpec, ids: Mapping[Key, str], vip_subnet_id: str) -> Body:
    """OVN refuses a member in a batch that names no subnet and is not in the VIP's (501), so that one is named."""
    subnet = resolve(ids, spec.subnet) if spec.subnet else vip_subnet_id
    body = {"name": spec.name, "address": spec.address, "protocol_port": spec.port, "weight": spec.weight}
    return body | ({"subnet_id": subnet} if subnet else {})


def _timeouts(spec: ListenerSpec) -> Body:
    given = {"timeout_client_data": spec.timeout_client_data, "timeout_member_data": spec.timeout_member_data}
    return {name: value for name, value in given.items() if value is not None}


def _sorted(items: Any) -> tuple[Any, ...]:
    return tuple(sorted(items, key=lambda item: item.id))
