"""What cases about load balancers and floating IPs stand on: a Services' network, an Octavia, words to say trees in.

Keys are those of decision 070; the Service's uid is the case's. What a case makes is taken away after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from kuryrctl.cloud import OpenStack, Transport
from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP, LoadBalancer, Pool
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import FieldChange, Outcome, Step
from kuryrctl.core.specs import (
    FloatingIPSpec,
    HealthMonitorSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    MembersSpec,
    NetworkSpec,
    PoolSpec,
    RouterInterfaceSpec,
    RouterSpec,
    Spec,
    SubnetSpec,
    kind_of,
)
from tests.contract.cloud.world import V4, Answer, Losing, World

if TYPE_CHECKING:
    from collections import Counter

NETWORK, SUBNET, ROUTER = "network/services", "subnet/services", "router/services"
CIDR, GATEWAY, POOL = "10.92.0.0/24", "10.92.0.254", ("10.92.0.200", "10.92.0.250")


class Services:
    """One Octavia (fake or real) beside the world's Neutron. `clock` and `sleep` are those that it is waited for by;
    while `at_work` lasts, nothing that is changed is done."""

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    at_work: Callable[[], AbstractContextManager[None]]
    vip_port: str

    def __init__(self, world: World, octavia: Transport, member: Transport, other: Transport, admin: Transport) -> None:
        self.world = world
        self.octavia = Losing(octavia)
        self.member, self.other, self.admin = member, other, admin
        self._names = 0

    # --- life --------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """The Services' network, for all cases, and a router between it and the external network."""
        tags, name = self.world.tags("services"), f"{self.world.prefix}/services"
        self.world.made(
            NetworkSpec(NETWORK, name, tags),
            SubnetSpec(SUBNET, name, tags, NETWORK, CIDR, GATEWAY, POOL),
            RouterSpec(ROUTER, name, tags, self.world.external),
            RouterInterfaceSpec("router-interface/services", ROUTER, SUBNET),
        )
        self.world.keep()

    def begin(self) -> None:
        """Another Service, and a process that has seen nothing yet."""
        self._names += 1
        self.uid = f"uid-{self._names}"
        self.cloud = OpenStack(
            self.world.transport,
            self.octavia,
            audit=self.world.audit.append,
            clock=self.clock,
            sleep=self.sleep,
        )

    def clean(self) -> None:
        """Take away the load balancers of the case; its floating IPs go with what the world takes away."""
        self.octavia.lose_next = ""
        mine = [each for each in self.balancers() if each["name"].startswith(self.world.prefix)]
        for balancer in mine:
            self.until(lambda id_=balancer["id"]: self._is_gone(id_))
        for port in self.vip_ports():  # Octavia leaves those of load balancers that it refused
            self.world.raw("DELETE", f"/ports/{port['id']}")
        for floating_ip in self.world.raw("GET", "/floatingips?fields=id&fields=description").json["floatingips"]:
            if self.world.cluster_id in floating_ip["description"]:
                self.world.raw("DELETE", f"/floatingips/{floating_ip['id']}")

    def _is_gone(self, id_: str) -> bool:
        answer = self.raw("GET", f"/loadbalancers/{id_}")
        if answer.status == 200 and not answer.json["loadbalancer"]["provisioning_status"].startswith("PENDING_"):
            self.raw("DELETE", f"/loadbalancers/{id_}?cascade=true")
        return answer.status == 404

    def until(self, done: Callable[[], bool]) -> None:
        """Wait until it is so; the limit only ends a case that fails."""
        for _ in range(200):
            if done():
                return
            self.sleep(0.2)
        raise AssertionError("still not so")

    # --- words -------------------------------------------------------------------------------------------------

    def balancer(self, *listeners: ListenerSpec, address: str | None = "10.92.0.10", **fields: Any) -> LoadBalancerSpec:
        """The load balancer of the case's Service."""
        tags = names.tags(self.world.cluster_id, "service-4", self.uid)
        values: dict[str, Any] = {
            "key": f"load-balancer/service/{self.uid}/4",
            "name": f"{self.world.prefix}/shop/{self.uid}",
            "description": names.description(tags),
            "tags": tags,
            "provider": "ovn",
            "vip_subnet": SUBNET,
            "vip_address": address,
            "listeners": listeners,
        }
        return LoadBalancerSpec(**(values | fields))

    def listener(self, port: int = 80, *members: str, protocol: str = "TCP", **pool: Any) -> ListenerSpec:
        """A listener whose pool has members at these addresses of the pods' subnet, port 8080."""
        name = f"{protocol.lower()}-{port}"
        below, balancer = f"service/{self.uid}/4/{name}", f"load-balancer/service/{self.uid}/4"
        specs = tuple(MemberSpec(address, 8080, V4, f"pod-{address}") for address in sorted(members))
        values: dict[str, Any] = {
            "key": f"pool/{below}",
            "balancer": balancer,
            "name": name,
            "protocol": protocol,
            "algorithm": "SOURCE_IP_PORT",
            "members": MembersSpec(f"member/{below}", balancer, f"pool/{below}", specs),
        }
        return ListenerSpec(f"listener/{below}", balancer, name, protocol, port, PoolSpec(**(values | pool)))

    def monitor(self, port: int = 80, protocol: str = "TCP", **fields: Any) -> HealthMonitorSpec:
        """A monitor of the pool of the listener on this port."""
        below, balancer = f"service/{self.uid}/4/{protocol.lower()}-{port}", f"load-balancer/service/{self.uid}/4"
        values: dict[str, Any] = {"method": "TCP", "delay": 5, "timeout": 3, "max_retries": 2}
        return HealthMonitorSpec(
            key=f"health-monitor/{below}",
            balancer=balancer,
            pool=f"pool/{below}",
            name=f"{protocol.lower()}-{port}",
            **(values | fields),
        )

    def floating_ip(self, **fields: Any) -> FloatingIPSpec:
        """The floating IP of the case's Service."""
        tags = names.tags(self.world.cluster_id, "service-4", self.uid)
        values: dict[str, Any] = {
            "key": f"floating-ip/service/{self.uid}/4",
            "description": names.description(tags),
            "tags": tags,
            "network": self.world.external,
            "balancer": f"load-balancer/service/{self.uid}/4",
        }
        return FloatingIPSpec(**(values | fields))

    def create(self, spec: Spec, id_: str = "") -> Step:
        """A step that creates what the spec says."""
        return Step(action=Action.CREATE, kind=kind_of(spec), key=spec.key, reason="a case", spec=spec, id=id_)

    def update(self, spec: Spec, id_: str, *fields: str) -> Step:
        """A step that brings an object to what the spec says."""
        changes = tuple(FieldChange(field, "before", "after") for field in fields)
        return Step(
            action=Action.UPDATE,
            kind=kind_of(spec),
            key=spec.key,
            reason="a case",
            spec=spec,
            id=id_,
            changes=changes,
        )

    def delete(self, spec: Spec, id_: str) -> Step:
        """A step that deletes what the spec said."""
        return Step(action=Action.DELETE, kind=kind_of(spec), key=spec.key, reason="a case", id=id_)

    def apply(self, *steps: Step) -> list[Outcome]:
        """The outcomes of one batch; the ids of what is there afterwards are known to later ones."""
        outcomes = self.cloud.apply(steps, self.world.ids)
        for outcome in outcomes:
            if isinstance(outcome.object, LoadBalancer):
                self.world.ids |= tree_ids(f"service/{self.uid}/4", outcome.object)
            elif isinstance(outcome.object, FloatingIP):
                self.world.ids[outcome.step.key] = outcome.object.id
        return outcomes

    def done(self, *steps: Step) -> LoadBalancer:
        """The load balancer after steps that must all succeed."""
        outcomes = self.apply(*steps)
        faults = [str(outcome.error) for outcome in outcomes if outcome.error]
        assert not faults, faults
        tree = outcomes[-1].object
        assert isinstance(tree, LoadBalancer)
        return tree

    @property
    def octavia_calls(self) -> Counter[tuple[str, str]]:
        """How many calls our code made of Octavia."""
        assert self.cloud.octavia
        return self.cloud.octavia.calls

    def observed(self) -> dict[str, LoadBalancer]:
        """The cluster's load balancers, by a process that has never seen them."""
        state = OpenStack(self.world.transport, self.octavia, clock=self.clock).observe(self.world.cluster_id)
        assert Kind.LOAD_BALANCER in state.complete, state.errors
        return dict(state.load_balancers)

    # --- past our code -----------------------------------------------------------------------------------------

    def raw(self, method: str, path: str, body: object = None, *, by: Transport | None = None) -> Answer:
        """One call past our code."""
        encoded = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if encoded else {}
        return Answer((by or self.octavia).request(method, path, body=encoded, headers=headers))

    def balancers(self) -> list[dict[str, Any]]:
        """All load balancers of the project."""
        found: list[dict[str, Any]] = self.raw("GET", "/loadbalancers").json["loadbalancers"]
        return found

    def vip_ports(self) -> list[dict[str, Any]]:
        """The ports of VIPs on the Services' network."""
        query = f"network_id={self.world.ids[NETWORK]}&device_owner=ovn-lb:vip"
        found: list[dict[str, Any]] = self.world.raw("GET", f"/ports?{query}").json["ports"]
        return found

    def active(self, id_: str) -> None:
        """Wait until nothing of a load balancer is pending."""

        def settled() -> bool:
            return "PENDING_" not in json.dumps(self.raw("GET", f"/loadbalancers/{id_}/status").json)

        self.until(settled)


