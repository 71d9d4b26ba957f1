"""`port …`: pods and their Neutron ports."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

from kuryrctl.cli.base import Lister, ShowOne
from kuryrctl.cli.columns import Joined, Maybe, Since
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.conditions import Condition, PortRow, port_rows
from kuryrctl.core.errors import Invalid, NotFound, Owner
from kuryrctl.core.selectors import Selector, parse_selector

COLUMNS: Final = (
    "Namespace", "Pod", "Node", "Port ID", "Addresses", "MAC", "Status", "Condition", "Created",
)  # fmt: skip
LONG_COLUMNS: Final = (*COLUMNS, "Role", "Host", "VLAN", "Trunk", "Security Groups", "Name", "Pod UID", "Detail")


class PortList(Lister):
    """List pods with their ports, and ports without pods (nodes', leaked, legacy)

    Each row has one condition: ok, or the one thing that is wrong with it. A list is data and exits with 0; to be told
    by an exit code, ask `status`, or `port show` for one pod.
    """

    takes_world = True
    examples = """\
  kuryrctl port list
  kuryrctl port list --namespace shop --long
  kuryrctl port list --condition "no pod" --condition legacy -f json
  kuryrctl port list --selector app=web,tier!=db --node node1"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Filters; each may be repeated."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--namespace", metavar="NAME", action="append", help="pods of this namespace")
        parser.add_argument("--node", metavar="NAME", action="append", help="pods on this node")
        parser.add_argument("--pod", metavar="[NAMESPACE/]NAME", action="append", help="this pod")
        parser.add_argument(
            "--condition",
            metavar="CONDITION",
            action="append",
            type=_condition,
            help=f"rows in this condition: {', '.join(condition.value for condition in Condition)}",
        )
        parser.add_argument(
            "--selector", metavar="LABELS", type=_selector, help="pods with these labels: app=web,tier in (a, b),!x"
        )
        parser.add_argument("--long", action="store_true", help="more columns")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each pod, node, and port that concerns us."""
        from kuryrctl.cli.world import read

        settings = self.settings(parsed_args)
        reading = read(settings)
        rows = [row for row in port_rows(reading.cluster, reading.cloud, settings.config) if _matches(row, parsed_args)]
        now_s = time.time()
        columns = LONG_COLUMNS if parsed_args.long else COLUMNS
        return columns, [tuple(cells(row, now_s)[column] for column in columns) for row in rows]


class PortShow(ShowOne):
    """Show one pod's port: what Kubernetes, Neutron and the node say of it, and its condition

    Exits with 20 when something is wrong with it.
    """

    takes_world = True
    examples = """\
  kuryrctl port show shop/web-0
  kuryrctl port show 6c1f7f0a-4e0c-4f0c-8a0c-0d3f4f3c2b1a -f json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "port", metavar="POD|PORT", help="NAMESPACE/POD, a pod of namespace default, or a port's id"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Every field of the row."""
        from kuryrctl.cli.world import read

        settings = self.settings(parsed_args)
        reading = read(settings)
        wanted = parsed_args.port
        pod = wanted if "/" in wanted else f"default/{wanted}"
        rows = port_rows(reading.cluster, reading.cloud, settings.config)
        row = next((row for row in rows if wanted == row.port_id or pod == f"{row.namespace}/{row.pod}"), None)
        if row is None:
            raise NotFound(
                f'no pod on the pod network and no port of kuryr is called "{wanted}"',
                code="PORT-NOT-FOUND",
                owner=Owner.USER,
                hint="kuryrctl port list shows them; a pod is named NAMESPACE/POD",
            )
        if needs_attention(row):
            self.exit_code = ExitCode.FAILURES
        held = reading.cluster.kuryr_ports.get(f"{row.namespace}/{row.pod}")
        shown = {name.lower().replace(" ", "_"): value for name, value in cells(row, time.time()).items()}
        if held is not None and held.pod_uid == row.pod_uid:
            shown |= {
                "assigned_port_id": Maybe(held.interfaces[0].port_id if held.interfaces else None),
                "assigned_addresses": Joined([address for each in held.interfaces for address in each.addresses]),
                "mtu": Maybe(held.interfaces[0].mtu if held.interfaces else None),
                "bound": held.bound,
                "bound_since": Maybe(held.since or None),
                "sandbox": Maybe(held.sandbox or None),
                "node_error": Maybe(held.error or None),
            }
        return tuple(shown), tuple(shown.values())


def needs_attention(row: PortRow) -> bool:
    """Whether somebody has to look at it: it is neither well nor on its way."""
    return row.condition not in (Condition.OK, Condition.PENDING)


def cells(row: PortRow, now_s: float) -> dict[str, Any]:
    """A row's cells by column name, typed for machines."""
    return {
        "Namespace": Maybe(row.namespace or None),
        "Pod": Maybe(row.pod or None),
        "Node": Maybe(row.node or None),
        "Port ID": Maybe(row.port_id or None),
        "Addresses": Joined(row.addresses),
        "MAC": Maybe(row.mac_address or None),
        "Status": Maybe(row.status or None),
        "Condition": row.condition.value,
        "Created": Since(row.created_at or None, now_s),
        "Role": Maybe(row.role or None),
        "Host": Maybe(row.host or None),
        "VLAN": Maybe(row.vlan or None),
        "Trunk": Maybe(row.trunk or None),
        "Security Groups": Joined(row.security_groups),
        "Name": Maybe(row.name or None),
        "Pod UID": Maybe(row.pod_uid or None),
        "Detail": Maybe(row.detail or None),
    }


def _matches(row: PortRow, wanted: argparse.Namespace) -> bool:
    selector: Selector | None = wanted.selector
    return (
        (not wanted.namespace or row.namespace in wanted.namespace)
        and (not wanted.node or row.node in wanted.node)
        and (not wanted.pod or bool({row.pod, f"{row.namespace}/{row.pod}"} & set(wanted.pod)))
        and (not wanted.condition or row.condition in wanted.condition)
        and (selector is None or (bool(row.pod) and selector.matches(row.labels)))
    )


def _condition(text: str) -> Condition:
    """A condition's word, with blanks or dashes."""
    try:
        return Condition(text.replace("-", " ").lower())
    except ValueError:
        known = ", ".join(condition.value for condition in Condition)
        raise argparse.ArgumentTypeError(f'"{text}" is no condition; known: {known}') from None


def _selector(text: str) -> Selector:
    try:
        return parse_selector(text)
    except Invalid as error:
        raise argparse.ArgumentTypeError(error.message) from None
