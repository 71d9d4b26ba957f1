"""`status` is a screen whatever does not answer: the other side is shown, what is dead is named, nothing is guessed."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from msgspec.structs import replace

from kuryrctl.cli.port import PortList
from kuryrctl.cli.status import Status
from kuryrctl.cloud.session import open_session
from kuryrctl.core.errors import Invalid, Owner, Unavailable
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

DEAD = Unavailable("Neutron does not answer: connection refused", code="NET-UNREACHABLE", owner=Owner.NEUTRON, hint="x")
KEYSTONE = {"USERNAME": "u", "PASSWORD": "p", "PROJECT_NAME": "p", "USER_DOMAIN_ID": "d", "PROJECT_DOMAIN_ID": "d"}


@pytest.fixture
def site() -> Site:
    site = Site()
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    return site


@pytest.fixture
def settings(site: Site) -> Fakes:
    return Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)


def summary(settings: Fakes, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a screen with failures says, for machines."""
    capsys.readouterr()
    assert run(Status, settings, "-f", "json") == 20
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def failures(shown: dict[str, Any], *subjects: str) -> list[tuple[str, str]]:
    return [(each["message"], each["owner"]) for each in shown["problems"] if each["subject"] in subjects]


def screen(settings: Fakes, capsys: pytest.CaptureFixture[str]) -> str:
    """The same for people: blanks in a row count as one."""
    capsys.readouterr()
    assert run(Status, settings) == 20
    return "\n".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())


def test_a_dead_neutron(site, settings, capsys):
    site.cloud.fail_next("GET", "/", DEAD, times=1000)

    shown = summary(settings, capsys)

    assert failures(shown, "cloud") == [(f"unreachable: {DEAD.message}", "neutron")]
    assert (shown["pods"], shown["ports"], shown["plan_steps"], shown["conditions"]) == (None, None, None, {})
    assert [node["name"] for node in shown["nodes"]] == ["node1", "node2"]
    assert shown["kube_system_uid"]
    assert not [each for each in shown["problems"] if "shop/web-0" in each["subject"]]


def test_its_screen_for_people(site, settings, capsys):
    site.cloud.fail_next("GET", "/", DEAD, times=1000)

    text = screen(settings, capsys)

    assert f"failure: cloud: unreachable: {DEAD.message} [neutron]\nnext: x" in text
    assert "state unknown" in text
    assert "pods, ports unknown" in text
    assert "node1 Ready" in text


def test_a_dead_keystone(site, settings, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("OS_AUTH_URL", f"http://127.0.0.1:{port}/v3")
    for name, value in KEYSTONE.items():
        monkeypatch.setenv(f"OS_{name}", value)
    dead = Fakes(site.config, {}, neutron=lambda: open_session(None, None), api=lambda: site.kube)

    shown = summary(dead, capsys)

    ((message, owner),) = failures(shown, "cloud")
    assert (message.startswith("unreachable: Keystone does not answer"), owner) == (True, "keystone")
    assert [node["name"] for node in shown["nodes"]] == ["node1", "node2"]


def test_a_dead_api_server(site, settings, capsys):
    site.kube.fail(times=1000)

    shown = summary(settings, capsys)

    ((message, owner),) = failures(shown, "cluster", "engine")
    assert (message.startswith("unreachable: "), owner) == (True, "kubernetes")
    assert (shown["engine"], shown["nodes"], shown["ports"]) == (None, [], None)
    assert shown["project_id"] == "project-a"


def test_both_sides_dead_is_still_a_screen(site, settings, capsys):
    site.kube.fail(times=1000)
    site.cloud.fail_next("GET", "/", DEAD, times=1000)

    text = screen(settings, capsys)

    assert text.count("unreachable: ") == 2
    assert "engine unknown" in text


def test_a_configuration_that_cannot_connect_is_named(site, capsys):
    def refused() -> Any:
        raise Invalid("there is no kubeconfig", code="KUBE-CONFIG", owner=Owner.USER)

    shown = summary(Fakes(site.config, {}, neutron=lambda: site.cloud, api=refused), capsys)

    assert failures(shown, "cluster") == [("cannot be read: there is no kubeconfig", "user")]


def test_a_lease_that_cannot_be_read_is_not_taken_for_a_free_one(site, settings, capsys):
    site.kube.fail(403, times=1000, path="leases")

    shown = summary(settings, capsys)

    ((message, _),) = failures(shown, "engine")
    assert message.startswith("cannot be read: ")
    assert (shown["engine"], shown["pods"], shown["plan_steps"]) == (None, 1, 0)


def test_a_pod_network_that_does_not_exist_is_one_problem(site, settings, capsys):
    config = replace(site.config, pod_network=replace(site.config.pod_network, name="nowhere"))

    shown = summary(Fakes(config, {}, neutron=lambda: site.cloud, api=lambda: site.kube), capsys)

    ((message, owner),) = failures(shown, "cloud")
    assert ("nowhere" in message, owner) == (True, "user")


def test_waiting_for_a_dead_side_ends_in_time(site, settings, capsys):
    site.cloud.fail_next("GET", "/", DEAD, times=1000)

    assert run(Status, settings, "--wait", "0.1") == 124


def test_a_list_is_all_or_an_error(site, settings, capsys):
    site.cloud.fail_next("GET", "/", DEAD, times=1000)

    assert run(PortList, settings) == 1
    assert "[neutron, NET-UNREACHABLE]" in capsys.readouterr().err


def test_policies_that_the_quotas_have_no_room_for_are_named(site, settings, capsys):
    site.kube.apply("networkpolicies", "shop", "deny", spec={"podSelector": {}})
    there = len(site.cloud.objects("security_groups"))
    site.cloud.set_quota("security_group", there)

    shown = summary(settings, capsys)

    ((message, owner),) = failures(shown, "policy shop/deny")
    assert f"(limit {there}, in use {there}, needed 1 more)" in message
    assert owner == "user"
