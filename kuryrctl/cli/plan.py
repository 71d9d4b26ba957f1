"""`plan …`: plans that `reconcile --save-plan` wrote to a file: shown, and applied as they are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Command
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.files import read_file

if TYPE_CHECKING:
    from kuryrctl.core.saved_plan import SavedPlan


class PlanShow(Command):
    """Show a saved plan: what would be done to which object, why, and how much of it

    Asks neither cloud nor cluster: whether the plan still fits what is there, `plan apply` finds out.
    """

    takes_config = False
    takes_cluster = False
    examples = """\
  kuryrctl plan show plan.json
  kuryrctl plan show -f json plan.json | jq '.steps[] | select(.action == "delete") | .reason'"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which file, for whom."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="FILE", help="written by: kuryrctl reconcile --save-plan FILE")
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print it."""
        saved = _read(parsed_args.file)
        if parsed_args.format != "table":
            print(as_text(saved, parsed_args.format))
        else:
            from rich.console import Console

            from kuryrctl.cli.plan_view import show_saved

            show_saved(saved, Console(highlight=False))


class PlanApply(Command):
    """Do exactly what a saved plan says, or nothing where what it was made from has changed

    Everything that the plan touches is compared with what is there now, field by field, before the first step. The
    order, the limit of deletions and the Lease are those of `reconcile`. A step that fails stops only what needs it.

    Exits with 0 when every step was done, 20 when steps failed or were withheld, 1 when the plan is out of date.
    """

    examples = """\
  kuryrctl plan apply plan.json
  kuryrctl plan apply --wait 60 --max-deletes 30 plan.json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which file, how much may be deleted."""
        parser = super().get_parser(prog_name)
        parser.add_argument("file", metavar="FILE", help="written by: kuryrctl reconcile --save-plan FILE")
        parser.add_argument(
            "--max-deletes",
            metavar="N",
            type=count,
            help="delete nothing if the plan deletes more than N ports (default: the larger of 10 and 5 %%)",
        )
        parser.add_argument(
            "--wait", metavar="SECONDS", type=count, default=0, help="wait so long for the cluster's Lease"
        )
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Read the file first: a bad one needs no cloud to be refused."""
        saved = _read(parsed_args.file)

        from kuryrctl.cli.engine import engine_of
        from kuryrctl.cli.running import show_run
        from kuryrctl.reconcile import apply_plan

        parts, _, lease = engine_of(self.settings(parsed_args), max_deletes=parsed_args.max_deletes)
        report = apply_plan(parts, lease, saved, wait_s=parsed_args.wait)
        return show_run(report, parsed_args.format, "plan applied")


def _read(path: str) -> SavedPlan:
    """The plan in a file. Raises Invalid (PLAN-FILE)."""
    from kuryrctl.core.saved_plan import MAKE_ONE, decode

    return decode(read_file(path, what="plan", code="PLAN-FILE", hint=MAKE_ONE), path)
