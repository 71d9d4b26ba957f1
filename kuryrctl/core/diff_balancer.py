"""The difference within one load balancer that stays: itself, its listeners, pools, members and health monitors.

Additive first: pools and listeners that lack come before members change, what is too much goes last. Octavia deletes a
pool with its members and its monitor, and the adapter a listener with its pool.
Does not know: Services, in which state the load balancer is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kuryrctl.core.balancer_index import pools_by_name
from kuryrctl.core.balancers import HealthMonitor, Listener, LoadBalancer, Member, Pool
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.specs import (
    HealthMonitorSpec,
    Key,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    MembersSpec,
    PoolSpec,
    Spec,
    kind_of,
)

_SHOWN = 4
"""Members that a sentence names one by one."""


def changed_itself(spec: LoadBalancerSpec, found: LoadBalancer, who: str, *, lacks_tags: bool) -> Iterator[Step]:
    """What of the load balancer by itself differs: its tags, its administrative state."""
    changes = () if found.admin_state_up else (FieldChange("admin_state_up", "false", "true"),)
    if lacks_tags:
        why = f"it was made for {who}, but lacks our tags"
        yield _step(Action.ADOPT, spec, why, who, id_=found.id, changes=changes)
    elif changes:
        yield _step(
            Action.UPDATE, spec, f"the load balancer of {who} is switched off", who, id_=found.id, changes=changes
        )


def changed_below(spec: LoadBalancerSpec, found: LoadBalancer, who: str) -> Iterator[Step]:
    """What below it lacks, differs, or is too much, in this order."""
    listeners = {(each.protocol, each.protocol_port): each for each in found.listeners}
    pools = pools_by_name(found)
    wanted = {(each.protocol, each.port): each for each in spec.listeners}
    for gate, listener in wanted.items():
        there = listeners.get(gate)
        pool = pools.get(listener.name)
        where = f"{listener.protocol} {listener.port} of {who}"
        if there is None:
            why = f"nothing listens on {found.vip_address} for {where}"
            yield _step(Action.CREATE, listener, why, who)
        elif pool is None or there.default_pool_id != pool.id:
            why = f"the listener for {where} leads to no pool of ours"
            yield _step(Action.CREATE, listener.pool, why, who)
    for gate, listener in wanted.items():
        there, pool = listeners.get(gate), pools.get(listener.name)
        if there is not None:
            yield from _differing(listener, _listener_changes(listener, there), who, there.id, "the listener")
            if pool is not None and there.default_pool_id == pool.id:
                yield from _pool_steps(listener.pool, pool, who, f"{listener.protocol} {listener.port} of {who}")
    yield from _surplus(spec, found, who)


def others_algorithm(spec: LoadBalancerSpec, found: LoadBalancer) -> bool:
    """Whether a pool that stays has another algorithm than it should have."""
    pools = pools_by_name(found)
    pairs = ((each.pool, pools.get(each.name)) for each in spec.listeners)
    return any(pool is not None and pool.lb_algorithm != wanted.algorithm for wanted, pool in pairs)


def _pool_steps(spec: PoolSpec, found: Pool, who: str, where: str) -> Iterator[Step]:
    yield from _differing(spec, _pool_changes(spec, found), who, found.id, "the pool")
    yield from _member_steps(spec.members, found, who, where)
    monitor = found.health_monitor
    if spec.monitor is None:
        if monitor is not None:
            key = f"health-monitor/{spec.key.partition('/')[2]}"
            yield _removal(Kind.HEALTH_MONITOR, key, monitor.id, f"nobody asks for a health monitor for {where}", who)
    elif monitor is None:
        yield _step(Action.CREATE, spec.monitor, f"nothing watches the members for {where}", who)
    else:
        yield from _differing(spec.monitor, _monitor_changes(spec.monitor, monitor), who, monitor.id, "the monitor")


def _member_steps(spec: MembersSpec, found: Pool, who: str, where: str) -> Iterator[Step]:
    there = {(each.address, each.protocol_port): each for each in found.members}
    wanted = {(each.address, each.port): each for each in spec.members}
    lacking = [_gate(each) for gate, each in wanted.items() if gate not in there]
    surplus = [f"{_host(address)}:{port}" for address, port in there if (address, port) not in wanted]
    altered = [_gate(each) for gate, each in wanted.items() if gate in there and _differs(each, there[gate])]
    if not (lacking or surplus or altered):
        return
    told = [
        f"{verb} {_listed(some)}"
        for verb, some in (("lacks", lacking), ("should not have", sorted(surplus)), ("should weigh anew", altered))
        if some
    ]
    changes = (FieldChange("members", str(len(there)), str(len(wanted))),)
    yield _step(Action.UPDATE, spec, f"the pool for {where} {', '.join(told)}", who, id_=found.id, changes=changes)


def _surplus(spec: LoadBalancerSpec, found: LoadBalancer, who: str) -> Iterator[Step]:
    below = spec.key.partition("/")[2]
    wanted = {(each.protocol, each.port) for each in spec.listeners}
    gone_with: set[str | None] = set()
    for each in found.listeners:
        if (each.protocol, each.protocol_port) not in wanted:
            gone_with.add(each.default_pool_id)
            key = f"listener/{below}/{each.protocol.lower()}-{each.protocol_port}"
            why = f"{who} has no port {each.protocol} {each.protocol_port}"
            yield _removal(Kind.LISTENER, key, each.id, why, who)
    names = {each.name for each in spec.listeners}
    for name, pool in pools_by_name(found).items():
        if name not in names and pool.id not in gone_with:
            why = f"no listener of {who} leads to this pool: {pool.name or pool.id}"
            yield _removal(Kind.POOL, f"pool/{below}/{name}", pool.id, why, who)


# Fields --------------------------------------------------------------------------------------------------------------


def _listener_changes(spec: ListenerSpec, found: Listener) -> Iterator[FieldChange]:
    """A time-out that nobody asks for is whatever it is: Octavia's default is not told apart from one that was set."""
    if set(found.allowed_cidrs) != set(spec.allowed_cidrs):
        yield FieldChange("allowed_cidrs", " ".join(sorted(found.allowed_cidrs)), " ".join(sorted(spec.allowed_cidrs)))
    for name in ("timeout_client_data", "timeout_member_data"):
        before, after = getattr(found, name), getattr(spec, name)
        if after is not None and before != after:
            yield FieldChange(name, "" if before is None else str(before), str(after))
    if not found.admin_state_up:
        yield FieldChange("admin_state_up", "false", "true")


