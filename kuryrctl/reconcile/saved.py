"""Plans that were saved: made without writing, applied later exactly as they are, or refused.

Applying is a run of the ordinary turn that may do nothing but the steps of the document, each once: the same order,
limits, lease and proof of absence. Before the first step, everything that the plan saw is compared with a new
observation; a later round compares what is still to be done. Does not know: files, command lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import msgspec

from kuryrctl.core.diff import Scope, World, difference
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Plan, Step, chosen
from kuryrctl.core.saved_plan import (
    SavedPlan,
    StepIdentity,
    changed,
    exists,
    identity,
    refuse,
    same_cluster,
    saved_plan,
    stale_error,
    unwanted,
)
from kuryrctl.core.subjects import subject_of_key
from kuryrctl.reconcile.contracts import Lease
from kuryrctl.reconcile.once import leading, looking, run
from kuryrctl.reconcile.report import Failure, Report, failure, report
from kuryrctl.reconcile.turn import Parts, Turn


def plan_to_save(parts: Parts, only: Collection[Kind], *, made_by: str, now_s: float) -> SavedPlan:
    """What a run would do, with what it was concluded from. `now_s` is seconds since the epoch.

    Raises what `dry_run` raises.
    """
    with looking(parts, Scope.PODS, only) as turn:
        made_at = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
        return saved_plan(turn.state.world(), turn.difference(), made_at=made_at, made_by=made_by, only=only)


def apply_plan(parts: Parts, lease: Lease, saved: SavedPlan, wait_s: float = 0.0) -> Report:
    """Do the steps of the plan, as the cluster's only writer; the report accounts for each of them.

    Raises, before anything is done: Invalid (PLAN-CLUSTER) for another cluster's plan, Conflict (PLAN-STALE) where
    something that the plan saw has changed, and what `once` raises. Later faults are in the report.
    """
    same_cluster(saved, cluster_id=parts.config.cluster_id)
    with leading(parts, lease, Scope.PODS, wait_s) as turn:
        applying = _Applying(turn, saved)
        turn.choose = applying.choose
        try:
            ran = run(turn, applying.look)
        except (
            KuryrError
        ) as error:  # an observation between two rounds failed: what was done is to be told all the same
            if not applying.begun:
                raise
            faults = (failure(fault.error, fault.step) for fault in turn.schedule.faults)
            ran = Report(failures=(failure(error), *faults))
        return applying.report(ran)


class _Applying:
    """The steps of one document while they are executed; the turn thread's. `begun`: the plan was compared and fits."""

    def __init__(self, turn: Turn, saved: SavedPlan) -> None:
        self._turn = turn
        self._saved = saved
        self._seen = {(each.kind, each.key, each.id): each for each in saved.observed}
        self._waiting = {identity(step): step for step in saved.steps}
        self._refused: dict[StepIdentity, KuryrError] = {}
        self._done: set[StepIdentity] = set()
        self._told = 0
        self.begun = False

    def choose(self, steps: Iterable[Step]) -> list[Step]:
        """Of the steps that are due now those of the document which are still to be done, as the document has them.

        Each is bound to the revision of the port that was compared: Neutron refuses it where that has moved on.
        """
        self._settle()
        found = chosen(steps, lambda step: identity(step) in self._waiting)
        return [self._bound(self._waiting[identity(step)], step) for step in found]

    def look(self) -> None:
        """Compare with the observation just made: all of the plan at first, later what is still to be done."""
        state = self._turn.state
        world, fresh = state.world(), self._fresh()
        same_cluster(
            self._saved,
            cluster_id=world.own.identity.cluster_id,
            kube_system_uid=state.kube_system_uid,
            project_id=world.own.identity.project_id,
        )
        if self.begun:
            self._look_again(world, fresh)
            return
        refuse((*changed(self._saved.observed, world), *unwanted(self._saved.steps, fresh)))
        self.begun = True

    def report(self, ran: Report) -> Report:
        """Every step of the document, in its order: done, or left with the reason why."""
        self._settle()
        steps = {identity(step): step for step in self._saved.steps}
        failures = [self._limited(each) for each in ran.failures]
        failures += [failure(error, steps[key]) for key, error in self._refused.items()]
        return report(
            [step for key, step in steps.items() if key in self._done],
            failures,
            [step for key, step in steps.items() if key not in self._done],
            ran.findings,
        )

    def _look_again(self, world: World, fresh: Plan) -> None:
        """Between two rounds: what failed may have had its effect (a time-out), or may not fit any more."""
        self._settle()
        due, keys = {identity(step) for step in fresh}, {step.key for step in fresh}
        for key, step in list(self._waiting.items()):
            stale = list(changed([self._seen[step.kind, step.key, step.id]], world))
            if step.key not in keys and self._came_true(step, world):
                self._done.add(key)
            elif stale or key not in due:
                why = stale[0].why if stale else "nothing asks for it any more"
                self._refused[key] = stale_error(f"{step.action} {step.key} not done: {why}")
            else:
                continue
            del self._waiting[key]

    def _came_true(self, step: Step, world: World) -> bool:
        """Whether a step for whose key nothing is due any more is as good as done, not merely wanted by nobody."""
        there = exists(step, world)
        if step.action in (Action.CREATE, Action.DELETE):
            return there is (step.action is Action.CREATE)
        subject = subject_of_key(step.key)
        served = self._seen.get((Kind(subject.partition("/")[0]), subject, ""))
        return there and served is not None and not any(changed([served], world))

    def _settle(self) -> None:
        """Steps that the turn has done since are not done again."""
        new = [identity(step) for step in self._turn.done[self._told :]]
        self._told += len(new)
        self._done.update(new)
        for key in new:
            self._waiting.pop(key, None)

    def _fresh(self) -> Plan:
        turn = self._turn
        return difference(turn.state.world(), turn.parts.config, Scope.PODS, turn.state.evidence).plan

    def _bound(self, step: Step, due: Step) -> Step:
        port = self._turn.state.ports.by_id(step.id) if step.kind is Kind.PORT and step.id else None
        return msgspec.structs.replace(step, needs=due.needs, revision=port.revision_number if port else 0)

    def _limited(self, told: Failure) -> Failure:
        if told.code != "LIMIT-DELETES":
            return told
        deletes = sum(step.action is Action.DELETE and step.kind is Kind.PORT for step in self._saved.steps)
        hint = (
            f"read the plan (kuryrctl plan show FILE); if it is right: kuryrctl plan apply --max-deletes {deletes} FILE"
        )
        return msgspec.structs.replace(told, hint=hint)
