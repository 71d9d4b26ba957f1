"""Ownership under attack, on the real cloud: what only looks like ours is told of and left exactly as it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from kuryrctl.core import names
from tests.functional.lab import Lab
from tests.functional.test_guards import UNSTEADY


@pytest.fixture
def made(lab: Lab) -> Iterator[ExitStack]:
    """What a test makes in the cloud is taken away at its end; no engine runs meanwhile."""
    with lab.engine_stopped(), ExitStack() as stack:
        yield stack


def pod_network(lab: Lab) -> str:
    return str(next(port["network_id"] for port in lab.ports() if "kuryr:kind=node" in port["tags"]))


def make_port(lab: Lab, made: ExitStack, cloud: str, **fields: Any) -> dict[str, Any]:
    tags = fields.pop("tags", ())
    network = lab.cloud(cloud).network
    answer = network.post("/ports", json={"port": {"network_id": pod_network(lab), **fields}})
    assert answer.status_code == 201, answer.text
    port: dict[str, Any] = answer.json()["port"]
    admin = lab.cloud("admin").network
    made.callback(admin.delete, f"/ports/{port['id']}")
    if tags:
        assert admin.put(f"/ports/{port['id']}/tags", json={"tags": list(tags)}).status_code == 200
    return steady(lab, port["id"])


def steady(lab: Lab, id_: str) -> dict[str, Any]:
    """The port as an administrator sees it, without what Neutron moves by itself."""
    answer = lab.cloud("admin").network.get(f"/ports/{id_}")
    assert answer.status_code == 200, f"port {id_} is gone"
    return {name: value for name, value in answer.json()["port"].items() if name not in UNSTEADY}


def findings(lab: Lab, code: str) -> dict[str, str]:
    """What a dry run tells without acting on it: message by id."""
    told = lab.kuryrctl("reconcile", "--dry-run", "-f", "json", check=False).json()["findings"]
    return {each["id"]: each["message"] for each in told if each["code"] == code}


def test_a_port_with_copied_tags_is_reported_and_left_alone(lab: Lab, made: ExitStack) -> None:
    mine = next(port for port in lab.ports() if "kuryr:kind=node" in port["tags"])
    uid = str(uuid.uuid4())
    copies = [
        make_port(lab, made, "kuryr", name=mine["name"], tags=mine["tags"]),
        make_port(lab, made, "kuryr", tags=names.tags(lab.cluster_id, "pod", uid), device_owner="compute:kuryr"),
        make_port(lab, made, "kuryr", tags=names.tags(lab.cluster_id, "treasure", uid)),
    ]
    suspicious = findings(lab, "suspicious")
    assert {port["id"] for port in copies} <= suspicious.keys()
    assert "MAC address" in suspicious[copies[0]["id"]]

    assert lab.kuryrctl("reconcile").returncode == 0
    assert [steady(lab, port["id"]) for port in copies] == copies
    assert steady(lab, mine["id"]) == {k: v for k, v in mine.items() if k not in UNSTEADY}


def test_a_port_that_another_project_put_into_our_network_is_not_ours(lab: Lab, made: ExitStack) -> None:
    """Even with our tags, our owner and the very MAC address that we would derive: the project is not ours."""
    uid = str(uuid.uuid4())
    project = lab.cloud("other").current_project_id
    theirs = make_port(
        lab,
        made,
        "admin",
        project_id=project,
        mac_address=names.mac_address(lab.cluster_id, "pod", uid),
        device_owner="compute:kuryr",
        device_id=uid,
        tags=names.tags(lab.cluster_id, "pod", uid),
    )
    lab.kuryrctl("reconcile")
    assert steady(lab, theirs["id"]) == theirs


def test_another_cluster_of_the_same_project_is_not_ours(lab: Lab, made: ExitStack) -> None:
    uid = str(uuid.uuid4())
    theirs = make_port(
        lab,
        made,
        "kuryr",
        mac_address=names.mac_address("second", "pod", uid),
        device_owner="compute:kuryr",
        device_id=uid,
        tags=names.tags("second", "pod", uid),
    )
    assert theirs["id"] not in findings(lab, "suspicious")
    lab.kuryrctl("reconcile")
    assert steady(lab, theirs["id"]) == theirs


def test_a_typing_error_in_the_cluster_id_touches_nothing(lab: Lab, made: ExitStack) -> None:
    before = sorted((steady(lab, port["id"]) for port in lab.ports()), key=lambda port: port["id"])
    refused = lab.kuryrctl("reconcile", "--cluster-id", "labb", check=False)
    assert refused.returncode in (1, 2), refused
    assert "CLUSTER-INIT" in refused.stderr
    assert "cluster labb is not set up in the cloud" in refused.stderr
    assert sorted((steady(lab, port["id"]) for port in lab.ports()), key=lambda port: port["id"]) == before
    assert lab.ports(tags="kuryr:cluster=labb") == []


def test_a_group_with_copied_marks_is_neither_used_nor_changed(lab: Lab, made: ExitStack) -> None:
    network = lab.cloud().network
    mine = next(
        group
        for group in network.get("/security-groups", params={"tags": f"kuryr:cluster={lab.cluster_id}"}).json()[
            "security_groups"
        ]
        if "kuryr:kind=open-ingress" in group["tags"]
    )
    body = {"name": mine["name"], "description": "not kuryrctl's"}
    copy = network.post("/security-groups", json={"security_group": body}).json()["security_group"]
    made.callback(network.delete, f"/security-groups/{copy['id']}")
    network.put(f"/security-groups/{copy['id']}/tags", json={"tags": mine["tags"]})
    before = network.get(f"/security-groups/{copy['id']}").json()["security_group"]

    lab.kuryrctl("reconcile")

    after = network.get(f"/security-groups/{copy['id']}").json()["security_group"]
    assert {k: v for k, v in after.items() if k not in UNSTEADY} == {
        k: v for k, v in before.items() if k not in UNSTEADY
    }
    assert all(copy["id"] not in port["security_groups"] for port in lab.pod_ports())
    assert f"{mine['id']} is used" in findings(lab, "duplicate")[copy["id"]]


def test_more_deletions_than_allowed_stop_the_run_before_the_first(lab: Lab, made: ExitStack) -> None:
    leaked = []
    for _ in range(3):
        uid = str(uuid.uuid4())
        leaked.append(
            make_port(
                lab,
                made,
                "kuryr",
                mac_address=names.mac_address(lab.cluster_id, "pod", uid),
                device_owner="compute:kuryr",
                device_id=uid,
                tags=names.tags(lab.cluster_id, "pod", uid),
            )
        )
    stopped = lab.kuryrctl("reconcile", "--max-deletes", "2", check=False)
    assert stopped.returncode == 20, stopped
    assert "LIMIT-DELETES" in stopped.stdout + stopped.stderr
    assert [steady(lab, port["id"]) for port in leaked] == leaked

    lab.kuryrctl("reconcile", "--max-deletes", "3")
    admin = lab.cloud("admin").network
    assert [admin.get(f"/ports/{port['id']}").status_code for port in leaked] == [404, 404, 404]
