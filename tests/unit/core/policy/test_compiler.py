"""What is true of every compilation: unrelated policies change nothing, however a policy is cut it says the same."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Selector
from tests.unit.core.policy.agreement import compiled, disagreements
from tests.unit.core.policy.test_compiler_changes import compiled as outcome
from tests.unit.core.policy.worlds import CONFIG, random_world


def with_policies(cluster: ClusterState, *policies: NetworkPolicy) -> ClusterState:
    """The cluster with these policies alone."""
    return msgspec.structs.replace(cluster, policies={policy.full_name: policy for policy in policies})


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_policy_that_selects_no_pod_changes_no_list_and_no_rule_of_others(random: Random) -> None:
    cluster = random_world(random)
    open_to_all = PolicyRule((Peer(namespace_selector=Selector()),))
    unrelated = NetworkPolicy(
        "elsewhere", "unrelated", "uid-u", Selector(), frozenset(Direction), (open_to_all,), (open_to_all,)
    )
    groups, lists = outcome(cluster)
    more_groups, more_lists = outcome(with_policies(cluster, *cluster.policies.values(), unrelated))

    assert more_lists == lists
    assert {key: more_groups[key] for key in groups} == groups


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_a_policy_cut_into_one_for_each_rule_says_the_same(random: Random) -> None:
    cluster = random_world(random)
    pieces = [piece for policy in cluster.policies.values() for piece in cut(policy)]

    assert not disagreements(cluster, compiled(with_policies(cluster, *pieces)))


@pytest.mark.parametrize("block", [IPBlock("10.0.0.0/33"), IPBlock("10.0.0.0/8", ("10.1.0.0/16", "nothing"))])
def test_a_block_that_is_none_allows_nothing_and_isolates(block: IPBlock) -> None:
    policies = Policies(CONFIG)
    ports = (PolicyPort("TCP", 80), PolicyPort("TCP", "http"))
    rules = (PolicyRule((Peer(ip_block=block),), ports), PolicyRule((Peer(ip_block=IPBlock("10.2.0.0/16")),)))
    bad = NetworkPolicy("shop", "bad", "uid", Selector(), frozenset(Direction), rules[1:], rules)

    policies.put(bad)

    for key in ("security-group/policy-ingress/uid", "security-group/policy-egress/uid"):
        found = policies.group(key)
        assert found is not None
        assert [rule.remote_ip_prefix for rule in found.rules] == ["10.2.0.0/16"]


def cut(policy: NetworkPolicy) -> list[NetworkPolicy]:
    """For each rule that counts a policy with it alone, and one without rules."""
    alone = [{direction.value: (rule,)} for direction in sorted(policy.directions) for rule in policy.rules(direction)]
    pieces = []
    for number, rules in enumerate([{}, *alone]):
        name, uid = f"{policy.name}-{number}", f"{policy.uid}-{number}"
        pieces.append(msgspec.structs.replace(policy, name=name, uid=uid, **{"ingress": (), "egress": (), **rules}))
    return pieces
