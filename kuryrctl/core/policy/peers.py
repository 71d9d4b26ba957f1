"""Which pods a policy's peers name, and which membership groups a pod carries because of it.

A *term* is the pods that a peer names: a scope (one namespace, or those that a selector matches), a selector of pods,
and, where a named port of theirs is asked for, its name and protocol. Whole namespaces need no group of a term: every
pod carries its namespace's group and `EVERY_POD` from creation.
Pods that are alike (same namespace, labels and named ports) are one `PodClass`: whatever a selector says of one, it
says of all. Does not know: policies but by name, rules, the cloud.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from itertools import chain
from typing import Any, TypeAlias

from msgspec import Struct

from kuryrctl.core.cluster import Namespace, Pod
from kuryrctl.core.policy.model import Peer
from kuryrctl.core.policy.sets import Sets
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.core.specs import Key

PortName: TypeAlias = tuple[str, str]
"""A named port's name and protocol."""
NamedPort: TypeAlias = tuple[str, str, int]
"""A named port's name, protocol and number."""
Membership: TypeAlias = tuple[str, int]
"""The id of a term, and the number that its named port has (0: the term asks for none)."""

EVERY_POD: Key = "security-group/peer/all"
"""The group that every pod carries from creation: a peer that is all pods of the cluster costs nothing."""
_EVERYTHING = Selector()


class Term(Struct, frozen=True, gc=False):
    """The pods that a peer names; `id` is the same for the same meaning."""

    id: str
    scope: str | Selector
    pods: Selector
    port: PortName | None = None

    @property
    def whole_namespaces(self) -> bool:
        """Whether groups that pods carry anyway say the same."""
        return self.port is None and not self.pods.requirements


class PodClass:
    """Pods that are alike to every policy. `pods` are their uids; the rest is what follows for each of them.

    `ingress` and `egress` are the policies that isolate them (full names), `ingress_groups` the groups of the former,
    `client` the group by which they reach Services.
    """

    __slots__ = (
        "client",
        "egress",
        "groups",
        "ingress",
        "ingress_groups",
        "labels",
        "memberships",
        "namespace",
        "pods",
        "ports",
    )

    def __init__(self, namespace: str, labels: Mapping[str, str], ports: frozenset[NamedPort]) -> None:
        self.namespace = namespace
        self.labels = labels
        self.ports = ports
        self.pods: set[str] = set()
        self.memberships: frozenset[Membership] = frozenset()
        self.ingress: tuple[str, ...] = ()
        self.egress: tuple[str, ...] = ()
        self.ingress_groups: tuple[Key, ...] = ()
        self.client: Key | None = None
        self.groups: tuple[Key, ...] = ()


def term(peer: Peer, namespace: str, port: PortName | None = None) -> Term:
    """The term of a peer that is pods, of a policy in `namespace`."""
    scope = namespace if peer.namespace_selector is None else canonical(peer.namespace_selector)
    return _term(scope, canonical(peer.pod_selector or _EVERYTHING), port)


def every_pod(port: PortName) -> Term:
    """All pods of the cluster that have this named port."""
    return _term(_EVERYTHING, _EVERYTHING, port)


def canonical(selector: Selector) -> Selector:
    """The same selector for every way to write it: sorted, nothing twice."""
    made = {Requirement(one.key, one.operator, tuple(sorted(set(one.values)))) for one in selector.requirements}
    return Selector(tuple(sorted(made, key=lambda one: (one.key, one.operator, one.values))))


def membership_key(membership: Membership) -> Key:
    """The key of the group that marks the members."""
    id_, number = membership
    return f"security-group/peer/{id_}-{number}" if number else f"security-group/peer/{id_}"


def _term(scope: str | Selector, pods: Selector, port: PortName | None) -> Term:
    where = f"namespace {scope}" if isinstance(scope, str) else f"namespaces {_text(scope)}"
    what = f"{where}|pods {_text(pods)}|port {'/'.join(port) if port else ''}"
    return Term(hashlib.sha256(what.encode()).hexdigest()[:16], scope, pods, port)


