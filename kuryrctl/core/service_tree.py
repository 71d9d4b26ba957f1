"""One Service as a tree of links: load balancers, listeners, pools, members, pods, ports, each in one named state.

A packet takes the links from the top down, so the first broken one, read that way, is where it stops. What differs from
what should be is told by the steps that a run would take (`Sight.steps`): the tree and `service sync` cannot disagree.
Does not know: how anything was read, which Services are served at all, how it is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from kuryrctl.core.balancer_index import pools_by_name
from kuryrctl.core.balancers import (
    ERROR,
    PENDING_PREFIX,
    FloatingIP,
    HealthMonitor,
    Listener,
    LoadBalancer,
    Member,
    Pool,
)
from kuryrctl.core.cluster import Pod
from kuryrctl.core.conditions import Condition, PortRow
from kuryrctl.core.errors import Owner
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.service_links import Layer, Link, State
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.specs import FloatingIPSpec, Key, ListenerSpec, LoadBalancerSpec, MemberSpec

STUCK_AFTER_S = 300.0
"""An OVN load balancer is PENDING for a second, an Amphora one for a minute or two; after this it is stuck."""
PENDING_DELETE = "PENDING_DELETE"
_SYNC = "kuryrctl service sync --dry-run shows the change, kuryrctl service sync makes it"


class Sight(Struct, frozen=True, kw_only=True):
    """What is known of one Service: what should be there, what is there by the same keys, what a run would do.

    `port_rows` are by pod uid. `service` None: only its load balancers are left.
    """

    name: str
    service: Service | None
    balancer_specs: tuple[LoadBalancerSpec, ...] = ()
    floating_specs: tuple[FloatingIPSpec, ...] = ()
    balancers: Mapping[Key, LoadBalancer] = {}
    floating_ips: Mapping[Key, FloatingIP] = {}
    steps: Mapping[Key, Step] = {}
    slices: tuple[EndpointSlice, ...] = ()
    pods: Mapping[str, Pod] = {}
    port_rows: Mapping[str, PortRow] = {}
    now_s: float = 0.0


def tree(sight: Sight) -> Link:
    """The Service with everything below it."""
    wanted = {spec.key: spec for spec in sight.balancer_specs}
    balancers = [_Grower(sight, spec, sight.balancers.get(spec.key)).balancer() for spec in wanted.values()]
    left = [_left(found) for key, found in sorted(sight.balancers.items()) if key not in wanted]
    uid = sight.service.uid if sight.service else ""
    return Link(Layer.SERVICE, sight.name, uid, below=(*balancers, *left, *_beside(sight)))


class _Grower:
    """The links of one load balancer that should be there."""

    def __init__(self, sight: Sight, spec: LoadBalancerSpec, found: LoadBalancer | None) -> None:
        self._sight = sight
        self._spec = spec
        self._found = found
        self._endpoints = {
            address: endpoint for one in sight.slices for endpoint in one.endpoints for address in endpoint.addresses
        }

    def balancer(self) -> Link:
        """The load balancer with its floating IPs and listeners."""
        spec, found = self._spec, self._found
        link = Link(Layer.LOAD_BALANCER, spec.vip_address or (found.vip_address if found else "any address"))
        if found is None:
            return _missing(link, self._sight.steps.get(spec.key))
        floating = [self._floating(each) for each in self._sight.floating_specs if each.balancer == spec.key]
        there = {(each.protocol, each.protocol_port): each for each in found.listeners}
        listeners = [self._listener(each, there.pop((each.protocol, each.port), None)) for each in spec.listeners]
        surplus = [_surplus(_listener_link(each), "no port of the Service asks for it") for each in there.values()]
        link = _over(self._judged(link, found, spec.key), (*floating, *listeners, *surplus))
        return link if link.broken or not found.pending else _excused(link)

    def _floating(self, spec: FloatingIPSpec) -> Link:
        found = self._sight.floating_ips.get(spec.key)
        link = Link(Layer.FLOATING_IP, found.floating_ip_address if found else spec.address or "any address")
        step = self._sight.steps.get(spec.key)
        if found is None:
            return _missing(link, step)
        link = msgspec.structs.replace(link, id=found.id)
        return _differing(link, step)

    def _listener(self, spec: ListenerSpec, found: Listener | None) -> Link:
        if found is None:
            return _missing(Link(Layer.LISTENER, f"{spec.protocol} {spec.port}"), self._sight.steps.get(spec.key))
        pools = pools_by_name(self._found) if self._found else {}
        pool = self._pool(spec, pools.get(spec.name))
        return _over(self._judged(_listener_link(found), found, spec.key), (pool,))

    def _pool(self, listener: ListenerSpec, found: Pool | None) -> Link:
        spec = listener.pool
        link = Link(Layer.POOL, spec.name or f"{spec.protocol} {listener.port}")
        if found is None:
            return _missing(link, self._sight.steps.get(spec.key))
        link = self._judged(link, found, spec.key)
        monitors: list[Link] = []
        if spec.monitor is not None:
            monitor = Link(Layer.HEALTH_MONITOR, spec.monitor.method)
            seen, step = found.health_monitor, self._sight.steps.get(spec.monitor.key)
            monitors = [_missing(monitor, step) if seen is None else self._judged(monitor, seen, spec.monitor.key)]
        elif found.health_monitor is not None:
            surplus = Link(Layer.HEALTH_MONITOR, found.health_monitor.type, found.health_monitor.id)
            monitors = [_surplus(surplus, "nothing asks for it")]
        wanted = {(each.address, each.port): each for each in spec.members.members}
        there = {(each.address, each.protocol_port): each for each in found.members}
        members = [self._member(each, there.get(at)) for at, each in wanted.items()]
        members += [
            _surplus(_member_link(each), "no ready endpoint is there") for at, each in there.items() if at not in wanted
        ]
        if not wanted and not link.broken:
            link = _broken(link, State.EMPTY, *self._why_empty())
        return _over(link, (*monitors, *members))

    def _member(self, spec: MemberSpec, found: Member | None) -> Link:
        if found is None:
            link = Link(Layer.MEMBER, _gate(spec.address, spec.port))
            why = "the pool lacks it: nothing is sent to this endpoint"
            return msgspec.structs.replace(_missing(link, None, why), below=tuple(self._pod(spec.address)))
        link = self._judged(_member_link(found), found, "")
        different = [
            f"its weight is {found.weight} instead of {spec.weight}" if found.weight != spec.weight else "",
            "" if found.admin_state_up else "its administrative state is down",
        ]
        told = ", ".join(filter(None, different))
        if told and not link.broken:
            link = _broken(link, State.DIFFERENT, told, Owner.KURYRCTL, _SYNC)
        return msgspec.structs.replace(link, below=tuple(self._pod(spec.address)))

    def _pod(self, address: str) -> Iterator[Link]:
        """The pod behind a member with its port; nothing, where an endpoint names no pod."""
        endpoint = self._endpoints.get(address)
        if endpoint is None or not endpoint.pod_uid:
            return
        pod = self._sight.pods.get(endpoint.pod_uid)
        if pod is None:
            hint = "Kubernetes' endpoint controller takes it out of its EndpointSlice; if it does not: look at its log"
            gone = Link(Layer.POD, endpoint.pod_uid)
            yield _broken(gone, State.FAULTY, "an endpoint names a pod that does not exist", Owner.KUBERNETES, hint)
            return
        ports = [_port(row)] if (row := self._sight.port_rows.get(pod.uid)) else []
        yield Link(Layer.POD, pod.full_name, pod.uid, detail=_of_pod(pod), below=tuple(ports))

    def _why_empty(self) -> tuple[str, Owner, str]:
        service = self._sight.service
        waiting = [one for each in self._sight.slices for one in each.endpoints if not one.ready]
        told = "no endpoint is ready"
        if waiting:
            told += f": {len(waiting)} are not"
        elif service is not None and service.selects:
            told += ": no pod has the labels of its selector"
        where = f"-n {service.namespace} -l kubernetes.io/service-name={service.name}" if service else ""
        return told, Owner.USER, f"kubectl get endpointslices {where} -o yaml; then kubectl describe its pods"

    def _judged(self, link: Link, found: LoadBalancer | Listener | Pool | Member | HealthMonitor, key: Key) -> Link:
        """The link with what Octavia says of it, else with what a run would change in it."""
        link = msgspec.structs.replace(
            link, id=found.id, provisioning_status=found.provisioning_status, operating_status=found.operating_status
        )
        balancer = self._found
        age_s = _age_s(balancer, self._sight.now_s) if balancer else None
        if found.provisioning_status == ERROR:
            told = f"Octavia has given it up (ERROR{_for(age_s)})"
            hint = "kuryrctl service sync --repair deletes it and makes it anew; --repair --dry-run shows the plan"
            return _broken(link, State.ERROR, told, Owner.OCTAVIA, hint)
        pending = found.provisioning_status.startswith(PENDING_PREFIX)
        if pending and age_s is not None and age_s > STUCK_AFTER_S:
            told = f"{found.provisioning_status}{_for(age_s)}: Octavia refuses every change of the load balancer"
            hint = (
                "the cloud's operator has to end it: look at octavia's driver agent (ovn) or worker (amphora);"
                " once it is ERROR: kuryrctl service sync --repair"
            )
            return _broken(link, State.STUCK, told, Owner.OCTAVIA, hint)
        if step := self._sight.steps.get(key):
            return _differing(link, step)
        if pending:
            return msgspec.structs.replace(link, state=State.PENDING)
        if isinstance(found, Member) and found.operating_status == ERROR:
            hint = "kuryrctl reach --probe tries the same from a pod"
            return _broken(link, State.OFFLINE, "its health monitor gets no answer", Owner.USER, hint)
        return link


def _over(link: Link, below: tuple[Link, ...]) -> Link:
    """The link with what is below it. Octavia's operating status ERROR comes from below: it counts where nothing is."""
    link = msgspec.structs.replace(link, below=below)
    if link.state is not State.OK or link.operating_status != ERROR or any(each.first_broken for each in below):
        return link
    hint = f"openstack loadbalancer status show {link.id}, and the provider's log"
    return _broken(link, State.OFFLINE, "its operating status is ERROR", Owner.OCTAVIA, hint)


