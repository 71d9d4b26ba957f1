"""A Service of one port with two endpoints as it should be, and as Octavia has it: what the tree is asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from kuryrctl.core.balancers import Listener, LoadBalancer, Member, Pool
from kuryrctl.core.cluster import Pod
from kuryrctl.core.conditions import PortRow
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.service_tree import Sight
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kuryrctl.core.specs import ListenerSpec, LoadBalancerSpec, MemberSpec, MembersSpec, PoolSpec

BALANCER = "load-balancer/service/s/4"
LISTENER, POOL, MEMBERS = (f"{kind}/service/s/4/tcp-80" for kind in ("listener", "pool", "member"))
ADDRESSES = ("10.65.0.11", "10.65.0.12")
NOW_S = 1_764_108_000.0


def sight(**changed: Any) -> Sight:
    """Everything is there and well."""
    pods = {f"p{number}": pod(number) for number in range(len(ADDRESSES))}
    whole = Sight(
        name="shop/web",
        service=Service("shop", "web", "s", cluster_ips=("10.96.0.9",), ports=(ServicePort(80),)),
        balancer_specs=(spec(),),
        balancers={BALANCER: balancer()},
        slices=(endpoints(),),
        pods=pods,
        port_rows={uid: PortRow(namespace="shop", pod=each.name, addresses=each.ips) for uid, each in pods.items()},
        now_s=NOW_S,
    )
    return replace(whole, **changed)


def pod(number: int) -> Pod:
    return Pod("shop", f"web-{number}", f"p{number}", node="node1", phase="Running", ips=(ADDRESSES[number],))


def endpoints(*ready: bool) -> EndpointSlice:
    states = ready or (True,) * len(ADDRESSES)
    found = tuple(
        Endpoint((address,), ready=is_ready, pod_uid=f"p{number}")
        for number, (address, is_ready) in enumerate(zip(ADDRESSES, states, strict=True))
    )
    return EndpointSlice("shop", "web-1", "e", "web", endpoints=found, ports=(EndpointPort("", 8080),))


def spec(*addresses: str) -> LoadBalancerSpec:
    members = tuple(MemberSpec(address, 8080) for address in addresses or ADDRESSES)
    pool = PoolSpec(POOL, BALANCER, "tcp-80", "TCP", "SOURCE_IP_PORT", MembersSpec(MEMBERS, BALANCER, POOL, members))
    listener = ListenerSpec(LISTENER, BALANCER, "tcp-80", "TCP", 80, pool)
    return LoadBalancerSpec(BALANCER, "c/shop/web", "", (), "ovn", "subnet/services-4", "10.96.0.9", (listener,))


def balancer(**changed: Any) -> LoadBalancer:
    well: dict[str, Any] = {"provisioning_status": "ACTIVE", "operating_status": "ONLINE"}
    members = tuple(Member(f"m{number}", address, 8080, **well) for number, address in enumerate(ADDRESSES))
    found = LoadBalancer(
        id="lb",
        vip_address="10.96.0.9",
        vip_port_id="vip",
        provider="ovn",
        updated_at="2025-11-25T21:59:00",
        listeners=(Listener("l", "TCP", 80, "tcp-80", "p", **well),),
        pools=(Pool("p", "TCP", "SOURCE_IP_PORT", "tcp-80", members=members, **well),),
        **well,
    )
    return replace(found, **changed)


def with_members(change: Callable[[tuple[Member, ...]], tuple[Member, ...]]) -> dict[str, LoadBalancer]:
    """The load balancer, with other members."""
    whole = balancer()
    (pool,) = whole.pools
    return {BALANCER: replace(whole, pools=(replace(pool, members=change(pool.members)),))}


def step(key: str, action: Action, reason: str) -> dict[str, Step]:
    """What a run would do."""
    return {key: Step(action=action, kind=Kind(key.partition("/")[0]), key=key, reason=reason)}
