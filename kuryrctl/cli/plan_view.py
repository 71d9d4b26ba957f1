"""One plan, two views: coloured lines for people, one versioned document for machines. The same steps in both.

Does not know: how the plan was made, what becomes of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from kuryrctl.cli.document import as_text
from kuryrctl.core.findings import Finding
from kuryrctl.core.kinds import Action
from kuryrctl.core.plan import PLAN_SCHEMA, Plan, Step
from kuryrctl.core.saved_plan import SavedPlan
from kuryrctl.reconcile import Report

_COLOURS: Final = {Action.CREATE: "green", Action.UPDATE: "yellow", Action.DELETE: "red", Action.ADOPT: "cyan"}
_VERBS: Final = {
    Action.CREATE: "to create",
    Action.UPDATE: "to update",
    Action.DELETE: "to delete",
    Action.ADOPT: "to adopt",
}


class PlanDocument(msgspec.Struct, frozen=True):
    """What ``-f json`` and ``-f yaml`` print of a plan."""

    converged: bool
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    schema: str = PLAN_SCHEMA


def plan_document(plan: Plan, findings: Iterable[Finding], form: str) -> str:
    """The plan as one document, in JSON or YAML."""
    return as_text(PlanDocument(converged=not plan, steps=plan.steps, findings=tuple(findings)), form)


def show_plan(plan: Plan, findings: Iterable[Finding], console: Console) -> None:
    """The plan for people: each step with its reason, changed fields below it, counts at the end."""
    _show_steps(plan, console)
    _show_findings(findings, console)
    _show_counts(plan, console)


def show_saved(saved: SavedPlan, console: Console) -> None:
    """A saved plan for people: whose it is, the steps of each kind with their reasons, counts at the end."""
    console.print(Text(f"plan for cluster {saved.cluster_id}, project {saved.project_id}", "bold"), soft_wrap=True)
    console.print(f"made {saved.made_at} by {saved.made_by}", soft_wrap=True, markup=False)
    if saved.only:
        console.print(f"only steps on {', '.join(saved.only)}", soft_wrap=True)
    for kind in dict.fromkeys(step.kind for step in saved.steps):
        steps = saved.plan.of(kind)
        console.print()
        console.print(Text(f"{kind}: {_counts(steps)}", "bold"), soft_wrap=True)
        _show_steps(steps, console)
    if saved.steps:
        console.print()
    _show_findings(saved.findings, console)
    _show_counts(saved.plan, console)


def show_report(report: Report, console: Console, errors: Console, ended: str = "converged") -> None:
    """What a run did, on stdout; what it failed to do, on stderr. `ended` says that nothing is left."""
    for summary in report.done:
        console.print(Text(f"done  {summary}"), soft_wrap=True)
    for failure in report.failures:
        what = f"{failure.subject or failure.key}: " if failure.subject or failure.key else ""
        errors.print(Text(f"kuryrctl: {what}{failure.message}   [{failure.owner}, {failure.code}]"), soft_wrap=True)
        if failure.hint:
            errors.print(Text(f"  next: {failure.hint}"), soft_wrap=True)
    for summary in report.left:
        console.print(Text(f"left  {summary}", "yellow"), soft_wrap=True)
    _show_findings(report.findings, console)
    if report.ok:
        changed = report.created + report.updated + report.adopted + report.deleted
        console.print(ended if changed else f"{ended}: nothing to do")


def _show_steps(plan: Plan, console: Console) -> None:
    for step in plan:
        console.print(_line(step), soft_wrap=True)
        for change in step.changes:
            console.print(Text(f"      {change.field}: {change.before or '-'} -> {change.after or '-'}", "dim"))


def _show_counts(plan: Plan, console: Console) -> None:
    console.print(Text(f"plan: {_counts(plan)}", "bold") if plan else "converged: nothing to do")


def _counts(plan: Plan) -> str:
    return ", ".join(f"{plan.count(action)} {_VERBS[action]}" for action in Action if plan.count(action))


def _line(step: Step) -> Text:
    text = Text(f"  {step.action.symbol} ", _COLOURS[step.action])
    text.append(f"{step.action} {step.kind}", _COLOURS[step.action])
    text.append(f" {step.subject or step.key}", "bold")
    text.append(f"  ({step.reason})")
    return text


def _show_findings(findings: Iterable[Finding], console: Console) -> None:
    for finding in findings:
        about = "" if finding.name in finding.message else f"{finding.name}: "
        console.print(Text(f"  ! {finding.code}: {about}{finding.message}", "magenta"), soft_wrap=True)