def _beside(sight: Sight) -> Iterator[Link]:
    """What a run would change beside the load balancers: floating IPs that lead here no more, the Service's status."""
    wanted = {spec.key for spec in sight.floating_specs}
    for key, step in sight.steps.items():
        if step.kind is Kind.FLOATING_IP and key not in wanted:
            found = sight.floating_ips.get(key)
            name = found.floating_ip_address if found else step.id
            yield _differing(Link(Layer.FLOATING_IP, name, step.id), step)
        elif step.kind is Kind.SERVICE:
            yield _differing(Link(Layer.STATUS, "status.loadBalancer"), step)


def _left(found: LoadBalancer) -> Link:
    link = Link(
        Layer.LOAD_BALANCER,
        found.vip_address,
        found.id,
        provisioning_status=found.provisioning_status,
        operating_status=found.operating_status,
    )
    if found.provisioning_status == PENDING_DELETE:
        return msgspec.structs.replace(link, state=State.PENDING)
    return _surplus(link, "no Service asks for it any more")


def _port(row: PortRow) -> Link:
    link = Link(Layer.PORT, ", ".join(row.addresses) or "no address", row.port_id)
    if row.condition in (Condition.OK, Condition.PENDING):
        return msgspec.structs.replace(link, state=State(row.condition.value), detail=row.detail)
    told = f"{row.condition}: {row.detail}" if row.detail else str(row.condition)
    hint = f"kuryrctl port show {row.namespace}/{row.pod}"
    return _broken(link, State.FAULTY, told, Owner.KURYRCTL, hint)


