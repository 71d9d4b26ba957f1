"""The compiler's index: brought up to date change by change, it holds what it would hold if made anew."""

from __future__ import annotations

from itertools import chain
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kuryrctl.core.cluster import ClusterState, Namespace, Node, Pod
from kuryrctl.core.policy.compiler import Group, Policies, Thing, Touched
from kuryrctl.core.policy.nodes import Nodes
from kuryrctl.core.specs import Key
from tests.unit.core.policy.worlds import CONFIG, random_world

Outcome = tuple[dict[Key, Group | None], dict[str, tuple[Key, ...]]]
SOME = settings(max_examples=20, suppress_health_check=list(HealthCheck))
KINDS = ("namespaces", "nodes", "kuryr_nodes", "policies", "services", "endpoint_slices", "pods")


def things(cluster: ClusterState) -> dict[tuple[str, str], Thing]:
    """All that counts in a cluster, by kind and key."""
    return {(kind, key): thing for kind in KINDS for key, thing in getattr(cluster, kind).items()}


def with_uids_of_their_own(cluster: ClusterState) -> ClusterState:
    """No two policies have one uid, also not in two worlds."""
    policies = {
        name: msgspec.structs.replace(policy, uid=f"{policy.uid}-{policy.namespace}")
        for name, policy in cluster.policies.items()
    }
    return msgspec.structs.replace(cluster, policies=policies)


def outcome(policies: Policies, cluster: ClusterState) -> Outcome:
    """All groups with their rules, and the lists of all pods with a port."""
    lists = {pod.uid: policies.groups_of(pod) for pod in cluster.pods.values() if pod.wants_port}
    return {key: policies.group(key) for key in sorted(policies.keys())}, lists


def compiled(cluster: ClusterState) -> Outcome:
    """The outcome of a whole cluster at once."""
    policies = Policies(CONFIG)
    policies.replace(cluster)
    return outcome(policies, cluster)


@SOME
@given(st.randoms(use_true_random=False))
def test_changes_one_by_one_come_to_the_same_as_all_at_once(random: Random) -> None:
    """Some of them here, many among the contracts."""
    change_one_by_one(random)


def change_one_by_one(random: Random) -> None:
    """From one random world to another, in random order, with questions in between."""
    before, after = (with_uids_of_their_own(random_world(random)) for _ in range(2))
    policies = Policies(CONFIG)
    policies.replace(before)
    old, new = things(before), things(after)
    known = outcome(policies, before)
    touched: list[Touched] = []
    steps = [*((key, None) for key in old.keys() - new.keys()), *new.items()]
    random.shuffle(sorted_steps := sorted(steps, key=lambda step: step[0]))
    for key, thing in sorted_steps:
        touched.append(policies.drop(old[key]) if thing is None else policies.put(thing))
        if random.random() < 0.3:
            for group in sorted(policies.keys()):
                policies.group(group)
    found = outcome(policies, after)

    assert found == compiled(after)
    assert {key for key in known[0].keys() | found[0].keys() if known[0].get(key) != found[0].get(key)} <= set(
        chain.from_iterable(each.groups for each in touched)
    )
    changed = {uid for uid in known[1].keys() & found[1].keys() if known[1][uid] != found[1][uid]}
    node_or_home = {uid for uid in changed if after.pods[uid].node != before.pods[uid].node}
    assert changed - node_or_home <= set(chain.from_iterable(each.pods for each in touched))


@SOME
@given(st.randoms(use_true_random=False))
def test_the_order_of_things_makes_no_difference(random: Random) -> None:
    cluster = random_world(random)
    shuffled = {
        kind: dict(random.sample(sorted(getattr(cluster, kind).items()), len(getattr(cluster, kind)))) for kind in KINDS
    }

    assert compiled(msgspec.structs.replace(cluster, **shuffled)) == compiled(cluster)


@SOME
@given(st.randoms(use_true_random=False))
def test_what_does_not_change_touches_nothing(random: Random) -> None:
    cluster = random_world(random)
    policies = Policies(CONFIG)
    policies.replace(cluster)
    outcome(policies, cluster)

    pods = [pod for pod in cluster.pods.values() if pod.wants_port]
    again: list[Thing] = [*pods, *cluster.namespaces.values(), *cluster.nodes.values(), *cluster.policies.values()]
    for thing in again:
        assert policies.put(thing) == Touched(), thing


@SOME
@given(st.randoms(use_true_random=False))
def test_what_goes_leaves_nothing_behind(random: Random) -> None:
    cluster = random_world(random)
    policies = Policies(CONFIG)
    policies.replace(cluster)
    outcome(policies, cluster)

    everything = list(things(cluster).values())
    random.shuffle(everything)
    for thing in everything:
        for key in policies.drop(thing).groups:
            policies.group(key)

    assert list(policies.keys()) == ["security-group/peer/all"]
    assert held(policies, "policies") == ["policies._groups", "policies._former"]


def held(thing: object, path: str) -> list[str]:
    """The containers below an object of ours that hold something; what the configuration gave it does not count."""
    found = []
    for name, value in vars(thing).items():
        inside = f"{path}.{name}"
        if isinstance(value, dict | set):
            found += [inside] if value and name not in ("_pod_ranges", "_service_ranges", "_vips") else []
        elif type(value).__module__.startswith("kuryrctl.core.policy"):
            found += held(value, inside)
    return found


def test_a_pod_like_another_touches_itself_alone() -> None:
    cluster = random_world(Random(7))
    policies = Policies(CONFIG)
    policies.replace(cluster)
    pod = next(pod for pod in cluster.pods.values() if pod.wants_port)

    twin = msgspec.structs.replace(pod, name="twin", uid="twin", ips=())
    assert policies.put(twin) == Touched(frozenset({"twin"}))
    assert policies.groups_of(twin) == policies.groups_of(pod)
    assert policies.drop(twin) == Touched(frozenset({"twin"}))


def test_a_node_made_anew_has_another_group() -> None:
    policies = Policies(CONFIG)
    policies.put(Namespace("shop", "ns-shop"))
    pod = Pod("shop", "web", "web", node="n1")
    policies.put(pod)

    assert policies.put(Node("n1", "old", ("172.16.0.1",))) == Touched(
        frozenset({"web"}), frozenset({"security-group/node/old"})
    )
    assert policies.put(Node("n1", "new", ("172.16.0.1",))) == Touched(
        frozenset({"web"}), frozenset({"security-group/node/old", "security-group/node/new"})
    )
    assert "security-group/node/new" in policies.groups_of(pod)
    assert policies.group("security-group/node/old") is None


def test_nodes_made_anew_again_and_again_leave_nothing_behind() -> None:
    nodes = Nodes()
    for number in range(3):
        nodes.put(Node("n1", f"uid-{number}", ("172.16.0.1",)))
    assert nodes._names == {"security-group/node/uid-2": "n1"}
    nodes.drop(Node("n1", "uid-0"))
    assert nodes._names == {}


def test_a_nodes_group_is_open_to_that_node_alone_in_both_directions() -> None:
    policies = Policies(CONFIG)
    for name, address in (("n1", "172.16.0.1"), ("n2", "172.16.0.2")):
        policies.put(Node(name, name, (address,)))
    group = policies.group("security-group/node/n1")
    assert group is not None
    assert {(rule.direction, rule.remote_ip_prefix, rule.protocol) for rule in group.rules} == {
        ("ingress", "172.16.0.1/32", None),
        ("egress", "172.16.0.1/32", None),
    }
