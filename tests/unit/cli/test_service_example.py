"""The shipped world with Services: what its first-time reader is told, without a cluster or a cloud."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kuryrctl.cli.files import read_world
from kuryrctl.cli.service_list import ServiceList, ServiceShow
from kuryrctl.cli.service_sync import ServiceSync
from kuryrctl.cli.settings import Settings
from kuryrctl.cli.status import Status
from tests.repository import ROOT
from tests.unit.cli.program import run

SHIPPED = str(ROOT / "examples" / "services.world.json")


def said(capsys: pytest.CaptureFixture[str], command: Any, *words: str) -> tuple[int, Any]:
    code = run(command, Settings.of_world(read_world(SHIPPED), SHIPPED), *words, "-f", "json")
    return code, json.loads(capsys.readouterr().out)


def test_each_service_has_its_condition(capsys) -> None:
    _, rows = said(capsys, ServiceList)
    assert {f"{row['Namespace']}/{row['Service']}": row["Condition"] for row in rows} == {
        "default/kubernetes": "ok",
        "kube-system/kube-dns": "ok",
        "shop/admin": "limited",
        "shop/api": "ok",
        "shop/cache": "no endpoints",
        "shop/db": "drift",
        "shop/db-pods": "skipped",
        "shop/web": "ok",
    }
    (web,) = [row for row in rows if row["Service"] == "web"]
    assert (web["Floating IPs"], web["Members"]) == (["172.24.4.85"], {"ready": 2, "total": 2})


@pytest.mark.parametrize(
    ("service", "code", "layer"),
    [
        ("shop/db", 20, "member"),
        ("shop/cache", 20, "pool"),
        ("shop/admin", 10, None),
        ("shop/web", 0, None),
        ("kube-system/kube-dns", 0, None),
    ],
)
def test_show_names_the_first_broken_link(capsys, service: str, code: int, layer: str | None) -> None:
    found, document = said(capsys, ServiceShow, service)
    assert (found, (document["first_broken"] or {}).get("layer")) == (code, layer)


def test_what_sync_would_do_is_the_member_that_somebody_deleted(capsys) -> None:
    code, plan = said(capsys, ServiceSync, "--dry-run", "--world", SHIPPED)
    assert code == 21
    assert [(step["action"], step["kind"], step["subject"]) for step in plan["steps"]] == [
        ("update", "member", "Service shop/db")
    ]


def test_status_says_the_same(capsys) -> None:
    code, summary = said(capsys, Status)
    assert code == 20
    assert summary["services"] == {"drift": 1, "limited": 1, "no endpoints": 1, "ok": 4, "skipped": 1}
    told = [(each["severity"], each["subject"]) for each in summary["problems"] if "service" in each["subject"]]
    assert told == [
        ("warning", "service shop/admin"),
        ("warning", "service shop/cache"),
        ("failure", "service shop/db"),
    ]
