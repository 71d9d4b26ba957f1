"""`reconcile`: the core, once, as a plan, or as a watch."""

from __future__ import annotations

import argparse
import shlex
import time

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Command, log_as_service
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.kinds import Kind

KINDS = (Kind.PORT, Kind.KURYR_PORT, Kind.KURYR_NODE, Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE)
"""The kinds that a run's steps are about."""


class Reconcile(Command):
    """Make the cloud hold what Kubernetes wants: once, as a dry run, or as a watch

    Compares with what the cloud really holds, so what somebody deleted or changed comes back. Only objects that are
    provably ours are changed or deleted. One run writes at a time: a second one is refused, naming the holder.

    --save-plan changes nothing, too: it prints the plan and writes it to a file, which `plan apply` executes later.

    Exits with 0 when nothing is left to do, 21 when a dry run found changes, 20 when steps failed or were withheld,
    124 when --wait was over before another writer gave the Lease back.
    """

    takes_world = True
    examples = """\
  kuryrctl reconcile --dry-run
  kuryrctl reconcile
  kuryrctl reconcile --wait 60 --max-deletes 0
  kuryrctl reconcile --only port --only kuryr-port
  kuryrctl reconcile --save-plan plan.json
  kuryrctl reconcile --watch"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """How to run, and how much may be deleted."""
        parser = super().get_parser(prog_name)
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        how.add_argument("--watch", action="store_true", help="go on until SIGTERM or Ctrl-C")
        parser.add_argument(
            "--save-plan", metavar="FILE", help="write the plan to FILE for `plan apply`, and change nothing"
        )
        parser.add_argument(
            "--only",
            metavar="KIND",
            action="append",
            choices=[kind.value for kind in KINDS],
            default=[],
            help=f"only steps on this kind ({', '.join(KINDS)}; repeatable) that need no step on another kind first",
        )
        parser.add_argument(
            "--max-deletes",
            metavar="N",
            type=count,
            help="stop before the first deletion if there would be more than N (default: the larger of 10 and 5 %%)",
        )
        parser.add_argument(
            "--wait", metavar="SECONDS", type=count, default=0, help="wait so long for the cluster's Lease"
        )
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Run, and say what was done."""
        if parsed_args.watch and (parsed_args.only or parsed_args.save_plan):
            raise Invalid(
                "--watch does everything, all the time: it takes neither --only nor --save-plan",
                code="USAGE",
                owner=Owner.USER,
                hint="leave --watch away",
            )
        if parsed_args.world and not parsed_args.dry_run:
            raise Invalid(
                "--world is a saved observation, which can be planned for and not changed",
                code="USAGE",
                owner=Owner.USER,
                hint="add --dry-run",
            )
        if parsed_args.watch:
            return self._watch(parsed_args)
        if parsed_args.save_plan:
            return self._save_plan(parsed_args)
        if parsed_args.dry_run:
            return self._dry_run(parsed_args)
        return self._once(parsed_args)

    def _dry_run(self, parsed_args: argparse.Namespace) -> ExitCode:
        from rich.console import Console

        from kuryrctl.cli.engine import planning_parts
        from kuryrctl.cli.plan_view import plan_document, show_plan
        from kuryrctl.reconcile import dry_run

        difference = dry_run(planning_parts(self.settings(parsed_args)), only=_only(parsed_args))
        if parsed_args.format != "table":
            print(plan_document(difference.plan, difference.findings, parsed_args.format))
        else:
            show_plan(difference.plan, difference.findings, Console(highlight=False))
        return ExitCode.DRIFT if difference.plan else ExitCode.OK

    def _save_plan(self, parsed_args: argparse.Namespace) -> ExitCode:
        from rich.console import Console

        from kuryrctl.cli.engine import engine_of
        from kuryrctl.cli.plan import write_plan
        from kuryrctl.cli.plan_view import show_plan
        from kuryrctl.core.saved_plan import encode
        from kuryrctl.kube import own_identity
        from kuryrctl.reconcile import plan_to_save

        parts, _, _ = engine_of(self.settings(parsed_args))
        saved = plan_to_save(parts, _only(parsed_args), made_by=own_identity(), now_s=time.time())
        document = encode(saved)
        write_plan(parsed_args.save_plan, document)
        if parsed_args.format != "table":
            print(as_text(saved, parsed_args.format))
        else:
            show_plan(saved.plan, saved.findings, Console(highlight=False))
            print(f"saved; to do it: kuryrctl plan apply {shlex.quote(parsed_args.save_plan)}", file=self.app.stderr)
        return ExitCode.DRIFT if saved.plan else ExitCode.OK

    def _once(self, parsed_args: argparse.Namespace) -> ExitCode:
        from rich.console import Console

        from kuryrctl.cli.engine import engine_of
        from kuryrctl.cli.plan_view import show_report
        from kuryrctl.reconcile import once

        parts, _, lease = engine_of(self.settings(parsed_args), max_deletes=parsed_args.max_deletes)
        report = once(parts, lease, wait_s=parsed_args.wait, only=_only(parsed_args))
        if parsed_args.format != "table":
            print(as_text(report, parsed_args.format))
        else:
            ended = f"converged, as far as {', '.join(parsed_args.only)}" if parsed_args.only else "converged"
            show_report(report, Console(highlight=False), Console(stderr=True, highlight=False), ended)
        return ExitCode.OK if report.ok else ExitCode.FAILURES

    def _watch(self, parsed_args: argparse.Namespace) -> ExitCode:
        from kuryrctl.cli.engine import watch_until_told

        log_as_service()
        watch_until_told(self.settings(parsed_args), max_deletes=parsed_args.max_deletes)
        return ExitCode.OK


def _only(parsed_args: argparse.Namespace) -> tuple[Kind, ...]:
    """The kinds that were named; none: all."""
    return tuple(map(Kind, parsed_args.only))
