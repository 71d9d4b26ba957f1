"""`service failover`: another machine under a Service's load balancers, where the provider has machines."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from kuryrctl.cli.arguments import count
from kuryrctl.cli.base import Command
from kuryrctl.core.errors import Invalid, Owner

if TYPE_CHECKING:
    from kuryrctl.core.balancers import LoadBalancer


class ServiceFailover(Command):
    """Have the provider make anew what carries a Service's load balancers; its VIPs do not answer meanwhile

    Amphora replaces the machines of a load balancer. OVN has none to replace (a load balancer is flows on every node),
    and the command says so. It asks before it begins, unless --yes is given. Only load balancers that are provably ours
    are touched, under the cluster's Lease.
    """

    examples = """\
  kuryrctl service failover shop/web
  kuryrctl service failover shop/web --yes --wait 60"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one, and whether to ask."""
        parser = super().get_parser(prog_name)
        parser.add_argument("service", metavar="[NAMESPACE/]NAME", help="without a namespace: of namespace default")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--wait", metavar="SECONDS", type=count, default=0, help="wait so long for the cluster's Lease"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Look, ask, and fail over."""
        from kuryrctl.cli.engine import engine_of
        from kuryrctl.cli.services import read_balancers
        from kuryrctl.reconcile.failover import fail_over, refuse_where_impossible

        wanted = parsed_args.service if "/" in parsed_args.service else f"default/{parsed_args.service}"
        settings = self.settings(parsed_args)
        found = read_balancers(settings, wanted)
        for balancer in found:
            refuse_where_impossible(balancer)
        if not parsed_args.yes:
            _ask(wanted, found)
        parts, _, lease = engine_of(settings)
        for balancer in fail_over(parts, lease, wanted, parsed_args.wait):
            print(f"failed over: load balancer {balancer.id} ({balancer.vip_address}): {balancer.provisioning_status}")


def _ask(service: str, balancers: list[LoadBalancer]) -> None:
    """Raises Invalid where nobody is there to ask, or who is there does not say yes."""
    told = ", ".join(f"{each.id} ({each.vip_address})" for each in balancers)
    if not sys.stdin.isatty():
        raise Invalid(
            f"nothing is failed over: {told} of Service {service} would not answer meanwhile, and nobody is asked",
            code="USAGE",
            owner=Owner.USER,
            hint="add --yes",
        )
    print(f"Fail over {told} of Service {service}? It does not answer meanwhile. [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Invalid("nothing is failed over: the answer was no", code="USAGE", owner=Owner.USER)
