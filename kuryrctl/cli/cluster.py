"""`cluster …`: what one cluster needs in the cloud and in Kubernetes."""

from __future__ import annotations

import argparse

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Command
from kuryrctl.cli.exit_codes import ExitCode


class ClusterInit(Command):
    """Make what the cluster shares: pod network, subnets, router, groups; and our kinds, policies and roles

    Objects that the configuration names are adopted: used, and never changed but for the tag that binds the pod network
    to this cluster. Run it again after a change of the configuration or of kuryrctl: it does what is missing.

    Exits with 0 when nothing is left to do, 21 when a dry run found changes, 20 when steps failed, 124 when --wait was
    over before another writer gave the Lease back.
    """

    examples = """\
  kuryrctl cluster init --dry-run
  kuryrctl cluster init"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """A dry run, and how long to wait for the Lease."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
        parser.add_argument(
            "--wait", metavar="SECONDS", type=count, default=0, help="wait so long for the cluster's Lease"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Kubernetes first (the engine's objects live there), then the cloud."""
        from rich.console import Console

        from kuryrctl.cli.engine import engine_of
        from kuryrctl.cli.plan_view import show_plan, show_report
        from kuryrctl.reconcile import Scope, dry_run, once

        parts, kube, lease = engine_of(self.settings(parsed_args))
        console = Console(highlight=False)
        if parsed_args.dry_run:
            missing = kube.installed()
            for finding in missing:
                console.print(f"  + apply {finding.object}  ({finding.problem})", soft_wrap=True)
            difference = dry_run(parts, Scope.CLUSTER)
            show_plan(difference.plan, difference.findings, console)
            return ExitCode.DRIFT if difference.plan or missing else ExitCode.OK
        for applied in kube.install():
            console.print(f"applied  {applied}", soft_wrap=True)
        report = once(parts, lease, Scope.CLUSTER, wait_s=parsed_args.wait)
        show_report(report, console, Console(stderr=True, highlight=False))
        return ExitCode.OK if report.ok else ExitCode.FAILURES


class ClusterCredential(Command):
    """Print what the engine's credential needs in the cloud: a policy override for one role, or access rules

    The engine is not an admin: its user has the roles `member` and `kuryr` in the cluster's project (where Octavia's
    advanced roles are in force, `load-balancer_member` as well). Merge the override into the service's policy.yaml; it
    allows a role what it needs in its own project and nothing more. Octavia's is for failovers alone.
    """

    takes_config = False
    takes_cluster = False
    examples = """\
  kuryrctl cluster credential >> /etc/neutron/policy.yaml
  kuryrctl cluster credential --service octavia >> /etc/octavia/policy.yaml
  kuryrctl cluster credential --access-rules > rules.json
  openstack application credential create --access-rules rules.json --role kuryr --role member kuryr"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The role, and which of the two texts."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--role", metavar="NAME", default="kuryr", help="default: kuryr")
        parser.add_argument(
            "--service",
            choices=("neutron", "octavia"),
            default="neutron",
            help="whose policy to override; default: neutron",
        )
        parser.add_argument("--access-rules", action="store_true", help="JSON for an application credential instead")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print it."""
        import msgspec

        from kuryrctl.cloud.credential import access_rules, policy_override

        if parsed_args.access_rules:
            rules = [{"service": rule.service, "method": rule.method, "path": rule.path} for rule in access_rules()]
            print(msgspec.json.format(msgspec.json.encode(rules)).decode())
        else:
            print(policy_override(parsed_args.role, parsed_args.service), end="")


class ClusterManifests(Command):
    """Print our Kubernetes objects, for people who apply by themselves: kinds, admission policies, roles"""

    takes_config = False
    takes_cluster = False
    examples = """\
  kuryrctl cluster manifests | kubectl apply --server-side -f -"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print them."""
        from kuryrctl.kube import manifest_text

        print(manifest_text(), end="")
