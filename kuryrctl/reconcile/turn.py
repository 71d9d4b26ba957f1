"""The turn: dirty subjects become steps, ready steps become calls, outcomes become state. Once and watch both run it.

One thread owns a Turn and everything in it; workers answer through its queue. Does not know: where events come from,
when a run ends.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterable

from msgspec import Struct

from kuryrctl.core import diff_own
from kuryrctl.core.cluster import KuryrPort
from kuryrctl.core.config import Config
from kuryrctl.core.desired import own_specs
from kuryrctl.core.diff import Difference, Scope, difference, ordered, refuse_mass_deletion, subject_difference
from kuryrctl.core.diff_served import node_interface, port_interface
from kuryrctl.core.diff_services import Remedy
from kuryrctl.core.errors import Invalid, KuryrError
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.forecast import RESOURCES, shortage
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Plan, Step
from kuryrctl.core.specs import KuryrNodeSpec, KuryrPortSpec, ServiceStatusSpec
from kuryrctl.core.subjects import CLUSTER, subject_of_key
from kuryrctl.reconcile import jobs
from kuryrctl.reconcile.audit import AuditLog
from kuryrctl.reconcile.contracts import Cloud, Cluster
from kuryrctl.reconcile.lanes import CLUSTER_WORKERS, OCTAVIA_WORKERS, Batcher, Lane, Where, where
from kuryrctl.reconcile.notify import Teller
from kuryrctl.reconcile.pool import Pool
from kuryrctl.reconcile.schedule import FIRST_REST_S, Fault, Schedule
from kuryrctl.reconcile.state import State
from kuryrctl.reconcile.witnesses import carried_by_none, reported_free

NAMED = 5
"""So many policies a finding names."""
_log = logging.getLogger(__name__)


class Done(Struct, frozen=True):
    """The answer of a worker of this lane."""

    lane: Where
    outcomes: tuple[Outcome, ...]


class Parts(Struct, frozen=True):
    """What every run is made with.

    A `max_deletes` of None: the configuration's, else its default. `first_rest_s` is how long a key rests after its
    first failure; the rest doubles with each further one.
    """

    config: Config
    cloud: Cloud
    cluster: Cluster
    audit: AuditLog
    max_deletes: int | None = None
    first_rest_s: float = FIRST_REST_S

    @property
    def limit(self) -> int | None:
        """The most deletions of one run; None: the larger of 10 and 5 %."""
        return self.config.max_deletes if self.max_deletes is None else self.max_deletes


class Turn:
    """See the module. `ours` tells whether the Lease is still held.

    `choose` narrows what may be done at all: of the steps that a difference contains, it returns those to execute.
    `about` are the kinds that steps may be about at all. `remedy` is what is done about load balancers that Octavia
    gave up. `unread` says why what only Services need was not observed.
    """

    def __init__(
        self, parts: Parts, scope: Scope, ours: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.parts = parts
        self.ours = ours
        self.scope = scope
        self.state = State(parts.config)
        self.schedule = Schedule(parts.first_rest_s)
        self.inbox: queue.Queue[object] = queue.Queue()
        self.clock = clock
        self.choose: Callable[[Iterable[Step]], list[Step]] = list
        self.about: frozenset[Kind] = frozenset(Kind)
        self.remedy = Remedy.TELL
        self.done: list[Step] = []
        self.keep_done = True
        self.withheld: KuryrError | None = None
        self.short: KuryrError | None = None
        self.unread: tuple[KuryrError, ...] = ()
        workers = {
            Where.NEUTRON: parts.config.workers,
            Where.OCTAVIA: OCTAVIA_WORKERS,
            Where.CLUSTER: CLUSTER_WORKERS,
        }
        self._lanes = {each: Lane(each, count) for each, count in workers.items()}
        self._side_pool = Pool("side", 2)
        self._teller = Teller(parts.cluster, self.state, self._side_pool.submit)

    # -- planning

    def touch_all(self) -> None:
        """Everybody is dirty."""
        self.schedule.touch([CLUSTER] if self.scope is Scope.CLUSTER else self.state.subjects())

    def difference(self) -> Difference:
        """Everything that differs and may be done, whether it is being worked on or not."""
        found = difference(self.state.world(), self.parts.config, self.scope, self.state.evidence, self.remedy)
        plan = Plan(tuple(self.choose(found.plan)))
        short = self._shortage(plan)
        if short is None:
            return Difference(plan, found.findings)
        told = Finding(
            FindingCode.QUOTA, Kind.SECURITY_GROUP, "", _waiting(plan), f"{short.message}; next: {short.hint}"
        )
        return Difference(plan, (*found.findings, told))

    def check(self) -> None:
        """Raises Invalid where nothing may be written: another cluster, or one that is not set up."""
        state, config = self.state, self.parts.config
        cluster = state.cluster()
        if self.scope is Scope.CLUSTER:
            diff_own.guard(cluster, state.own, config)
            return
        diff_own.require(own_specs(cluster, config, state.own), state.own)
        diff_own.require_guard(cluster, state.own, config)

    def plan(self) -> None:
        """Compute the steps of every dirty subject."""
        world, config, evidence = self.state.world(), self.parts.config, self.state.evidence
        for subject in self.schedule.take_dirty(self.clock()):
            if self.scope is Scope.CLUSTER:
                found: Iterable[Step | Finding] = diff_own.steps(own_specs(world.cluster, config, world.own), world.own)
            else:
                found = list(subject_difference(subject, world, config, evidence, self.remedy))
                self._teller.notes(subject, (each for each in found if isinstance(each, Finding)))
            self.schedule.replan(subject, self.choose(each for each in found if isinstance(each, Step)))

    def limit(self) -> None:
        """Withhold every deletion where too many owners are merely absent, and what the quotas have no room for."""
        state = self.state
        pending = self.schedule.pending()
        self.short = self._shortage(pending)
        self._teller.shortage(self.short, (step for step in pending if not self._may_make(step)))
        waiting = [step for step in pending if step.action is Action.DELETE]
        going = state.absences.witnessed | reported_free(
            (step.id for step in waiting), state.ports, state.kuryr_nodes, state.assignments
        )
        groups = (step for step in waiting if step.kind is Kind.SECURITY_GROUP)
        try:
            refuse_mass_deletion(
                ordered(waiting),
                self.parts.limit,
                {
                    Kind.PORT: state.ports.count_ours(),
                    Kind.SECURITY_GROUP: state.policing.groups.count_ours(),
                    Kind.LOAD_BALANCER: state.balancing.index.count_ours(),
                    Kind.FLOATING_IP: state.balancing.index.count_ours(Kind.FLOATING_IP),
                },
                going | state.policing.withdrawn | carried_by_none(groups, state.ports, going),
            )
        except Invalid as error:
            self.withheld = error
        else:
            self.withheld = None

    # -- executing

    def dispatch(self) -> None:
        """Hand out as many ready steps as there are free workers."""
        batch_of = {Where.NEUTRON: self.parts.config.port_batch}
        batchers = {each: Batcher(lane.room, batch_of.get(each, 1)) for each, lane in self._lanes.items()}
        for step in self.schedule.ready(self.clock(), self._may):
            batchers[where(step)].offer(step)
            if all(batcher.full for batcher in batchers.values()):
                break
        for step in (step for batch in batchers.pop(Where.CLUSTER).batches for step in batch):
            self._start_on_cluster(step)
        for each, batcher in batchers.items():
            for batch in batcher.batches:
                self._start_on_cloud(each, batch)

    def take(self, message: Done) -> list[Fault]:
        """Fold a worker's answer into the state; the faults in it."""
        faults = []
        now = self.clock()
        self._lanes[message.lane].ended()
        for outcome in message.outcomes:
            self.schedule.touch(self.state.fold(outcome))
            fault = self.schedule.finish(outcome, now)
            if fault:
                faults.append(fault)
            elif self.keep_done:
                self.done.append(outcome.step)
        self._teller.faults(faults, now)
        return faults

    def tell_unread(self) -> None:
        """Tell the users whose Services wait for a load balancer while none can be observed."""
        self._teller.unobserved(self.unread)

    def tell_left(self) -> None:
        """Tell the users of all that failed and is still wanted: nobody tries again soon."""
        self._teller.left(self.schedule.faults, self.clock())

    def submit(self, job: Callable[[], object]) -> None:
        """Run something beside the steps that answers with one message (an observation)."""
        self._side_pool.submit(lambda: self.inbox.put(job()))

    def clean_up(self) -> None:
        """Remove, beside the steps, the probes that nobody came back for."""
        if self.scope is Scope.PODS:
            self._side_pool.submit(self._clean_up)

    @property
    def running(self) -> bool:
        """Whether a worker is still to answer."""
        return any(lane.running for lane in self._lanes.values())

    def stop(self, timeout_s: float) -> bool:
        """End the workers; whether every job was finished within `timeout_s` seconds."""
        until = time.monotonic() + timeout_s
        pools: tuple[Lane | Pool, ...] = (*self._lanes.values(), self._side_pool)
        return all([pool.stop(max(0.0, until - time.monotonic())) for pool in pools])

    # -- how

    def _may(self, step: Step) -> bool:
        if step.action is Action.DELETE:
            return self.withheld is None
        return self._may_make(step)

    def _may_make(self, step: Step) -> bool:
        """Whether the quotas have room for it."""
        return self.short is None or step.action is not Action.CREATE or step.kind not in RESOURCES

    def _shortage(self, steps: Iterable[Step]) -> KuryrError | None:
        state = self.state
        return shortage(steps, state.policing.quotas, state.own.identity.project_id, self.parts.config.workers)

    def _start_on_cloud(self, lane: Where, batch: list[Step]) -> None:
        self.schedule.start(batch)
        state = self.state
        below = state.balancing.ids(batch) if lane is Where.OCTAVIA else state.policing.groups.ids
        ids = {**state.own.ids, **below}
        cloud, ours, inbox = self.parts.cloud, self.ours, self.inbox
        self._lanes[lane].start(lambda: inbox.put(Done(lane, tuple(jobs.run_cloud(cloud, batch, ids, ours)))))

    def _start_on_cluster(self, step: Step) -> None:
        job = self._cluster_job(step)
        if job is None:  # what it needs has vanished meanwhile: look again
            self.schedule.touch([subject_of_key(step.key)])
            return
        self.schedule.start([step])
        parts, ours, inbox = self.parts, self.ours, self.inbox
        lane = Where.CLUSTER
        self._lanes[lane].start(
            lambda: inbox.put(Done(lane, (jobs.run_cluster(parts.cluster, job, ours, parts.audit),)))
        )

    def _cluster_job(self, step: Step) -> jobs.ClusterJob | None:
        state = self.state
        match step.spec:
            case KuryrPortSpec() as spec:
                port = next(iter(state.ports.of(spec.port)), None)
                interface = port_interface(port, state.own) if port else None
                if interface is None:
                    return None
                held = state.assignments.get(spec.pod_uid)
                return jobs.WritePort(
                    step,
                    KuryrPort(
                        namespace=spec.namespace,
                        name=spec.name,
                        pod_uid=spec.pod_uid,
                        node=spec.node,
                        interfaces=(interface,),
                        uid=held.uid if held else "",
                        resource_version=held.resource_version if held else "",
                    ),
                )
            case KuryrNodeSpec() as spec:
                port = next(iter(state.ports.of(spec.port)), None)
                interface = node_interface(port, state.own, spec.routes) if port else None
                return jobs.WriteNode(step, spec.name, spec.node_uid, interface) if interface else None
            case ServiceStatusSpec() as spec:
                return jobs.WriteStatus(step, spec)
        _, *names = step.key.split("/")
        return (
            jobs.DeletePort(step, names[0], names[1])
            if step.kind is Kind.KURYR_PORT
            else jobs.DeleteNode(step, names[0])
        )

    def _clean_up(self) -> None:
        try:
            if self.ours():
                self.parts.cluster.delete_expired_probes(time.time())
        except KuryrError as error:
            _log.warning("old probes not removed: %s", error.message)


def _waiting(steps: Iterable[Step]) -> str:
    """The policies whose groups or rules are to be made, for people."""
    names = sorted({step.subject for step in steps if step.kind in RESOURCES and step.subject.startswith("policy ")})
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (", ".join(names[:NAMED]) or "security groups") + more
