"""Golden cases: a cluster as manifests, and the groups, the rules and every pod's list that the compiler makes of it.

A file of tests/cases/policy holds the outcome as its first document (kind Outcome) and manifests as the others. Groups
are named as people would: by what they are for. `KURYRCTL_GOLDEN=write` writes the outcomes anew, to be reviewed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.policy.clients import own_key
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.entries import parse as parse_policy
from kuryrctl.core.specs import Key, RuleSpec
from kuryrctl.kube.documents import parse
from tests.repository import ROOT

CASES = sorted((ROOT / "tests/cases/policy").glob("*.yaml"))
ALWAYS = ("peer every pod", "namespace ", "node ")
_HEAD = "kind: Outcome\n"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_cluster_gives_these_groups_rules_and_lists(path: Path) -> None:
    expected, manifests = _split(path)
    found = outcome(parse(manifests, path.name))

    if os.environ.get("KURYRCTL_GOLDEN") == "write":
        _write(path, found, manifests)
        return
    assert found == {key: expected[key] for key in ("groups", "pods")}, f"not what {path.name} says"


def test_there_are_cases() -> None:
    assert len(CASES) >= 20


def outcome(cluster: ClusterState) -> dict[str, Any]:
    """Groups with their rules (those that have any), and pods with their groups, as readable words.

    Left out is what is the same in every case: the groups of nodes, and that each pod carries its node's and
    namespace's group and that of all pods.
    """
    policies = Policies(Config())
    policies.replace(cluster)
    names = _Names(cluster, policies)
    groups = {names.of(key): names.rules(key) for key in sorted(policies.keys())}
    pods = {
        pod.full_name: sorted(names.of(key) for key in policies.groups_of(pod))
        for pod in cluster.pods.values()
        if pod.wants_port
    }
    return {
        "groups": {name: rules for name, rules in sorted(groups.items()) if not name.startswith(ALWAYS)},
        "pods": {name: [each for each in found if not each.startswith(ALWAYS)] for name, found in sorted(pods.items())},
    }


class _Names:
    """Readable names of groups: uids and hashes say nothing to people."""

    def __init__(self, cluster: ClusterState, policies: Policies) -> None:
        self._policies = policies
        self._uids = {policy.uid: policy.full_name for policy in cluster.policies.values()}
        self._uids |= {each.uid: name for name, each in cluster.namespaces.items()}
        self._uids |= {each.uid: name for name, each in cluster.nodes.items()}
        self._terms: dict[str, str] = {"all": "every pod"}
        for policy in cluster.policies.values():
            for term in parse_policy(policy, {}).terms():
                home = term.scope if isinstance(term.scope, str) else f"{{{_selector(term.scope)}}}"
                port = f" {term.port[0]}" if term.port else ""
                self._terms[term.id] = f"{home} {_selector(term.pods) or 'all'}{port}"
        self._own = {own_key(uid) for uid in cluster.pods}
        self._clients = {
            key: sorted(pod.full_name for pod in cluster.pods.values() if key in policies.groups_of(pod))
            for key in sorted(policies.keys())
        }

    def of(self, key: Key) -> str:
        """What a group is for."""
        _, role, *id_ = key.split("/")
        if not id_:
            return role
        if role == "peer":
            term, _, number = id_[0].partition("-")
            return f"peer {self._terms.get(term, term)}{f'={number}' if number else ''}"
        if role == "guard":
            return f"guard of {', '.join(self._clients[key])}"
        if role == "vip":
            itself = " alone" if key in self._own else ""
            return f"vip of {', '.join(self._clients[key])}{itself}"
        uid = next(uid for uid in self._uids if id_[0].startswith(uid))
        split = f" of {', '.join(self._clients[key])}" if id_[0] != uid else ""
        return f"{role} {self._uids[uid]}{split}"

    def rules(self, key: Key) -> list[str]:
        """A group's rules, as words."""
        group = self._policies.group(key)
        assert group is not None
        return sorted(map(self._rule, group.rules))

    def _rule(self, rule: RuleSpec) -> str:
        what = rule.protocol or "all"
        if rule.port_range_min is not None:
            ends = (rule.port_range_min, rule.port_range_max)
            what += f" {ends[0]}" if ends[0] == ends[1] else f" {ends[0]}-{ends[1]}"
        remote = rule.remote_ip_prefix or (self.of(rule.remote_group) if rule.remote_group else "anybody")
        return f"{rule.direction} {rule.ethertype} {what}: {remote}"


def _selector(selector: Any) -> str:
    return ",".join(f"{one.key} {one.operator} {'|'.join(one.values)}".strip() for one in selector.requirements)


def _split(path: Path) -> tuple[dict[str, Any], str]:
    head, _, manifests = path.read_text().partition("\n---\n")
    expected = yaml.safe_load(head)
    assert expected["kind"] == "Outcome"
    return expected, manifests


def _write(path: Path, found: dict[str, Any], manifests: str) -> None:
    title = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    body = yaml.safe_dump(found, sort_keys=False, width=200, default_flow_style=False)
    path.write_text(f"{title}{_HEAD}{body}---\n{manifests}")
