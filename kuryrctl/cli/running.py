"""How `reconcile`, `policy sync` and `service sync` run: their common options, and a run as these say.

Does not know: what a run does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import log_as_service
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.findings import Finding, FindingCode

if TYPE_CHECKING:
    from collections.abc import Collection

    from kuryrctl.cli.settings import Settings
    from kuryrctl.core.kinds import Kind
    from kuryrctl.core.plan import Plan
    from kuryrctl.reconcile import Part, Report


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """How to run, how much may be deleted, and for whom to print."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    how.add_argument("--watch", action="store_true", help="go on until SIGTERM or Ctrl-C")
    parser.add_argument(
        "--max-deletes",
        metavar="N",
        type=count,
        help="stop before the first deletion if there would be more than N (default: the larger of 10 and 5 %%)",
    )
    parser.add_argument("--wait", metavar="SECONDS", type=count, default=0, help="wait so long for the cluster's Lease")
    parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")


def refuse_to_write_a_world(parsed_args: argparse.Namespace) -> None:
    """Raises Invalid where --world is given for anything but a dry run."""
    if parsed_args.world and not parsed_args.dry_run:
        raise Invalid(
            "--world is a saved observation, which can be planned for and not changed",
            code="USAGE",
            owner=Owner.USER,
            hint="add --dry-run",
        )


def run_as_told(
    settings: Settings,
    parsed_args: argparse.Namespace,
    *,
    only: Collection[Kind] = (),
    part: Part | None = None,
    ended: str = "converged",
    concerns: Callable[[Finding], bool] = lambda _: False,
) -> ExitCode:
    """A run as `add_run_options` says: a watch, a dry run, or once. `ended` says that nothing is left.

    What the cloud gave up, and no step makes anew unasked, is a failure where the finding `concerns` the run.
    """
    from kuryrctl.cli.engine import engine_of, planning_parts, watch_until_told
    from kuryrctl.reconcile import dry_run, once

    if parsed_args.watch:
        log_as_service()
        watch_until_told(settings, max_deletes=parsed_args.max_deletes, part=part)
        return ExitCode.OK
    if parsed_args.dry_run:
        found = dry_run(planning_parts(settings), only=only, part=part)
        shown = show_dry_run(found.plan, found.findings, parsed_args.format)
        return shown or _given_up(filter(concerns, found.findings))
    parts, _, lease = engine_of(settings, max_deletes=parsed_args.max_deletes)
    report = once(parts, lease, wait_s=parsed_args.wait, only=only, part=part)
    return show_run(report, parsed_args.format, ended) or _given_up(filter(concerns, report.findings))


def show_dry_run(plan: Plan, findings: tuple[Finding, ...], form: str) -> ExitCode:
    """Print what would be done; drift, where that is anything."""
    from rich.console import Console

    from kuryrctl.cli.plan_view import plan_document, show_plan

    if form != "table":
        print(plan_document(plan, findings, form))
    else:
        show_plan(plan, findings, Console(highlight=False))
    return ExitCode.DRIFT if plan else ExitCode.OK


def show_run(report: Report, form: str, ended: str) -> ExitCode:
    """Print what was done; a failure, where anything failed or is left."""
    from rich.console import Console

    from kuryrctl.cli.plan_view import show_report

    if form != "table":
        print(as_text(report, form))
    else:
        show_report(report, Console(highlight=False), Console(stderr=True, highlight=False), ended)
    return ExitCode.OK if report.ok else ExitCode.FAILURES


def _given_up(findings: Iterable[Finding]) -> ExitCode:
    return ExitCode.FAILURES if any(each.code is FindingCode.BROKEN for each in findings) else ExitCode.OK