def tree_ids(below: str, tree: LoadBalancer) -> dict[str, str]:
    """The ids behind the keys of a tree; those of members are their pools'."""
    ids = {f"load-balancer/{below}": tree.id}
    ids |= {f"listener/{below}/{each.protocol.lower()}-{each.protocol_port}": each.id for each in tree.listeners}
    for pool in tree.pools:
        ids |= {f"{kind}/{below}/{pool.name}": pool.id for kind in ("pool", "member")}
        if pool.health_monitor:
            ids[f"health-monitor/{below}/{pool.name}"] = pool.health_monitor.id
    return ids


def addresses(pool: Pool) -> list[str]:
    """The members of a pool, by address."""
    return sorted(member.address for member in pool.members)


def statuses(tree: LoadBalancer) -> set[str]:
    """The provisioning statuses of a whole tree."""
    parts: Iterable[Any] = (tree, *tree.listeners, *tree.pools, *(m for pool in tree.pools for m in pool.members))
    return {part.provisioning_status for part in parts}


def mutations(calls: Counter[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The calls that change something."""
    return {call: count for call, count in calls.items() if call[0] != "GET"}


def lasting(tree: LoadBalancer) -> object:
    """What an answer to a creation can know: its time still moves, and the provider's last word comes in parts.

    Octavia's driver agent writes the members' statuses first and what is above them in transactions of their own
    (``update_loadbalancer_status``): for a moment all is ACTIVE, and pools and listeners are not ONLINE yet.
    """

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            later = ("updated_at", "operating_status")
            return {name: without(below) for name, below in value.items() if name not in later}
        return [without(each) for each in value] if isinstance(value, (list, tuple)) else value

    return without(msgspec.to_builtins(tree))
