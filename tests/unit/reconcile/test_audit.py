"""Audit lines: where they go, and that no call which configures the cluster is left out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.kube import Mutation
from kuryrctl.kube.install import manifests
from kuryrctl.reconcile import AuditLog
from tests.unit.reconcile.site import Site

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def told(capsys: pytest.CaptureFixture[str], *mutations: Mutation) -> list[dict[str, Any]]:
    audit = AuditLog(None, "me")
    for mutation in mutations:
        audit.of_kubernetes(mutation)
    return lines(capsys.readouterr().err)


def test_without_a_file_lines_go_to_stderr_however_quiet_the_log_is(capsys):
    site = Site()
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.CRITICAL)
    capsys.readouterr()
    try:
        site.run()
    finally:
        root.setLevel(before)

    out, err = capsys.readouterr()
    assert (out, [line["key"] for line in lines(err)]) == ("", ["port/pod/w", "kuryr-port/shop/web-0/w"])


def test_what_is_installed_in_the_cluster_is_recorded_object_by_object(tmp_path: Path):
    site = Site(converged=False, audit_log=tmp_path / "audit")
    site.parts()

    applied = site.client.install()

    recorded = lines((tmp_path / "audit").read_text())
    assert len(recorded) == len(applied) == len(manifests())
    assert {line["reason"] for line in recorded} == {"no step of a plan"}
    assert {line["request_id"].partition("-")[0] for line in recorded} == {"audit"}
    assert "customresourcedefinitions/kuryrports.kuryr.openstack.org" in {line["key"] for line in recorded}


@pytest.mark.parametrize(
    ("call", "status", "named"),
    [
        (f"PATCH {RBAC}/clusterroles/x?fieldManager=y&force=true", 201, ("create", "clusterroles", "clusterroles/x")),
        (f"PATCH {RBAC}/clusterroles/x?fieldManager=y", 200, ("update", "clusterroles", "clusterroles/x")),
        (f"DELETE {RBAC}/namespaces/n/roles/x", 200, ("delete", "roles", "roles/n/x")),
        ("POST /api/v1/namespaces", 201, ("create", "namespaces", "namespaces")),
        ("PUT /api/v1/namespaces/n", 200, ("update", "namespaces", "namespaces/n")),
        ("PATCH /api/v1/namespaces/n/pods/p/status", 200, ("update", "pods", "pods/n/p")),
    ],
)
def test_a_call_without_a_step_is_named_by_its_path(capsys, call, status, named):
    (line,) = told(capsys, Mutation(*call.split(), status, "audit-1"))

    assert (line["action"], line["kind"], line["key"]) == named
    assert (line["call"], line["status"], line["request_id"], line["error"]) == (call, status, "audit-1", "")


def test_a_refused_call_is_recorded_with_its_status(capsys):
    (line,) = told(capsys, Mutation("PATCH", f"{RBAC}/clusterroles/x", 403, "audit-1"))

    assert line["error"] == "HTTP-403"


@pytest.mark.parametrize(
    "path",
    [
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kuryrctl-kuryr",
        "/apis/events.k8s.io/v1/namespaces/shop/events",
        "/api/v1/namespaces/shop/events/x",
    ],
)
def test_leases_and_events_are_no_records(capsys, path):
    assert told(capsys, Mutation("PUT", path, 200, "audit-1")) == []
