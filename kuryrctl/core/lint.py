"""Findings of the linters: coded, of a level, about one object, and accepted by its owner with a reason.

An acceptance stands in the object's annotation ``kuryr.openstack.org/lint-ignore``: ``CODE: reason``, one for each line
or separated by ``;``. One without a reason, or of an unknown code, is itself a finding.
Does not know: what is found in which kind of object, files, formats of reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

LINT_IGNORE = "kuryr.openstack.org/lint-ignore"


class Level(StrEnum):
    """How much a finding matters; its value is SARIF's word (SARIF 2.1.0, 3.27.10)."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Check(Struct, frozen=True):
    """A kind of finding. `code` is stable and the anchor of its section in the linter's page of docs/."""

    code: str
    level: Level
    title: str


class LintFinding(Struct, frozen=True):
    """One finding. `subject` is the object's ``namespace/name``, `field` the place inside it
    (``spec.ingress[0].ports[1]``); `accepted` is the reason why it is not to count, empty: it counts."""

    check: Check
    subject: str
    message: str
    field: str = ""
    accepted: str = ""


def judged(
    subject: str, note: str, found: Iterable[LintFinding], checks: Sequence[Check], bad_note: Check
) -> list[LintFinding]:
    """What was found of one object, with the reasons that its annotation `note` accepts it by.

    What is wrong with the annotation comes first, as findings of `bad_note`.
    """
    known = {check.code for check in checks}
    reasons: dict[str, str] = {}
    bad = []
    for entry in filter(None, map(str.strip, note.replace("\n", ";").split(";"))):
        code, _, reason = (part.strip() for part in entry.partition(":"))
        if code in known and reason:
            reasons[code] = reason
            continue
        unknown = f'"{code}" is none of the codes {", ".join(check.code for check in checks)}'
        told = unknown if code not in known else f'"{code}" is accepted without a reason: write "{code}: why"'
        bad.append(LintFinding(bad_note, subject, told, "metadata.annotations"))
    accepted = [
        LintFinding(each.check, each.subject, each.message, each.field, reasons.get(each.check.code, ""))
        for each in found
    ]
    return [*bad, *accepted]


def worst(findings: Iterable[LintFinding]) -> Level | None:
    """The worst level among those that count; None: nothing counts."""
    levels = {finding.check.level for finding in findings if not finding.accepted}
    return next((level for level in (Level.ERROR, Level.WARNING, Level.NOTE) if level in levels), None)
