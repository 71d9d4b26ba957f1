"""What a saved plan keeps of Services and of what they have in the cloud: the fields that we manage, as text.

Statuses are no part of it: they move by themselves. Does not know: plans, how fields are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.balancer_index import listener_name, pools_by_name
from kuryrctl.core.balancers import FloatingIP, HealthMonitor, Listener, LoadBalancer, Pool
from kuryrctl.core.diff import World
from kuryrctl.core.kinds import Kind
from kuryrctl.core.services import Service
from kuryrctl.core.specs import (
    FloatingIPSpec,
    HealthMonitorSpec,
    Key,
    ListenerSpec,
    LoadBalancerSpec,
    MembersSpec,
    PoolSpec,
    Spec,
)
from kuryrctl.core.subjects import BALANCER_KINDS, uid_of_key

Fields: TypeAlias = Mapping[str, str]
KINDS = BALANCER_KINDS | {Kind.FLOATING_IP, Kind.SERVICE}
_OURS = "kuryr:"
_UNASKED = frozenset({"resource_version", "ingress"})
"""Of a Service: what says nothing of what it asks for."""


def references(spec: Spec | None) -> tuple[Key, ...]:
    """The keys of the objects that a spec of these kinds names; none for another one."""
    match spec:
        case LoadBalancerSpec():
            pools = [listener.pool.members for listener in spec.listeners]
            return tuple(
                filter(None, dict.fromkeys([spec.vip_subnet, *(key for each in pools for key in _homes(each))]))
            )
        case ListenerSpec() | PoolSpec() | HealthMonitorSpec():
            return (spec.balancer,)
        case MembersSpec():
            return (spec.balancer, *_homes(spec))
        case FloatingIPSpec() if spec.balancer:
            return (spec.balancer,)
    return ()


def fields(kind: Kind, key: Key, id_: str, world: World) -> Fields | None:
    """What matters of the object, or None where it does not exist. With an id, it must be the one with this id."""
    match kind:
        case Kind.SERVICE:
            service = world.services.by_uid(uid_of_key(key))
            return None if service is None else _of_service(service, written=bool(id_))
        case Kind.FLOATING_IP:
            found = world.balancers.by_id(id_) if id_ else next(iter(world.balancers.floating_ips(key)), None)
            return _of_floating_ip(found) if isinstance(found, FloatingIP) else None
        case Kind.LOAD_BALANCER:
            there = world.balancers.by_id(id_) if id_ else next(iter(world.balancers.balancers(key)), None)
            return _of_balancer(there) if isinstance(there, LoadBalancer) else None
    return _of_part(kind, key, id_, world)


def _of_part(kind: Kind, key: Key, id_: str, world: World) -> Fields | None:
    """What is below a load balancer; the id of members is their pool's."""
    role, uid, part, name = key.split("/")[1:5]
    balancer = next(iter(world.balancers.balancers(f"{Kind.LOAD_BALANCER}/{role}/{uid}/{part}")), None)
    if balancer is None:
        return None
    pools = pools_by_name(balancer)
    pool = next((each for each in pools.values() if each.id == id_), None) if id_ else pools.get(name)
    match kind:
        case Kind.LISTENER:
            found = (each for each in balancer.listeners if each.id == id_ or (not id_ and listener_name(each) == name))
            return next(map(_of_listener, found), None)
        case Kind.HEALTH_MONITOR:
            monitors = [each.health_monitor for each in (pools.values() if id_ else (pool,)) if each]
            return next((_of_monitor(each) for each in monitors if each and id_ in ("", each.id)), None)
        case Kind.MEMBER:
            return None if pool is None else {"id": pool.id, "members": _members(pool)}
    return None if pool is None else _of_pool(pool)


def _of_service(service: Service, *, written: bool) -> Fields:
    if written:
        return {"uid": service.uid, "ingress": " ".join(service.ingress)}
    return {name: _text(getattr(service, name)) for name in service.__struct_fields__ if name not in _UNASKED}


def _of_floating_ip(found: FloatingIP) -> Fields:
    return {
        "id": found.id,
        "floating_ip_address": found.floating_ip_address,
        "floating_network_id": found.floating_network_id,
        "port_id": found.port_id or "",
        "description": found.description,
        "tags": _tags(found.tags),
    }


def _of_balancer(found: LoadBalancer) -> Fields:
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "provider": found.provider,
        "vip_address": found.vip_address,
        "vip_subnet_id": found.vip_subnet_id,
        "tags": _tags(found.tags),
        "listeners": " ".join(sorted(map(listener_name, found.listeners))),
        "members": "; ".join(f"{name}: {_members(pool)}" for name, pool in sorted(pools_by_name(found).items())),
    }


def _of_listener(found: Listener) -> Fields:
    return {
        "id": found.id,
        "gate": listener_name(found),
        "default_pool_id": found.default_pool_id or "",
        "allowed_cidrs": " ".join(sorted(found.allowed_cidrs)),
        "timeout_client_data": _text(found.timeout_client_data),
        "timeout_member_data": _text(found.timeout_member_data),
    }


def _of_pool(found: Pool) -> Fields:
    kept = found.session_persistence
    return {
        "id": found.id,
        "name": found.name,
        "protocol": found.protocol,
        "lb_algorithm": found.lb_algorithm,
        "session_persistence": f"{kept.type} {_text(kept.persistence_timeout)}" if kept else "",
        "members": _members(found),
    }


def _of_monitor(found: HealthMonitor) -> Fields:
    names = ("id", "type", "delay", "timeout", "max_retries")
    return {name: _text(getattr(found, name)) for name in names}


def _members(pool: Pool) -> str:
    return " ".join(sorted(f"{each.address}:{each.protocol_port}" for each in pool.members))


def _homes(spec: MembersSpec) -> Iterable[Key]:
    return filter(None, dict.fromkeys(member.subnet for member in spec.members))


def _tags(tags: Iterable[str]) -> str:
    return " ".join(sorted(tag for tag in tags if tag.startswith(_OURS)))


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case Mapping():
            return "; ".join(f"{name}={value[name]}" for name in sorted(value))
        case tuple():
            return " ".join(map(_text, value))
        case Struct():
            return ",".join(_text(getattr(value, name)) for name in value.__struct_fields__)
    return str(value)
