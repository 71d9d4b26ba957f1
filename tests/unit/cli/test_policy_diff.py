"""`policy diff --live` on a site: what it forecasts is what the engine says then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.cli.policy_diff import PolicyDiff
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

SPEC = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"ports": [{"port": 5432}]}]}


@pytest.fixture
def site() -> Site:
    """One pod, converged."""
    site = Site()
    site.kube.add_pod("shop", "db-0", node="node1", uid="d", labels={"app": "db"})
    assert site.run().ok
    return site


def compared(site: Site, path: Path, spec: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    manifest = {"kind": "NetworkPolicy", "metadata": {"name": "db", "namespace": "shop"}, "spec": spec}
    path.write_text(json.dumps(manifest))
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    capsys.readouterr()
    code = run(PolicyDiff, settings, "-f", str(path), "--live", "--format", "json")
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("room", [0, 2, 3])
def test_the_forecast_is_what_the_engine_says(site, tmp_path, capsys, room) -> None:
    site.cloud.set_quota("security_group_rule", len(site.cloud.objects("security_group_rules")) + room)
    code, document = compared(site, tmp_path / "db.json", SPEC, capsys)
    assert code == 21
    assert document["rules"]["made"] == 2
    site.kube.apply("networkpolicies", "shop", "db", spec=SPEC)
    (failure,) = site.run().failures
    assert (document["fits"], document["shortage"]) == (False, failure.message)


def test_room_for_neutrons_own_rules_is_enough(site, tmp_path, capsys) -> None:
    site.cloud.set_quota("security_group_rule", len(site.cloud.objects("security_group_rules")) + 4)
    _, document = compared(site, tmp_path / "db.json", SPEC, capsys)
    assert (document["fits"], document["shortage"]) == (True, None)
    site.kube.apply("networkpolicies", "shop", "db", spec=SPEC)
    assert site.run().ok


def test_a_changed_policy_keeps_its_group(site, tmp_path, capsys) -> None:
    site.kube.apply("networkpolicies", "shop", "db", spec=SPEC)
    assert site.run().ok
    _, document = compared(site, tmp_path / "db.json", {"podSelector": SPEC["podSelector"]}, capsys)
    assert (document["groups"]["made"], document["groups"]["removed"], document["rules"]["removed"]) == (0, 0, 2)
    assert document["updates"] == 0
