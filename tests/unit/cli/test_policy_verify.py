"""`policy verify`: agreement, disagreement with its reason, and what packets say."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest

from kuryrctl.cli.policy_explain import PolicyMatrix
from kuryrctl.cli.policy_lint import PolicyLint
from kuryrctl.cli.policy_verify import PolicyVerify
from kuryrctl.cli.settings import Settings
from kuryrctl.core.config import Config
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.difference import placed
from kuryrctl.core.policy.explain import Questions
from kuryrctl.core.policy.sampling import DATAGRAMS, Probed, Sample, judged, judged_again, passed, samples
from kuryrctl.core.policy.verify import verify
from kuryrctl.core.probe import Attempt, Result
from kuryrctl.core.saved_world import SavedWorld
from kuryrctl.kube.documents import parse
from tests.unit.cli.program import run
from tests.unit.cli.shop import SHOP
from tests.unit.core.policy.worlds import cloud_of


def without_rule(world: SavedWorld, port: int) -> SavedWorld:
    """The world after somebody deleted the rules for this port."""
    groups = {
        id_: msgspec.structs.replace(
            group,
            security_group_rules=tuple(r for r in group.security_group_rules if r.port_range_min != port),
        )
        for id_, group in world.cloud.security_groups.items()
    }
    return msgspec.structs.replace(world, cloud=msgspec.structs.replace(world.cloud, security_groups=groups))


def verified(world: SavedWorld, *words: str) -> int:
    return run(PolicyVerify, Settings.of_world(world, "test"), *words)


def test_a_converged_world_agrees(world, capsys) -> None:
    assert verified(world) == 0
    assert "all agree" in capsys.readouterr().out


def test_a_deleted_rule_is_a_failure_that_names_the_pair_and_what_stops_it(world, capsys) -> None:
    broken = without_rule(world, 5432)
    assert verified(broken) == 20
    told = capsys.readouterr().out
    assert "pod shop/web to pod shop/db, port 5432/TCP, IPv4: policies allowed, security groups denied" in told
    assert "no rule allows it" in told
    assert verified(broken, "-f", "json") == 20
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kuryrctl.policy-verify/1"
    assert {(each["from"], each["to"], each["port"]) for each in document["disagreements"]} == {
        ("pod shop/web", "pod shop/db", 5432)
    }


def test_a_namespace_that_is_not_concerned_is_well(world, capsys) -> None:
    assert verified(without_rule(world, 5432), "-n", "monitoring") == 0


BLOCK = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: block, namespace: shop}
spec:
  podSelector: {}
  ingress: [{from: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.64/26]}}]}]
  egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}]}]
  policyTypes: [Ingress, Egress]
"""


@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_a_deleted_rule_for_addresses_outside_is_told(direction, capsys) -> None:
    cluster = placed(parse(SHOP.read_text() + "---" + BLOCK, "test"), Config())
    compiled = Policies(Config())
    compiled.replace(cluster)
    cloud = cloud_of(cluster, compiled)
    whole = SavedWorld(made_at=datetime.now(UTC), made_by="test", config=Config(), cluster=cluster, cloud=cloud)
    assert verified(whole) == 0
    groups = {
        id_: msgspec.structs.replace(
            group,
            security_group_rules=tuple(
                rule
                for rule in group.security_group_rules
                if rule.direction != direction or not str(rule.remote_ip_prefix).startswith("203.0.113.")
            ),
        )
        for id_, group in cloud.security_groups.items()
    }
    assert verified(msgspec.structs.replace(whole, cloud=msgspec.structs.replace(cloud, security_groups=groups))) == 20
    assert "203.0.113.1" in capsys.readouterr().out


def test_a_namespace_is_told_of_however_much_differs_elsewhere(world) -> None:
    cloud = msgspec.structs.replace(world.cloud, ports={})
    every = verify(world.cluster, cloud, Config(), explain=0)
    shop, monitoring = (
        verify(world.cluster, cloud, Config(), namespace=name, explain=1) for name in ("shop", "monitoring")
    )
    for found, name in ((shop, "shop/"), (monitoring, "monitoring/")):
        assert 0 < found.differing < every.differing
        (first,) = found.disagreements
        assert name in f"{first.flow.source.name} {first.flow.target.name}"
    assert verified(msgspec.structs.replace(world, cloud=cloud), "-n", "monitoring") == 20


@pytest.mark.parametrize("command", [PolicyVerify, PolicyMatrix, PolicyLint])
def test_a_namespace_that_is_not_there_is_a_usage_error(world, capsys, command) -> None:
    assert run(command, Settings.of_world(world, "test"), "-n", "shopp") == 2
    assert 'there is no namespace "shopp"' in capsys.readouterr().err


