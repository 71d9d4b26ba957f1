"""`service list` and `service show`: Services beside the load balancers that they become."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cliff.columns import FormattableColumn

from kuryrctl.cli.base import Command, Lister
from kuryrctl.cli.columns import Joined, Maybe
from kuryrctl.cli.document import FORMATS
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.service_rows import ServiceCondition

if TYPE_CHECKING:
    from kuryrctl.core.service_rows import ServiceRow

COLUMNS: Final = (
    "Namespace", "Service", "Type", "VIPs", "Floating IPs", "Load Balancers", "Members", "Provisioning", "Operating",
    "Condition",
)  # fmt: skip
LONG_COLUMNS: Final = (*COLUMNS, "Ports", "Cluster IPs", "Provider", "Service UID", "Detail")


class ServiceList(Lister):
    """List Services with their VIPs, floating IPs, load balancers, members, and a condition

    Each row has one condition: ok, or the one thing that is wrong with it (--long tells what). Members are those that
    are there and well, of those that should be. A list is data and exits with 0; to be told by an exit code, ask
    `status`, or `service show` for one Service.
    """

    takes_world = True
    examples = """\
  kuryrctl service list
  kuryrctl service list --namespace shop --long
  kuryrctl service list --condition drift --condition error -f json
  kuryrctl service list --world world.json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Filters; each may be repeated."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--namespace", metavar="NAME", action="append", help="Services of this namespace")
        parser.add_argument(
            "--condition",
            metavar="CONDITION",
            action="append",
            type=_condition,
            help=f"rows in this condition: {', '.join(condition.value for condition in ServiceCondition)}",
        )
        parser.add_argument("--long", action="store_true", help="more columns")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each Service, and for each load balancer that has none."""
        from kuryrctl.cli.services import read_rows

        rows = [
            row
            for row in read_rows(self.settings(parsed_args))
            if (not parsed_args.namespace or row.namespace in parsed_args.namespace)
            and (not parsed_args.condition or row.condition in parsed_args.condition)
        ]
        columns = LONG_COLUMNS if parsed_args.long else COLUMNS
        return columns, [tuple(cells(row)[column] for column in columns) for row in rows]


class ServiceShow(Command):
    """Show one Service as a tree, down to its pods' ports, and name its first broken link

    Service, load balancer, listener, pool, member, pod, port: a packet goes this way, so the first broken link is where
    it stops. It is named with its owner and what to do next.

    Exits with 20 when there is a broken link, 10 when the Service only asks for something that it does not get.
    """

    takes_world = True
    examples = """\
  kuryrctl service show shop/web
  kuryrctl service show shop/web -f json | jq .first_broken
  kuryrctl service show shop/web --world world.json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one, and for whom it is printed."""
        parser = super().get_parser(prog_name)
        parser.add_argument("service", metavar="[NAMESPACE/]NAME", help="without a namespace: of namespace default")
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Read, grow the tree, print."""
        from kuryrctl.cli.service_view import print_service, service_document
        from kuryrctl.cli.services import find, read_rows

        row = find(read_rows(self.settings(parsed_args)), parsed_args.service)
        if parsed_args.format != "table":
            print(service_document(row, parsed_args.format))
        else:
            print_service(row)
        if row.condition is ServiceCondition.LIMITED:
            return ExitCode.WARNINGS
        return ExitCode.FAILURES if row.broken else ExitCode.OK


class Members(FormattableColumn[Any]):
    """Members that are there and well, of those that should be: ``2/3`` for people, two numbers for machines."""

    def human_readable(self) -> str:
        """As kubectl writes it."""
        return "/".join(map(str, self._value))

    def machine_readable(self) -> dict[str, int]:
        """Both by name."""
        ready, total = self._value
        return {"ready": ready, "total": total}


def cells(row: ServiceRow) -> dict[str, Any]:
    """A row's cells by column name, typed for machines."""
    return {
        "Namespace": Maybe(row.namespace or None),
        "Service": Maybe(row.service or None),
        "Type": Maybe(row.type or None),
        "VIPs": Joined(row.vips),
        "Floating IPs": Joined(row.floating_ips),
        "Load Balancers": Joined(row.load_balancers),
        "Members": Members((row.members_ready, row.members_total)),
        "Provisioning": Maybe(row.provisioning_status or None),
        "Operating": Maybe(row.operating_status or None),
        "Condition": row.condition.value,
        "Ports": Joined(row.ports),
        "Cluster IPs": Joined(row.cluster_ips),
        "Provider": Maybe(row.provider or None),
        "Service UID": Maybe(row.uid or None),
        "Detail": Maybe(row.detail or None),
    }


def _condition(text: str) -> ServiceCondition:
    """A condition's word, with blanks or dashes."""
    try:
        return ServiceCondition(text.replace("-", " ").lower())
    except ValueError:
        known = ", ".join(condition.value for condition in ServiceCondition)
        raise argparse.ArgumentTypeError(f'"{text}" is no condition; known: {known}') from None
