"""`policy sync`: the engine, limited to what NetworkPolicies ask for."""

from __future__ import annotations

import argparse

from kuryrctl.cli.base import Command
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.running import add_run_options, run_as_told


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
        add_run_options(parser)
        parser.add_argument(
            "--namespace", "-n", metavar="NS", default="", help="only what policies and pods of this namespace need"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Run, and say what was done."""
        from kuryrctl.reconcile import policies

        part = policies(parsed_args.namespace)
        return run_as_told(self.settings(parsed_args), parsed_args, part=part, ended="policies are in sync")
