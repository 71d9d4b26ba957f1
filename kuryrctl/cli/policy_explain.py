"""`policy explain` and `policy matrix`: which connections NetworkPolicies allow, and by what."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Final

from kuryrctl.cli.base import Command
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from kuryrctl.cli.settings import Settings
    from kuryrctl.core.cluster import Pod
    from kuryrctl.core.policy.explain import Explained, PortChoice, Questions
    from kuryrctl.core.policy.flows import Side

MOST_PAIRS: Final = 50
WIDE: Final = 1000
"""Columns of a line with ids: a terminal wraps it, and nothing is cut off."""
ALL, NONE = "all", "-"


class PolicyExplain(Command):
    """Tell whether a connection is allowed, and by which policy, security group and rule

    Asks twice: what the NetworkPolicies mean, and what the security groups do that the cloud holds now. FROM and TO are
    NAMESPACE/POD, NAMESPACE/WORKLOAD (each of its pods), service/NAMESPACE/NAME, node/NAME, port/ID or the name of a
    port (a VM's), an address, or a CIDR. Without --port all ports that matter between them are asked about.

    Exits with 0 when both agree, whatever the answer is, and with 20 when the cloud does something else.
    """

    takes_world = True
    examples = """\
  kuryrctl policy explain --from shop/web --to shop/db --port 5432/TCP
  kuryrctl policy explain --from 203.0.113.7 --to service/shop/web --port 80
  kuryrctl policy explain --world world.json --from shop/web --to shop/db -f json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Who, to whom, where."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--from", dest="source", metavar="FROM", required=True, help="who opens the connection")
        parser.add_argument("--to", dest="target", metavar="TO", required=True, help="whom it is opened to")
        parser.add_argument(
            "--port", metavar="PORT[/PROTOCOL]", help="destination port; TCP unless UDP or SCTP is said"
        )
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Ask and print."""
        from kuryrctl.core.policy.explain import parse_port

        chosen = parse_port(parsed_args.port) if parsed_args.port else None
        questions = _questions(self.settings(parsed_args))
        sources, targets = questions.who(parsed_args.source), questions.who(parsed_args.target)
        choices = (chosen,) if chosen else questions.choices(sources, targets)
        pairs = [(source, target) for source in sources for target in targets][:MOST_PAIRS]
        answers = [each for pair in pairs for choice in choices for each in questions.ask(*pair, choice)]
        if parsed_args.format != "table":
            _print_document(answers, parsed_args.format)
        else:
            _print_trees(answers, left=len(sources) * len(targets) - len(pairs))
        if not answers:
            return ExitCode.FAILURES
        return ExitCode.OK if all(each.agree for each in answers) else ExitCode.FAILURES


class PolicyMatrix(Command):
    """Show which pods may speak to which: a table of pods by pods, as the NetworkPolicies mean it

    A cell holds the ports that are open among those that any policy or pod names: "all", "-" for none, or their
    numbers. With --port it is yes or no.
    """

    takes_world = True
    examples = """\
  kuryrctl policy matrix --namespace shop
  kuryrctl policy matrix --port 5432/TCP
  kuryrctl policy matrix --namespace shop --html matrix.html"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which pods, which port, where to."""
        parser = super().get_parser(prog_name)
        parser.add_argument("-n", "--namespace", metavar="NAME", help="pods of this namespace only")
        parser.add_argument("--port", metavar="PORT[/PROTOCOL]", help="this port only")
        parser.add_argument("--html", metavar="FILE", help="write a page for a browser instead")
        parser.add_argument("-f", "--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Judge every pair, and print."""
        from kuryrctl.cli.world import known_namespace
        from kuryrctl.core.policy.explain import parse_port

        chosen = parse_port(parsed_args.port) if parsed_args.port else None
        questions = _questions(self.settings(parsed_args))
        known_namespace(questions.cluster, parsed_args.namespace)
        pods = questions.pods(parsed_args.namespace)
        ends = [questions.ends.pod(pod) for pod in pods]
        choices = (chosen,) if chosen else questions.choices(ends, ends)
        cells = _cells(questions, pods, choices)
        if parsed_args.html:
            from kuryrctl.cli.files import write_file

            page = _page(pods, cells, choices).encode()
            write_file(parsed_args.html, page, what="page", code="HTML-FILE")
        elif parsed_args.format != "table":
            _matrix_document(pods, cells, choices, parsed_args.format)
        else:
            _matrix_table(pods, cells, choices)


# -- explain


def _questions(settings: Settings) -> Questions:
    from kuryrctl.cli.world import read
    from kuryrctl.core.policy.explain import Questions

    reading = read(settings)
    return Questions(reading.cluster, reading.cloud, settings.config)


def _print_trees(answers: list[Explained], left: int) -> None:
    """Answers that say the same for the same reason are told once: of both IP versions, of all pods of a workload."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, width=WIDE)
    if not answers:
        console.print("they have no addresses of the same IP version: nothing can pass")
    alike: dict[object, list[Explained]] = {}
    for each in answers:
        alike.setdefault(_meaning(each), []).append(each)
    for group in alike.values():
        console.print(_tree(group), soft_wrap=True)
    if left > 0:
        console.print(Text(f"and {left} more pairs: name single pods", "dim"))


def _meaning(each: Explained) -> object:
    """What makes two answers the same for people: who said what by which policy and group, not of which pod's port."""
    from kuryrctl.core.policy.flows import LinkKind

    sides = (*each.policies.sides, *each.cloud.sides)
    deciding = [(side.direction, side.reason, side.chain[-2:] if side.allowed else side.chain) for side in sides]
    told = tuple(
        (way, reason, tuple(link.name.replace("IPv6", "IPv4") for link in chain if link.kind is not LinkKind.PORT))
        for way, reason, chain in deciding
    )
    return each.choice, told


def _tree(alike: list[Explained]) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    first = alike[0]
    head = Text("\n").join([_head(list(same)) for _, same in groupby(alike, _pair)])
    tree = Tree(head)
    for name, verdict in (("NetworkPolicies", first.policies), ("security groups", first.cloud)):
        branch = tree.add(f"{name}: {'allowed' if verdict.allowed else 'denied'}")
        for side in verdict.sides:
            branch.add(_side(side))
    return tree


def _pair(each: Explained) -> tuple[str, str]:
    return str(each.flow.source), str(each.flow.target)


def _head(same: list[Explained]) -> Text:
    """The connection, by all IP versions, and the answer."""
    from rich.text import Text

    each = same[0]
    families = " and ".join(f"IPv{one.flow.family}" for one in same)
    port = _asked((each.choice,))
    line = Text(f"{each.flow.source} to {each.flow.target}, {port}, {families}: ")
    allowed = each.policies.allowed
    line.append("allowed" if allowed else "denied", "green" if allowed else "red")
    if not each.agree:
        does = "lets it pass" if each.cloud.allowed else "does not let it pass"
        line.append(f", but the cloud {does} now", "bold red")
    return line


def _side(side: Side) -> Text:
    """One end's word: the answer, what decides it, and (dim) ids and what else was asked."""
    from rich.text import Text

    from kuryrctl.core.policy.flows import LinkKind, Reason

    way = "out of" if side.direction == "egress" else "into"
    line = Text(f"{way} {side.end}: ").append(str(side.reason), "green" if side.allowed else "red")
    rest = side.chain
    if side.reason is Reason.RULE:
        *before, owner, rule = side.chain
        rest = tuple(before)
        line.append(f": {rule.name}").append(f" {rule.id}" if rule.id else "", "dim")
        line.append(f" of {owner.kind} {owner.name}").append(f" {owner.id}" if owner.id else "", "dim")
    policies = [link.name for link in rest if link.kind is LinkKind.POLICY]
    if policies:
        line.append(f"; isolated by {', '.join(policies)}")
    for port in (link for link in rest if link.kind is LinkKind.PORT):
        line.append(f"; port {port.id}", "dim")
    isolating = f"-policy-{side.direction}-"
    groups = [f"{link.name} {link.id}" for link in rest if link.kind is LinkKind.GROUP and isolating in link.name]
    if groups and not side.allowed:
        line.append(f", isolated by {', '.join(groups)}", "dim")
    return line


def _print_document(answers: Iterable[Explained], form: str) -> None:

    from kuryrctl.core.policy.explain import EXPLAIN_SCHEMA

    results = [
        {
            "from": str(each.flow.source),
            "to": str(each.flow.target),
            "family": each.flow.family,
            "protocol": each.flow.protocol,
            "port": each.flow.port,
            "ports": str(each.choice),
            "allowed": each.policies.allowed,
            "allowed_by_cloud": each.cloud.allowed,
            "agree": each.agree,
            "policies": [_side_json(side) for side in each.policies.sides],
            "security_groups": [_side_json(side) for side in each.cloud.sides],
        }
        for each in answers
    ]
    document = {"schema": EXPLAIN_SCHEMA, "results": results}
    print(as_text(document, form))


def _side_json(side: Side) -> dict[str, object]:
    return {
        "direction": side.direction,
        "end": str(side.end),
        "other": str(side.other),
        "port": side.port,
        "allowed": side.allowed,
        "reason": side.reason,
        "chain": side.chain,
    }


# -- matrix


def _cells(questions: Questions, pods: list[Pod], choices: tuple[PortChoice, ...]) -> list[list[str]]:
    """Rows are sources. A port is open where it is open for every IP version that both have."""
    from kuryrctl.core.policy.flows import FAMILIES, Flow

    ends = [questions.ends.pod(pod) for pod in pods]
    rows = []
    for source in ends:
        row = []
        for target in ends:
            open_ = [
                choice
                for choice in choices
                if all(
                    questions.policies.verdict(Flow(source, target, family, choice.protocol, choice.port)).allowed
                    for family in FAMILIES
                    if source.block(family) and target.block(family)
                )
            ]
            row.append(_cell(open_, choices))
        rows.append(row)
    return rows


def _cell(open_: list[PortChoice], choices: tuple[PortChoice, ...]) -> str:
    if len(open_) == len(choices):
        return "yes" if len(choices) == 1 else ALL
    if not open_:
        return "no" if len(choices) == 1 else NONE
    return " ".join(f"others/{each.protocol}" if each.others else str(each) for each in open_)


def _matrix_table(pods: list[Pod], cells: list[list[str]], choices: tuple[PortChoice, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not pods:
        print("no pod on the pod network")
        return
    table = Table("from \\ to", *(str(number) for number, _ in enumerate(pods, 1)))
    for number, (pod, row) in enumerate(zip(pods, cells, strict=True), 1):
        table.add_row(f"{number} {pod.full_name}", *(Text(cell, _colour(cell)) for cell in row))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(f"asked: {_asked(choices)}", "dim"))


def _asked(choices: tuple[PortChoice, ...]) -> str:
    return ", ".join(str(each) if each.others else f"port{'s' if each.last else ''} {each}" for each in choices)


def _colour(cell: str) -> str:
    return {ALL: "green", "yes": "green", NONE: "red", "no": "red"}.get(cell, "yellow")


def _matrix_document(pods: list[Pod], cells: list[list[str]], choices: tuple[PortChoice, ...], form: str) -> None:

    from kuryrctl.core.policy.explain import MATRIX_SCHEMA

    names = [pod.full_name for pod in pods]
    document = {
        "schema": MATRIX_SCHEMA,
        "ports": [str(choice) for choice in choices],
        "open": {source: dict(zip(names, row, strict=True)) for source, row in zip(names, cells, strict=True)},
    }
    print(as_text(document, form))


def _page(pods: list[Pod], cells: list[list[str]], choices: tuple[PortChoice, ...]) -> str:
    """One file without anything outside it; words in the cells, so that nobody needs the colours."""
    shades = {"green": "#d4edda", "red": "#f8d7da", "yellow": "#fff3cd"}
    head = "".join(f"<th title='{html.escape(pod.full_name)}'>{n}</th>" for n, pod in enumerate(pods, 1))
    rows = "".join(
        f"<tr><th class='pod'>{number} {html.escape(pod.full_name)}</th>"
        + "".join(f"<td style='background:{shades[_colour(cell)]}'>{html.escape(cell)}</td>" for cell in row)
        + "</tr>\n"
        for number, (pod, row) in enumerate(zip(pods, cells, strict=True), 1)
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Who may speak to whom</title>
<style>
 body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em }}
 table {{ border-collapse: collapse }}
 th, td {{ border: 1px solid #ccc; padding: .2em .5em; text-align: center; font-weight: normal }}
 th.pod {{ text-align: left; white-space: nowrap }}
 thead th {{ position: sticky; top: 0; background: #fff }}
</style></head><body>
<h1>Who may speak to whom</h1>
<p>Rows open connections, columns are spoken to, by the same numbers. Asked: {html.escape(_asked(choices))}.</p>
<table><thead><tr><th class="pod">from \\ to</th>{head}</tr></thead>
<tbody>
{rows}</tbody></table></body></html>
"""