def _pool_changes(spec: PoolSpec, found: Pool) -> Iterator[FieldChange]:
    if found.lb_algorithm != spec.algorithm:
        yield FieldChange("lb_algorithm", found.lb_algorithm, spec.algorithm)
    held = found.session_persistence
    before = (held.type, held.persistence_timeout) if held else None
    after = spec.persistence
    if after is not None and after[1] is None and before is not None:
        before = (before[0], None)  # the provider's own
    if before != after:
        yield FieldChange("session_persistence", _persistence(before), _persistence(after))
    if not found.admin_state_up:
        yield FieldChange("admin_state_up", "false", "true")


def _monitor_changes(spec: HealthMonitorSpec, found: HealthMonitor) -> Iterator[FieldChange]:
    for name, before, after in (
        ("type", found.type, spec.method),
        ("delay", found.delay, spec.delay),
        ("timeout", found.timeout, spec.timeout),
        ("max_retries", found.max_retries, spec.max_retries),
        ("admin_state_up", found.admin_state_up, True),
    ):
        if before != after:
            yield FieldChange(name, str(before), str(after))


def _differs(spec: MemberSpec, found: Member) -> bool:
    """The subnet of a member cannot be changed, and its name is for people."""
    return found.weight != spec.weight or not found.admin_state_up


# Steps ---------------------------------------------------------------------------------------------------------------


def _differing(spec: Spec, changes: Iterable[FieldChange], who: str, id_: str, what: str) -> Iterator[Step]:
    listed = tuple(changes)
    if listed:
        told = ", ".join(f"{each.field} {each.before or 'not set'} -> {each.after or 'none'}" for each in listed)
        where = spec.key.rpartition("/")[2]
        yield _step(Action.UPDATE, spec, f"{what} {where} of {who} differs: {told}", who, id_=id_, changes=listed)


def _step(
    action: Action, spec: Spec, why: str, who: str, *, id_: str = "", changes: tuple[FieldChange, ...] = ()
) -> Step:
    return Step(
        action=action, kind=kind_of(spec), key=spec.key, reason=why, subject=who, id=id_, spec=spec, changes=changes
    )


def _removal(kind: Kind, key: Key, id_: str, why: str, who: str) -> Step:
    return Step(action=Action.DELETE, kind=kind, key=key, reason=why, subject=who, id=id_)


def _persistence(held: tuple[str, int | None] | None) -> str:
    if held is None:
        return ""
    return held[0] if held[1] is None else f"{held[0]} {held[1]} s"


def _gate(member: MemberSpec) -> str:
    return f"{_host(member.address)}:{member.port}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _listed(some: list[str]) -> str:
    shown = ", ".join(some[:_SHOWN])
    return shown if len(some) <= _SHOWN else f"{shown} and {len(some) - _SHOWN} more"
