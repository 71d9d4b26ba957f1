"""Makes, changes and deletes what is below a load balancer: listeners with their pools, members, health monitors.

Each step leaves whole what clients reach: a listener opens after its pool has its members, and goes before its pool.
Whatever of a step an earlier try has made is found and used. Does not know: the order of plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kuryrctl.cloud import octavia_wire, wire
from kuryrctl.cloud.balancers import Balancers, Change
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.octavia_wire import LISTENERS, MONITORS, POOLS, Ref, Status
from kuryrctl.cloud.trees import Trees
from kuryrctl.cloud.waiting import walk
from kuryrctl.cloud.wire import Body, Resource
from kuryrctl.core.balancers import (
    BalancerHead,
    HealthMonitor,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    SessionPersistence,
)
from kuryrctl.core.errors import Conflict
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import HealthMonitorSpec, Key, ListenerSpec, MembersSpec, PoolSpec


class Parts:
    """Steps on what is below load balancers; each gives the whole tree afterwards. Raises Refused and KuryrError."""

    def __init__(self, client: Client, trees: Trees, balancers: Balancers, ids: Mapping[Key, str]) -> None:
        self._client = client
        self._trees = trees
        self._balancers = balancers
        self._ids = ids

    def execute(self, step: Step) -> LoadBalancer:
        """Do what the step says; the load balancer afterwards."""
        row = self._balancers.ours(step, wire.resolve(self._ids, balancer_key(step.key)))
        match step.action, step.spec:
            case Action.CREATE, ListenerSpec() as spec:
                self._create_listener(step, row, spec)
            case _, ListenerSpec() as spec:
                self._update_listener(step, row, spec)
            case Action.CREATE, PoolSpec() as spec:
                self._create_pool(step, row, spec)
            case _, PoolSpec() as spec:
                self._update_pool(step, row, spec)
            case _, MembersSpec() as spec:
                self._set_members(step, row, step.id or wire.resolve(self._ids, spec.pool), spec)
            case Action.CREATE, HealthMonitorSpec() as spec:
                self._create_monitor(step, row, wire.resolve(self._ids, spec.pool), spec)
            case _, HealthMonitorSpec() as spec:
                self._update_monitor(step, row, spec)
            case _, _:
                self._delete(step, row)
        return self._trees.one(row.id)

    # --- listeners ----------------------------------------------------------------------------------------------

    def _create_listener(self, step: Step, row: BalancerHead, spec: ListenerSpec) -> None:
        tree = self._trees.one(row.id)
        pool = next((pool for pool in tree.pools if pool.name == spec.pool.name), None)
        pool_id = self._fill_pool(step, row, spec.pool, pool)
        existing = next((each for each in tree.listeners if _same_port(each, spec)), None)
        if existing is not None:
            self._bring_listener(step, row, existing, spec, pool_id)
            return
        body = octavia_wire.listener_body(spec) | {"loadbalancer_id": row.id, "default_pool_id": pool_id}
        self._balancers.change(step, row, Change("POST", LISTENERS.path, {LISTENERS.singular: body}))

    def _update_listener(self, step: Step, row: BalancerHead, spec: ListenerSpec) -> None:
        self._bring_listener(step, row, self._client.get(LISTENERS, step.id), spec)

    def _bring_listener(
        self, step: Step, row: BalancerHead, listener: Listener, spec: ListenerSpec, pool_id: str = ""
    ) -> None:
        """Change what differs. A time-out that the spec leaves open is whatever it is."""
        wanted = octavia_wire.listener_body(spec) | {"allowed_cidrs": list(spec.allowed_cidrs)}
        changes = {
            field: value
            for field, value in wanted.items()
            if field not in ("protocol", "protocol_port") and not _holds(getattr(listener, field), value)
        }
        if pool_id and listener.default_pool_id != pool_id:
            changes["default_pool_id"] = pool_id
        self._put(step, row, (LISTENERS, listener.id), changes)

    # --- pools --------------------------------------------------------------------------------------------------

    def _create_pool(self, step: Step, row: BalancerHead, spec: PoolSpec) -> None:
        """A pool that was lost from below its listener."""
        tree = self._trees.one(row.id)
        pool_id = self._fill_pool(step, row, spec, next((p for p in tree.pools if p.name == spec.name), None))
        listener = self._ids.get(f"{Kind.LISTENER}/{spec.key.partition('/')[2]}", "")
        held = next((each.default_pool_id for each in tree.listeners if each.id == listener), pool_id)
        changes = {} if held == pool_id else {"default_pool_id": pool_id}
        self._put(step, row, (LISTENERS, listener), changes)

    def _fill_pool(self, step: Step, row: BalancerHead, spec: PoolSpec, pool: Pool | None) -> str:
        """The id of the pool with its members and its monitor; what of it there is stays."""
        if pool is None:
            body = octavia_wire.pool_body(spec) | {"loadbalancer_id": row.id}
            answer = self._balancers.change(step, row, Change("POST", POOLS.path, {POOLS.singular: body}))
            pool_id = octavia_wire.id_in(answer)
        else:
            pool_id = pool.id
        there = [] if pool is None else [(member.address, member.protocol_port) for member in pool.members]
        if sorted(there) != sorted((member.address, member.port) for member in spec.members.members):
            self._set_members(step, row, pool_id, spec.members)
        if spec.monitor is not None and (pool is None or pool.health_monitor is None):
            self._create_monitor(step, row, pool_id, spec.monitor)
        return pool_id

    def _update_pool(self, step: Step, row: BalancerHead, spec: PoolSpec) -> None:
        """Whatever differs, `admin_state_up` is said with it.

        Without it OVN's provider (``pool_update`` in its helper.py, 11) gives a pool up (ERROR) whose persistence
        changes, and never reports the listeners (PENDING_UPDATE) of one whose name does.
        """
        pool = self._client.get(POOLS, step.id)
        wanted: Body = {"name": spec.name, "lb_algorithm": spec.algorithm, "admin_state_up": True}
        changes = {field: value for field, value in wanted.items() if getattr(pool, field) != value}
        if not _same_persistence(pool.session_persistence, spec):
            changes["session_persistence"] = octavia_wire.persistence_body(spec)
        self._put(step, row, (POOLS, pool.id), changes and changes | {"admin_state_up": True})

    def _set_members(self, step: Step, row: BalancerHead, pool_id: str, spec: MembersSpec) -> None:
        body = {"members": octavia_wire.members_body(spec, self._ids, row.vip_subnet_id)}
        change = Change("PUT", f"{POOLS.path}/{pool_id}/members", body, pool_id)
        wanted = {(member.address, member.port) for member in spec.members}
        self._balancers.change(step, row, change, lambda status: self._members(pool_id, status) == wanted)

    def _members(self, pool_id: str, status: Status) -> set[tuple[str, int]]:
        """The addresses and ports of a pool's members: by the statuses, else (no listener uses the pool) asked for."""
        told = next((each.members for each in walk(status) if each.id == pool_id), None)
        found: Sequence[Status | Member] = self._trees.members(pool_id) if told is None else told
        return {(member.address, member.protocol_port) for member in found}

    # --- health monitors ----------------------------------------------------------------------------------------

    def _create_monitor(self, step: Step, row: BalancerHead, pool_id: str, spec: HealthMonitorSpec) -> None:
        body = octavia_wire.monitor_body(spec) | {"pool_id": pool_id}
        self._balancers.change(step, row, Change("POST", MONITORS.path, {MONITORS.singular: body}))

    def _update_monitor(self, step: Step, row: BalancerHead, spec: HealthMonitorSpec) -> None:
        """One that differs is made anew: after an update the pool's listeners stay PENDING_UPDATE, since OVN's provider
        (``hm_update`` in its helper.py, 11) does not report them."""
        monitor = self._client.get(MONITORS, step.id)
        if not _differs(monitor, spec):
            return
        pool_id = _only(monitor.pools, step)
        self._balancers.change(step, row, Change("DELETE", f"{MONITORS.path}/{monitor.id}", touched=monitor.id))
        self._create_monitor(step, row, pool_id, spec)

    # --- all ----------------------------------------------------------------------------------------------------

    def _put(self, step: Step, row: BalancerHead, what: tuple[Resource[Any], str], changes: Body) -> None:
        resource, id_ = what
        if changes:
            self._balancers.change(
                step, row, Change("PUT", f"{resource.path}/{id_}", {resource.singular: changes}, id_)
            )

    def _delete(self, step: Step, row: BalancerHead) -> None:
        """A listener goes before its pool, and takes it along; a pool takes its members and its monitor."""
        match step.kind:
            case Kind.LISTENER:
                self._delete_listener(step, row)
            case Kind.POOL:
                self._balancers.change(step, row, Change("DELETE", f"{POOLS.path}/{step.id}", touched=step.id))
            case Kind.MEMBER:
                self._set_members(step, row, step.id, MembersSpec(step.key, "", ""))
            case Kind.HEALTH_MONITOR:
                self._balancers.change(step, row, Change("DELETE", f"{MONITORS.path}/{step.id}", touched=step.id))

    def _delete_listener(self, step: Step, row: BalancerHead) -> None:
        listeners = self._trees.one(row.id).listeners
        pools = {listener.default_pool_id for listener in listeners if listener.id == step.id}
        pools -= {listener.default_pool_id for listener in listeners if listener.id != step.id}
        self._balancers.change(step, row, Change("DELETE", f"{LISTENERS.path}/{step.id}", touched=step.id))
        for pool_id in sorted(filter(None, pools)):
            self._balancers.change(step, row, Change("DELETE", f"{POOLS.path}/{pool_id}", touched=pool_id))


