"""Crashes and outages in the middle of work: afterwards all pods run, nothing leaked, nothing doubled."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.functional.lab import Lab, wait_for


def assert_exactly_one_port_each(lab: Lab, namespace: str) -> None:
    """Every pod of the namespace has exactly one port, and no port of ours serves a pod that is not there."""
    running = {pod["metadata"]["uid"] for pod in lab.pods(namespace)}
    everywhere = {pod["metadata"]["uid"] for pod in lab.get("pods", "-A")["items"]}

    def leaked() -> list[str]:
        return [port["id"] for port in lab.pod_ports() if port["device_id"] not in everywhere]

    wait_for(lambda: not leaked(), 60, leaked)
    served = sorted(port["device_id"] for port in lab.pod_ports() if port["device_id"] in running)
    assert served == sorted(running)


def test_engine_killed_in_the_middle_of_a_rollout(lab: Lab) -> None:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 20)
        wait_for(lambda: len(lab.get("kuryrports", "-n", namespace)["items"]) >= 3, 60)
        os.kill(lab.pid("engine"), signal.SIGKILL)
        try:
            assert len([pod for pod in lab.pods(namespace) if pod["status"].get("podIPs")]) < 20, "killed too late"
        finally:
            lab.kuryrctl("lab", "engine", "start")
        lab.wait_ready(namespace, 20, 150)
        assert_exactly_one_port_each(lab, namespace)
        with lab.engine_stopped():
            assert lab.plan().returncode == 0


@pytest.mark.long
def test_neutron_killed_between_making_and_binding_ports(lab: Lab) -> None:
    """It never comes back to the binding by itself, and its upkeep of OVN comes a minute later."""
    with lab.namespace() as namespace:
        before = len(lab.audit_log())
        lab.deploy(namespace, "web", 20)
        wait_for(lambda: any(port["binding:vif_type"] == "unbound" for port in lab.pod_ports()), 30, lab.pod_ports)
        lab.context.processes.stop("neutron", grace_s=0.0)
        lab.up()
        lab.wait_ready(namespace, 20, 150)
        assert '"call":"PUT /ports/' in lab.audit_log()[before:], "killed too late"
        assert_exactly_one_port_each(lab, namespace)


def test_agent_killed_in_the_middle_of_an_add(lab: Lab) -> None:
    with lab.namespace() as namespace:
        with lab.engine_stopped():  # no assignment yet: every ADD waits in the agent
            lab.deploy(namespace, "web", 6)
            wait_for(lambda: len([p for p in lab.pods(namespace) if p["spec"].get("nodeName")]) == 6, 30)
            time.sleep(3)
            for node in lab.nodes():
                os.kill(lab.pid(f"agent-{node}"), signal.SIGKILL)
        lab.up()
        lab.wait_ready(namespace, 6, 150)
        assert_exactly_one_port_each(lab, namespace)


def test_agent_restart_disturbs_no_running_pod(lab: Lab) -> None:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        one, other = lab.wait_ready(namespace, 2)
        address = other["status"]["podIP"]
        lab.reach(one, address)
        for node in lab.nodes():
            os.kill(lab.pid(f"agent-{node}"), signal.SIGKILL)
        try:
            assert lab.reaches(one, address)
        finally:
            lab.up()
        assert lab.reaches(one, address)
        lab.wait_ready(namespace, 2)


def test_pod_comes_up_by_itself_after_its_agent_was_down(lab: Lab) -> None:
    with lab.namespace() as namespace:
        for node in lab.nodes():
            os.kill(lab.pid(f"agent-{node}"), signal.SIGKILL)
        try:
            lab.deploy(namespace, "web", 2)
            wait_for(lambda: len(lab.pods(namespace)) == 2, 30)
            time.sleep(5)
            assert not any(pod["status"].get("podIPs") for pod in lab.pods(namespace))
        finally:
            lab.up()
        lab.wait_ready(namespace, 2, 120)


def test_neutron_stopped_for_twenty_seconds_in_the_middle_of_a_rollout(lab: Lab) -> None:
    engine = lab.pid("engine")
    with lab.namespace() as namespace:
        lab.context.processes.stop("neutron")
        try:
            lab.deploy(namespace, "web", 6)
            time.sleep(20)
            assert not any(pod["status"].get("podIPs") for pod in lab.pods(namespace))
            assert lab.get("kuryrports", "-n", namespace)["items"] == []
        finally:
            lab.up()
        lab.wait_ready(namespace, 6, 150)
        assert_exactly_one_port_each(lab, namespace)
        assert lab.pid("engine") == engine, "the engine was not to end"
