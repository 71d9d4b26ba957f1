"""What a run did, failed to do and left undone: one versioned document.

Does not know: how it is printed, which exit code it becomes.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from kuryrctl.core.errors import KuryrError
from kuryrctl.core.findings import Finding
from kuryrctl.core.kinds import Action
from kuryrctl.core.plan import Step

REPORT_SCHEMA = "kuryrctl.report/1"


class Failure(Struct, frozen=True, kw_only=True):
    """One step that failed (or, without a key, what stopped the run)."""

    message: str
    code: str
    owner: str
    hint: str = ""
    request_id: str = ""
    key: str = ""
    subject: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """`done` are the summaries of executed steps by action; `left` those that were not tried, or not successfully."""

    schema: str = REPORT_SCHEMA
    created: int = 0
    updated: int = 0
    adopted: int = 0
    deleted: int = 0
    done: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    left: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the world is as it should be."""
        return not self.failures and not self.left


def failure(error: KuryrError, step: Step | None = None) -> Failure:
    """An error as data."""
    return Failure(
        message=error.message,
        code=error.code,
        owner=str(error.owner),
        hint=error.hint,
        request_id=error.request_id,
        key=step.key if step else "",
        subject=step.subject if step else "",
    )


def report(
    done: Iterable[Step], failures: Iterable[Failure], left: Iterable[Step], findings: Iterable[Finding]
) -> Report:
    """The report of a run."""
    steps = list(done)
    counts = {action: sum(step.action is action for step in steps) for action in Action}
    return Report(
        created=counts[Action.CREATE],
        updated=counts[Action.UPDATE],
        adopted=counts[Action.ADOPT],
        deleted=counts[Action.DELETE],
        done=tuple(step.summary for step in steps),
        failures=tuple(failures),
        left=tuple(step.summary for step in left),
        findings=tuple(findings),
    )
