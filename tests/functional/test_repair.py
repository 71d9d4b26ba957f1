"""The loop on the real world: converged is 0, drift is 21, repair restores the pod's network without re-creating it."""

from __future__ import annotations

import json

import pytest

from tests.functional.lab import Lab, addresses, wait_for


@pytest.fixture
def victim(lab: Lab):
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        pods = sorted(lab.wait_ready(namespace, 2), key=lambda pod: pod["metadata"]["name"])
        with lab.engine_stopped():
            yield pods


def port_of(lab: Lab, pod: dict) -> dict:
    (port,) = [port for port in lab.pod_ports() if port["device_id"] == pod["metadata"]["uid"]]
    return port


def test_a_port_deleted_by_hand_is_drift_and_comes_back_as_it_was(lab: Lab, victim: list[dict]) -> None:
    broken, witness = victim
    name = f"{broken['metadata']['namespace']}/{broken['metadata']['name']}"
    assert lab.plan().returncode == 0
    before = port_of(lab, broken)
    lab.run("openstack", "port", "delete", before["id"])
    wait_for(lambda: not lab.reaches(witness, broken["status"]["podIP"]), 20)

    drift = lab.plan()
    assert drift.returncode == 21
    assert name in drift.stdout

    lab.kuryrctl("reconcile")
    after = port_of(lab, broken)
    assert after["id"] != before["id"]
    assert after["mac_address"] == before["mac_address"]
    assert sorted(ip["ip_address"] for ip in after["fixed_ips"]) == sorted(addresses(broken))
    for address in addresses(broken):
        wait_for(lambda address=address: lab.reaches(witness, address), 20)
    (same,) = [
        p for p in lab.pods(broken["metadata"]["namespace"]) if p["metadata"]["uid"] == broken["metadata"]["uid"]
    ]
    assert same["status"]["containerStatuses"][0]["restartCount"] == 0
    assert lab.plan().returncode == 0


def test_an_address_taken_meanwhile_is_named_and_told_to_the_user(lab: Lab, victim: list[dict]) -> None:
    broken, _ = victim
    namespace, name = broken["metadata"]["namespace"], broken["metadata"]["name"]
    before = port_of(lab, broken)
    cloud = lab.cloud()
    cloud.network.delete(f"/ports/{before['id']}")
    taken = {"network_id": before["network_id"], "name": "squatter", "fixed_ips": before["fixed_ips"][:1]}
    squatter = cloud.network.post("/ports", json={"port": taken}).json()["port"]
    try:
        refused = lab.kuryrctl("reconcile", check=False)
        assert refused.returncode == 20, refused
        assert "NET-ADDRESS-TAKEN" in refused.stderr + refused.stdout
        rows = lab.kuryrctl("port", "list", "--namespace", namespace, "-f", "json").json()
        assert {row["Pod"]: row["Condition"] for row in rows}[name] == "address taken"
        events = lab.get("events", "-n", namespace)["items"]
        assert "KuryrAddressTaken" in {event["reason"] for event in events}
    finally:
        cloud.network.delete(f"/ports/{squatter['id']}")
    lab.kuryrctl("reconcile")
    assert sorted(ip["ip_address"] for ip in port_of(lab, broken)["fixed_ips"]) == sorted(addresses(broken))


def test_dry_run_as_json_is_one_versioned_document(lab: Lab, victim: list[dict]) -> None:
    cloud = lab.cloud()
    cloud.network.delete(f"/ports/{port_of(lab, victim[0])['id']}")
    document = json.loads(lab.kuryrctl("reconcile", "--dry-run", "-f", "json", check=False).stdout)
    assert document["schema"] == "kuryrctl.plan/1"
    assert document["steps"][0]["action"] == "create"
    lab.kuryrctl("reconcile")
