"""`policy sync`: the engine, limited to what NetworkPolicies ask for."""

from __future__ import annotations

import argparse

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Command, log_as_service
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode


class PolicySync(Command):
    """Make security groups, their rules and the ports' group lists what NetworkPolicies ask for

    Once, as a dry run, or as a watch. It is `reconcile`, limited to groups, rules and the group lists of ports that
    exist: ports are neither made nor deleted. New rules come before old ones go, and each port changes in one update.

    Exits with 0 when nothing is left to do, 21 when a dry run found changes, 20 when steps failed or were withheld
    (a quota that is too small, too many deletions), 124 when --wait was over before another writer gave the Lease back.
    """

    examples = """\
  kuryrctl policy sync --dry-run
  kuryrctl policy sync
  kuryrctl policy sync --namespace shop
  kuryrctl policy sync --watch"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """How to run, and how much may be deleted."""
        parser = super().get_parser(prog_name)
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        how.add_argument("--watch", action="store_true", help="go on until SIGTERM or Ctrl-C")
        parser.add_argument(
            "--namespace", "-n", metavar="NS", default="", help="only what policies and pods of this namespace need"
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
        from rich.console import Console

        from kuryrctl.cli.engine import engine_of, watch_until_told
        from kuryrctl.cli.plan_view import plan_document, show_plan, show_report
        from kuryrctl.reconcile import dry_run, once, policies

        settings, part = self.settings(parsed_args), policies(parsed_args.namespace)
        if parsed_args.watch:
            log_as_service()
            watch_until_told(settings, max_deletes=parsed_args.max_deletes, part=part)
            return ExitCode.OK
        parts, _, lease = engine_of(settings, max_deletes=parsed_args.max_deletes)
        form = parsed_args.format
        if parsed_args.dry_run:
            found = dry_run(parts, part=part)
            if form != "table":
                print(plan_document(found.plan, found.findings, form))
            else:
                show_plan(found.plan, found.findings, Console(highlight=False))
            return ExitCode.DRIFT if found.plan else ExitCode.OK
        report = once(parts, lease, wait_s=parsed_args.wait, part=part)
        if form != "table":
            print(as_text(report, form))
        else:
            ended = "policies are in sync"
            show_report(report, Console(highlight=False), Console(stderr=True, highlight=False), ended)
        return ExitCode.OK if report.ok else ExitCode.FAILURES
