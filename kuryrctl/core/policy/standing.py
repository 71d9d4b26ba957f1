"""Where each policy stands: its groups and rules, what the cloud holds of them, which pods it concerns, what is to do.

Does not know: verdicts about connections, how it is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.desired import pod_key
from kuryrctl.core.diff import World
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.policy.compiler import Group, Policies
from kuryrctl.core.policy.model import Direction, NetworkPolicy
from kuryrctl.core.rules import content, content_of_spec
from kuryrctl.core.specs import Key, RuleSpec

POLICY_ROLES = ("policy-ingress", "policy-egress")
IN_SYNC = "in sync"


class GroupStanding(Struct, frozen=True):
    """A group of a policy, or one of its peers: `id` is the cloud's, empty where it does not exist yet.

    `rules` should be there and `rules_there` of them are; `pods` should carry it and `pods_there` of them do.
    """

    key: Key
    id: str
    name: str
    rules: tuple[RuleSpec, ...]
    rules_there: int
    pods: int
    pods_there: int


class PolicyStanding(Struct, frozen=True):
    """See the module. `selected` are full names of pods, `pending` the steps that concern the policy."""

    policy: NetworkPolicy
    isolates: tuple[Direction, ...]
    selected: tuple[str, ...]
    groups: tuple[GroupStanding, ...]
    peers: tuple[GroupStanding, ...]
    pending: tuple[Step, ...]

    @property
    def state(self) -> str:
        """In sync, or what is pending, counted: ``2 rules to create, 1 port to update``."""
        counts: dict[str, int] = {}
        for step in self.pending:
            noun = str(step.kind).removeprefix("security-").replace("-", " ")
            noun = "rule" if step.kind is Kind.SECURITY_GROUP_RULE else noun
            counts[f"{noun} to {step.action}"] = counts.get(f"{noun} to {step.action}", 0) + 1
        return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or IN_SYNC


def standings(world: World, plan: Iterable[Step]) -> tuple[PolicyStanding, ...]:
    """All policies, by name. `plan` is what a run would do now."""
    steps = tuple(plan)
    own = groups_by_policy(world.policed.policies.keys(), world.cluster)
    policies = sorted(world.cluster.policies.values(), key=lambda policy: policy.full_name)
    return tuple(_standing(policy, own.get(policy.full_name, ()), world, steps) for policy in policies)


def groups_by_policy(keys: Iterable[Key], cluster: ClusterState) -> Mapping[str, tuple[Key, ...]]:
    """The keys of each policy's own groups (not those of its peers), by ``namespace/name``; sorted."""
    names = {policy.uid: policy.full_name for policy in cluster.policies.values()}
    found: dict[str, list[Key]] = {name: [] for name in names.values()}
    for key in keys:
        _, role, id_ = key.split("/")
        name = names.get(id_) or names.get(id_.rpartition("-")[0])
        if role in POLICY_ROLES and name is not None:
            found[name].append(key)
    return {name: tuple(sorted(mine)) for name, mine in found.items()}


def rule_counts(policies: Policies, cluster: ClusterState) -> Mapping[str, int]:
    """How many security group rules each policy needs, by ``namespace/name``."""
    return {
        name: sum(len(group.rules) for group in map(policies.group, keys) if group)
        for name, keys in groups_by_policy(policies.keys(), cluster).items()
    }


def _standing(policy: NetworkPolicy, own: tuple[Key, ...], world: World, steps: tuple[Step, ...]) -> PolicyStanding:
    groups = [group for key in own if (group := world.policed.policies.group(key))]
    peers = sorted({rule.remote_group for group in groups for rule in group.rules if rule.remote_group})
    concerned = {*own, *peers}
    should = {pod_key(uid) for key in concerned for uid in world.policed.lists.carriers(key)}
    do = {port for key in concerned for port in world.ports.carriers(world.policed.groups.id_of(key))}
    selected = [
        pod
        for pod in world.cluster.pods.values()
        if pod.namespace == policy.namespace and pod.wants_port and policy.pod_selector.matches(pod.labels)
    ]
    return PolicyStanding(
        policy=policy,
        isolates=tuple(sorted(policy.directions)),
        selected=tuple(sorted(pod.full_name for pod in selected)),
        groups=tuple(_group(group.spec.key, group, world) for group in groups),
        peers=tuple(_group(key, world.policed.policies.group(key), world) for key in peers),
        pending=tuple(_concerning(steps, concerned, should | do)),
    )


def _group(key: Key, group: Group | None, world: World) -> GroupStanding:
    groups, rules = world.policed.groups, group.rules if group else ()
    found = next(iter(groups.of(key)), None)
    wanted = {content_of_spec(rule, groups.id_of) for rule in rules}
    carriers = set(map(pod_key, world.policed.lists.carriers(key)))
    there = world.ports.carriers(found.id) if found else frozenset()
    return GroupStanding(
        key=key,
        id=found.id if found else "",
        name=group.spec.name if group else "",
        rules=rules,
        rules_there=len(wanted & set(map(content, found.security_group_rules))) if found else 0,
        pods=len(carriers),
        pods_there=len(carriers & there),
    )


def _concerning(steps: Iterable[Step], groups: set[Key], ports: set[Key]) -> Iterator[Step]:
    """The steps on these groups, their rules, and these ports."""
    for step in steps:
        role_and_id = step.key.split("/")[1:3]
        if step.kind in (Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE):
            if f"security-group/{'/'.join(role_and_id)}" in groups:
                yield step
        elif step.kind is Kind.PORT and step.key in ports:
            yield step
