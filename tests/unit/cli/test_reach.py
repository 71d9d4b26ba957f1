"""`reach --probe` in front of an agent that is played: what is asked of it, what is shown, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from kuryrctl.cli.reach import Reach
from kuryrctl.core.config import Config
from kuryrctl.core.probe import Attempt, Protocol, Result
from kuryrctl.kube import Kube
from tests.fakes.kube import FakeKube
from tests.unit.cli.agent import Agent
from tests.unit.cli.program import Fakes, run

REFUSED = Attempt(Result.REFUSED)


@pytest.fixture
def fake() -> FakeKube:
    made = FakeKube()
    made.add_namespace("shop")
    made.add_pod("shop", "web-0", node="node1", phase="Running", ips=("10.65.0.5", "fd00::5"))
    made.add_pod("shop", "db-0", node="node2", phase="Running", ips=("10.65.0.6", "fd00::6"))
    return made


@pytest.fixture
def agent(fake: FakeKube) -> Iterator[Agent]:
    playing = Agent(fake)
    playing.start()
    yield playing
    playing.ended.set()
    playing.join()


def reach(fake: FakeKube, *words: str, probe: bool = True) -> int:
    given = (*words, *(("--from", "shop/web-0") if "--from" not in words else ()))
    given = (*given, *(("--to", "shop/db-0") if "--to" not in words else ()), *(("--probe",) if probe else ()))
    return run(Reach, Fakes(Config(), {}, api=lambda: fake), *given)


def rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return shown


def test_a_pod_is_tried_at_its_addresses_of_both_families(fake, agent, capsys):
    assert reach(fake, "--port", "5432", "-f", "json") == 0

    first, second = rows(capsys)
    assert first == {
        "From": "shop/web-0", "To": "shop/db-0", "Address": "10.65.0.6", "Protocol": "TCP", "Port": 5432,
        "Attempt": 1, "Result": "reachable", "Round Trip (ms)": 1.25, "MTU": None, "Detail": None,
    }  # fmt: skip
    assert second["Address"] == "fd00::6"
    assert fake.objects("kuryrprobes") == {}


def test_the_probe_names_the_very_pod_and_lives_by_it(fake, agent, capsys):
    uid = fake.objects("pods")["shop/web-0"]["metadata"]["uid"]

    assert reach(fake, "--port", "80", "--count", "3", "--timeout", "0.5", "--wait", "5", "-f", "json") == 0

    (asked,) = agent.asked
    assert (asked.pod, asked.pod_uid, asked.node) == ("web-0", uid, "node1")
    assert (asked.count, asked.timeout_ms, asked.ttl_s) == (3, 500, 15)
    assert [row["Attempt"] for row in rows(capsys)] == [1, 2, 3] * 2


def test_one_family_that_is_not_reached_is_a_failure_and_says_so(fake, agent, capsys):
    agent.answers = {"fd00::6": REFUSED}

    assert reach(fake, "--port", "80", "-f", "json") == 20

    assert [row["Result"] for row in rows(capsys)] == ["reachable", "refused"]


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("--port", "53/udp"), (Protocol.UDP, 53, 0, False, "echo kuryr")),
        (("--port", "53", "--protocol", "udp", "--payload", "x"), (Protocol.UDP, 53, 0, False, "x")),
        (("--port", "80/TCP", "--protocol", "tcp"), (Protocol.TCP, 80, 0, False, "echo kuryr")),
        ((), (Protocol.ICMP, 0, 0, False, "echo kuryr")),
        (("--size", "1442"), (Protocol.ICMP, 0, 1442, True, "echo kuryr")),
    ],
)
def test_what_is_sent(fake, agent, words, sent):
    assert reach(fake, "--to", "10.65.0.9", *words) == 0

    ((target,),) = [asked.targets for asked in agent.asked]
    assert (target.address, target.protocol, target.port) == ("10.65.0.9", *sent[:2])
    assert (target.packet_bytes, target.dont_fragment, target.payload) == sent[2:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--protocol", "tcp"), '"" is no port of TCP'),
        (("--port", "0"), '"0" is no port of TCP'),
        (("--port", "http"), '"http" is no port of TCP'),
        (("--port", "80/sctp"), "--port 80/sctp: which protocol?"),
        (("--port", "80/tcp", "--protocol", "udp"), "--port 80/tcp, and --protocol says udp: which protocol?"),
        (("--port", "80", "--protocol", "icmp"), "ICMP has no ports"),
        (("--port", "80", "--size", "100"), "--size is for ICMP, not for TCP"),
        (("--port", "80", "--payload", "x"), "--payload is for UDP, not for TCP"),
        (("--to", "db-0"), '--to "db-0" is neither an address nor a pod'),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(fake, capsys, words, said):
    assert reach(fake, *words) == 2

    assert said in capsys.readouterr().err
    assert fake.objects("kuryrprobes") == {}


@pytest.mark.parametrize("words", [("--size", "63"), ("--count", "0"), ("--timeout", "11"), ("--count", "x")])
def test_numbers_out_of_bounds_are_refused_by_the_parser(fake, words):
    with pytest.raises(SystemExit):
        reach(fake, *words)


def test_without_probe_nothing_is_done(fake, capsys):
    assert reach(fake, "--port", "80", probe=False) == 2

    assert "without --probe nothing is sent" in capsys.readouterr().err
    assert fake.requests == []


@pytest.mark.parametrize(
    ("made", "code", "said"),
    [
        ({"host_network": True, "node": "node1", "phase": "Running"}, 2, "it uses the network of its node"),
        ({}, 2, "no node runs it yet"),
        ({"node": "node1", "phase": "Succeeded"}, 2, "it has ended (Succeeded)"),
    ],
)
def test_a_pod_without_a_network_namespace_of_its_own(fake, capsys, made, code, said):
    fake.add_pod("shop", "odd", **made)

    assert reach(fake, "--from", "shop/odd", "--port", "80") == code

    error = capsys.readouterr().err
    assert f"pod shop/odd cannot be probed from: {said}" in error
    assert "PROBE-NO-NETWORK" in error


def test_pods_that_are_not_there_or_have_no_address(fake, capsys):
    fake.add_pod("shop", "new")

    assert reach(fake, "--from", "web-0", "--port", "80") == 1
    assert "there is no pod default/web-0" in capsys.readouterr().err
    assert reach(fake, "--to", "shop/none", "--port", "80") == 1
    assert "there is no pod shop/none" in capsys.readouterr().err
    assert reach(fake, "--to", "shop/new", "--port", "80") == 1
    assert "pod shop/new has no address yet (phase Pending)" in capsys.readouterr().err


def test_an_agent_that_does_not_answer_is_named_with_its_last_sign_of_life(fake, capsys):
    kube = Kube(fake)
    node = kube.write_kuryr_node("node1", fake.add_node("node1"), None)

    assert reach(fake, "--port", "80", "--wait", "0") == 124
    assert "the agent of node node1 did not answer within 0 s; it never gave one" in capsys.readouterr().err

    kube.write_kuryr_node_status(replace(node, heartbeat_s=1000.0))
    assert reach(fake, "--port", "80", "--wait", "0") == 124
    assert "its last sign of life is 1" in capsys.readouterr().err
    fake.fail(403, path="/kuryrnodes/")
    assert reach(fake, "--port", "80", "--wait", "0") == 124
    assert "is not yours to read" in capsys.readouterr().err
    assert fake.objects("kuryrprobes") == {}


def test_why_an_agent_did_not_try_is_told(fake, agent, capsys):
    agent.error = "pod shop/web-0 (uid 7) is not bound on node node1 [PROBE-NOT-BOUND]"

    assert reach(fake, "--port", "80") == 1

    assert f"nothing sent from pod shop/web-0: {agent.error}" in capsys.readouterr().err
    assert fake.objects("kuryrprobes") == {}


@pytest.mark.parametrize(("verb", "path"), [("GET", "/pods/web-0"), ("POST", "/kuryrprobes"), ("GET", "/kuryrprobes?")])
def test_who_may_not_is_told_which_role_to_ask_for(fake, capsys, verb, path):
    fake.fail(403, verb=verb, path=path)

    assert reach(fake, "--port", "80", "--wait", "1") == 1

    error = capsys.readouterr().err
    assert "KUBE-FORBIDDEN" in error
    assert "kubectl create rolebinding kuryr-probe -n shop --clusterrole=kuryr-probe" in error
    assert fake.objects("kuryrprobes") == {}


def test_an_api_server_that_is_away_for_a_moment_is_asked_again_as_long_as_there_is_time(fake, agent, capsys):
    fake.fail(503, times=2, verb="GET", path="labelSelector=kuryr.openstack.org%2Frun")

    assert reach(fake, "--port", "80", "--wait", "30") == 0

    fake.fail(503, times=2, verb="GET", path="labelSelector=kuryr.openstack.org%2Frun")
    assert reach(fake, "--port", "80", "--wait", "1") == 1
    assert "KUBE-UNAVAILABLE" in capsys.readouterr().err
    assert fake.objects("kuryrprobes") == {}


def test_a_probe_that_cannot_be_removed_does_not_hide_the_answer(fake, agent, capsys):
    fake.fail(503, verb="DELETE", path="/kuryrprobes/")

    assert reach(fake, "--to", "10.65.0.9", "--port", "80", "-f", "json") == 0

    assert rows(capsys)[0]["Result"] == "reachable"
    assert len(fake.objects("kuryrprobes")) == 1
