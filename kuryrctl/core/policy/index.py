"""Pods, namespaces and policies, indexed so that a change is looked at only where it matters.

Every `put_…` and `drop_…` brings the index up to date and notes in `Changes` what follows from it.
Does not know: rules, Services (`reach`), names of groups in the cloud.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from kuryrctl.core.cluster import FINISHED_PHASES, Namespace, Pod
from kuryrctl.core.policy.carriers import Carriers
from kuryrctl.core.policy.clients import client_key
from kuryrctl.core.policy.egress import EgressInUse
from kuryrctl.core.policy.entries import Egress, Parsed, parse
from kuryrctl.core.policy.model import Direction, NetworkPolicy
from kuryrctl.core.policy.peers import (
    EVERY_POD,
    NamedPort,
    Peers,
    PodClass,
    PortName,
    Term,
    membership_key,
    named_ports,
    namespace_key,
)
from kuryrctl.core.policy.ranges import Ranges, address
from kuryrctl.core.policy.sets import Few, Sets
from kuryrctl.core.policy.vips import Address
from kuryrctl.core.specs import Key

OPEN_INGRESS: Key = "security-group/open-ingress"
OPEN_EGRESS: Key = "security-group/open-egress"


class Changes:
    """What follows from a change: `pods` (uids) and `groups` as in `compiler.Touched`.

    The rest is to be looked at again: `egress` (ids) that no policy said before, or none says now; `services`, those at
    the `addresses`; `endpoints`: pods (uids) that may need rules to reach themselves.
    """

    def __init__(self) -> None:
        self.pods: set[str] = set()
        self.groups: set[Key] = set()
        self.egress: set[str] = set()
        self.services: set[str] = set()
        self.addresses: set[Address] = set()
        self.endpoints: set[str] = set()


class Index:
    """What the groups are made of. Only pods that hold a port are in it: no other pod is on the pod network.

    `pod_ranges`: where all pods' addresses are, by IP version; empty where that is not known.
    """

    def __init__(self, pod_ranges: Mapping[int, Ranges]) -> None:
        self._pod_ranges = pod_ranges
        self.peers = Peers()
        self.policies: dict[str, Parsed] = {}
        self.pods: dict[str, Pod] = {}
        self.egress = EgressInUse()
        self.carriers = Carriers()
        self.owner: dict[Key, str] = {}
        """The policies of the groups that exist whoever carries them."""
        self._policies_in: Sets[str, str] = Sets()
        self._class_of: dict[str, PodClass] = {}
        self._classes: dict[object, PodClass] = {}
        self._classes_in: Sets[str, PodClass] = Sets()
        self._named: Sets[PortName, PodClass] = Sets()
        self._addresses: dict[str, tuple[Address, ...]] = {}
        self._at: Few[Address, str] = Few()

    # Questions -------------------------------------------------------------------------------------------------------

    def groups(self, pod: Pod) -> tuple[Key, ...]:
        """The groups that every pod like this one carries, its node's and those of its own left out."""
        known = self._class_of.get(pod.uid)
        if known is not None and self.pods[pod.uid] == pod:
            return known.groups
        alike = PodClass(pod.namespace, pod.labels, named_ports(pod))
        if pod.phase not in FINISHED_PHASES:
            alike.memberships = self.peers.memberships(alike)
        self._isolate(alike)
        return self._groups(alike)

    def named_at(self, name: PortName) -> Iterator[tuple[int, Address]]:
        """The number that a named port has on each pod that has an address, with the address."""
        for pods in self._named.of(name):
            for port in pods.ports:
                if port[:2] == name:
                    yield from ((port[2], where) for uid in pods.pods for where in self.addresses(uid))

    def ingress_of(self, key: Key) -> tuple[Parsed, frozenset[NamedPort]] | None:
        """The policy of an ingress group, and the named ports of those that carry it; None: no such group."""
        if key in self.owner:
            return self.policies[self.owner[key]], frozenset()
        for pods in self.carriers.classes.of(key):
            named = (self.policies[name] for name in pods.ingress)
            return next(policy for policy in named if _ingress_key(policy, pods) == key), pods.ports
        return None

    def egress_of(self, key: Key) -> Egress | None:
        """The egress rules of a group of them; None: it is none."""
        name = self.owner.get(key)
        return self.policies[name].egress if name is not None and key == self.policies[name].egress_key else None

    def addresses(self, uid: str) -> tuple[Address, ...]:
        """A pod's addresses; none where it has none yet, or is none of ours."""
        return self._addresses.get(uid, ())

    def pods_at(self, where: Address) -> tuple[str, ...]:
        """The uids of the pods that report this address."""
        return self._at.of(where)

    def class_of(self, uid: str) -> PodClass | None:
        """The pods that this one is like; None: it is none of ours."""
        return self._class_of.get(uid)

    def classes_at(self, where: Address) -> list[PodClass]:
        """The classes of the pods that report this address."""
        return [self._class_of[uid] for uid in self.pods_at(where)]

    # Pods ------------------------------------------------------------------------------------------------------------

    def put_pod(self, pod: Pod, changes: Changes) -> None:
        """A pod came or changed."""
        if not pod.wants_port:
            return self.drop_pod(pod.uid, changes)
        before, old = self.pods.get(pod.uid), self._class_of.get(pod.uid)
        new = self._class(pod)
        self.pods[pod.uid] = pod
        self._class_of[pod.uid] = new
        if before is None or old is not new or before.node != pod.node:
            changes.pods.add(pod.uid)
        if old is not new or before is None:
            new.pods.add(pod.uid)
            if len(new.pods) == 1:
                self._born(new, changes)
            self._leave(pod.uid, old, changes)
        if before is None or old is not new or before.ips != pod.ips:
            self._move(pod.uid, pod.ips, old, new, changes)
        return None

    def drop_pod(self, uid: str, changes: Changes) -> None:
        """A pod went, or needs no port any more."""
        before, old = self.pods.get(uid), self._class_of.pop(uid, None)
        if before is None:
            return
        changes.pods.add(uid)
        self._leave(uid, old, changes)
        self._move(uid, (), old, None, changes)
        del self.pods[uid]

    def _leave(self, uid: str, old: PodClass | None, changes: Changes) -> None:
        if old is None:
            return
        old.pods.discard(uid)
        if old.pods:
            return
        self._refresh(old, changes)
        del self._classes[_class_id(old.namespace, old.labels, old.ports)]
        self._classes_in.take(old.namespace, old)
        for port in old.ports:
            self._named.take(port[:2], old)

    def _born(self, new: PodClass, changes: Changes) -> None:
        self._classes_in.put(new.namespace, new)
        for port in new.ports:
            self._named.put(port[:2], new)
        self._refresh(new, changes)

    def _move(
        self, uid: str, ips: tuple[str, ...], old: PodClass | None, new: PodClass | None, changes: Changes
    ) -> None:
        """A pod's address or class changed: look again at who depends on it."""
        before, now = self.addresses(uid), tuple(dict.fromkeys(map(address, ips)))
        for where in before:
            self._at.take(where, uid)
        for where in now:
            self._at.put(where, uid)
        self._addresses[uid] = now
        if new is None:
            del self._addresses[uid]
        changes.addresses.update(before, now)
        changes.endpoints.add(uid)
        for pods in (old, new):
            for port in pods.ports if pods else ():
                for id_ in self.egress.in_blocks.of(port[:2]):
                    self.touch_egress(id_, changes)

    def _class(self, pod: Pod) -> PodClass:
        ports = named_ports(pod)
        id_ = _class_id(pod.namespace, pod.labels, ports)
        known = self._classes.get(id_)
        if known is None:
            known = self._classes[id_] = PodClass(pod.namespace, pod.labels, ports)
        return known

    def _refresh(self, pods: PodClass, changes: Changes) -> None:
        """Bring what follows for a class up to date; without pods nothing does."""
        groups, ingress_groups, client = pods.groups, pods.ingress_groups, pods.client
        memberships = self.peers.memberships(pods) if pods.pods else frozenset()
        for id_, number in self.peers.carry(pods, memberships) if memberships != pods.memberships else ():
            if number:
                changes.groups.add(membership_key((id_, number)))
                for user in self.peers.users(id_):
                    self.touch_egress(self.policies[user].egress.id, changes)
        self._isolate(pods)
        egress = (self.policies[name].egress for name in pods.egress)
        changes.groups |= self.carriers.carry(pods, (*ingress_groups, client), egress)
        pods.groups = self._groups(pods)
        if pods.groups != groups:
            changes.pods |= pods.pods
        if pods.ingress_groups != ingress_groups or pods.client != client:
            changes.endpoints |= pods.pods
            changes.addresses.update(where for uid in pods.pods for where in self.addresses(uid))

    def _isolate(self, pods: PodClass) -> None:
        """Find the policies that isolate the pods of a class, and their groups."""
        policies = map(self.policies.__getitem__, self._policies_in.of(pods.namespace))
        selecting = [each for each in policies if each.policy.pod_selector.matches(pods.labels)]
        ingress = [each for each in selecting if Direction.INGRESS in each.policy.directions]
        egress = [each for each in selecting if Direction.EGRESS in each.policy.directions]
        pods.ingress = tuple(sorted(each.policy.full_name for each in ingress))
        pods.ingress_groups = tuple(sorted(_ingress_key(each, pods) for each in ingress))
        pods.egress = tuple(sorted(each.policy.full_name for each in egress))
        pods.client = client_key(egress) if egress and not any(each.egress.opens_all for each in egress) else None

    def _groups(self, pods: PodClass) -> tuple[Key, ...]:
        keys: set[Key] = {EVERY_POD, *map(membership_key, pods.memberships)}
        namespace = self.peers.namespace(pods.namespace)
        if namespace is not None:
            keys.add(namespace_key(namespace))
        keys.update(pods.ingress_groups or (OPEN_INGRESS,))
        keys.update((self.policies[name].egress_key for name in pods.egress) if pods.egress else (OPEN_EGRESS,))
        if pods.client is not None:
            keys.add(pods.client)
        return tuple(sorted(keys))

    # Namespaces and policies -----------------------------------------------------------------------------------------

    def put_namespace(self, namespace: Namespace, changes: Changes) -> None:
        """A namespace came or changed."""
        before = self.peers.namespace(namespace.name)
        if before == namespace:
            return
        self._rescoped(namespace.name, before, namespace, self.peers.put_namespace(namespace), changes)

    def drop_namespace(self, namespace: Namespace, changes: Changes) -> None:
        """A namespace went."""
        before = self.peers.namespace(namespace.name)
        self._rescoped(namespace.name, before, None, self.peers.drop_namespace(namespace.name), changes)

    def _rescoped(
        self, name: str, before: Namespace | None, now: Namespace | None, policies: set[str], changes: Changes
    ) -> None:
        if (before and before.uid) != (now and now.uid):
            changes.groups.update(namespace_key(each) for each in (before, now) if each)
        for policy in policies:
            self._touch(policy, changes)
        for pods in self._classes_in.of(name):
            self._refresh(pods, changes)
            changes.addresses.update(where for uid in pods.pods for where in self.addresses(uid))

    def put_policy(self, policy: NetworkPolicy, changes: Changes) -> None:
        """A policy came or changed."""
        now = parse(policy, self._pod_ranges)
        before = self.policies.get(policy.full_name)
        if before is not None and before.policy == policy:
            return
        if before is not None and before.policy.uid != policy.uid:
            self.drop_policy(before.policy, changes)
            before = None
        self._turn(policy.full_name, before, now, changes)

    def drop_policy(self, policy: NetworkPolicy, changes: Changes) -> None:
        """A policy went."""
        before = self.policies.get(policy.full_name)
        if before is not None:
            self._turn(policy.full_name, before, None, changes)

    def _turn(self, name: str, before: Parsed | None, now: Parsed | None, changes: Changes) -> None:
        """Put `now` in the place of `before`; None is no policy."""
        if before is not None:
            self._touch(name, changes)
            del self.policies[name]
            self._policies_in.take(before.policy.namespace, name)
        if now is not None:
            self.policies[name] = now
            self._policies_in.put(now.policy.namespace, name)
        for key in before.keys() if before else ():
            del self.owner[key]
        changes.egress |= self.egress.turn(name, before.egress if before else None, now.egress if now else None)
        alike = self._classes_in.of(name.partition("/")[0])
        changes.endpoints.update(uid for pods in alike if name in pods.egress for uid in pods.pods)
        for pods in alike | self._turn_terms(name, before, now, changes):
            self._refresh(pods, changes)
        if now is not None:
            self.owner.update(dict.fromkeys(now.keys(), name))
            self._touch(name, changes)

    def _turn_terms(self, name: str, before: Parsed | None, now: Parsed | None, changes: Changes) -> set[PodClass]:
        """Use the terms of `now` instead of those of `before`; the classes that carry other groups because of it."""
        old = {each.id: each for each in before.terms()} if before else {}
        new = {each.id: each for each in now.terms()} if now else {}
        turned: set[PodClass] = set()
        for each in [new[id_] for id_ in new.keys() - old.keys()]:
            if self.peers.use(each, name):
                turned |= self._carriers(each)
                changes.groups.add(membership_key((each.id, 0)))
        for each in [old[id_] for id_ in old.keys() - new.keys()]:
            carriers = self._carriers(each)
            if self.peers.release(each, name):
                turned |= carriers
                changes.groups.add(membership_key((each.id, 0)))
        return turned

    def _carriers(self, each: Term) -> set[PodClass]:
        if each.whole_namespaces:
            return set()
        if each.port:
            return {pods for pods in self._named.of(each.port) if self.peers.matches(each, pods)}
        places = [each.scope] if isinstance(each.scope, str) else list(self._classes_in)
        return {pods for place in places for pods in self._classes_in.of(place) if self.peers.matches(each, pods)}

    def _touch(self, name: str, changes: Changes) -> None:
        policy = self.policies[name]
        changes.groups.update(policy.keys())
        for pods in self._classes_in.of(policy.policy.namespace):
            changes.groups.update(key for key in pods.ingress_groups if policy.policy.uid in key)
            if pods.client is not None and name in pods.egress:
                changes.groups.add(pods.client)

    def touch_egress(self, id_: str, changes: Changes) -> None:
        """What rules these are in the cloud may differ, and with them what their clients need."""
        changes.groups.update(self.policies[name].egress_key for name in self.egress.policies.of(id_))
        for client in self.carriers.clients_of(id_):
            changes.groups |= client.keys


def _ingress_key(policy: Parsed, pods: PodClass) -> Key:
    """The key of a policy's ingress group; where it names ports, pods with other numbers for them have another one."""
    key = f"security-group/policy-ingress/{policy.policy.uid}"
    if not policy.names:
        return key
    meant = sorted(port for port in pods.ports if port[:2] in policy.names)
    return f"{key}-{hashlib.sha256(repr(meant).encode()).hexdigest()[:8]}"


def _class_id(namespace: str, labels: Mapping[str, str], ports: frozenset[NamedPort]) -> object:
    return namespace, frozenset(labels.items()), ports
