"""Where each policy stands: its groups and rules as they should be, what the cloud holds of them, and who is affected.

Does not know: verdicts about connections, how it is printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.specs import Key

POLICY_ROLES = ("policy-ingress", "policy-egress")


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
