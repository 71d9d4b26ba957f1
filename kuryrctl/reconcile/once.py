"""One run: observe the cloud, then the cluster; plan; execute until nothing is left or what is left cannot succeed.

The same turn that the watch uses, fed by two observations instead of events. Does not know: command lines, exit codes.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial

from kuryrctl.core.config import Config
from kuryrctl.core.diff import POLICY_KINDS, Difference, Scope
from kuryrctl.core.errors import KuryrError, Retryable
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import chosen
from kuryrctl.core.specs import kind_of_key
from kuryrctl.reconcile.balancing import BALANCING_KINDS
from kuryrctl.reconcile.contracts import Lease
from kuryrctl.reconcile.leadership import Keeper
from kuryrctl.reconcile.policy_part import Part
from kuryrctl.reconcile.report import Report, failure, report
from kuryrctl.reconcile.schedule import STALE_CODES, Fault
from kuryrctl.reconcile.turn import Done, Parts, Turn

TRIES = 3
"""How often a run tries a step or an observation whose failure may pass by itself, and how often it observes anew."""
PENDING_RESTS = 4
"""After so many first rests a load balancer is looked at again that was left at work by somebody else, or by a run
that died."""
STOP_S = 10.0
NO_OCTAVIA = "OCT-NONE"
"""A cloud without load balancers: its operator's choice, so no failure of a run."""


def dry_run(
    parts: Parts, scope: Scope = Scope.PODS, only: Collection[Kind] = (), part: Part | None = None
) -> Difference:
    """What a run would do, and what no run would; nothing is written and no lease is needed.

    Raises Invalid (CLUSTER-GUARD, CLUSTER-INIT, CFG-…) and what an observation that cannot be done without failed with.
    """
    with looking(parts, scope, only) as turn:
        if part:
            part(turn)
        found = turn.difference()
        return Difference(found.plan, (*found.findings, *map(_unread, turn.unread)))


def once(
    parts: Parts,
    lease: Lease,
    scope: Scope = Scope.PODS,
    wait_s: float = 0.0,
    *,
    only: Collection[Kind] = (),
    part: Part | None = None,
) -> Report:
    """Make the world as it should be, as the cluster's only writer; of `only` these kinds (empty: all), or one `part`.

    Raises Conflict, naming the holder, if the lease is not free within `wait_s` seconds, and what `dry_run` raises.
    Faults of steps are in the report.
    """
    with leading(parts, lease, scope, wait_s) as turn:
        narrow(turn, only)
        if part:
            part(turn)
        done = run(turn)
        if not only and part is None:
            turn.clean_up()
        return done


@contextmanager
def looking(parts: Parts, scope: Scope, only: Collection[Kind] = ()) -> Iterator[Turn]:
    """A turn that has observed and may plan, and cannot write. Raises what `dry_run` raises."""
    turn = Turn(parts, scope, lambda: False)
    try:
        narrow(turn, only)
        observe(turn)
        turn.check()
        yield turn
    finally:
        turn.stop(0)


@contextmanager
def leading(parts: Parts, lease: Lease, scope: Scope, wait_s: float) -> Iterator[Turn]:
    """A turn under the lease, which is kept meanwhile and given back afterwards. Raises Conflict as `once` does."""
    lease.acquire(wait_s)
    keeper = Keeper(lease, parts.config.lease.duration_s, lambda _: None, held=True)
    keeper.start()
    turn = Turn(parts, scope, lease.valid)
    try:
        yield turn
    finally:
        turn.stop(STOP_S)
        keeper.stop(STOP_S)


def narrow(turn: Turn, only: Collection[Kind]) -> None:
    """Let the turn do only steps of these kinds; a step that first needs one of another kind is left out, too."""
    if only:
        turn.about = frozenset(only)
        turn.choose = partial(
            chosen, wanted=lambda step: step.kind in only and all(kind_of_key(key) in only for key in step.needs)
        )


