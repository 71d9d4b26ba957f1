"""A Service as a tree for people, and as a document: the same links, the first broken one named in both."""

from __future__ import annotations

import json

import pytest
import yaml
from msgspec.structs import replace

from kuryrctl.cli.service_list import Members, cells
from kuryrctl.cli.service_view import print_service, service_document
from kuryrctl.core.lint import Check, Level, LintFinding
from kuryrctl.core.service_join import service_row
from tests.unit.core.sights import sight, with_members

LOST = sight(balancers=with_members(lambda members: members[:1]))


def screen(row, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_service(row)
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_service_that_is_well(capsys) -> None:
    lines = screen(service_row(sight()), capsys)
    assert lines == [
        "service shop/web  ClusterIP, 80/TCP",
        "└── load balancer 10.96.0.9  ACTIVE/ONLINE  lb",
        "└── listener TCP 80  ACTIVE/ONLINE  l",
        "└── pool tcp-80  ACTIVE/ONLINE  p",
        "├── member 10.65.0.11:8080  ACTIVE/ONLINE  m0",
        "│   └── pod shop/web-0  on node1  p0",
        "│       └── port 10.65.0.11",
        "└── member 10.65.0.12:8080  ACTIVE/ONLINE  m1",
        "└── pod shop/web-1  on node1  p1",
        "└── port 10.65.0.12",
        "ok",
    ]


def test_the_first_broken_link_is_named_with_its_owner_and_what_to_do(capsys) -> None:
    lines = screen(service_row(LOST), capsys)
    told = "the pool lacks it: nothing is sent to this endpoint"
    assert f"└── member 10.65.0.12:8080  missing: {told}" in lines
    assert lines[-3] == f"drift: member 10.65.0.12:8080: {told}"
    assert lines[-2] == f"first broken link: member 10.65.0.12:8080: {told}   [kuryrctl]"
    assert lines[-1].startswith("next: ")


def test_what_it_asks_for_in_vain_is_told_beside_the_tree(capsys) -> None:
    check = Check("SVC-RANGES", Level.ERROR, "x")
    row = service_row(sight(), notes=[LintFinding(check, "shop/web", "no external address", "spec")])
    assert "error: no external address   [SVC-RANGES]" in screen(row, capsys)
    assert json.loads(service_document(row, "json"))["notes"] == [
        {"code": "SVC-RANGES", "severity": "error", "field": "spec", "message": "no external address", "accepted": None}
    ]


def test_the_document_is_versioned_typed_and_the_same_in_yaml() -> None:
    document = json.loads(service_document(service_row(LOST), "json"))
    assert document["schema"] == "kuryrctl.service/1"
    assert (document["condition"], document["members_ready"], document["members_total"]) == ("drift", 1, 2)
    assert {name: document["first_broken"][name] for name in ("layer", "name", "state", "owner", "below")} == {
        "layer": "member", "name": "10.65.0.12:8080", "state": "missing", "owner": "kuryrctl", "below": [],
    }  # fmt: skip
    pool = document["tree"]["below"][0]["below"][0]["below"][0]
    assert [(link["layer"], link["state"]) for link in pool["below"]] == [("member", "ok"), ("member", "missing")]
    assert yaml.safe_load(service_document(service_row(LOST), "yaml")) == document


def test_nothing_is_broken_is_null() -> None:
    assert json.loads(service_document(service_row(sight()), "json"))["first_broken"] is None


def test_members_are_a_ratio_for_people_and_numbers_for_machines() -> None:
    found = cells(service_row(LOST))["Members"]
    assert isinstance(found, Members)
    assert (found.human_readable(), found.machine_readable()) == ("1/2", {"ready": 1, "total": 2})


def test_a_cell_without_a_value_is_null() -> None:
    row = cells(replace(service_row(sight(balancers={})), namespace=""))
    assert (row["Namespace"].machine_readable(), row["Provisioning"].machine_readable()) == (None, None)
