"""What must not happen: two writers, the wrong cluster, harm to what is not ours."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryrctl.core.config import LEASE_DURATION_S
from kuryrctl.lab.openstack import password
from tests.functional.lab import Lab, wait_for


def test_a_once_run_beside_a_running_watch_is_refused_and_the_holder_named(lab: Lab) -> None:
    wait_for(lab.is_led, 2 * LEASE_DURATION_S)
    refused = lab.kuryrctl("reconcile", check=False)
    assert refused.returncode == 1
    assert lab.lease_holder() in refused.stderr


def test_the_kubeconfig_of_another_empty_cluster_deletes_nothing(lab: Lab, other_cluster: str) -> None:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        lab.wait_ready(namespace, 2)
        before = sorted(port["id"] for port in lab.ports())
        with lab.engine_stopped():
            refused = lab.kuryrctl("reconcile", "--kubeconfig", other_cluster, check=False)
        assert refused.returncode in (1, 2)
        assert "CLUSTER-GUARD" in refused.stderr, refused
        assert sorted(port["id"] for port in lab.ports()) == before


def test_a_foreign_port_with_a_look_alike_name_survives_everything(lab: Lab) -> None:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 1)
        (pod,) = lab.wait_ready(namespace, 1)
        (mine,) = [port for port in lab.pod_ports() if port["device_id"] == pod["metadata"]["uid"]]
        cloud = lab.cloud("demo")
        body = {"port": {"network_id": mine["network_id"], "name": mine["name"]}}
        foreign = cloud.network.post("/ports", json=body).json()["port"]
        try:
            lab.kubectl("delete", "deployment", "web", "-n", namespace)
            wait_for(lambda: mine["id"] not in {port["id"] for port in lab.ports()}, 60)
            with lab.engine_stopped():
                lab.kuryrctl("reconcile")
                told = lab.kuryrctl("reconcile", "--dry-run", "-f", "json", check=False).json()
            assert foreign["id"] not in json.dumps(told), "a name alone makes it neither ours nor suspicious"
            after = cloud.network.get(f"/ports/{foreign['id']}").json()["port"]
            assert {k: after[k] for k in foreign if k not in UNSTEADY} == {
                k: foreign[k] for k in foreign if k not in UNSTEADY
            }
        finally:
            cloud.network.delete(f"/ports/{foreign['id']}")


UNSTEADY = {"updated_at", "revision_number", "status"}


def test_the_engine_credential_cannot_touch_a_port_of_another_project(lab: Lab) -> None:
    admin = lab.cloud("admin")
    other = lab.cloud("other")
    engine = lab.cloud()
    network = other.network.post("/networks", json={"network": {"name": "not-ours"}}).json()["network"]
    try:
        port = other.network.post("/ports", json={"port": {"network_id": network["id"]}}).json()["port"]
        for answer in (
            engine.network.put(f"/ports/{port['id']}", json={"port": {"name": "stolen"}}),
            engine.network.put(f"/ports/{port['id']}", json={"port": {"binding:host_id": "node1"}}),
            engine.network.delete(f"/ports/{port['id']}"),
        ):
            assert answer.status_code in (403, 404), answer.text
        kept = admin.network.get(f"/ports/{port['id']}").json()["port"]
        assert (kept["name"], kept["binding:host_id"]) == ("", "")
        other.network.delete(f"/ports/{port['id']}")
    finally:
        other.network.delete(f"/networks/{network['id']}")


def test_tenants_have_no_verb_on_our_objects(lab: Lab) -> None:
    for verb in ("get", "list", "create", "update", "patch", "delete"):
        told = lab.run("kubectl", "auth", "can-i", verb, "kuryrports.kuryr.openstack.org", "--as=alice", check=False)
        assert told.stdout.strip() == "no", told


def test_nodes_hold_no_openstack_credential(lab: Lab) -> None:
    secret = password(lab.layout)
    assert secret in lab.layout.clouds_yaml.read_text()
    for node in lab.nodes():
        given = lab.layout.kubeconfig(f"agent-{node}").read_text() + lab.layout.kuryr_yaml.read_text()
        assert secret not in given
        environment = subprocess.run(
            ["cat", f"/proc/{lab.pid(f'agent-{node}')}/environ"], capture_output=True, text=True, check=True
        ).stdout.split("\0")
        assert [entry for entry in environment if entry.startswith("OS_")] == []


@pytest.fixture
def other_cluster(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """A kubeconfig whose API server answers as an empty cluster with another kube-system uid."""
    with lab.empty_cluster(tmp_path) as kubeconfig:
        yield kubeconfig


def test_the_audit_log_has_one_line_for_each_mutation_with_its_request_id(lab: Lab) -> None:
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 1)
        (pod,) = lab.wait_ready(namespace, 1)
        uid = pod["metadata"]["uid"]

        def lines() -> list[dict]:
            records = [json.loads(line) for line in lab.audit_log().splitlines()]
            return [record for record in records if record["key"] == f"port/pod/{uid}"]

        (created,) = lines()
        assert created["action"] == "create"
        assert created["request_id"].startswith("req-")