def balancer_key(key: Key) -> Key:
    """The key of the load balancer above: ``listener/service/UID/PART/tcp-80`` → ``load-balancer/service/UID/PART``."""
    return f"{Kind.LOAD_BALANCER}/{key.partition('/')[2].rpartition('/')[0]}"


def is_gone(refused: Refused, step: Step) -> bool:
    """Whether a deletion found nothing to delete."""
    return step.action is Action.DELETE and refused.status == 404


def _same_port(listener: Listener, spec: ListenerSpec) -> bool:
    return (listener.protocol, listener.protocol_port) == (spec.protocol, spec.port)


def _same_persistence(held: SessionPersistence | None, spec: PoolSpec) -> bool:
    """A time-out that the spec leaves to the provider is whatever it is."""
    if held is None or spec.persistence is None:
        return held is None and spec.persistence is None
    type_, timeout_s = spec.persistence
    return held.type == type_ and timeout_s in (None, held.persistence_timeout)


def _differs(monitor: HealthMonitor, spec: HealthMonitorSpec) -> bool:
    return any(getattr(monitor, field) != value for field, value in octavia_wire.monitor_body(spec).items())


def _holds(current: object, wanted: object) -> bool:
    if isinstance(current, tuple) and isinstance(wanted, list):
        return sorted(current) == sorted(wanted)
    return current == wanted


def _only(refs: Sequence[Ref], step: Step) -> str:
    if len(refs) != 1:
        raise Conflict(
            f"{step.action} of {step.key} not done: it has {len(refs)} parents where it should have one",
            code="OCT-ANSWER",
            hint="openstack loadbalancer status show tells what belongs to what",
        )
    return refs[0].id
