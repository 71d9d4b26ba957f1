"""Plans as files, on the real cloud: what was reviewed is done as it was, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.functional.lab import Lab, addresses
from tests.functional.test_repair import port_of


@pytest.fixture
def broken(lab: Lab):
    """Two running pods whose ports were deleted by hand while no engine runs."""
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        pods = sorted(lab.wait_ready(namespace, 2), key=lambda pod: pod["metadata"]["name"])
        with lab.engine_stopped():
            before = [port_of(lab, pod) for pod in pods]
            for port in before:
                lab.cloud().network.delete(f"/ports/{port['id']}")
            yield pods, before


def keys(pods: list[dict]) -> set[str]:
    return {f"port/pod/{pod['metadata']['uid']}" for pod in pods}


def test_a_plan_is_saved_shown_and_done(lab: Lab, broken: tuple[list[dict], list[dict]], tmp_path: Path) -> None:
    pods, before = broken
    file = tmp_path / "plan.json"
    saved = lab.kuryrctl("reconcile", "--save-plan", str(file), check=False)
    assert saved.returncode == 21, saved
    assert "kuryrctl plan apply" in saved.stderr
    assert not {port["device_id"] for port in lab.pod_ports()} & {port["device_id"] for port in before}, "it was done"

    shown = lab.kuryrctl("plan", "show", str(file))
    for pod in pods:
        assert pod["metadata"]["name"] in shown.stdout
    document = lab.kuryrctl("plan", "show", "-f", "json", str(file)).json()
    assert document["schema"] == "kuryrctl.saved-plan/1"
    assert keys(pods) <= {step["key"] for step in document["steps"]}

    assert lab.kuryrctl("plan", "apply", str(file)).returncode == 0
    for pod, port in zip(pods, before, strict=True):
        after = port_of(lab, pod)
        assert (after["mac_address"], sorted(ip["ip_address"] for ip in after["fixed_ips"])) == (
            port["mac_address"],
            sorted(addresses(pod)),
        )
    assert lab.plan().returncode == 0

    again = lab.kuryrctl("plan", "apply", str(file), check=False)
    assert (again.returncode, "PLAN-STALE" in again.stderr) == (1, True), again


def test_the_openstack_shell_saves_and_applies_the_same_plan(
    lab: Lab, broken: tuple[list[dict], list[dict]], tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    assert lab.run("openstack", "kuryr", "reconcile", "--save-plan", str(file), check=False).returncode == 21
    lab.run("openstack", "kuryr", "plan", "apply", str(file))
    assert lab.plan().returncode == 0


def test_a_plan_is_refused_when_an_object_it_touches_has_changed(
    lab: Lab, broken: tuple[list[dict], list[dict]], tmp_path: Path
) -> None:
    pods, _ = broken
    file = tmp_path / "plan.json"
    lab.kuryrctl("reconcile", "--save-plan", str(file), check=False)
    lab.kubectl("delete", "pod", "-n", pods[0]["metadata"]["namespace"], pods[0]["metadata"]["name"], "--wait=true")
    served = sorted(port["id"] for port in lab.pod_ports())

    refused = lab.kuryrctl("plan", "apply", str(file), check=False)

    assert refused.returncode == 1, refused
    assert "PLAN-STALE" in refused.stderr
    assert pods[0]["metadata"]["uid"] in refused.stderr
    assert sorted(port["id"] for port in lab.pod_ports()) == served, "a refused plan was begun"
    lab.kuryrctl("reconcile")


def test_a_step_that_fails_is_told_and_the_others_are_done(
    lab: Lab, broken: tuple[list[dict], list[dict]], tmp_path: Path
) -> None:
    pods, before = broken
    file = tmp_path / "plan.json"
    lab.kuryrctl("reconcile", "--save-plan", str(file), check=False)
    taken = {"network_id": before[0]["network_id"], "name": "squatter", "fixed_ips": before[0]["fixed_ips"][:1]}
    squatter = lab.cloud().network.post("/ports", json={"port": taken}).json()["port"]
    try:
        partly = lab.kuryrctl("plan", "apply", "-f", "json", str(file), check=False)
        assert partly.returncode == 20, partly
        report = json.loads(partly.stdout)
        failed = {failure["key"] for failure in report["failures"]}
        assert f"port/pod/{pods[0]['metadata']['uid']}" in failed
        assert f"port/pod/{pods[1]['metadata']['uid']}" not in failed
        assert port_of(lab, pods[1])["mac_address"] == before[1]["mac_address"]
    finally:
        lab.cloud().network.delete(f"/ports/{squatter['id']}")
    lab.kuryrctl("reconcile")
    assert lab.plan().returncode == 0


def test_only_one_kind_is_planned(lab: Lab, broken: tuple[list[dict], list[dict]], tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    lab.kuryrctl("reconcile", "--save-plan", str(file), "--only", "port", check=False)
    document = json.loads(file.read_text())
    assert document["only"] == ["port"]
    assert {step["kind"] for step in document["steps"]} == {"port"}
    assert lab.kuryrctl("plan", "apply", str(file)).returncode == 0
    lab.kuryrctl("reconcile")


def test_neutron_refuses_a_change_of_a_port_that_has_moved_on(lab: Lab, broken: tuple[list[dict], list[dict]]) -> None:
    """What `If-Match` rests on (API reference: revision numbers): an old revision is a 412, and nothing is changed."""
    pods, _ = broken
    lab.kuryrctl("reconcile")
    port = port_of(lab, pods[0])
    network = lab.cloud().network
    network.put(f"/ports/{port['id']}", json={"port": {"description": "changed by somebody"}})
    late = network.put(
        f"/ports/{port['id']}",
        json={"port": {"description": "too late"}},
        headers={"If-Match": f"revision_number={port['revision_number']}"},
    )
    assert late.status_code == 412
    assert port_of(lab, pods[0])["description"] == "changed by somebody"
    lab.kuryrctl("reconcile")
