"""`policy list` and `policy show` on a site where the engine has run: counts, what is pending, exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kuryrctl.cli.policy_list import PolicyList, PolicyShow
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

SPEC = {
    "podSelector": {"matchLabels": {"app": "db"}},
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}],
}


@pytest.fixture
def site() -> Site:
    site = Site()
    site.kube.add_pod("shop", "web-0", node="node1", uid="w", labels={"app": "web"})
    site.kube.add_pod("shop", "db-0", node="node1", uid="d", labels={"app": "db"})
    site.kube.apply("networkpolicies", "shop", "db", spec=SPEC)
    site.run()
    return site


def asked(site: Site, capsys: pytest.CaptureFixture[str], command: Any, *words: str) -> tuple[int, Any]:
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    capsys.readouterr()
    code = run(command, settings, "-f", "json", *words)
    return code, json.loads(capsys.readouterr().out)


def rule_of(site: Site) -> dict[str, Any]:
    answer = json.loads(site.cloud.request("GET", "/security-group-rules").body)["security_group_rules"]
    return next(rule for rule in answer if rule["port_range_min"] == 5432)


def test_a_converged_policy_is_in_sync(site, capsys) -> None:
    code, (row,) = asked(site, capsys, PolicyList)
    assert code == 0
    assert row == {
        "Namespace": "shop", "Policy": "db", "Isolates": ["ingress"], "Pods": 1, "Groups": 1, "Rules": 2,
        "State": "in sync",
    }  # fmt: skip
    code, shown = asked(site, capsys, PolicyShow, "shop/db")
    assert (code, shown["pods"], shown["pending"]) == (0, ["shop/db-0"], [])
    (group,) = shown["groups"]
    assert group.endswith("rules 2 of 2, ports 1 of 1")
    (peer,) = shown["peer_groups"]
    assert peer.endswith("rules 0 of 0, ports 1 of 1")


def test_a_deleted_rule_is_pending_and_a_failure(site, capsys) -> None:
    site.cloud.request("DELETE", f"/security-group-rules/{rule_of(site)['id']}")
    _, (row,) = asked(site, capsys, PolicyList)
    assert row["State"] == "1 rule to create"
    code, shown = asked(site, capsys, PolicyShow, "shop/db")
    assert code == 20
    assert len(shown["pending"]) == 1
    assert "lacks it: ingress" in shown["first_reason"]


def test_a_foreign_rule_does_not_stand_for_a_deleted_one(site, capsys) -> None:
    rule = rule_of(site)
    site.cloud.request("DELETE", f"/security-group-rules/{rule['id']}")
    other = {
        "security_group_id": rule["security_group_id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": 22, "port_range_max": 22,
    }  # fmt: skip
    body = json.dumps({"security_group_rule": other}).encode()
    assert site.cloud.request("POST", "/security-group-rules", body=body).status == 201
    _, shown = asked(site, capsys, PolicyShow, "shop/db")
    (group,) = shown["groups"]
    assert "rules 1 of 2" in group


def test_a_peer_that_does_not_carry_its_group_yet_is_counted(site, capsys) -> None:
    site.kube.relabel("pods", "shop", "web-0", {"app": "other"})
    _, (row,) = asked(site, capsys, PolicyList)
    assert "port to update" in row["State"]


def test_another_namespace_has_none_and_another_name_is_refused(site, capsys) -> None:
    assert asked(site, capsys, PolicyList, "--namespace", "other") == (0, [])
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    assert run(PolicyShow, settings, "shop/nothing") == 1
    assert "there is no NetworkPolicy shop/nothing" in capsys.readouterr().err
