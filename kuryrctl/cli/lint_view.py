"""What `policy lint` and `service lint` have in common: their options, and one list of findings in every format.

Does not know: what is found, in which kind of object.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from kuryrctl import __version__
from kuryrctl.cli.document import as_text
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.lint import Check, Level, LintFinding, worst

if TYPE_CHECKING:
    from kuryrctl.cli.reports import ReportFinding, ReportRule

FORMATS: Final = ("table", "json", "yaml", "sarif", "junit")
LEVEL_COLOURS: Final = {Level.ERROR: "red", Level.WARNING: "yellow", Level.NOTE: "cyan"}
_EXIT: Final = {Level.ERROR: ExitCode.FAILURES, Level.WARNING: ExitCode.WARNINGS}


class Linter(Struct, frozen=True):
    """Whose findings they are. `noun` is the kind of object (``policy``), `page` describes every check of `checks`."""

    noun: str
    plural: str
    schema: str
    page: str
    checks: Sequence[Check]

    def anchor(self, check: Check) -> str:
        """Where a check is described."""
        return f"{self.page}#{check.code.lower()}"


class Linted(Struct, frozen=True):
    """What was judged: all subjects (``namespace/name``), the findings, and the file of each subject that has one."""

    subjects: Sequence[str]
    findings: Sequence[LintFinding]
    files: Mapping[str, str] = {}

    @property
    def exit_code(self) -> ExitCode:
        """The worst that counts: an error, a warning, or nothing."""
        judged = worst(self.findings)
        return ExitCode.OK if judged is None else _EXIT.get(judged, ExitCode.OK)


def add_lint_options(parser: argparse.ArgumentParser, plural: str) -> None:
    """What is judged, and for whom it is printed."""
    parser.add_argument(
        "-f",
        "--filename",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="manifests instead of a cluster, or on top of one (repeatable)",
    )
    parser.add_argument("--live", action="store_true", help="judge the manifests on top of the live cluster")
    parser.add_argument("-n", "--namespace", metavar="NAME", help=f"{plural} of this namespace only")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")


def show_linted(linted: Linted, linter: Linter, form: str) -> None:
    """Print the findings on stdout in this format."""
    if form == "sarif":
        from kuryrctl.cli.reports import sarif

        print(sarif([_rule(check, linter) for check in linter.checks], _reported(linted, linter), __version__))
    elif form == "junit":
        from kuryrctl.cli.reports import junit

        print(junit(f"kuryrctl {linter.noun} lint", linted.subjects, _reported(linted, linter)))
    elif form == "table":
        _table(linted, linter)
    else:
        print(as_text(_document(linted, linter), form))


def _document(linted: Linted, linter: Linter) -> dict[str, object]:
    return {
        "schema": linter.schema,
        linter.plural: len(linted.subjects),
        "findings": [
            {
                "code": each.check.code,
                "severity": each.check.level,
                linter.noun: each.subject,
                "field": each.field,
                "message": each.message,
                "file": linted.files.get(each.subject),
                "accepted": each.accepted or None,
                "anchor": linter.anchor(each.check),
            }
            for each in linted.findings
        ],
    }


def _table(linted: Linted, linter: Linter) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for each in linted.findings:
        line = Text(f"{each.check.level}: ", "dim" if each.accepted else LEVEL_COLOURS[each.check.level])
        line.append(f"{each.subject} {each.field}: {each.message}   [{each.check.code}]")
        console.print(line, soft_wrap=True)
        if each.accepted:
            console.print(Text(f"  accepted: {each.accepted}", "dim"), soft_wrap=True)
    counting = sum(not each.accepted for each in linted.findings)
    accepted = len(linted.findings) - counting
    told = f"{len(linted.subjects)} {linter.plural}, {counting} findings"
    console.print(told + (f", {accepted} accepted" if accepted else ""))


def _rule(check: Check, linter: Linter) -> ReportRule:
    from kuryrctl.cli.reports import ReportRule

    return ReportRule(check.code, check.title, check.level, linter.anchor(check))


def _reported(linted: Linted, linter: Linter) -> Iterable[ReportFinding]:
    from kuryrctl.cli.reports import ReportFinding

    return [
        ReportFinding(
            _rule(each.check, linter),
            each.subject,
            f"{each.field}: {each.message}" if each.field else each.message,
            linted.files.get(each.subject, ""),
            each.accepted,
        )
        for each in linted.findings
    ]
