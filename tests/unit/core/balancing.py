"""A Service and the cloud's answer to it: plans are made by the difference and executed on trees, without any call.

`Scene.after` does what Octavia and Neutron do with the steps of a plan; it refuses what they would refuse: a second
load balancer with one VIP, a second floating IP on one port, an id that is not there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers, pools_by_name
from kuryrctl.core.balancers import (
    FloatingIP,
    HealthMonitor,
    Listener,
    LoadBalancer,
    Member,
    Pool,
    SessionPersistence,
)
from kuryrctl.core.cloud import GatewayInfo, Network, Router, Subnet
from kuryrctl.core.config import Config, parse_config
from kuryrctl.core.diff_services import Remedy, release_service, serve_service
from kuryrctl.core.findings import Finding
from kuryrctl.core.index import Own
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import Identity
from kuryrctl.core.plan import Step
from kuryrctl.core.service_desired import Wanted, service_specs
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kuryrctl.core.specs import (
    FloatingIPSpec,
    HealthMonitorSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MembersSpec,
    PoolSpec,
    ServiceStatusSpec,
)

IDENTITY = Identity("kuryr", "project", "net")
PODS4 = Subnet("s-pods-4", "net", "10.65.0.0/22", 4)
PODS6 = Subnet("s-pods-6", "net", "fd00:10:65::/64", 6)
SERVICES4 = Subnet("s-services-4", "net-services", "10.96.0.0/15", 4)
SERVICES6 = Subnet("s-services-6", "net-services", "fd00:10:96::/111", 6)
HOME = {4: SERVICES4.id, 6: SERVICES6.id}
OWN = Own(
    identity=IDENTITY,
    objects={
        "network/pods": Network("net"),
        "router/pods": Router("router", external_gateway_info=GatewayInfo("public")),
        "subnet/services-4": SERVICES4,
        "subnet/services-6": SERVICES6,
    },
    pod_subnets={PODS4.id: PODS4, PODS6.id: PODS6},
)


def service(**changed: Any) -> Service:
    """shop/web: port 80 at 10.96.0.5."""
    given: dict[str, Any] = {"cluster_ips": ("10.96.0.5",), "ports": (ServicePort(80, target_port=8080),)}
    return Service("shop", "web", "u1", **given | changed)


def slice_(*addresses: str, name: str = "web-1", ports: Iterable[EndpointPort] = (), **states: Any) -> EndpointSlice:
    """Endpoints at these addresses, on port 8080."""
    family = "IPv6" if any(":" in each for each in addresses) else "IPv4"
    endpoints = tuple(Endpoint((each,), **states) for each in addresses)
    given = tuple(ports) or (EndpointPort("", 8080),)
    return EndpointSlice("shop", name, f"uid-{name}", "web", family, endpoints, given)


class Scene(Struct, frozen=True):
    """What there is. `service` None: it is gone."""

    service: Service | None = msgspec.field(default_factory=service)
    slices: tuple[EndpointSlice, ...] = (slice_("10.65.0.8", "10.65.0.9"),)
    balancers: tuple[LoadBalancer, ...] = ()
    floating_ips: tuple[FloatingIP, ...] = ()
    config: Config = Config()
    gone: bool = True
    remedy: Remedy = Remedy.TELL
    closing: tuple[str, ...] = ()
    guarding: tuple[str, ...] = ()
    unguarded: str = "nobody does"

    def with_config(self, **options: Any) -> Scene:
        """The same under another configuration of Services."""
        return replace(self, config=parse_config({"services": options}))

    def changed(self, **changed: Any) -> Scene:
        """The same with another Service."""
        assert self.service is not None
        return replace(self, service=replace(self.service, **changed))

    @property
    def index(self) -> Balancers:
        return Balancers(IDENTITY, self.balancers, self.floating_ips)

    @property
    def wanted(self) -> Wanted:
        assert self.service is not None
        return service_specs(self.service, self.slices, self.config, OWN, self.index, unguarded=self.unguarded)

    def difference(self) -> list[Step | Finding]:
        if self.service is None:
            return list(release_service("u1", self.index, gone=self.gone))
        return list(
            serve_service(
                self.service,
                self.wanted,
                self.index,
                closing=lambda vip, listeners: self.closing if tuple(listeners) else (),
                guarding=self.guarding,
                remedy=self.remedy,
                home=frozenset(HOME.values()),
            )
        )

    def steps(self) -> list[Step]:
        return [each for each in self.difference() if isinstance(each, Step)]

    def findings(self) -> list[str]:
        return [each.message for each in self.difference() if isinstance(each, Finding)]

    def plan(self) -> list[str]:
        """The steps, as people read them."""
        return [step.summary for step in self.steps()]

    def after(self) -> Scene:
        """The scene once its plan was executed."""
        cloud = _Cloud(self)
        for step in self.steps():
            cloud.execute(step)
        return cloud.scene()

    def converged(self) -> Scene:
        """The scene once nothing is left to do: what the status should tell is known last."""
        scene = self
        for _ in range(4):
            if not scene.steps():
                return scene
            scene = scene.after()
        raise AssertionError(f"it never ends: {scene.plan()}")


class _Cloud:
    """Executes steps as the adapters do."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._service = scene.service
        self.balancers = {each.id: each for each in scene.balancers}
        self.floating_ips = {each.id: each for each in scene.floating_ips}
        taken = {*self.balancers, *self.floating_ips}
        self._numbers = (n for n in itertools.count(1) if not {f"lb{n}", f"fip{n}"} & taken)

    def scene(self) -> Scene:
        return replace(
            self._scene,
            service=self._service,
            balancers=tuple(self.balancers.values()),
            floating_ips=tuple(self.floating_ips.values()),
        )

    def execute(self, step: Step) -> None:
        match step.spec:
            case LoadBalancerSpec():
                self._balancer(step, step.spec)
            case FloatingIPSpec():
                self._floating_ip(step, step.spec)
            case ServiceStatusSpec():
                assert self._service is not None
                self._service = replace(self._service, ingress=step.spec.ingress)
            case None if step.kind is Kind.LOAD_BALANCER:
                gone = self.balancers.pop(step.id)
                for each in self.floating_ips.values():
                    if each.port_id == gone.vip_port_id:
                        self.floating_ips[each.id] = replace(each, port_id=None)
            case None if step.kind is Kind.FLOATING_IP:
                del self.floating_ips[step.id]
            case _:
                self._below(step)

    def _balancer(self, step: Step, spec: LoadBalancerSpec) -> None:
        if step.action is not Action.CREATE:
            self.balancers[step.id] = replace(self.balancers[step.id], tags=spec.tags, admin_state_up=True)
            return
        id_ = f"lb{next(self._numbers)}"
        address = spec.vip_address or "203.0.113.50"
        assert address not in {each.vip_address for each in self.balancers.values()}, f"409: {address} is taken"
        made = LoadBalancer(
            id=id_,
            name=spec.name,
            project_id="project",
            description=spec.description,
            provider=spec.provider,
            vip_address=address,
            vip_port_id=f"vip-{id_}",
            vip_subnet_id=OWN.ids.get(spec.vip_subnet, spec.vip_subnet_id),
            tags=spec.tags,
            provisioning_status="ACTIVE",
        )
        for listener in spec.listeners:
            made = _with_listener(made, listener)
        self.balancers[id_] = made

    def _floating_ip(self, step: Step, spec: FloatingIPSpec) -> None:
        ids = Balancers(IDENTITY, self.balancers.values()).ids
        port = self.balancers[ids[spec.balancer]].vip_port_id if spec.balancer else None
        if step.action is Action.CREATE:
            id_ = f"fip{next(self._numbers)}"
            found = FloatingIP(id_, spec.address or "203.0.113.7", spec.network, "project")
            found = replace(found, description=spec.description)
        else:
            found = self.floating_ips[step.id]
        if spec.ours:
            found = replace(found, tags=spec.tags)
        on_port = {each.id for each in self.floating_ips.values() if port and each.port_id == port}
        assert on_port <= {found.id}, f"409: {port} has a floating IP"
        self.floating_ips[found.id] = replace(found, port_id=port)

    def _below(self, step: Step) -> None:
        above = f"load-balancer/{step.key.partition('/')[2].rpartition('/')[0]}"
        id_ = Balancers(IDENTITY, self.balancers.values()).ids[above]
        self.balancers[id_] = _changed(self.balancers[id_], step)


