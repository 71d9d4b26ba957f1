"""The part of the observed state that NetworkPolicies are about: policies, namespaces, Services, endpoints, and groups.

It keeps the compiler's index current, one change at a time or (a whole reading) all at once, and answers which subjects
a change concerns: pods whose list may differ, groups whose rules or carriers may. Owned by the turn thread.
Does not know: pods' ports, threads, calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from kuryrctl.core.cloud import CloudState, Port, QuotaUse, SecurityGroup, SecurityGroupRule
from kuryrctl.core.cluster import ClusterState, KuryrNode, Namespace, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.diff import POLICY_KINDS
from kuryrctl.core.diff_groups import ISOLATING, Policed
from kuryrctl.core.forecast import RESOURCES
from kuryrctl.core.group_index import Groups, Lists
from kuryrctl.core.index import Own, Ports
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import Identity
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.policy.compiler import Policies, Touched
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.specs import Key
from kuryrctl.core.subjects import Subject, pod_subject, service_subject
from kuryrctl.kube import KubeObject
from kuryrctl.reconcile.moments import Moments, older

Held: TypeAlias = Namespace | NetworkPolicy | Service | EndpointSlice
Thing: TypeAlias = Held | Pod | Node | KuryrNode
_UID_LENGTH = 36
_GROUP = "security-group"


class Policing:
    """See the module. `pods` gives the pods that exist, by uid."""

    def __init__(self, config: Config, pods: Callable[[], Mapping[str, Pod]]) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.policies: dict[str, NetworkPolicy] = {}
        self.services: dict[str, Service] = {}
        self.endpoint_slices: dict[str, EndpointSlice] = {}
        self.groups = Groups(Identity("", "", ""))
        self.lists = Lists()
        self.withdrawn: set[Key] = set()
        self.quotas: dict[str, QuotaUse] = {}
        self._pods = pods
        self._compiled = Policies(config)
        self._ready = False
        self._missing: dict[Kind, set[str]] = {}
        self._who: dict[str, str] = {}

    def view(self, ports: Ports, own: Own) -> Policed:
        """What policies ask for beside what there is now."""
        return Policed(self._compiled, self.lists, self.groups, ports=ports, own=own, who=self.who)

    def who(self, key: Key) -> str:
        """For whom a group is, for people."""
        role, id_ = key.split("/")[1:3]
        return self._who.get(id_[:_UID_LENGTH], f"{role} {id_}")

    def policies_with(self, key: Key) -> Iterator[NetworkPolicy]:
        """Whose group this is, or whose rules name it, or by whose leave its pods reach a Service."""
        uids = {each.split("/")[2][:_UID_LENGTH] for each in self._asking(key) if each.startswith(ISOLATING)}
        return (policy for policy in self.policies.values() if policy.uid in uids)

    def _asking(self, key: Key) -> Iterator[Key]:
        if key.startswith(ISOLATING):
            yield key
        elif key.startswith("security-group/vip/"):
            for uid in self.lists.carriers(key):
                yield from (each for each in self.lists.of(uid) or () if each.startswith(ISOLATING[1]))
        else:
            for other in filter(lambda each: each.startswith(ISOLATING), self._compiled.keys()):
                group = self._compiled.group(other)
                if group and any(rule.remote_group == key for rule in group.rules):
                    yield other

    # -- the cluster

    def compile(self, cluster: ClusterState) -> None:
        """Begin anew with everything; nothing where a kind that matters was not listed in full."""
        self._ready = cluster.complete >= POLICY_KINDS
        if not self._ready:
            return
        self._compiled.replace(cluster)
        for uid in {*self.lists.uids(), *cluster.pods}:
            self._list(uid)
        self._who = {node.uid: f"node {node.name}" for node in cluster.nodes.values()}
        self._who |= {each.uid: f"namespace {each.name}" for each in self.namespaces.values()}
        self._who |= {each.uid: f"policy {each.full_name}" for each in self.policies.values()}

    def take(self, observed: ClusterState) -> None:
        """Replace what is held by a whole observation."""
        for kind, held in self._held.items():
            held.clear()
            held.update(_of(observed, kind))

    def take_list(self, kind: Kind, items: Iterable[object]) -> None:
        """Replace one kind by a list."""
        held = self._held.get(kind)
        if held is not None:
            held.clear()
            held.update({_name(item): item for item in items if isinstance(item, Held)})

    def take_relist(self, observed: ClusterState, moments: Moments, mark: int) -> None:
        """Hold a second reading, begun at `mark`, against what events told.

        What changed since, or is newer, is kept; what the reading lacks goes when the reading before lacked it, too.
        """
        for kind, held in self._held.items():
            if kind not in observed.complete:
                continue
            listed = _of(observed, kind)
            changed = {name for name in {*listed, *held} if moments.changed_since(f"{kind}/{name}", mark)}
            missing = held.keys() - listed.keys() - changed
            for name in missing & self._missing.get(kind, set()):
                del held[name]
            self._missing[kind] = missing
            stale = {name for name, thing in listed.items() if name in held and _older(thing, held[name])}
            held.update({name: thing for name, thing in listed.items() if name not in changed | stale})

    def change(self, thing: KubeObject, *, deleted: bool, moments: Moments) -> set[Subject]:
        """One object was added, changed or deleted; others than those held here concern nobody."""
        if not isinstance(thing, Held):
            return set()
        kind, name = _kind(thing), _name(thing)
        held = self._held[kind]
        known = held.get(name)
        if deleted and (known is None or known.uid != thing.uid):
            return set()
        if known is not None and not deleted and _older(thing, known):
            return set()
        moments.touch(f"{kind}/{name}")
        concerned: set[Subject] = set()
        if known is not None and (deleted or known.uid != thing.uid):
            del held[name]
            concerned |= self.drop(known)
        if not deleted:
            held[name] = thing
            if isinstance(thing, NetworkPolicy | Namespace):
                self._who[thing.uid] = f"{'namespace' if isinstance(thing, Namespace) else 'policy'} {name}"
            concerned |= self.put(thing)
        return concerned

    def put(self, thing: Thing) -> set[Subject]:
        """It came or changed; whom that concerns."""
        return self._touch(thing, self._compiled.put(thing)) if self._ready else set()

    def drop(self, thing: Thing) -> set[Subject]:
        """It went; whom that concerns."""
        return self._touch(thing, self._compiled.drop(thing)) if self._ready else set()

    # -- the cloud

    def take_cloud(self, observed: CloudState, identity: Identity, moments: Moments, mark: int) -> None:
        """Replace the groups by an observation that began at `mark`, but those that changed since."""
        self.quotas = {quota.resource: quota for quota in observed.quotas}
        if Kind.SECURITY_GROUP not in observed.complete:
            return
        known, self.groups = self.groups, Groups(identity, observed.security_groups.values())
        for id_ in moments.changed(_GROUP, mark):
            ours = known.by_id(id_)
            self.groups.drop(id_)
            if ours is not None:
                self.groups.put(ours)
        self.withdrawn &= set(self.groups.keys())

    def fold(self, outcome: Outcome, moments: Moments) -> set[Subject]:
        """Take the result of a step on a group or a rule."""
        step, thing = outcome.step, outcome.object
        self._count(step)
        match thing:
            case SecurityGroup():
                self.groups.put(thing)
                moments.touch(f"{_GROUP}/{thing.id}")
            case SecurityGroupRule():
                self.groups.put_rule(thing)
                moments.touch(f"{_GROUP}/{thing.security_group_id}")
            case None if step.action is Action.DELETE and step.kind is Kind.SECURITY_GROUP:
                named_by = self.groups.naming(step.id)
                self.groups.drop(step.id)
                moments.touch(f"{_GROUP}/{step.id}")
                return set(named_by)  # Neutron has deleted the rules that named it
            case None if step.action is Action.DELETE:
                group = self.groups.drop_rule(step.id)
                moments.touch(f"{_GROUP}/{group}")
        return set()

    def _count(self, step: Step) -> None:
        """A group or a rule more, or one less."""
        resource = RESOURCES.get(step.kind, "")
        quota = self.quotas.get(resource)
        more = (step.action is Action.CREATE) - (step.action is Action.DELETE)
        if quota is not None and more:
            self.quotas[resource] = msgspec.structs.replace(quota, used=quota.used + more)

    def carried(self, before: Port | None, after: Port | None) -> set[Subject]:
        """Whom it concerns that a port came into groups or left them."""
        changed = set(before.security_groups if before else ()) ^ set(after.security_groups if after else ())
        return self.concerned(filter(None, (self.groups.claim(id_).key for id_ in changed)))

    def concerned(self, keys: Iterable[Key]) -> set[Subject]:
        """For whom it matters who carries these groups: they, and the groups whose rules name them."""
        found = {key for key in keys if key.count("/") > 1}
        for key in tuple(found):
            for group in self.groups.of(key):
                found |= self.groups.naming(group.id)
        return found

    # -- how

    @property
    def _held(self) -> dict[Kind, dict[str, Any]]:
        return {
            Kind.NAMESPACE: self.namespaces,
            Kind.NETWORK_POLICY: self.policies,
            Kind.SERVICE: self.services,
            Kind.ENDPOINT_SLICE: self.endpoint_slices,
        }

    def _touch(self, thing: Thing, touched: Touched) -> set[Subject]:
        self.withdrawn |= {key for key in touched.groups if self._compiled.group(key) is None}
        pods = touched.pods | ({thing.uid} if isinstance(thing, Pod) else set())
        guarded = map(service_subject, self._compiled.guarded_at(pods))
        return {*map(pod_subject, touched.pods), *touched.groups, *self._relist(pods), *guarded}

    def _relist(self, uids: Iterable[str]) -> set[Subject]:
        """The groups that these pods came into or left."""
        return self.concerned(key for uid in uids for key in self._list(uid))

    def _list(self, uid: str) -> frozenset[Key]:
        pod = self._pods().get(uid)
        return self.lists.put(uid, self._compiled.groups_of(pod) if pod and pod.wants_port else None)


def _older(thing: Held, known: Held) -> bool:
    return older(thing.resource_version, known.resource_version)


def _kind(thing: Held) -> Kind:
    match thing:
        case Namespace():
            return Kind.NAMESPACE
        case NetworkPolicy():
            return Kind.NETWORK_POLICY
        case Service():
            return Kind.SERVICE
    return Kind.ENDPOINT_SLICE


def _name(thing: Held) -> str:
    return thing.name if isinstance(thing, Namespace) else thing.full_name


def _of(observed: ClusterState, kind: Kind) -> Mapping[str, Any]:
    match kind:
        case Kind.NAMESPACE:
            return observed.namespaces
        case Kind.NETWORK_POLICY:
            return observed.policies
        case Kind.SERVICE:
            return observed.services
    return observed.endpoint_slices