def _of_pod(pod: Pod) -> str:
    return f"on {pod.node}" + (", ends" if pod.deleting else "") if pod.node else "without a node"


def _gate(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _listener_link(found: Listener) -> Link:
    return Link(Layer.LISTENER, f"{found.protocol} {found.protocol_port}", found.id)


def _member_link(found: Member) -> Link:
    return Link(Layer.MEMBER, _gate(found.address, found.protocol_port), found.id)


def _broken(link: Link, state: State, detail: str, owner: Owner, hint: str) -> Link:
    return msgspec.structs.replace(link, state=state, detail=detail, owner=owner, hint=hint)


def _missing(link: Link, step: Step | None, detail: str = "it does not exist") -> Link:
    return _broken(link, State.MISSING, step.reason if step else detail, Owner.KURYRCTL, _SYNC)


def _surplus(link: Link, detail: str) -> Link:
    return _broken(link, State.SURPLUS, detail, Owner.KURYRCTL, _SYNC)


def _differing(link: Link, step: Step | None) -> Link:
    """The link as a step on it tells; without a step it is as it should be."""
    if step is None:
        return link
    state = {Action.CREATE: State.MISSING, Action.DELETE: State.SURPLUS}.get(step.action, State.DIFFERENT)
    return _broken(link, state, step.reason, Owner.KURYRCTL, _SYNC)


_ON_ITS_WAY = frozenset({State.MISSING, State.DIFFERENT, State.SURPLUS})


def _excused(link: Link) -> Link:
    """While Octavia is at work on a load balancer, what differs below it is on its way."""
    below = tuple(map(_excused, link.below))
    if link.state in _ON_ITS_WAY and link.layer is not Layer.FLOATING_IP:
        return msgspec.structs.replace(link, state=State.PENDING, owner=None, hint="", below=below)
    return msgspec.structs.replace(link, below=below)


def _age_s(balancer: LoadBalancer, now_s: float) -> float | None:
    """For how long a load balancer has been as it is; None: Octavia does not say."""
    text = balancer.updated_at or balancer.created_at
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return max(0.0, now_s - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _for(age_s: float | None) -> str:
    if age_s is None:
        return ""
    return f" for {age_s / 60:.0f} min" if age_s >= 60 else f" for {age_s:.0f} s"
