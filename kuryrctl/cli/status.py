"""`status`: the cluster on one screen."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from kuryrctl.cli.base import Command
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.summary import Severity, Summary

if TYPE_CHECKING:
    from rich.console import Console

    from kuryrctl.cli.settings import Settings
    from kuryrctl.core.errors import KuryrError

POLL_S: Final = 1.0
SHOWN_PROBLEMS: Final = 15
UNKNOWN: Final = "unknown"
NODE_COLUMNS: Final = ("NODE", "KUBELET", "AGENT", "VERSION", "PLUGGED", "NODE PORT")
_EXIT: Final = {None: ExitCode.OK, Severity.WARNING: ExitCode.WARNINGS, Severity.FAILURE: ExitCode.FAILURES}
_COLOURS: Final = {Severity.NOTE: "cyan", Severity.WARNING: "yellow", Severity.FAILURE: "red"}


class Status(Command):
    """One screen: cluster, cloud, engine, nodes and agents, counts, and what is wrong

    What cannot be read (a cloud or a cluster that does not answer) is one of the failures.

    Exits with 0 when all is well, 10 with warnings only, 20 with failures; with --wait, 124 when not well in time.
    """

    takes_world = True
    examples = """\
  kuryrctl status
  kuryrctl status --wait 60
  kuryrctl status -f json | jq .problems"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Whether to wait, and for whom to print."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--wait", metavar="SECONDS", type=float, help="until all is well, at most so long")
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Read, join, print."""
        from rich.console import Console

        settings = self.settings(parsed_args)
        deadline = time.monotonic() + (parsed_args.wait or 0)
        summary = _read(settings)
        while parsed_args.wait and summary.worst and time.monotonic() < deadline:
            time.sleep(POLL_S)
            summary = _read(settings)
        if parsed_args.format != "table":
            print(as_text(summary, parsed_args.format))
        else:
            _show(summary, Console(highlight=False))
        if parsed_args.wait and summary.worst:
            return ExitCode.TIMEOUT
        return _EXIT[summary.worst]


def _read(settings: Settings) -> Summary:
    from kuryrctl.cli.engine import planning_parts
    from kuryrctl.cli.services import rows_now
    from kuryrctl.cli.world import look
    from kuryrctl.core.conditions import port_rows
    from kuryrctl.core.diff import Scope
    from kuryrctl.core.errors import KuryrError
    from kuryrctl.core.summary import Facts, summarise
    from kuryrctl.reconcile.once import looking

    reading = look(settings)
    unread = dict(reading.unread)
    engine = None if "cluster" in unread else _engine(settings)
    if isinstance(engine, KuryrError):
        unread["engine"], engine = engine, None
    rows, services, difference, fault = None, None, None, None
    try:
        if not reading.unread:
            rows = port_rows(reading.cluster, reading.cloud, settings.config)
            with looking(planning_parts(settings), Scope.PODS) as turn:
                difference = turn.difference()
                services = rows_now(settings, turn, difference.plan) if turn.state.world().services_known else None
    except KuryrError as error:
        fault = error
    facts = Facts(
        cluster=reading.cluster,
        rows=rows,
        engine=engine,
        plan=difference.plan if difference else None,
        findings=difference.findings if difference else (),
        fault=fault,
        errors=reading.errors,
        unread=unread,
        services=services,
    )
    now_s = settings.world.made_at.timestamp() if settings.world else time.time()
    return summarise(settings.config.cluster_id, reading.cloud.project_id, facts, now_s)


def _engine(settings: Settings) -> str | KuryrError:
    """Who holds the cluster's Lease, empty: nobody; or why that cannot be told."""
    from kuryrctl.cli.engine import lease_of
    from kuryrctl.core.errors import KuryrError

    if settings.world is not None:
        return settings.world.engine
    try:
        holder = lease_of(settings, settings.kube()).holder()
    except KuryrError as error:
        return error
    return holder.identity if holder else ""


def _show(summary: Summary, console: Console) -> None:
    from rich.text import Text
    from tabulate import tabulate

    none = UNKNOWN if summary.pods is None else "none"
    services = UNKNOWN if summary.services is None else _counted(summary.services) or "none"
    drift = UNKNOWN if summary.plan_steps is None else f"{summary.plan_steps} changes to make"
    console.print(
        tabulate(
            [
                ("cluster", f"{summary.cluster_id} (kube-system {summary.kube_system_uid or UNKNOWN})"),
                ("cloud", f"project {summary.project_id or UNKNOWN}"),
                ("engine", UNKNOWN if summary.engine is None else summary.engine or "nobody holds the Lease"),
                ("state", "converged" if summary.plan_steps == 0 else drift),
                ("pods, ports", UNKNOWN if summary.pods is None else f"{summary.pods}, {summary.ports}"),
                ("conditions", _counted(summary.conditions) or none),
                ("services", services),
            ],
            tablefmt="plain",
        ),
        soft_wrap=True,
    )
    rows = [
        (
            node.name,
            "Ready" if node.ready else "not Ready",
            "never" if node.heartbeat_age_s is None else f"{node.heartbeat_age_s:.0f} s ago",
            node.agent_version or "-",
            node.plugged,
            ", ".join(node.addresses) or "-",
        )
        for node in summary.nodes
    ]
    console.print()
    console.print(tabulate(rows, NODE_COLUMNS, tablefmt="plain"), soft_wrap=True)
    console.print()
    if not summary.worst:
        console.print(Text("all is well", "green"))
    for problem in summary.problems[:SHOWN_PROBLEMS]:
        line = Text(f"{problem.severity}: ", _COLOURS[problem.severity])
        console.print(line.append(f"{problem.subject}: {problem.message}   [{problem.owner}]"), soft_wrap=True)
        if problem.hint:
            console.print(Text(f"  next: {problem.hint}", "dim"), soft_wrap=True)
    if len(summary.problems) > SHOWN_PROBLEMS:
        console.print(f"and {len(summary.problems) - SHOWN_PROBLEMS} more: kuryrctl status -f json")


def _counted(conditions: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in conditions.items())
