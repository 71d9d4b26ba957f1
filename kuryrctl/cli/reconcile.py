"""`reconcile`: the core, once, as a plan, or as a watch."""

from __future__ import annotations

import argparse
import shlex
import time

from kuryrctl.cli.base import Command
from kuryrctl.cli.document import as_text
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.running import add_run_options, refuse_to_write_a_world, run_as_told
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.kinds import Kind

KINDS = (
    *(Kind.PORT, Kind.KURYR_PORT, Kind.KURYR_NODE, Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE),
    *(Kind.LOAD_BALANCER, Kind.LISTENER, Kind.POOL, Kind.MEMBER, Kind.HEALTH_MONITOR, Kind.FLOATING_IP, Kind.SERVICE),
)
"""The kinds that a run's steps are about."""


class Reconcile(Command):
    """Make the cloud hold what Kubernetes wants: once, as a dry run, or as a watch

    Compares with what the cloud really holds, so what somebody deleted or changed comes back. Only objects that are
    provably ours are changed or deleted. One run writes at a time: a second one is refused, naming the holder.

    --save-plan changes nothing, too: it prints the plan and writes it to a file, which `plan apply` executes later.

    Exits with 0 when nothing is left to do, 21 when a dry run found changes, 20 when steps failed or were withheld
    or a load balancer is in ERROR, 124 when --wait was over before another writer gave the Lease back.
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
        add_run_options(parser)
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
        refuse_to_write_a_world(parsed_args)
        if parsed_args.save_plan:
            return self._save_plan(parsed_args)
        only = tuple(map(Kind, parsed_args.only))
        ended = f"converged, as far as {', '.join(only)}" if only else "converged"
        settings = self.settings(parsed_args)
        return run_as_told(settings, parsed_args, only=only, ended=ended, concerns=lambda _: not only)

    def _save_plan(self, parsed_args: argparse.Namespace) -> ExitCode:
        from rich.console import Console

        from kuryrctl.cli.engine import engine_of
        from kuryrctl.cli.files import write_file
        from kuryrctl.cli.plan_view import show_plan
        from kuryrctl.core.saved_plan import encode
        from kuryrctl.kube import own_identity
        from kuryrctl.reconcile import plan_to_save

        parts, _, _ = engine_of(self.settings(parsed_args))
        saved = plan_to_save(parts, tuple(map(Kind, parsed_args.only)), made_by=own_identity(), now_s=time.time())
        write_file(parsed_args.save_plan, encode(saved), what="plan", code="PLAN-FILE")
        if parsed_args.format != "table":
            print(as_text(saved, parsed_args.format))
        else:
            show_plan(saved.plan, saved.findings, Console(highlight=False))
            print(f"saved; to do it: kuryrctl plan apply {shlex.quote(parsed_args.save_plan)}", file=self.app.stderr)
        return ExitCode.DRIFT if saved.plan else ExitCode.OK
