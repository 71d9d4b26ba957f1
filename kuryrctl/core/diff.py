"""The difference between what should exist and what does: a plan, and findings that no plan may act on.

Additions come first and deletions last. An object that is not provably ours never appears in a step, and a deletion
needs proof that its owner is absent (`Evidence`). A kind that was not listed in full is unknown: what depends on it is
left as it is. Does not know: how steps are executed, who asked, what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import StrEnum
from functools import partial

from msgspec import Struct, field

from kuryrctl.core import diff_own, diff_served, diff_services
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.cluster import ClusterState, KuryrPort, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.desired import is_served, node_specs, own_specs, pod_specs
from kuryrctl.core.diff_groups import Policed
from kuryrctl.core.diff_services import Remedy
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.findings import Finding
from kuryrctl.core.index import Own, Ports
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import NODE, POD, Identity
from kuryrctl.core.plan import Plan, Step
from kuryrctl.core.service_desired import Wanted, service_specs
from kuryrctl.core.service_index import ServiceIndex
from kuryrctl.core.service_order import closing, guarding
from kuryrctl.core.services import Service
from kuryrctl.core.subjects import (
    BALANCER_KINDS,
    Subject,
    node_subject,
    pod_subject,
    service_subject,
    subject_of_key,
    uid_of_key,
)

POLICY_KINDS = frozenset(
    {Kind.POD, Kind.NODE, Kind.NAMESPACE, Kind.NETWORK_POLICY, Kind.SERVICE, Kind.ENDPOINT_SLICE, Kind.KURYR_NODE}
)
"""What a pod's group list depends on."""
MIN_MAX_DELETES = 10
MAX_DELETES_SHARE = 0.05


class Scope(StrEnum):
    """What a run may change: what the whole cluster shares (``cluster init``), or what serves its pods and nodes."""

    CLUSTER = "cluster"
    PODS = "pods"


class Evidence(Struct, frozen=True):
    """What proves that a pod or node is absent.

    `gone` are the uids of those proven absent; None: everything in the cluster was listed after the cloud was, so
    whoever is not in a complete list is gone.
    """

    gone: AbstractSet[str] | None = None

    def proves(self, uid: str) -> bool:
        """Whether a pod or node that is in no list is absent for good."""
        return self.gone is None or uid in self.gone


class World(Struct, frozen=True):
    """Both observations, indexed; the mappings may be live views of the thread that owns the state.

    `assignments` are the KuryrPorts by pod uid, `nodes` the nodes by uid. `ports_complete`: the pod network's ports
    were listed in full; so say the others of their kinds.
    """

    cluster: ClusterState
    own: Own
    ports: Ports
    assignments: Mapping[str, KuryrPort]
    nodes: Mapping[str, Node]
    ports_complete: bool
    groups_complete: bool
    policed: Policed
    balancers: Balancers = field(default_factory=lambda: Balancers(Identity("", "", "")))
    services: ServiceIndex = field(default_factory=lambda: ServiceIndex({}, {}))
    balancers_complete: bool = False
    floating_ips_complete: bool = False

    @property
    def policies_known(self) -> bool:
        """Whether what NetworkPolicies ask for can be told at all; before that no port is made or changed."""
        return self.groups_complete and self.ports_complete and self.cluster.complete >= POLICY_KINDS

    @property
    def pods_known(self) -> bool:
        """Whether what pods need can be told at all."""
        return self.policies_known and Kind.KURYR_PORT in self.cluster.complete

    @property
    def services_known(self) -> bool:
        """Whether what Services need can be told at all: load balancers come after the rules of policies."""
        return self.policies_known and self.balancers_complete and self.floating_ips_complete

    @property
    def nodes_known(self) -> bool:
        """Whether what nodes need can be told at all."""
        return self.ports_complete and {Kind.NODE, Kind.KURYR_NODE} <= self.cluster.complete


class Difference(Struct, frozen=True):
    """What to do, and what can only be told."""

    plan: Plan = Plan()
    findings: tuple[Finding, ...] = ()


def difference(
    world: World, config: Config, scope: Scope, evidence: Evidence, remedy: Remedy = Remedy.TELL
) -> Difference:
    """Everything, once."""
    if scope is Scope.CLUSTER:
        return _joined([*diff_own.steps(own_specs(world.cluster, config, world.own), world.own), *world.own.findings])
    found: list[Step | Finding] = []
    for subject in subjects(world):
        found += subject_difference(subject, world, config, evidence, remedy)
    drift = diff_own.drift(own_specs(world.cluster, config, world.own), world.own)
    suspicious = (*world.ports.suspicious(), *world.policed.groups.suspicious(), *world.balancers.suspicious())
    return _joined([*found, *drift, *world.own.findings, *suspicious])


