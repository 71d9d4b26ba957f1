"""The agent's reports: what they change, what they cannot. (Who may report: test_admission.)"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kuryrctl.core.cluster import KuryrNode, KuryrPort, Plugged
from kuryrctl.core.errors import Conflict, Invalid, NotFound
from kuryrctl.kube import Kube
from tests.contract.kube.world import INTERFACE, NODE_A, RealWorld, World, kuryr_port, refusal

OTHER_UID = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def agent(world: World) -> Kube:
    """The agent of node A."""
    return world.as_user(f"kuryr:agent:{NODE_A}", "kuryr:agents") if isinstance(world, RealWorld) else world.kube


@pytest.fixture
def port(world: World) -> KuryrPort:
    """A port assigned on node A."""
    return world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))


def test_a_report_changes_the_status_only(agent: Kube, port: KuryrPort) -> None:
    report = replace(port, bound=True, since="2026-11-23T09:00:00Z", sandbox="c0ffee", interfaces=())

    reported = agent.write_kuryr_port_status(report)

    assert (reported.bound, reported.since, reported.sandbox) == (True, "2026-11-23T09:00:00Z", "c0ffee")
    assert reported.interfaces == port.interfaces


def test_an_assignment_keeps_the_report(world: World, agent: Kube, port: KuryrPort) -> None:
    reported = agent.write_kuryr_port_status(replace(port, bound=True))

    assigned = world.kube.write_kuryr_port(replace(reported, interfaces=(replace(INTERFACE, mtu=1300),), bound=False))

    assert assigned.bound
    assert assigned.interfaces[0].mtu == 1300


def test_a_report_is_not_stopped_by_an_assignment_in_between(world: World, agent: Kube, port: KuryrPort) -> None:
    world.kube.write_kuryr_port(replace(port, interfaces=(replace(INTERFACE, mtu=1300),)))

    assert agent.write_kuryr_port_status(replace(port, bound=True)).bound


def test_a_report_on_another_pods_port_of_that_name_is_refused(agent: Kube, port: KuryrPort) -> None:
    assert isinstance(refusal(lambda: agent.write_kuryr_port_status(replace(port, uid=OTHER_UID))), Conflict)
    assert isinstance(refusal(lambda: agent.write_kuryr_port_status(replace(port, uid=""))), Invalid)


def test_a_report_on_a_port_that_is_gone_says_so(world: World, agent: Kube, port: KuryrPort) -> None:
    world.kube.delete_kuryr_port(port.namespace, port.name, port.uid)

    assert isinstance(refusal(lambda: agent.write_kuryr_port_status(port)), NotFound)


def test_an_error_too_long_for_the_schema_is_refused(agent: Kube, port: KuryrPort) -> None:
    assert isinstance(refusal(lambda: agent.write_kuryr_port_status(replace(port, error="x" * 2000))), Invalid)


def test_a_heartbeat_is_read_back_to_the_microsecond(world: World, agent: Kube) -> None:
    node = world.kube.write_kuryr_node(NODE_A, world.add_node(NODE_A), INTERFACE)
    plugged = (Plugged(INTERFACE.port_id, "pod", "c0ffee"),)

    reported = agent.write_kuryr_node_status(
        replace(node, heartbeat_s=1795426363.542338, version="1.2", plugged=plugged, error="")
    )

    assert reported.heartbeat_s == pytest.approx(1795426363.542338, abs=1e-6)
    assert (reported.version, reported.plugged, reported.node_port) == ("1.2", plugged, INTERFACE)
    emptied = agent.write_kuryr_node_status(replace(reported, plugged=()))
    assert emptied.plugged == ()
    world.kube.delete_kuryr_node(NODE_A, node.uid)
    assert isinstance(refusal(lambda: agent.write_kuryr_node_status(KuryrNode(NODE_A, uid=node.uid))), NotFound)