def _changed(tree: LoadBalancer, step: Step) -> LoadBalancer:
    pools, listeners = {each.id: each for each in tree.pools}, {each.id: each for each in tree.listeners}
    match step.action, step.spec:
        case Action.CREATE, ListenerSpec() as spec:
            return _with_listener(tree, spec)
        case _, ListenerSpec() as spec:
            listeners[step.id] = _listener(spec, step.id, listeners[step.id].default_pool_id or "")
        case Action.CREATE, PoolSpec() as spec:
            named = pools_by_name(tree).get(spec.name)
            pool = _pool(spec, named.id if named else f"pool-{spec.name}")
            pools[pool.id] = pool
            (holder,) = [
                each for each in tree.listeners if f"{each.protocol.lower()}-{each.protocol_port}" == spec.name
            ]
            listeners[holder.id] = replace(holder, default_pool_id=pool.id)
        case _, PoolSpec() as spec:
            made = _pool(spec, step.id)
            held = pools[step.id]
            pools[step.id] = replace(made, members=held.members, health_monitor=held.health_monitor)
        case _, MembersSpec() as spec:
            pools[step.id] = replace(pools[step.id], members=_members(spec))
        case _, HealthMonitorSpec() as spec:
            (pool,) = [each for name, each in pools_by_name(tree).items() if name == step.key.rpartition("/")[2]]
            pools[pool.id] = replace(pool, health_monitor=_monitor(spec))
        case Action.DELETE, _ if step.kind is Kind.LISTENER:
            pools.pop(listeners.pop(step.id).default_pool_id or "", None)
        case Action.DELETE, _ if step.kind is Kind.POOL:
            del pools[step.id]
        case _:
            (pool,) = [each for each in tree.pools if each.health_monitor and each.health_monitor.id == step.id]
            pools[pool.id] = replace(pool, health_monitor=None)
    return replace(tree, pools=tuple(pools.values()), listeners=tuple(listeners.values()))


