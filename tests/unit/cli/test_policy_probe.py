"""`policy verify --probe` on a fake cluster and a fake cloud; agents that are played say what becomes of packets.

web may open port 5432 of db and nothing else there; everything else is open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kuryrctl.cli import policy_probe
from kuryrctl.cli.policy_verify import PolicyVerify
from kuryrctl.core.probe import Attempt, KuryrProbe, Result, Target
from tests.unit.cli.agent import REACHABLE, Agent
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import NODES, Site

LOST = Attempt(Result.TIME_OUT)
POLICY = {
    "podSelector": {"matchLabels": {"app": "db"}},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}],
}


class Network(Agent):
    """What the policy allows arrives. `fate` may say otherwise of the nth try (from 0) of a target."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.kube)
        self.tries: dict[Target, int] = {}
        self.fate: Callable[[Target, int], Attempt | None] = lambda *_: None
        self.db = set(addresses(site, "db"))

    def attempt(self, probe: KuryrProbe, target: Target) -> Attempt:
        nth = self.tries.get(target, 0)
        self.tries[target] = nth + 1
        allowed = target.address not in self.db or self.is_open(target)
        return self.fate(target, nth) or (REACHABLE if allowed else LOST)

    def is_open(self, target: Target) -> bool:
        """Whether it is what the policy opens of db."""
        return target.address in self.db and (target.protocol, target.port) == ("TCP", 5432)

    @property
    def tried_again(self) -> dict[Target, int]:
        return {target: times for target, times in self.tries.items() if times > 1}


@pytest.fixture
def site() -> Site:
    made = Site()
    for name, node in zip(("web", "db"), NODES, strict=True):
        made.kube.add_pod("shop", name, node=node, labels={"app": name})
    made.kube.apply("networkpolicies", "shop", "db", spec=POLICY)
    assert made.run().ok
    for name in ("web", "db"):
        made.kube.run_pod("shop", name, *addresses(made, name))
    return made


def addresses(site: Site, pod: str) -> list[str]:
    (interface,) = site.kuryr_port(f"shop/{pod}")["spec"]["interfaces"]
    return [text.partition("/")[0] for text in interface["addresses"]]


@pytest.fixture
def network(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    monkeypatch.setattr(policy_probe, "PAUSE_S", 0.0)
    playing = Network(site)
    playing.start()
    yield playing
    playing.ended.set()
    playing.join()


def verified(site: Site, *words: str) -> int:
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    return run(PolicyVerify, settings, "--probe", "--seed", "1", *words)


def test_what_arrives_as_it_should_is_tried_once(site, network, capsys):
    assert verified(site) == 0

    assert "all agree" in capsys.readouterr().out
    assert set(network.tries.values()) == {1}
    assert site.kube.objects("kuryrprobes") == {}


@pytest.mark.parametrize("losses", [1, 2])
def test_a_lost_packet_is_sent_again_and_is_no_wrong_policy(site, network, capsys, losses):
    network.fate = lambda target, nth: LOST if network.is_open(target) and nth < losses else None

    assert verified(site, "-f", "json") == 0

    probed = json.loads(capsys.readouterr().out)["probed"]
    again = [each for each in probed if each["tries"] > 1]
    assert {(each["from"], each["to"], each["port"]) for each in again} == {("pod shop/web", "pod shop/db", 5432)}
    assert {(each["tries"], each["arrived"], each["agree"]) for each in again} == {(losses + 1, 1, True)}
    assert all(network.is_open(target) for target in network.tried_again), "and nothing else was"
    assert site.kube.objects("kuryrprobes") == {}


def test_what_never_arrives_is_told_with_its_tries(site, network, capsys):
    network.fate = lambda target, _: LOST if network.is_open(target) else None

    assert verified(site) == 20

    told = capsys.readouterr().out
    assert "pod shop/web to pod shop/db, port 5432/TCP, IPv4: packets do not pass (in 0 of 3 tries), " in told
    assert "policies allowed, security groups allowed" in told
    assert set(network.tried_again.values()) == {3}


def test_one_packet_that_arrives_where_nobody_allows_it_is_enough(site, network, capsys):
    network.fate = lambda target, nth: REACHABLE if target.address in network.db and nth == 0 else None

    assert verified(site) == 20

    told = capsys.readouterr().out
    assert "to pod shop/db, port 29/TCP, IPv4: packets pass (in 1 of 3 tries), policies denied" in told


def test_of_a_pod_that_ends_meanwhile_nothing_is_told(site, network, capsys):
    def fate(target: Target, _: int) -> Attempt | None:
        if not network.is_open(target):
            return None
        site.kube.terminate_pod("shop", "db")
        return LOST

    network.fate = fate

    assert verified(site, "-f", "json") == 0

    probed: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["probed"]
    assert {each["packets"] for each in probed if each["port"] == 5432 and "shop/db" in each["to"]} == {None}
    assert network.tried_again == {}


def test_a_pod_that_ends_is_not_asked_about(site, network, capsys):
    site.kube.terminate_pod("shop", "db")

    assert verified(site) == 0

    assert network.tries == {}
