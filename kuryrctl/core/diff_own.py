"""The difference for what the whole cluster shares: network, subnets, router, groups and their rules.

Nothing here is ever deleted but rules of our own groups, and an adopted object gets nothing but the network's guard.
Does not know: pods, nodes, their ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kuryrctl.core import names
from kuryrctl.core.cloud import Network, Router, SecurityGroup
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.index import Own
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.rules import content, content_of_spec, text
from kuryrctl.core.specs import (
    Key,
    NetworkSpec,
    RouterInterfaceSpec,
    RouterSpec,
    RuleSpec,
    SecurityGroupSpec,
    Spec,
    SubnetSpec,
    kind_of,
)

_INIT = "kuryrctl cluster init"


def steps(specs: Mapping[Key, Spec], own: Own) -> Iterator[Step]:
    """Creates, adoptions, updates; then the rules that our groups have too many."""
    rules = [spec for spec in specs.values() if isinstance(spec, RuleSpec)]
    for spec in specs.values():
        if not isinstance(spec, RuleSpec):
            yield from _own_step(spec, own)
    for group in specs.values():
        if isinstance(group, SecurityGroupSpec):
            yield from _rule_steps(group, [rule for rule in rules if rule.group == group.key], own)


def drift(specs: Mapping[Key, Spec], own: Own) -> Iterator[Finding]:
    """What a run that may not repair the shared objects tells of them."""
    for step in steps(specs, own):
        message = f"{step.reason}; repair it with: {_INIT}"
        yield Finding(FindingCode.DRIFT, step.kind, step.id, step.key, message)


def require(specs: Mapping[Key, Spec], own: Own) -> None:
    """Raises Invalid (CLUSTER-INIT) where a shared object that ports stand on does not exist."""
    missing = [key for key, spec in specs.items() if not isinstance(spec, RuleSpec) and key not in own.objects]
    if missing:
        raise Invalid(
            f"cluster {own.identity.cluster_id} is not set up in the cloud: {', '.join(missing)} not found",
            code="CLUSTER-INIT",
            owner=Owner.USER,
            hint=f"run: {_INIT}",
        )


def guard(cluster: ClusterState, own: Own, config: Config) -> str:
    """The kube-system uid on the pod network; empty where it has none yet.

    Raises Invalid (CLUSTER-GUARD) where it is another cluster's: a wrong kubeconfig looks like "all pods are gone".
    """
    network = own.network
    if not cluster.kube_system_uid:
        raise Invalid(
            "nothing done: the uid of the namespace kube-system is unknown, so this may be any cluster",
            code="CLUSTER-GUARD",
            owner=Owner.KUBERNETES,
            hint="check with: kubectl get namespace kube-system",
        )
    found = names.guard_of(network.tags, config.cluster_id) if network else ""
    if found and found != cluster.kube_system_uid:
        raise Invalid(
            f"nothing done: network {network.name if network else ''} belongs to the Kubernetes cluster whose"
            f" kube-system is {found}, but this kubeconfig leads to {cluster.kube_system_uid}",
            code="CLUSTER-GUARD",
            owner=Owner.USER,
            hint="use that cluster's kubeconfig, or another cluster_id for this one",
        )
    return found


def require_guard(cluster: ClusterState, own: Own, config: Config) -> None:
    """Raises Invalid (CLUSTER-GUARD) unless the pod network names this very cluster."""
    if not guard(cluster, own, config):
        raise Invalid(
            "nothing done: the pod network does not say which Kubernetes cluster it belongs to",
            code="CLUSTER-GUARD",
            owner=Owner.USER,
            hint=f"run: {_INIT}",
        )


def _own_step(spec: Spec, own: Own) -> Iterator[Step]:
    observed = own.objects.get(spec.key)
    if observed is None:
        reason = f"cluster {own.identity.cluster_id} has no {spec.key.replace('/', ' ')}"
        needs = tuple(key for key in _references(spec) if key not in own.objects)
        yield Step(action=Action.CREATE, kind=kind_of(spec), key=spec.key, reason=reason, spec=spec, needs=needs)
        return
    changes = tuple(_changes(spec, observed, own))
    if spec.key in own.untagged:
        reason = f"{spec.key} was made for this cluster, but lacks its tags"
        yield Step(
            action=Action.ADOPT,
            kind=kind_of(spec),
            key=spec.key,
            reason=reason,
            id=observed.id,
            spec=spec,
            changes=changes,
        )
    elif changes:
        told = ", ".join(f"{each.field} is {each.before or 'not set'}, should be {each.after}" for each in changes)
        yield Step(
            action=Action.UPDATE,
            kind=kind_of(spec),
            key=spec.key,
            reason=f"{spec.key}: {told}",
            id=observed.id,
            spec=spec,
            changes=changes,
        )


def _changes(spec: Spec, observed: object, own: Own) -> Iterator[FieldChange]:
    if (
        isinstance(spec, NetworkSpec)
        and isinstance(observed, Network)
        and spec.guard
        and spec.guard not in observed.tags
    ):
        yield FieldChange("guard", "", spec.guard)
    if isinstance(spec, SecurityGroupSpec) and isinstance(observed, SecurityGroup) and not observed.stateful:
        yield FieldChange("stateful", "False", "True")
    if isinstance(spec, RouterSpec) and isinstance(observed, Router):
        gateway = observed.external_gateway_info.network_id if observed.external_gateway_info else ""
        if spec.external_network and gateway != spec.external_network:
            yield FieldChange("external_network", gateway, spec.external_network)


def _rule_steps(group: SecurityGroupSpec, rules: Iterable[RuleSpec], own: Own) -> Iterator[Step]:
    observed = own.objects.get(group.key)
    there = observed.security_group_rules if isinstance(observed, SecurityGroup) else ()
    ids = own.ids
    wanted = {content_of_spec(rule, lambda key: ids.get(key, "")): rule for rule in rules}
    present = {content(rule) for rule in there}
    for said, rule in wanted.items():
        if said not in present:
            yield Step(
                action=Action.CREATE,
                kind=Kind.SECURITY_GROUP_RULE,
                key=rule.key,
                reason=f"group {group.name} lacks its rule {text(said)}",
                spec=rule,
                needs=() if observed else (group.key,),
            )
    for found in there:
        if content(found) not in wanted:
            yield Step(
                action=Action.DELETE,
                kind=Kind.SECURITY_GROUP_RULE,
                key=f"security-group-rule/{group.key.partition('/')[2]}/{found.id}",
                reason=f"group {group.name} has a rule that it should not have: {text(content(found))}",
                id=found.id,
            )


def _references(spec: Spec) -> tuple[Key, ...]:
    if isinstance(spec, SubnetSpec):
        return (spec.network,)
    if isinstance(spec, RouterInterfaceSpec):
        return (spec.router, spec.subnet)
    return ()
