"""NetworkPolicies as security groups: which groups should exist with which rules, and which of them each pod carries.

An index that changes come into one by one, so that a turn looks only at what a change concerns. Owned by one thread; no
I/O, no clock; the order in which things come makes no difference. Does not know: the three groups that the whole
cluster shares (`desired`), which groups exist already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.cluster import ClusterState, KuryrNode, Namespace, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.ownership import own_name
from kuryrctl.core.policy.guards import Guards, Limit
from kuryrctl.core.policy.index import OPEN_INGRESS, Changes, Index
from kuryrctl.core.policy.lines import ETHERTYPES, Lines
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.policy.nodes import Nodes
from kuryrctl.core.policy.peers import namespace_key
from kuryrctl.core.policy.ranges import WHOLE, covers, network, union
from kuryrctl.core.policy.reach import Reach
from kuryrctl.core.policy.rulebook import Rulebook, pod_ranges
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.sharing import one
from kuryrctl.core.specs import Key, RuleSpec, SecurityGroupSpec

Thing: TypeAlias = Pod | Namespace | Node | KuryrNode | NetworkPolicy | Service | EndpointSlice
"""Whatever groups, rules or group lists depend on."""


class Group(Struct, frozen=True, gc=False):
    """A group that should exist, with all its rules, sorted by key."""

    spec: SecurityGroupSpec
    rules: tuple[RuleSpec, ...]


class Touched(Struct, frozen=True):
    """What one change concerns: pods (uids) whose group list may differ now, groups that came, went or may differ."""

    pods: frozenset[str] = frozenset()
    groups: frozenset[Key] = frozenset()


class Policies:
    """The groups of NetworkPolicies. Only what was put in counts; `put` and `drop` say what it concerns."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._clear()

    def replace(self, cluster: ClusterState) -> None:
        """Forget everything, and take in a whole cluster."""
        self._clear()
        changes = Changes()
        things: Iterator[Thing] = chain(
            cluster.namespaces.values(),
            cluster.nodes.values(),
            cluster.kuryr_nodes.values(),
            cluster.policies.values(),
            cluster.services.values(),
            cluster.endpoint_slices.values(),
            cluster.pods.values(),
        )
        for thing in things:
            self._put(thing, changes)
        self._settle(changes)

    def put(self, thing: Thing) -> Touched:
        """Something came or changed."""
        changes = Changes()
        self._put(thing, changes)
        return self._touched(changes)

    def drop(self, thing: Thing) -> Touched:
        """Something went."""
        changes = Changes()
        match thing:
            case Pod():
                self._index.drop_pod(thing.uid, changes)
            case Namespace():
                self._index.drop_namespace(thing, changes)
            case NetworkPolicy():
                self._index.drop_policy(thing, changes)
            case Service() | EndpointSlice():
                self._reach.drop(thing, changes)
                if isinstance(thing, Service):
                    self._guards.drop(thing)
            case Node() | KuryrNode():
                changes.groups |= self._nodes.drop(thing)
                self._touch_pods_on(thing, changes)
        return self._touched(changes)

    def groups_of(self, pod: Pod) -> tuple[Key, ...]:
        """The whole list of groups that the pod's port should carry, sorted."""
        personal = filter(None, (self._nodes.key(pod.node), self._reach.own_keys.get(pod.uid)))
        guard = self._guards.key(pod.uid)
        alike = (guard if guard and key == OPEN_INGRESS else key for key in self._index.groups(pod))
        found: tuple[Key, ...] = one(tuple(sorted((*alike, *personal))))
        return found

    def group(self, key: Key) -> Group | None:
        """A group with its rules; None: there should be none."""
        known = self._groups.get(key)
        if known is None:
            former, said = self._former.pop(key, None), self._rulebook.lines(key)
            if said is None:
                return None
            known = self._groups[key] = self._group(key, said, former)
        return known

    def keys(self) -> Iterator[Key]:
        """The keys of all groups that should exist."""
        index = self._index
        yield from index.peers.keys()
        yield from map(namespace_key, index.peers.namespaces())
        yield from self._nodes.keys()
        yield from index.owner
        yield from index.carriers.classes.keys() - index.owner.keys()
        yield from self._reach.own
        yield from self._guards.keys()

    def unguarded(self, service: Service) -> str:
        """Why the source ranges of a Service are not enforced at its members' ports; empty: they are."""
        for uid, limit in self._guards.limits_of(service.full_name):
            if not uid:
                return "an endpoint is no pod of this cluster"
            pod = self._index.pods[uid]
            if not self._guards.is_limited(uid, limit):
                return f"another Service lets others in to the same port of pod {pod.full_name}"
            groups = self._index.groups(pod)
            if OPEN_INGRESS not in groups and any(self._lets_in_more(key, limit) for key in groups):
                return f"a policy lets others in to that port of pod {pod.full_name}"
        return ""

    def limited_by(self, service: Service) -> set[str]:
        """The pods (uids) at whose ports the source ranges of a Service are enforced."""
        return {uid for uid, _ in self._guards.limits_of(service.full_name) if uid}

    def guarded_at(self, pods: Iterable[str]) -> set[str]:
        """The Services (uids) with source ranges that send to one of these pods."""
        return self._guards.services_at(pods)

    def _lets_in_more(self, key: Key, limit: Limit) -> bool:
        """Whether an ingress group opens a limited port to others than the cluster's pods and the ranges."""
        version, span, _ = limit
        group = self.group(key) if key.startswith("security-group/policy-ingress/") else None
        within = union((*self._guards.within(limit), *pod_ranges(self._config).get(version, ())))
        for rule in group.rules if group else ():
            low, high = rule.port_range_min, rule.port_range_max
            concerned = rule.protocol in (None, span.protocol) and (low is None or low <= span.low <= (high or low))
            if concerned and rule.ethertype == ETHERTYPES[version] and not rule.remote_group:
                block = network(rule.remote_ip_prefix)[1] if rule.remote_ip_prefix else WHOLE[version][0]
                if not covers(within, *block):
                    return True
        return False

    def _clear(self) -> None:
        self._index = Index(pod_ranges(self._config))
        self._reach = Reach(self._index)
        self._nodes = Nodes()
        self._guards = Guards(self._config, self._index, self._reach)
        self._groups: dict[Key, Group] = {}
        self._former: dict[Key, tuple[Lines, Group]] = {}
        self._rulebook = Rulebook(self._config, self._index, self._reach, self._nodes, self._guards)

    def _put(self, thing: Thing, changes: Changes) -> None:
        match thing:
            case Pod():
                self._index.put_pod(thing, changes)
            case Namespace():
                self._index.put_namespace(thing, changes)
            case NetworkPolicy():
                self._index.put_policy(thing, changes)
            case Service() | EndpointSlice():
                self._reach.put(thing, changes)
                if isinstance(thing, Service):
                    self._guards.put(thing)
            case Node() | KuryrNode():
                changes.groups |= self._nodes.put(thing)
                self._touch_pods_on(thing, changes)

    def _touch_pods_on(self, thing: Node | KuryrNode, changes: Changes) -> None:
        if isinstance(thing, Node) and changes.groups:
            changes.pods.update(uid for uid, pod in self._index.pods.items() if pod.node == thing.name)

    def _settle(self, changes: Changes) -> None:
        self._reach.settle(changes)
        for uid in changes.endpoints:
            self._guards.turn(uid, changes)

    def _touched(self, changes: Changes) -> Touched:
        self._settle(changes)
        self._rulebook.forget(changes)
        for key in changes.groups:
            self._groups.pop(key, None)
        return Touched(frozenset(changes.pods), frozenset(changes.groups))

    def _group(self, key: Key, said: Lines, former: tuple[Lines, Group] | None) -> Group:
        """A group of these lines: of what there was of it before, all that stays is the same object."""
        if former is None:
            group = Group(self._spec(key), said.rules(key))
        else:
            lines, before = former
            group = Group(before.spec, said.rules_after(lines, before.rules, key))
        self._former[key] = (said, group)
        return group

    def _spec(self, key: Key) -> SecurityGroupSpec:
        _, role, id_ = key.split("/")
        tags = names.tags(self._config.cluster_id, role, id_)
        name = own_name(self._config.cluster_id, f"{role}-{id_}")
        return SecurityGroupSpec(key=key, name=name, description=names.description(tags), tags=tags)
