"""`service sync`: the engine, limited to what Services ask for."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from kuryrctl.cli.base import Command
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.running import add_run_options, refuse_to_write_a_world, run_as_told
from kuryrctl.core.errors import Invalid, Owner

if TYPE_CHECKING:
    from kuryrctl.cli.settings import Settings
    from kuryrctl.core.findings import Finding
    from kuryrctl.reconcile import Part


class ServiceSync(Command):
    """Make load balancers, their members, floating IPs and Services' status what Services ask for

    Once, as a dry run, or as a watch. It is `reconcile`, limited to Services. A new load balancer is one call; the
    members of a pool change in one, too, and no listener is touched by it.

    A load balancer that Octavia has given up (ERROR) is told of and left as it is: making it anew is an outage. With
    --repair it is deleted and made anew, after the plan was printed; only what is provably ours.

    Exits with 0 when nothing is left to do, 21 when a dry run found changes, 20 when steps failed or were withheld (a
    quota that is too small, too many deletions) or a load balancer is in ERROR, 124 when --wait was over before another
    writer gave the Lease back.
    """

    takes_world = True
    examples = """\
  kuryrctl service sync --dry-run
  kuryrctl service sync
  kuryrctl service sync --namespace shop
  kuryrctl service sync --repair --dry-run
  kuryrctl service sync --watch"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """How to run, and how much may be deleted."""
        parser = super().get_parser(prog_name)
        add_run_options(parser)
        parser.add_argument(
            "--namespace", "-n", metavar="NS", default="", help="only what Services of this namespace need"
        )
        parser.add_argument(
            "--repair", action="store_true", help="make anew what Octavia has given up (ERROR): an outage of each"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Run, and say what was done."""
        from kuryrctl.cli.services import demanding_octavia
        from kuryrctl.core.diff_services import Remedy
        from kuryrctl.reconcile import services

        refuse_to_write_a_world(parsed_args)
        if parsed_args.watch and parsed_args.repair:
            raise Invalid(
                "--repair is for once: a watch that makes load balancers anew could go on doing that for ever",
                code="USAGE",
                owner=Owner.USER,
                hint="run service sync --repair beside the watch, with --wait",
            )
        settings = self.settings(parsed_args)
        part = services(parsed_args.namespace, Remedy.RECREATE if parsed_args.repair else Remedy.TELL)
        if not parsed_args.watch:
            part = demanding_octavia(part)
        if parsed_args.repair and not parsed_args.dry_run and parsed_args.format == "table":
            _show_plan(settings, part)
        concerns = partial(_is_of, namespace=parsed_args.namespace)
        return run_as_told(settings, parsed_args, part=part, ended="Services are in sync", concerns=concerns)


def _is_of(finding: Finding, namespace: str) -> bool:
    """Whether it is about a load balancer (``CLUSTER/NAMESPACE/NAME``) of this namespace; empty: of any."""
    return namespace in ("", *finding.name.split("/")[1:2])


def _show_plan(settings: Settings, part: Part) -> None:
    """What will be done, before anything is: it is an outage."""
    from rich.console import Console

    from kuryrctl.cli.engine import planning_parts
    from kuryrctl.cli.plan_view import show_plan
    from kuryrctl.reconcile import dry_run

    found = dry_run(planning_parts(settings), part=part)
    show_plan(found.plan, (), Console(highlight=False))