def test_a_saved_world_takes_no_packets(world, capsys) -> None:
    assert verified(world, "--world", "file", "--probe") == 2


def test_samples_hold_what_is_allowed_and_what_is_not_for_each_two_classes(world) -> None:
    questions = Questions(world.cluster, world.cloud, Config())
    chosen = samples(questions, None, 200, Random(1))
    found = {(s.flow.source.name, s.flow.target.name, questions.policies.verdict(s.flow).allowed) for s in chosen}
    assert ("shop/web", "shop/db", True) in found
    assert ("shop/web", "shop/db", False) in found
    assert ("shop/db", "shop/web", False) in found
    assert samples(questions, None, 200, Random(1)) == chosen
    assert len(samples(questions, None, 3, Random(1))) == 3


MANY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: many, namespace: shop}
spec: {podSelector: {}, ingress: [{ports: [%s]}]}
"""


def test_between_two_pods_few_datagrams_are_sent() -> None:
    """Each that finds nobody listening is answered by an ICMP message, of which the kernel sends six in a row."""
    ports = ", ".join(f"{{port: {1000 + 2 * n}, protocol: UDP}}" for n in range(20))
    cluster = placed(parse(SHOP.read_text() + "---" + MANY % ports, "test"), Config())
    compiled = Policies(Config())
    compiled.replace(cluster)
    chosen = samples(Questions(cluster, cloud_of(cluster, compiled), Config()), None, 10_000, Random(1))
    sent = Counter(
        (each.flow.source, each.flow.target, each.flow.family) for each in chosen if each.flow.protocol == "UDP"
    )
    assert max(sent.values()) == DATAGRAMS
    assert {each.flow.protocol for each in chosen} == {"TCP", "UDP"}


@pytest.mark.parametrize(
    ("result", "silent", "expected"),
    [
        (Result.REACHABLE, False, True),
        (Result.REFUSED, False, True),
        (Result.TIME_OUT, False, False),
        (Result.TIME_OUT, True, None),
        (Result.UNREACHABLE, False, False),
        (Result.NOT_TRIED, False, None),
    ],
)
def test_what_a_packets_fate_says(world, result, silent, expected) -> None:
    (flow, *_) = [each.flow for each in samples(Questions(world.cluster, world.cloud, Config()), None, 1, Random(1))]
    assert passed(Sample(flow, silent), (Attempt(result),)) is expected
    assert passed(Sample(flow, silent), ()) is None


def test_only_what_neither_judge_says_is_doubtful(world) -> None:
    """Where the groups explain what the packets do, another packet would do the same."""
    whole, broken = (
        Questions(world.cluster, cloud, Config()) for cloud in (world.cloud, without_rule(world, 5432).cloud)
    )
    allowed = next(
        each
        for each in samples(whole, None, 500, Random(1))
        if each.flow.port == 5432 and whole.policies.verdict(each.flow).allowed
    )
    lost = (Attempt(Result.TIME_OUT),)
    found = [msgspec.structs.replace(judged(questions, allowed), attempts=lost) for questions in (whole, broken)]
    assert [(each.wrong, each.doubtful) for each in found] == [(True, True), (True, False)]
    arrived = msgspec.structs.replace(found[1], attempts=(*lost, Attempt(Result.REACHABLE)))
    assert (arrived.wrong, arrived.doubtful, arrived.arrived) == (False, False, 1)


def test_attempts_count_on_until_the_policies_change_or_a_pod_goes(world) -> None:
    questions = Questions(world.cluster, world.cloud, Config())
    first: Probed = judged(questions, samples(questions, None, 1, Random(1))[0])
    tried = msgspec.structs.replace(first, attempts=(Attempt(Result.TIME_OUT),))
    assert judged_again(questions, tried) == tried

    def later(**change: object) -> Questions:
        return Questions(msgspec.structs.replace(world.cluster, **change), world.cloud, Config())

    target = world.cluster.pods[tried.flow.target.id]
    for gone in (
        {each: pod for each, pod in world.cluster.pods.items() if pod != target},
        world.cluster.pods | {target.uid: msgspec.structs.replace(target, deleting=True)},
        world.cluster.pods | {target.uid: msgspec.structs.replace(target, phase="Failed")},
        world.cluster.pods | {target.uid: msgspec.structs.replace(target, ips=("203.0.113.9",))},
    ):
        assert judged_again(later(pods=gone), tried) is None
    denied = next(
        each
        for each in (judged(questions, each) for each in samples(questions, None, 500, Random(1)))
        if not each.policies.allowed
    )
    tried = msgspec.structs.replace(denied, attempts=(Attempt(Result.REACHABLE),))
    again = judged_again(later(policies={}), tried)
    assert again is not None
    assert (again.policies.allowed, again.attempts) == (True, ())
