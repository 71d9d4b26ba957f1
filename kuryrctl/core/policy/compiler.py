"""NetworkPolicies as security groups: which groups should exist with which rules, and which of them each pod carries.

An index that changes come into one by one, so that a turn looks only at what a change concerns. Owned by one thread; no
I/O, no clock; the order in which things come makes no difference. Does not know: the three groups that the whole
cluster shares (`desired`), which groups exist already.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.cluster import ClusterState, KuryrNode, Namespace, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.ownership import own_name
from kuryrctl.core.policy.allowance import Allowance, Allowed, Span, Spans, put_together, rules, without
from kuryrctl.core.policy.clients import at, own_key
from kuryrctl.core.policy.entries import Entry, Parsed, span_of
from kuryrctl.core.policy.index import Changes, Index
from kuryrctl.core.policy.model import Direction, NetworkPolicy
from kuryrctl.core.policy.nodes import Nodes
from kuryrctl.core.policy.peers import Term, membership_key, namespace_key
from kuryrctl.core.policy.ranges import Range, Ranges, covers, network, union
from kuryrctl.core.policy.reach import Reach
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.sharing import one
from kuryrctl.core.specs import Key, RuleSpec, SecurityGroupSpec

Thing: TypeAlias = Pod | Namespace | Node | KuryrNode | NetworkPolicy | Service | EndpointSlice
"""Whatever groups, rules or group lists depend on."""


class Group(Struct, frozen=True):
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
        cidrs = [network(cidr) for cidr in config.pod_network.cidrs]
        given = {version for version, _ in cidrs}
        self._versions = tuple(sorted({4, 6} if config.pod_network.name else given))
        self._pod_ranges: dict[int, Ranges] = {} if config.pod_network.name else {v: (each,) for v, each in cidrs}
        ranges = [network(cidr) for cidr in config.service_cidrs]
        self._service_ranges: dict[int, Ranges] = {
            version: union(each for other, each in ranges if other == version) for version in self._versions
        }
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
        self._reach.settle(changes)

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
            case Node() | KuryrNode():
                changes.groups |= self._nodes.drop(thing)
                self._touch_pods_on(thing, changes)
        return self._touched(changes)

    def groups_of(self, pod: Pod) -> tuple[Key, ...]:
        """The whole list of groups that the pod's port should carry, sorted."""
        keys = list(self._index.groups(pod))
        node = self._nodes.key(pod.node)
        if node is not None:
            keys.append(node)
        if own_key(pod.uid) in self._reach.own:
            keys.append(own_key(pod.uid))
        found: tuple[Key, ...] = one(tuple(sorted(keys)))
        return found

    def group(self, key: Key) -> Group | None:
        """A group with its rules; None: there should be none."""
        if key not in self._groups:
            found = self._rules(key)
            self._groups[key] = None if found is None else Group(self._spec(key), found)
        return self._groups[key]

    def keys(self) -> Iterator[Key]:
        """The keys of all groups that should exist."""
        index = self._index
        yield from index.peers.keys()
        yield from map(namespace_key, index.peers.namespaces())
        yield from self._nodes.keys()
        yield from index.owner
        yield from (key for key, classes in index.selected.items() if classes and key not in index.owner)
        yield from index.clients
        yield from self._reach.own

    def _clear(self) -> None:
        self._index = Index(self._pod_ranges)
        self._reach = Reach(self._index)
        self._nodes = Nodes()
        self._groups: dict[Key, Group | None] = {}
        self._egress: dict[str, Allowed] = {}

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
            case Node() | KuryrNode():
                changes.groups |= self._nodes.put(thing)
                self._touch_pods_on(thing, changes)

    def _touch_pods_on(self, thing: Node | KuryrNode, changes: Changes) -> None:
        if isinstance(thing, Node) and changes.groups:
            changes.pods.update(uid for uid, pod in self._index.pods.items() if pod.node == thing.name)

    def _touched(self, changes: Changes) -> Touched:
        self._reach.settle(changes)
        for key in changes.groups:
            self._groups.pop(key, None)
            self._egress.pop(key, None)
        return Touched(frozenset(changes.pods), frozenset(changes.groups))

    def _spec(self, key: Key) -> SecurityGroupSpec:
        _, role, id_ = key.split("/")
        tags = names.tags(self._config.cluster_id, role, id_)
        name = own_name(self._config.cluster_id, f"{role}-{id_}")
        return SecurityGroupSpec(key=key, name=name, description=names.description(tags), tags=tags)

    # Rules -----------------------------------------------------------------------------------------------------------

    def _rules(self, key: Key) -> tuple[RuleSpec, ...] | None:
        """The rules of a group; None: there is no such group."""
        role = key.split("/")[1]
        if role in ("peer", "namespace"):
            return () if self._index.peers.has(key) else None
        if role == "node":
            return self._nodes.rules(key, self._versions)
        if role == "vip":
            return self._vip_rules(key)
        if role == "policy-ingress":
            return self._ingress_rules(key)
        if key not in self._index.owner:
            return None
        return rules(self._egress_of(self._index.owner[key]), key, Direction.EGRESS, self._versions)

    def _ingress_rules(self, key: Key) -> tuple[RuleSpec, ...] | None:
        found = self._index.ingress_of(key)
        if found is None:
            return None
        policy, ports = found
        allowances = [self._allowance(entry, entry.resolved(ports)) for entry in policy.ingress]
        allowances += [at(vip, target) for vip, target in self._reach.hairpins(key)]
        return rules(put_together(allowances), key, Direction.INGRESS, self._versions)

    def _egress_of(self, name: str) -> Allowed:
        """What a policy's egress rules allow. Service addresses only where that is right whatever they stand for."""
        policy = self._index.policies[name]
        if policy.egress_key not in self._egress:
            allowed = put_together(self._egress_allowances(policy))
            for version, ranges in self._service_ranges.items():
                leaks = tuple(span for span in allowed.anybody.get(version, ()) if self._leaks(allowed, version, span))
                allowed = without(allowed, version, ranges, leaks)
            self._egress[policy.egress_key] = allowed
        return self._egress[policy.egress_key]

    def _leaks(self, allowed: Allowed, version: int, span: Span) -> bool:
        """Whether some VIP turns an allowed port into one that is not: only its first packet would be let through."""
        return any(
            each == version and span.covers(port) and not allowed.to_anybody(version, target)
            for each, port, target in self._reach.translations()
        )

    def _egress_allowances(self, policy: Parsed) -> Iterator[Allowance]:
        for entry in policy.egress:
            yield self._allowance(entry, entry.spans)
            yield from self._named(entry.named, self._versions)
            for version, terms in entry.named_in.items():
                yield from self._named(terms, (version,))
            for port in entry.names if entry.addresses.keys() - entry.named_in.keys() else ():
                for number, where in self._index.named_at(port):
                    if where[0] not in entry.named_in and covers(entry.addresses.get(where[0], ()), where[1], where[1]):
                        yield at(where, span_of((*port, number)))

    def _named(self, terms: tuple[Term, ...], versions: tuple[int, ...]) -> Iterator[Allowance]:
        for term in terms:
            if term.port is not None:
                for number in self._index.peers.numbers(term):
                    key = membership_key((term.id, number))
                    yield Allowance((span_of((*term.port, number)),), groups=frozenset(product(versions, (key,))))

    def _allowance(self, entry: Entry, spans: Spans) -> Allowance:
        if not spans:
            return Allowance(())
        return Allowance(
            spans=spans,
            anybody=frozenset(self._versions if entry.anybody else ()),
            addresses=entry.addresses,
            groups=frozenset(product(self._versions, chain.from_iterable(map(self._index.peers.groups, entry.terms)))),
        )

    def _vip_rules(self, key: Key) -> tuple[RuleSpec, ...] | None:
        client = self._index.clients.get(key)
        if client is not None:
            policies = [self._egress_of(name) for name in client.policies]
            gates: dict[tuple[int, Span], list[Range]] = {}
            for (version, number), span in self._reach.gates(client):
                gates.setdefault((version, span), []).append((number, number))
            allowances = [
                Allowance((span,), addresses={version: union(vips)})
                for (version, span), vips in gates.items()
                if not any(policy.to_anybody(version, span) for policy in policies)
            ]
            return rules(put_together(allowances), key, Direction.EGRESS, self._versions)
        own = self._reach.own.get(key)
        if own is None:
            return None
        allowances = [each for where, gate, span in own for each in (at(*gate), at(where, span))]
        return rules(put_together(allowances), key, Direction.EGRESS, self._versions)
