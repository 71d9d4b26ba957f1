"""What the reading commands read of both sides, on the fakes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kuryrctl.cli.port import PortList
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site


@pytest.fixture
def site() -> Site:
    return Site()


def listed(site: Site, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    capsys.readouterr()
    assert run(PortList, settings, "--long", "-f", "json", *words) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_a_nested_port_is_listed_with_its_vlan_and_trunk_whose_parent_is_on_the_network_of_vms(site, capsys):
    vms = site.cloud.cloud.rules.create_network("project-a", {"name": "vms"})
    vm = site.foreign_port(network_id=vms["id"], device_owner="compute:nova")
    nested = site.foreign_port(device_owner="compute:kuryr")
    plain = site.foreign_port(device_owner="compute:kuryr")
    body = {
        "port_id": vm["id"],
        "sub_ports": [{"port_id": nested["id"], "segmentation_type": "vlan", "segmentation_id": 101}],
    }
    answer = site.cloud.request("POST", "/trunks", body=json.dumps({"trunk": body}).encode())
    trunk = json.loads(answer.body)["trunk"]

    rows = {row["Port ID"]: row for row in listed(site, capsys, "--condition", "legacy")}

    assert {id_: (row["VLAN"], row["Trunk"]) for id_, row in rows.items()} == {
        nested["id"]: (101, trunk["id"]),
        plain["id"]: (None, None),
    }
    assert rows[nested["id"]]["Detail"] == 'looks like kuryr-kubernetes\': owner "trunk:subport"'


def test_trunks_are_asked_for_once(site, capsys):
    site.cloud.requests.clear()
    listed(site, capsys)

    assert [path for _, path in site.cloud.requests if path.startswith("/trunks")] == [
        "/trunks?fields=id&fields=port_id&fields=sub_ports"
    ]
