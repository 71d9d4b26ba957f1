"""What is written to the cluster, given what is plugged."""

from __future__ import annotations

import time

import msgspec
import pytest

from kuryrctl.core.cluster import Interface, KuryrNode, KuryrPort, Plugged
from kuryrctl.core.errors import NotFound, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Changed, Listed
from kuryrctl.node import reporter
from kuryrctl.node.assignments import Assignments
from kuryrctl.node.ovsdb import Attachment
from kuryrctl.node.reporter import Reporter

ETH0 = (Interface("eth0", "p1", "02:00:00:00:00:01", ("10.0.0.2/24",)),)
PORT = KuryrPort("shop", "a", "u1", "node1", ETH0, uid="kp1", resource_version="1")
BOUND = Attachment(
    "tapp1", "p1", "m", pod_uid="u1", pod="shop/a", sandbox="c1", since="2026-01-01T00:00:00Z", installed=True
)


class Cluster:
    """Keeps what was written; `fault` is raised instead."""

    def __init__(self) -> None:
        self.ports: list[KuryrPort] = []
        self.nodes: list[KuryrNode] = []
        self.fault: Exception | None = None

    def write_kuryr_port_status(self, port: KuryrPort) -> KuryrPort:
        if self.fault:
            raise self.fault
        self.ports.append(port)
        return port

    def write_kuryr_node_status(self, node: KuryrNode) -> KuryrNode:
        if self.fault:
            raise self.fault
        self.nodes.append(node)
        return node


class Scene:
    """A reporter, the cluster it writes to, and what is plugged."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.assignments = Assignments("node1")
        self.assignments.put(Listed(Kind.KURYR_PORT, (PORT,), "1"))
        self.assignments.put(Listed(Kind.KURYR_NODE, (KuryrNode("node1", uid="n1"),), "1"))
        self.plugged: list[Attachment] = []
        self.reporter = Reporter(self.cluster, self.assignments, lambda: self.plugged, now=lambda: 1000.0)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_bound_pod_is_reported_once(scene: Scene) -> None:
    scene.plugged = [BOUND]

    assert scene.reporter.report(["shop/a"], heartbeat=False) == []
    assert scene.reporter.report(["shop/a"], heartbeat=False) == []

    reported = msgspec.structs.replace(PORT, bound=True, since="2026-01-01T00:00:00Z", sandbox="c1")
    assert scene.cluster.ports == [reported]
    assert scene.cluster.nodes[0].plugged == (Plugged("p1", "u1", "c1"),)
    assert len(scene.cluster.nodes) == 1


def test_a_status_that_somebody_changed_is_written_again(scene: Scene) -> None:
    scene.plugged = [BOUND]
    scene.reporter.report(["shop/a"], heartbeat=False)
    scene.assignments.put(Changed(Kind.KURYR_PORT, msgspec.structs.replace(PORT, resource_version="7", error="?")))

    scene.reporter.report(["shop/a"], heartbeat=False)

    assert [port.error for port in scene.cluster.ports] == ["", ""]


def test_a_port_that_waits_for_its_data_plane_is_plugged_but_not_bound(scene: Scene) -> None:
    scene.plugged = [msgspec.structs.replace(BOUND, installed=False)]
    scene.reporter.report(["shop/a"], heartbeat=False)
    assert scene.cluster.ports == []
    assert scene.cluster.nodes[0].plugged == (Plugged("p1", "u1", "c1"),)


def test_a_bug_does_not_end_reporting(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporter, "_AGAIN_S", 0.01)
    scene.cluster.fault = RuntimeError("a bug of the transport")
    scene.plugged = [BOUND]
    scene.reporter.touch(["shop/a"])
    scene.reporter.start()
    deadline = time.monotonic() + 10
    while "RuntimeError: a bug of the transport" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)

    scene.cluster.fault = None
    while not scene.cluster.ports and time.monotonic() < deadline:
        time.sleep(0.01)
    scene.reporter.stop()
    scene.reporter.join(10)

    assert [port.bound for port in scene.cluster.ports] == [True]


def test_a_fault_is_told_until_it_is_over(scene: Scene) -> None:
    scene.reporter.fault("shop/a", "port in use")
    scene.reporter.report(["shop/a"], heartbeat=False)
    scene.reporter.fault("shop/a", "")
    scene.assignments.put(Changed(Kind.KURYR_PORT, scene.cluster.ports[0]))
    scene.reporter.report(["shop/a"], heartbeat=False)
    assert [port.error for port in scene.cluster.ports] == ["port in use", ""]


def test_what_could_not_be_written_stays_due(scene: Scene) -> None:
    scene.plugged = [BOUND]
    scene.cluster.fault = Unavailable("refused", code="KUBE-UNREACHABLE")
    assert scene.reporter.report(["shop/a"], heartbeat=True) == ["shop/a"]
    scene.cluster.fault = NotFound("gone", code="KUBE-NOT-FOUND")
    assert scene.reporter.report(["shop/a"], heartbeat=True) == []
    scene.cluster.fault = None
    assert scene.reporter.report(["shop/a"], heartbeat=False) == []
    assert len(scene.cluster.ports) == 1


def test_a_heartbeat_is_written_although_nothing_changed(scene: Scene) -> None:
    scene.reporter.report([], heartbeat=True)
    scene.reporter.report([], heartbeat=True)
    assert [node.heartbeat_s for node in scene.cluster.nodes] == [1000.0, 1000.0]
    assert scene.cluster.nodes[0].version


def test_the_node_port_is_no_pods(scene: Scene) -> None:
    scene.plugged = [Attachment("k8snode", "p9", "m", node="node1", installed=True)]
    scene.reporter.node_fault("node port: no")
    scene.reporter.report([], heartbeat=False)
    assert (scene.cluster.nodes[0].plugged, scene.cluster.nodes[0].error) == ((), "node port: no")
