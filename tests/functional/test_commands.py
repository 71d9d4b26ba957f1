"""The commands, in both shells, on the running lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.lab import Lab


@pytest.fixture(scope="module")
def namespace(lab: Lab) -> Iterator[str]:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        lab.wait_ready(namespace, 2)
        yield namespace


def test_both_shells_print_the_same_rows(lab: Lab, namespace: str) -> None:
    with lab.engine_stopped():
        ours = lab.run("kuryrctl", "port", "list", "-f", "json").json()
        osc = lab.run("openstack", "kuryr", "port", "list", "-f", "json").json()
    assert len(ours) >= 2
    assert ours == osc


def test_stock_port_list_finds_our_ports_by_the_owner_that_documents_name(lab: Lab, namespace: str) -> None:
    listed = lab.run("openstack", "port", "list", "--device-owner", "kuryr", "-f", "json").json()
    assert {port["ID"] for port in listed} >= {port["id"] for port in lab.pod_ports()}


def test_port_list_filters(lab: Lab, namespace: str) -> None:
    rows = lab.kuryrctl("port", "list", "--namespace", namespace, "-f", "json").json()
    assert len(rows) == 2
    assert {row["Condition"] for row in rows} == {"ok"}
    on_node1 = lab.kuryrctl("port", "list", "--namespace", namespace, "--node", "node1", "-f", "json").json()
    assert [row["Node"] for row in on_node1] == ["node1"]
    by_label = lab.kuryrctl("port", "list", "--namespace", namespace, "--selector", "app=web", "-f", "json").json()
    assert len(by_label) == 2
    assert lab.kuryrctl("port", "list", "--namespace", namespace, "--condition", "no-port", "-f", "json").json() == []


def test_port_show_names_everything_of_one_pod(lab: Lab, namespace: str) -> None:
    pod = lab.pods(namespace)[0]
    shown = lab.kuryrctl("port", "show", f"{namespace}/{pod['metadata']['name']}", "-f", "json").json()
    assert shown["condition"] == "ok"
    assert shown["node"] == pod["spec"]["nodeName"]
    assert sorted(shown["addresses"]) == sorted(entry["ip"] for entry in pod["status"]["podIPs"])


@pytest.mark.parametrize(
    ("name", "owner"), [("kuryr-pool-port", "compute:kuryr"), ("", "kuryr"), ("available-port", "")]
)
def test_port_list_finds_what_kuryr_kubernetes_left(lab: Lab, name: str, owner: str) -> None:
    cloud = lab.cloud()
    network = lab.pod_ports()[0]["network_id"] if lab.pod_ports() else lab.ports()[0]["network_id"]
    body = {"port": {"network_id": network, "name": name, "device_owner": owner}}
    left = cloud.network.post("/ports", json=body).json()["port"]
    try:
        rows = lab.kuryrctl("port", "list", "-f", "json").json()
        assert {row["Port ID"]: row["Condition"] for row in rows}[left["id"]] == "legacy"
    finally:
        cloud.network.delete(f"/ports/{left['id']}")


def test_status_is_one_screen_and_exits_0_when_all_is_well(lab: Lab, namespace: str) -> None:
    shown = lab.kuryrctl("status")
    assert shown.returncode == 0
    assert len(shown.stdout.splitlines()) <= 40
    for word in ("node1", "node2", "engine", "converged"):
        assert word in shown.stdout.lower()


def test_kubectl_get_kp_is_useful(lab: Lab, namespace: str) -> None:
    listed = lab.kubectl("get", "kp", "-n", namespace, "-o", "wide")
    for word in ("NODE", "ADDRESSES", "BOUND", "node1", "10.65."):
        assert word in listed


def test_no_switch_and_no_controller_died(lab: Lab) -> None:
    assert lab.chassis_deaths() == []
