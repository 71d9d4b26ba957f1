"""A fake cloud with a Services' network, and words to ask it for load balancers; the engine's side is the real one."""

from __future__ import annotations

import json
from typing import Any

from kuryrctl.cloud import OpenStack
from kuryrctl.core import names
from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import (
    HealthMonitorSpec,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    MembersSpec,
    PoolSpec,
    Spec,
    kind_of,
)
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia

SERVICES, PODS = "subnet/services", "subnet/pods"


class Bench:
    """One cloud. `ids` are those behind keys; each `cloud` is a process of its own."""

    def __init__(self) -> None:
        self.neutron = FakeNeutron()
        self.octavia = FakeOctavia(self.neutron)
        self.audit: list[AuditRecord] = []
        self.network = self.post("/networks", {"network": {"name": "n"}})["network"]["id"]
        subnets = {SERVICES: "10.92.0.0/24", PODS: "10.91.0.0/24"}
        bodies = {key: {"network_id": self.network, "ip_version": 4, "cidr": cidr} for key, cidr in subnets.items()}
        self.ids = {key: self.post("/subnets", {"subnet": body})["subnet"]["id"] for key, body in bodies.items()}
        self.neutron.requests.clear()
        self.cloud = self.process()

    def process(self) -> OpenStack:
        """A process that knows nothing yet."""
        octavia = self.octavia
        return OpenStack(self.neutron, octavia, audit=self.audit.append, clock=octavia.clock, sleep=octavia.sleep)

    def post(self, path: str, body: Any) -> Any:
        """One call past our code, of Neutron."""
        answer = self.neutron.request("POST", path, body=json.dumps(body).encode())
        assert answer.status == 201, answer
        return json.loads(answer.body)

    def put(self, path: str, body: Any) -> None:
        """One change past our code, of Octavia."""
        answer = self.octavia.request("PUT", path, body=json.dumps(body).encode())
        assert answer.status in (200, 202), answer
        self.octavia.sleep(5)

    def balancer(self, uid: str, *listeners: ListenerSpec, address: str | None = None) -> LoadBalancerSpec:
        """The load balancer of a Service."""
        tags = names.tags("c", "service-4", uid)
        return LoadBalancerSpec(
            key=f"load-balancer/service/{uid}/4",
            name=f"c/shop/{uid}",
            description=names.description(tags),
            tags=tags,
            provider="ovn",
            vip_subnet=SERVICES,
            vip_address=address,
            listeners=listeners or (self.listener(uid),),
        )

    def listener(self, uid: str, port: int = 80, *hosts: int) -> ListenerSpec:
        """A listener with a pool of pods."""
        below, above = f"service/{uid}/4/tcp-{port}", f"load-balancer/service/{uid}/4"
        members = tuple(MemberSpec(f"10.91.0.{host}", 8080, PODS) for host in hosts or (11, 12))
        pool = PoolSpec(
            key=f"pool/{below}",
            balancer=above,
            name=f"tcp-{port}",
            protocol="TCP",
            algorithm="SOURCE_IP_PORT",
            members=MembersSpec(f"member/{below}", above, f"pool/{below}", members),
        )
        return ListenerSpec(f"listener/{below}", above, f"tcp-{port}", "TCP", port, pool)

    def monitor(self, uid: str, port: int = 80, delay: int = 5) -> HealthMonitorSpec:
        """A monitor of the pool of such a listener."""
        below, above = f"service/{uid}/4/tcp-{port}", f"load-balancer/service/{uid}/4"
        name = f"tcp-{port}"
        return HealthMonitorSpec(f"health-monitor/{below}", above, f"pool/{below}", name, "TCP", delay, 3, 2)

    def step(self, action: Action, spec: Spec, id_: str = "") -> Step:
        """A step about what the spec says."""
        kept = None if action is Action.DELETE else spec
        return Step(action=action, kind=kind_of(spec), key=spec.key, reason="a case", spec=kept, id=id_)

    def apply(self, step: Step) -> Outcome:
        """What became of a step; the id of a load balancer is known afterwards."""
        (outcome,) = self.cloud.apply([step], self.ids)
        if isinstance(outcome.object, LoadBalancer):
            self.ids[step.key if step.key.startswith("load") else ""] = outcome.object.id
        return outcome

    def create(self, spec: Spec) -> Outcome:
        """Make what the spec says."""
        return self.apply(self.step(Action.CREATE, spec))

    def made(self, uid: str = "u", *listeners: ListenerSpec) -> LoadBalancer:
        """The load balancer of a Service, which must succeed."""
        return self.done(self.step(Action.CREATE, self.balancer(uid, *listeners)))

    def done(self, step: Step) -> LoadBalancer:
        """The load balancer after a step that must succeed."""
        outcome = self.apply(step)
        assert isinstance(outcome.object, LoadBalancer), outcome.error
        return outcome.object

    def refused(self, step: Step) -> KuryrError:
        """Why a step failed, which it must."""
        error = self.apply(step).error
        assert error is not None
        return error

    def calls(self) -> list[str]:
        """The calls of Octavia so far, by method and path, without ids and queries."""
        return [f"{method} {path.partition('?')[0]}" for method, path in self.octavia.requests]
