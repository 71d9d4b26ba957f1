"""A node that falls silent, goes, and comes back: nothing is held for ever, nothing is taken from who still has it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from kuryrctl.lab.kubernetes.node import kubelet_name
from kuryrctl.lab.layout import NODES
from tests.functional.lab import Lab, is_ready, wait_for
from tests.functional.test_faults import assert_exactly_one_port_each
from tests.functional.test_repair import port_of

LOST = NODES[1]


@pytest.fixture
def pods(lab: Lab) -> Iterator[tuple[dict, dict]]:
    """Two running pods: the first on the node that stays, the second on the one that is lost. The lab is whole again
    afterwards, whatever became of the test."""
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        found = sorted(lab.wait_ready(namespace, 2), key=lambda pod: pod["spec"]["nodeName"])
        assert [pod["spec"]["nodeName"] for pod in found] == [node.name for node in NODES]
        try:
            yield found[0], found[1]
        finally:
            lab.up()
            lab.kubectl("uncordon", LOST.name)
    lab.run("kubectl", "wait", "--for=condition=Ready", f"node/{LOST.name}", "--timeout=60s")
    wait_for(lambda: lab.plan().returncode == 0, 60, lab.plan)


def silence(lab: Lab) -> None:
    """The node's kubelet and our agent die at once, what they started goes on."""
    for name in (kubelet_name(LOST), f"agent-{LOST.name}"):
        os.kill(lab.pid(name), signal.SIGKILL)


def force_delete(lab: Lab, pod: dict) -> None:
    meta = pod["metadata"]
    lab.kubectl("delete", "pod", "-n", meta["namespace"], meta["name"], "--force", "--grace-period=0")


def port_ids(lab: Lab) -> set[str]:
    return {port["id"] for port in lab.ports()}


def plugged_ports(lab: Lab) -> set[str]:
    """The ports whose interface is in the node's switch, as the switch says itself."""
    from kuryrctl.lab.network import chassis

    (own,) = (each for each in chassis.ALL if each.node == LOST)
    said = chassis.vsctl(lab.layout, own, "--bare", "--columns=external_ids", "list", "Interface")
    return {word.removeprefix("iface-id=") for word in said.split() if word.startswith("iface-id=")}


def test_pods_of_a_silent_node_are_let_go_and_it_cleans_up_when_it_is_back(lab: Lab, pods: tuple[dict, dict]) -> None:
    witness, victim = pods
    namespace = victim["metadata"]["namespace"]
    held = port_of(lab, victim)
    silence(lab)
    lab.kubectl("cordon", LOST.name)
    force_delete(lab, victim)

    wait_for(lambda: held["id"] not in port_ids(lab), 90, lambda: lab.ports(device_id=held["device_id"]))
    assert held["id"] in plugged_ports(lab), "nobody was there to unplug it: the very case of this test"
    successor = next(p for p in lab.pods(namespace) if p["metadata"]["uid"] != witness["metadata"]["uid"])
    assert not any(p["device_id"] == held["device_id"] for p in lab.pod_ports())

    lab.up()
    lab.kubectl("uncordon", LOST.name)
    wait_for(lambda: held["id"] not in plugged_ports(lab), 60, lambda: plugged_ports(lab))
    wait_for(lambda: victim["metadata"]["uid"] not in lab.plugged(LOST.name), 30)
    lab.wait_ready(namespace, 2, 120)
    assert port_of(lab, successor)["id"] != held["id"]
    assert_exactly_one_port_each(lab, namespace)


def test_a_node_deleted_and_made_again_under_its_name_is_another_node(lab: Lab, pods: tuple[dict, dict]) -> None:
    witness, victim = pods
    namespace = victim["metadata"]["namespace"]
    held, node = port_of(lab, victim), lab.get("node", LOST.name)
    (old,) = lab.ports(device_id=node["metadata"]["uid"])
    silence(lab)
    force_delete(lab, victim)
    lab.kubectl("delete", "node", LOST.name)

    wait_for(lambda: not {held["id"], old["id"]} & port_ids(lab), 90, lambda: lab.ports(**{"binding:host_id": "node2"}))
    wait_for(lambda: LOST.name not in {n["metadata"]["name"] for n in lab.get("kuryrnodes")["items"]}, 60)
    assert lab.reaches(witness, witness["status"]["podIP"])

    lab.up()
    anew = lab.get("node", LOST.name)
    assert anew["metadata"]["uid"] != node["metadata"]["uid"]
    wait_for(lambda: len(lab.ports(device_id=anew["metadata"]["uid"])) == 1, 60)
    wait_for(lambda: not {held["id"], old["id"]} & plugged_ports(lab), 60, lambda: plugged_ports(lab))
    lab.wait_ready(namespace, 2, 120)
    assert_exactly_one_port_each(lab, namespace)


def test_a_pod_moves_away_from_a_node_that_is_gone_for_good(lab: Lab, pods: tuple[dict, dict]) -> None:
    """The node comes back only after everything of it was given up: it must not answer for what is another one's."""
    _, victim = pods
    namespace = victim["metadata"]["namespace"]
    address, held = victim["status"]["podIP"], port_of(lab, victim)
    silence(lab)
    force_delete(lab, victim)
    lab.kubectl("delete", "node", LOST.name)
    wait_for(lambda: not any(port["device_id"] == victim["metadata"]["uid"] for port in lab.pod_ports()), 90)

    taken = {"network_id": lab.ports()[0]["network_id"], "name": "heir", "fixed_ips": [{"ip_address": address}]}
    heir = lab.cloud().network.post("/ports", json={"port": taken}).json()["port"]
    try:
        assert held["id"] in plugged_ports(lab)
        lab.up()
        wait_for(lambda: held["id"] not in plugged_ports(lab), 90, lambda: plugged_ports(lab))
        lab.wait_ready(namespace, 2, 120)
        kept = lab.cloud().network.get(f"/ports/{heir['id']}").json()["port"]
        assert (kept["name"], kept["fixed_ips"][0]["ip_address"]) == ("heir", address)
        assert address not in {ip["ip"] for pod in lab.pods(namespace) for ip in pod["status"]["podIPs"]}
    finally:
        lab.cloud().network.delete(f"/ports/{heir['id']}")


def test_a_chassis_that_is_gone_holds_its_pods_back_until_it_returns(lab: Lab, pods: tuple[dict, dict]) -> None:
    _, victim = pods
    namespace = victim["metadata"]["namespace"]
    lab.context.processes.stop(f"ovn-controller-{LOST.name}")
    lab.kubectl("delete", "pod", "-n", namespace, victim["metadata"]["name"], "--wait=true")
    wait_for(lambda: len(lab.pods(namespace)) == 2, 30)

    wait_for(lambda: all(pod["spec"].get("nodeName") for pod in lab.pods(namespace)), 30)

    def successor() -> dict:
        return next(pod for pod in lab.pods(namespace) if pod["spec"]["nodeName"] == LOST.name)

    wait_for(lambda: any(p["device_id"] == successor()["metadata"]["uid"] for p in lab.pod_ports()), 30)
    assert not is_ready(successor()), "its data plane is not there"

    lab.up()
    lab.wait_ready(namespace, 2, 150)
    assert_exactly_one_port_each(lab, namespace)