def run(turn: Turn, look: Callable[[], object] = lambda: None) -> Report:
    """Rounds of observing and executing, until a round leaves nothing that a newer observation could help.

    `look` is called after each observation, before anything is done; what it raises ends the run.
    """
    for last in (False,) * (TRIES - 1) + (True,):
        _observe_patiently(turn)
        turn.check()
        look()
        turn.tell_unread()
        turn.schedule.rest_no_more()
        execute(turn)
        again = [fault.until_s for fault in turn.schedule.faults if _worth_observing(fault)]
        again += [turn.clock() + error.after_s for error in turn.unread if isinstance(error, Retryable)]
        if turn.state.balancing.pending and turn.about & BALANCING_KINDS:
            again = [turn.clock() + PENDING_RESTS * turn.parts.first_rest_s]
        if last or not again:
            break
        time.sleep(max(0.0, min(again) - turn.clock()))
    turn.tell_left()
    failures = [failure(fault.error, fault.step) for fault in turn.schedule.faults]
    failed = [error for error in turn.unread if error.code != NO_OCTAVIA]
    failures[:0] = [failure(error) for error in (*failed, turn.withheld, turn.short) if error]
    left = turn.difference()
    findings = (*left.findings, *(_unread(error) for error in turn.unread if error.code == NO_OCTAVIA))
    return report(turn.done, failures, left.plan, findings)


def observe(turn: Turn) -> None:
    """Both worlds, the cloud first: then whoever a complete list of the cluster does not name is gone.

    Raises the fault of a kind without which nothing can be told.
    """
    config = turn.parts.config
    mark = turn.state.mark()
    cloud = turn.parts.cloud.observe(config.cluster_id, networks=networks(config))
    cluster, errors = turn.parts.cluster.observe()
    missing: Mapping[Kind, KuryrError] = getattr(cloud, "errors", {})
    _demand(missing, errors.get(Kind.NAMESPACE))
    turn.state.take_cloud(cloud, mark)
    turn.state.take_cluster(cluster)
    if turn.scope is Scope.PODS:
        needed = POLICY_KINDS | {Kind.KURYR_PORT}
        fault = next((errors[kind] for kind in errors if kind in needed), None)
        if fault:
            raise fault
        turn.unread = unread(missing, turn.about)
    turn.state.prove_absent(turn.state.absent_owners())


def execute(turn: Turn) -> None:
    """Plan and run until every worker is idle and nothing is ready, nor about to be."""
    turn.touch_all()
    turn.plan()
    turn.limit()
    turn.dispatch()
    while True:
        if not turn.running and not _worth_waiting(turn):
            return
        _drain(turn)
        turn.plan()
        turn.dispatch()


def unread(errors: Mapping[Kind, KuryrError], about: AbstractSet[Kind]) -> tuple[KuryrError, ...]:
    """Why of these kinds what only Services need was not observed: each fault once, whatever kinds it is of."""
    return tuple({errors[kind].code: errors[kind] for kind in sorted(BALANCING_KINDS & about & errors.keys())}.values())


def networks(config: Config) -> tuple[str, ...]:
    """The networks that the configuration names: they may be another project's."""
    return tuple(name for name in (config.pod_network.name, config.external_network) if name)


def _observe_patiently(turn: Turn) -> None:
    """Observe, and where a list failed that may succeed later, again after a rest: as a step is tried."""
    for failures in range(TRIES - 1):
        try:
            observe(turn)
        except Retryable as error:
            time.sleep(max(error.after_s, turn.parts.first_rest_s * 2**failures))
        else:
            return
    observe(turn)


def _drain(turn: Turn) -> None:
    """Wait for the next message, or until the first rest is over; take all messages that are there."""
    due = turn.schedule.next_s()
    timeout = None if due is None else max(0.0, due - turn.clock())
    try:
        message = turn.inbox.get(timeout=timeout)
        while True:
            if isinstance(message, Done):
                turn.take(message)
            message = turn.inbox.get_nowait()
    except queue.Empty:
        return


def _worth_waiting(turn: Turn) -> bool:
    """Whether a step rests that may succeed afterwards."""
    return turn.schedule.next_s() is not None and any(_passing(fault) for fault in turn.schedule.faults)


def _worth_observing(fault: Fault) -> bool:
    """Whether the step may succeed after a newer observation."""
    return fault.error.code in STALE_CODES or (isinstance(fault.error, Retryable) and fault.needs_observation)


def _passing(fault: Fault) -> bool:
    return not fault.needs_observation and isinstance(fault.error, Retryable) and fault.failures < TRIES


def _demand(missing: Mapping[Kind, KuryrError], namespaces: KuryrError | None) -> None:
    """Without the cloud's kinds, what is missing cannot be told from what was not listed.

    What only Services need is unknown then, and what pods and policies need is done all the same.
    """
    for fault in (*(error for kind, error in missing.items() if kind not in BALANCING_KINDS), namespaces):
        if fault is not None:
            raise fault


def _unread(error: KuryrError) -> Finding:
    """That load balancers are unknown, as a finding."""
    return Finding(FindingCode.REFUSED, Kind.LOAD_BALANCER, "", "Services", f"{error.code}: {error.message}")