def _text(selector: Selector) -> str:
    return ";".join(f"{one.key} {one.operator} {','.join(one.values)}" for one in selector.requirements)


class Peers:
    """The terms in use, the namespaces that their scopes match, and who carries their groups."""

    def __init__(self) -> None:
        self._terms: dict[str, Term] = {}
        self._users: Sets[str, str] = Sets()
        self._namespaces: dict[str, Namespace] = {}
        self._namespace_keys: set[Key] = set()
        self._scopes: dict[Selector, set[str]] = {}
        self._carriers: dict[str, Counter[int]] = defaultdict(Counter)
        self._whole: Sets[str | Selector, str] = Sets()
        self._local: Sets[str, str] = Sets()
        self._labelled: Sets[tuple[str, str] | None, str] = Sets()
        self._named: Sets[PortName, str] = Sets()

    # Namespaces ------------------------------------------------------------------------------------------------------

    def put_namespace(self, namespace: Namespace) -> set[str]:
        """Take a namespace in; the policies one of whose scopes names other namespaces, or groups, now."""
        before = self._namespaces.get(namespace.name)
        if before is not None:
            self._namespace_keys.discard(namespace_key(before))
        self._namespaces[namespace.name] = namespace
        self._namespace_keys.add(namespace_key(namespace))
        return self._rescope(namespace.name, namespace, before is None or before.uid != namespace.uid)

    def drop_namespace(self, name: str) -> set[str]:
        """Forget a namespace; the policies that this concerns."""
        before = self._namespaces.pop(name, None)
        if before is None:
            return set()
        self._namespace_keys.discard(namespace_key(before))
        return self._rescope(name, None, True)

    def namespace(self, name: str) -> Namespace | None:
        """The namespace, if it was seen."""
        return self._namespaces.get(name)

    def namespaces(self) -> Iterator[Namespace]:
        """All namespaces that were seen."""
        return iter(self._namespaces.values())

    def in_scope(self, scope: str | Selector, namespace: str) -> bool:
        """Whether pods of this namespace are within a term's scope (a selector's: of a term in use)."""
        return scope == namespace if isinstance(scope, str) else namespace in self._scopes[scope]

    def _rescope(self, name: str, namespace: Namespace | None, other_group: bool) -> set[str]:
        changed: set[str | Selector] = {name} if other_group else set()
        for scope, names in self._scopes.items():
            matches = namespace is not None and scope.matches(namespace.labels)
            if matches != (name in names) or (matches and other_group):
                changed.add(scope)
            (names.add if matches else names.discard)(name)
        return {user for id_, each in self._terms.items() if each.scope in changed for user in self._users.of(id_)}

    # Terms -----------------------------------------------------------------------------------------------------------

    def use(self, each: Term, policy: str) -> bool:
        """Note that a policy names a term; whether it is the first."""
        if not self._users.put(each.id, policy):
            return False
        self._terms[each.id] = each
        if isinstance(each.scope, Selector) and each.scope not in self._scopes:
            self._scopes[each.scope] = {
                name for name, namespace in self._namespaces.items() if each.scope.matches(namespace.labels)
            }
        for shelf, place in self._shelves(each):
            shelf.put(place, each.id)
        return True

    def release(self, each: Term, policy: str) -> bool:
        """Note that a policy names a term no more; whether it was the last."""
        if not self._users.take(each.id, policy):
            return False
        del self._terms[each.id]
        for shelf, place in self._shelves(each):
            shelf.take(place, each.id)
        if isinstance(each.scope, Selector) and all(other.scope != each.scope for other in self._terms.values()):
            del self._scopes[each.scope]
        return True

    def users(self, id_: str) -> Set[str]:
        """The policies that name a term."""
        return self._users.of(id_)

    def terms_of(self, pods: PodClass) -> set[str]:
        """The terms (ids) in use that these pods are within."""
        ids = {id_ for id_, _ in pods.memberships}
        for scope, whole in self._whole.items():
            if self.in_scope(scope, pods.namespace):
                ids |= whole
        return ids

    def _shelves(self, each: Term) -> list[tuple[Sets[Any, str], object]]:
        """Where a class looks for a term that may match it: as few places as possible hold it."""
        if each.whole_namespaces:
            return [(self._whole, each.scope)]
        if each.port:
            return [(self._named, each.port)]
        if isinstance(each.scope, str):
            return [(self._local, each.scope)]
        for one in each.pods.requirements:
            if one.operator is Operator.IN:
                return [(self._labelled, (one.key, value)) for value in one.values]
        return [(self._labelled, None)]

    # Pods ------------------------------------------------------------------------------------------------------------

    def matches(self, each: Term, pods: PodClass) -> bool:
        """Whether the pods are within a term in use, its port aside."""
        return self.in_scope(each.scope, pods.namespace) and each.pods.matches(pods.labels)

    def memberships(self, pods: PodClass) -> frozenset[Membership]:
        """The terms in use whose groups these pods carry."""
        found: set[Membership] = set()
        ids = [self._local.of(pods.namespace), *map(self._labelled.of, (None, *pods.labels.items()))]
        for each in map(self._terms.__getitem__, chain.from_iterable(ids)):
            if self.matches(each, pods):
                found.add((each.id, 0))
        for name, protocol, number in pods.ports:
            for id_ in self._named.of((name, protocol)):
                if self.matches(self._terms[id_], pods):
                    found.add((id_, number))
        return frozenset(found)

    def carry(self, pods: PodClass, memberships: frozenset[Membership]) -> set[Membership]:
        """Note what a class carries from now on; the memberships that got their first carrier or lost their last."""
        turned: set[Membership] = set()
        for id_, number in pods.memberships - memberships:
            carriers = self._carriers[id_]
            carriers[number] -= 1
            if not carriers[number]:
                del carriers[number]
                turned.add((id_, number))
            if not carriers:
                del self._carriers[id_]
        for id_, number in memberships - pods.memberships:
            self._carriers[id_][number] += 1
            if self._carriers[id_][number] == 1:
                turned.add((id_, number))
        pods.memberships = memberships
        return turned

    # Groups ----------------------------------------------------------------------------------------------------------

    def numbers(self, each: Term) -> list[int]:
        """The numbers that a term's named port has on its pods."""
        return sorted(number for number in self._carriers.get(each.id, ()) if number)

    def groups(self, each: Term) -> frozenset[Key]:
        """The groups whose carriers are the pods of a term without a port."""
        if not each.whole_namespaces:
            return frozenset({membership_key((each.id, 0))})
        if each.scope == _EVERYTHING:
            return frozenset({EVERY_POD})
        names = {each.scope} if isinstance(each.scope, str) else self._scopes[each.scope]
        return frozenset(namespace_key(self._namespaces[name]) for name in names if name in self._namespaces)

    def has(self, key: Key) -> bool:
        """Whether there should be this group of a term, or of a namespace."""
        role, id_ = key.split("/")[1:]
        if role == "namespace":
            return key in self._namespace_keys
        term_id, _, number = id_.partition("-")
        each = self._terms.get(term_id)
        if each is None:
            return key == EVERY_POD
        return (
            int(number) in self._carriers.get(term_id, ())
            if number
            else each.port is None and not each.whole_namespaces
        )

    def keys(self) -> Iterator[Key]:
        """The keys of all membership groups of terms."""
        yield EVERY_POD
        for each in self._terms.values():
            if each.port:
                yield from (membership_key((each.id, number)) for number in self.numbers(each))
            elif not each.whole_namespaces:
                yield membership_key((each.id, 0))


def named_ports(pod: Pod) -> frozenset[NamedPort]:
    """A pod's named ports."""
    return frozenset((port.name, port.protocol, port.port) for port in pod.ports)


def namespace_key(namespace: Namespace) -> Key:
    """The key of the group that all pods of a namespace carry."""
    return f"security-group/namespace/{namespace.uid}"