def subjects(world: World) -> Iterator[Subject]:
    """Everybody whom anything observed concerns: a pod, a port or an assignment that lacks the others is named, too."""
    yield from dict.fromkeys((*world.policed.policies.keys(), *world.policed.groups.keys()))
    nodes = {**world.nodes, **dict.fromkeys(sorted(world.ports.served(NODE)))}
    surplus = dict.fromkeys(name for name in world.cluster.kuryr_nodes if name not in world.cluster.nodes)
    yield from map(node_subject, {**nodes, **surplus})
    pods = {**world.cluster.pods, **world.assignments, **dict.fromkeys(sorted(world.ports.served(POD)))}
    yield from map(pod_subject, pods)
    services = dict.fromkeys(service.uid for service in world.cluster.services.values())
    yield from map(service_subject, services | dict.fromkeys(sorted(world.balancers.served())))


def subject_difference(
    subject: Subject, world: World, config: Config, evidence: Evidence, remedy: Remedy = Remedy.TELL
) -> Iterator[Step | Finding]:
    """What one subject needs done; nothing where too little of the world is known to tell."""
    role, _, uid = subject.partition("/")
    if role == POD and world.pods_known:
        yield from pod_difference(uid, world, config, evidence)
    elif role == NODE and world.nodes_known:
        surplus = world.cluster.kuryr_nodes.get(uid)  # a subject may be named by its name: see `subjects`
        if surplus is not None and uid not in world.cluster.nodes:
            yield from diff_served.release_kuryr_node(surplus, world.ports, evidence.proves)
        yield from node_difference(uid, world, config, evidence)
    elif role == Kind.SECURITY_GROUP and world.policies_known:
        yield from world.policed.group_steps(subject, lambda carrier: _keeps_groups(carrier, world, evidence))
    elif role == Kind.SERVICE and world.services_known:
        yield from service_difference(uid, world, config, evidence, remedy)


def pod_difference(uid: str, world: World, config: Config, evidence: Evidence) -> Iterator[Step | Finding]:
    """What one pod (also one that is gone) needs done."""
    pod = world.cluster.pods.get(uid)
    groups = world.policed.lists.of(uid) or ()
    specs = pod_specs(pod, world.cluster, config, world.own, groups) if pod else {}
    held = world.assignments.get(uid)
    if specs and pod:
        previous = world.cluster.kuryr_ports.get(pod.full_name)
        if held is None and previous and _superseded(pod, world.cluster.pods.get(previous.pod_uid)):
            return iter(())
        return diff_served.serve_pod(
            pod, specs, held=held, previous=previous, ports=world.ports, own=world.own, policed=world.policed
        )
    return diff_served.release_pod(uid, pod, held, world.ports, evidence.proves(uid))


def _keeps_groups(uid: str, world: World, evidence: Evidence) -> bool:
    """Whether a pod's port carries what it carries for now: its pod may be there, and gets nothing new."""
    pod = world.cluster.pods.get(uid)
    if pod is not None and pod.wants_port:
        return not is_served(pod, world.assignments.get(uid))
    return not evidence.proves(uid)


def node_difference(uid: str, world: World, config: Config, evidence: Evidence) -> Iterator[Step | Finding]:
    """What one node (also one that is gone) needs done."""
    node = world.nodes.get(uid)
    if node:
        specs = node_specs(node, world.cluster, config, world.own)
        return diff_served.serve_node(node, specs, world.cluster.kuryr_nodes.get(node.name), world.ports, world.own)
    return diff_served.release_node(uid, world.cluster.kuryr_nodes.values(), world.ports, evidence.proves(uid))


def service_difference(
    uid: str, world: World, config: Config, evidence: Evidence, remedy: Remedy
) -> Iterator[Step | Finding]:
    """What one Service (also one that is gone) needs done. One that is being deleted keeps what it has until then."""
    service = world.services.by_uid(uid)
    if service is None:
        return diff_services.release_service(uid, world.balancers, gone=evidence.proves(uid))
    if service.deleting:
        return iter(())
    wanted = service_wanted(service, world, config)
    home = frozenset(filter(None, (world.own.ids.get(f"subnet/services-{version}") for version in (4, 6))))
    return diff_services.serve_service(
        service,
        wanted,
        world.balancers,
        closing=partial(closing, world.policed),
        guarding=guarding(world.policed, service),
        remedy=remedy,
        home=home,
    )