def _with_listener(tree: LoadBalancer, spec: ListenerSpec) -> LoadBalancer:
    assert (spec.protocol, spec.port) not in {(each.protocol, each.protocol_port) for each in tree.listeners}, "409"
    pool = _pool(spec.pool, f"pool-{spec.name}")
    listener = _listener(spec, f"listener-{spec.name}", pool.id)
    pools = (*(each for each in tree.pools if each.id != pool.id), pool)
    return replace(tree, listeners=(*tree.listeners, listener), pools=pools)


def _listener(spec: ListenerSpec, id_: str, pool_id: str) -> Listener:
    return Listener(
        id=id_,
        protocol=spec.protocol,
        protocol_port=spec.port,
        name=spec.name,
        default_pool_id=pool_id,
        allowed_cidrs=spec.allowed_cidrs,
        timeout_client_data=spec.timeout_client_data or 50000,
        timeout_member_data=spec.timeout_member_data or 50000,
    )


def _pool(spec: PoolSpec, id_: str) -> Pool:
    held = SessionPersistence(*spec.persistence) if spec.persistence else None
    monitor = _monitor(spec.monitor) if spec.monitor else None
    return Pool(
        id_, spec.protocol, spec.algorithm, spec.name, held, members=_members(spec.members), health_monitor=monitor
    )


def _members(spec: MembersSpec) -> tuple[Member, ...]:
    return tuple(
        Member(f"{each.address}:{each.port}", each.address, each.port, weight=each.weight) for each in spec.members
    )


def _monitor(spec: HealthMonitorSpec) -> HealthMonitor:
    return HealthMonitor(f"monitor-{spec.name}", spec.method, spec.delay, spec.timeout, spec.max_retries)


def floating_ip(address: str, **changed: Any) -> FloatingIP:
    """A floating IP of the Service's user."""
    return replace(FloatingIP(f"id-{address}", address, "public", "project"), **changed)


def our_description(part: str = "4") -> str:
    """The description of what we make for the Service."""
    return names.description(names.tags("kuryr", f"service-{part}", "u1"))
