"""One site: a fake cluster and a fake cloud at the level of their transports, and the real engine between them.

What tests change is what people and other programs could change; what they look at is what the two servers hold.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kuryrctl.cloud import Neutron
from kuryrctl.core import names
from kuryrctl.core.cloud import Port
from kuryrctl.core.config import Config, parse_config
from kuryrctl.core.diff import Difference
from kuryrctl.kube import Kube, Lease
from kuryrctl.reconcile import AuditLog, Parts, Report, Scope, dry_run, once, watch
from tests.fakes.kube import FakeKube
from tests.fakes.neutron import FakeNeutron

NODES = ("node1", "node2")


class Site:
    """A cluster of two nodes, whose cloud is set up (`cluster init`) and whose nodes have their ports."""

    def __init__(self, *, converged: bool = True, audit_log: Path | None = None, **options: Any) -> None:
        self.kube = FakeKube()
        self.cloud = FakeNeutron()
        self.config: Config = parse_config({"external_network": None, **options})
        self.audit_log = str(audit_log) if audit_log else None
        for namespace in ("shop", "bank"):
            self.kube.add_namespace(namespace)
        for number, node in enumerate(NODES, 1):
            self.kube.add_node(node, f"203.0.113.{number}")
        if converged:
            assert self.init().ok
            assert self.run().ok

    # -- the engine, each time a new process

    def parts(self, **limits: Any) -> Parts:
        audit = AuditLog(self.audit_log, "test", clock=lambda: 0.0)
        self.neutron = Neutron(self.cloud, audit=audit)
        self.client = Kube(self.kube, on_mutation=audit.of_kubernetes)
        return Parts(self.config, self.neutron, self.client, audit, **limits)

    def lease(self) -> Lease:
        of = self.config.lease
        return Lease(Kube(self.kube), namespace=of.namespace, name=of.name, duration_s=of.duration_s)

    def init(self) -> Report:
        return once(self.parts(), self.lease(), Scope.CLUSTER)

    def run(self, **limits: Any) -> Report:
        return once(self.parts(**limits), self.lease())

    def difference(self, scope: Scope = Scope.PODS) -> Difference:
        return dry_run(self.parts(), scope)

    def plan(self, scope: Scope = Scope.PODS) -> list[str]:
        return [step.summary for step in self.difference(scope).plan]

    @contextmanager
    def watching(self) -> Iterator[threading.Thread]:
        stop = threading.Event()
        parts = self.parts()
        thread = threading.Thread(target=watch, args=(parts, self.lease(), self.client, stop), daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()

    # -- what the servers hold

    def ports(self, role: str = "pod") -> list[Port]:
        state = Neutron(self.cloud).observe(self.config.cluster_id)
        return [port for port in state.ports.values() if names.role_of(port.tags) == role]

    def port_of(self, uid: str) -> Port:
        (port,) = [port for port in self.ports() if names.uid_of(port.tags) == uid]
        return port

    def kuryr_port(self, name: str) -> Any:
        return self.kube.objects("kuryrports")[name]

    def events(self) -> list[Any]:
        return list(self.kube.objects("events").values())

    def cloud_objects(self) -> str:
        """Everything that Neutron holds, to compare."""
        kinds = ("networks", "subnets", "routers", "security_groups", "ports")
        return json.dumps({kind: self.cloud.objects(kind) for kind in kinds}, sort_keys=True)

    def foreign_port(self, **fields: Any) -> dict[str, Any]:
        """A port that somebody else made on the pod network."""
        network = next(n for n in self.cloud.objects("networks") if n["name"].endswith("-pods"))
        body = {"port": {"network_id": network["id"], **fields}}
        with self._no_faults():
            answer = self.cloud.request("POST", "/ports", body=json.dumps(body).encode())
        assert answer.status == 201, answer
        made: dict[str, Any] = json.loads(answer.body)["port"]
        return made

    def delete_port(self, id_: str) -> None:
        with self._no_faults():
            assert self.cloud.request("DELETE", f"/ports/{id_}").status == 204

    @contextmanager
    def _no_faults(self) -> Iterator[None]:
        """Faults to come are the engine's, not the test's."""
        injected = self.cloud.cloud.injected
        kept = list(injected)
        injected.clear()
        yield
        injected.extend(kept)

    def set_tags(self, id_: str, tags: list[str], resource: str = "ports") -> None:
        self.cloud.change(resource, id_, tags=tags)


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until it holds; it is the state that is asserted, the limit only ends a test that fails."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.005)