def service_wanted(service: Service, world: World, config: Config) -> Wanted:
    """What should exist for one Service, in this world."""
    slices = world.services.slices_of(service)
    unguarded = world.policed.policies.unguarded(service) if service.source_ranges else ""
    return service_specs(service, slices, config, world.own, world.balancers, unguarded=unguarded)


def ordered(steps: Iterable[Step]) -> Plan:
    """A plan in an order in which it can be executed: additions, then changes, then deletions.

    What a step needs or follows comes before it, whatever that is: a VIP is freed before it is taken.
    """
    listed = list(steps)
    needed = {key for step in listed for key in step.needs}
    phased = sorted(listed, key=lambda step: _phase(step, needed))
    waiting = {step.key: step for step in phased}
    placed: list[Step] = []
    for step in phased:
        path = [step] if step.key in waiting else []
        under_way = {step.key}
        while path:
            first = (*path[-1].needs, *path[-1].after)
            blocking = next((key for key in first if key in waiting and key not in under_way), None)
            if blocking is None:
                placed.append(waiting.pop(path.pop().key))
            else:
                under_way.add(blocking)
                path.append(waiting[blocking])
    return Plan(tuple(placed))


def refuse_mass_deletion(
    plan: Plan, max_deletes: int | None, ours: Mapping[Kind, int], witnessed: AbstractSet[str] = frozenset()
) -> None:
    """Stop a run before its first deletion where it would delete too many ports, or too many groups.

    `ours` is how many of ours there are of each kind that is limited; `witnessed` are the uids of owners that were seen
    to go or to have finished, and the keys of groups that went with what was seen to go: only absences count, because
    only an absence can be a misunderstanding.
    Raises Invalid (LIMIT-DELETES). A `max_deletes` of None is the larger of 10 and 5 % of ours.
    """
    for kind, count in ours.items():
        limit = max(MIN_MAX_DELETES, int(count * MAX_DELETES_SHARE)) if max_deletes is None else max_deletes
        deletes = [
            step
            for step in plan
            if step.action is Action.DELETE
            and step.kind is kind
            and witnessed.isdisjoint((uid_of_key(step.key), subject_of_key(step.key)))
        ]
        if len(deletes) > limit:
            raise Invalid(
                f"nothing deleted: the plan deletes {len(deletes)} of {count} {kind}s, more than the {limit} that one"
                f" run may (first: {deletes[0].summary})",
                code="LIMIT-DELETES",
                owner=Owner.USER,
                hint=f"read the plan (kuryrctl reconcile --dry-run); if it is right: kuryrctl reconcile --max-deletes"
                f" {len(deletes)}",
            )


def _superseded(pod: Pod, holder: Pod | None) -> bool:
    """Whether the name is rightly `holder`'s: one of two pods with one name is gone, and a late event told of it.

    Creation times are whole seconds: of two equal ones the holder keeps what it has, unless it is the one that ends.
    Who is wrongly taken for the earlier pod waits until a whole reading proves the other one gone.
    """
    if holder is None or not holder.wants_port:
        return False
    return (holder.created_s, not holder.deleting) >= (pod.created_s, not pod.deleting)


def _phase(step: Step, needed: AbstractSet[str]) -> int:
    waits_for_ports = any(key.startswith("port/") for key in (*step.needs, *step.after))
    if step.kind is Kind.SECURITY_GROUP_RULE:
        deletes = step.action is Action.DELETE
        return 12 + deletes if waits_for_ports else 1 + deletes
    if step.kind in _SERVED_BY_BALANCERS and step.action is not Action.DELETE:
        return 6
    if step.action is Action.DELETE:
        unblocks = step.key in needed and step.kind is Kind.KURYR_PORT
        return 7 if unblocks else _DELETIONS.get(step.kind, 11)
    if step.kind is Kind.PORT:
        return 3 if step.action is not Action.UPDATE else 4 + waits_for_ports
    if step.kind in (Kind.KURYR_PORT, Kind.KURYR_NODE):
        return 8 if step.action is Action.CREATE else 9
    return 0


_SERVED_BY_BALANCERS = BALANCER_KINDS | {Kind.FLOATING_IP, Kind.SERVICE}
_DELETIONS = {Kind.KURYR_PORT: 10, Kind.KURYR_NODE: 10, Kind.SECURITY_GROUP: 14}


def _joined(found: Iterable[Step | Finding]) -> Difference:
    steps: list[Step] = []
    findings: list[Finding] = []
    for each in found:
        if isinstance(each, Step):
            steps.append(each)
        else:
            findings.append(each)
    # A KuryrPort that one pod needs out of the way may be another one's to delete: it is named once.
    unique = {step.key: step for step in steps}
    return Difference(ordered(unique.values()), tuple(findings))
