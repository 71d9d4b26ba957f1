"""Pods on Neutron ports, end to end: what a user of the cluster sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.lab import Lab, addresses, wait_for

PODS = 10


@pytest.fixture(scope="module")
def rollout(lab: Lab) -> Iterator[tuple[str, list[dict]]]:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", PODS)
        yield namespace, lab.wait_ready(namespace, PODS)


def test_ten_pods_run_on_both_nodes_and_are_probed(rollout: tuple[str, list[dict]]) -> None:
    _, pods = rollout
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node1", "node2"}  # Ready: the kubelets' HTTP probes pass


def test_each_pod_has_one_address_of_each_family_and_nobody_else_has(rollout: tuple[str, list[dict]]) -> None:
    _, pods = rollout
    for pod in pods:
        assert sorted(":" in ip for ip in addresses(pod)) == [False, True]
    everyone = [ip for pod in pods for ip in addresses(pod)]
    assert len(set(everyone)) == 2 * PODS


def test_each_pod_is_one_active_neutron_port_bound_to_its_node(lab: Lab, rollout: tuple[str, list[dict]]) -> None:
    _, pods = rollout
    by_uid = {pod["metadata"]["uid"]: pod for pod in pods}

    def ours() -> list[dict]:
        return [port for port in lab.pod_ports() if port["device_id"] in by_uid]

    wait_for(lambda: all(port["status"] == "ACTIVE" for port in ours()), 20, ours)
    ports = ours()
    assert sorted(port["device_id"] for port in ports) == sorted(by_uid)
    for port in ports:
        pod = by_uid[port["device_id"]]
        assert port["binding:host_id"] == pod["spec"]["nodeName"]
        assert sorted(ip["ip_address"] for ip in port["fixed_ips"]) == sorted(addresses(pod))


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a_pod_on_each_node_pings_all_pods(lab: Lab, rollout: tuple[str, list[dict]], family: str) -> None:
    _, pods = rollout
    for node in lab.nodes():
        source = next(pod for pod in pods if pod["spec"]["nodeName"] == node)
        for peer in pods:
            address = next(ip for ip in addresses(peer) if (":" in ip) == (family == "IPv6"))
            lab.reach(source, address)


def test_a_pod_and_the_vm_reach_each_other(lab: Lab, rollout: tuple[str, list[dict]]) -> None:
    _, pods = rollout
    for address in lab.vm_addresses:
        lab.reach(pods[0], address)
    for address in addresses(pods[0]):
        assert (
            lab.run(
                "ip", "netns", "exec", "lab-vm", "busybox", "ping", "-c", "1", "-W", "3", address, check=False
            ).returncode
            == 0
        )


def test_ten_deleted_pods_leave_no_port_no_interface_and_no_assignment(
    lab: Lab, rollout: tuple[str, list[dict]]
) -> None:
    namespace, pods = rollout  # the last one to use them
    uids = {pod["metadata"]["uid"] for pod in pods}
    assert len([port for port in lab.pod_ports() if port["device_id"] in uids]) == PODS
    lab.kubectl("delete", "deployment", "web", "-n", namespace)
    wait_for(lambda: not [port for port in lab.pod_ports() if port["device_id"] in uids], 60, lab.pod_ports)
    wait_for(lambda: not uids & {uid for node in lab.nodes() for uid in lab.plugged(node)}, 30)
    assert lab.get("kuryrports", "-n", namespace)["items"] == []


def test_a_finished_pod_releases_its_port_and_a_host_network_pod_never_had_one(lab: Lab) -> None:
    with lab.namespace() as namespace:
        lab.kubectl("run", "once", "-n", namespace, f"--image={lab.image}", "--image-pull-policy=Never",
                    "--restart=Never", "--command", "--", "true")  # fmt: skip
        host = '{"spec":{"hostNetwork":true}}'
        lab.kubectl("run", "host", "-n", namespace, f"--image={lab.image}", "--image-pull-policy=Never",
                    f"--overrides={host}", "--", "pause")  # fmt: skip
        lab.kubectl("wait", "-n", namespace, "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        lab.kubectl("wait", "-n", namespace, "pod/host", "--for=condition=Ready", "--timeout=60s")
        uids = {pod["metadata"]["uid"] for pod in lab.pods(namespace)}
        wait_for(lambda: not [p for p in lab.pod_ports() if p["device_id"] in uids], 30, lab.pod_ports)


def test_a_statefulset_pod_recreated_under_its_name_on_another_node_is_a_new_pod_with_a_new_port(lab: Lab) -> None:
    with lab.namespace() as namespace:
        lab.stateful(namespace, "db", 1)
        (old,) = lab.wait_ready(namespace, 1)
        old_uid, old_node = old["metadata"]["uid"], old["spec"]["nodeName"]
        lab.kubectl("cordon", old_node)
        try:
            lab.kubectl("delete", "pod", "db-0", "-n", namespace)
            wait_for(lambda: [p["metadata"]["uid"] for p in lab.pods(namespace)] not in ([], [old_uid]), 60)
            (new,) = lab.wait_ready(namespace, 1)
        finally:
            lab.kubectl("uncordon", old_node)
        wait_for(lambda: old_uid not in {port["device_id"] for port in lab.pod_ports()}, 30)
        (port,) = [port for port in lab.pod_ports() if port["device_id"] == new["metadata"]["uid"]]
        assert port["binding:host_id"] == new["spec"]["nodeName"] != old_node
        (assigned,) = lab.get("kuryrports", "-n", namespace)["items"]
        assert assigned["spec"]["podUid"] == new["metadata"]["uid"]
