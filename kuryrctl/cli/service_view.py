"""One Service, two views: a coloured tree for people, one versioned document for machines. The same links in both.

Does not know: how the tree was grown.
"""

from __future__ import annotations

from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from kuryrctl.cli.document import as_text
from kuryrctl.cli.lint_view import LEVEL_COLOURS
from kuryrctl.core.lint import Level
from kuryrctl.core.service_links import Layer, Link, State
from kuryrctl.core.service_rows import FINE, ServiceCondition, ServiceRow

SERVICE_SCHEMA: Final = "kuryrctl.service/1"
WIDE: Final = 500
"""Columns: rich cuts its trees at the width of a terminal, and ids must not be cut."""


class NoteDocument(msgspec.Struct, frozen=True):
    """What the Service asks for and does not get; `accepted` is its user's reason not to mind, None: there is none."""

    code: str
    severity: Level
    field: str
    message: str
    accepted: str | None


class ServiceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What ``-f json`` and ``-f yaml`` print of a Service. `first_broken` has nothing below it: `tree` has."""

    schema: str = SERVICE_SCHEMA
    namespace: str
    service: str
    uid: str
    type: str
    ports: tuple[str, ...]
    cluster_ips: tuple[str, ...]
    vips: tuple[str, ...]
    floating_ips: tuple[str, ...]
    load_balancers: tuple[str, ...]
    provider: str
    members_ready: int
    members_total: int
    provisioning_status: str
    operating_status: str
    condition: ServiceCondition
    detail: str
    notes: tuple[NoteDocument, ...]
    first_broken: Link | None
    tree: Link


def service_document(row: ServiceRow, form: str) -> str:
    """The Service as one document, in JSON or YAML."""
    fields = {name: getattr(row, name) for name in ServiceDocument.__struct_fields__ if hasattr(row, name)}
    fields["first_broken"] = row.link and msgspec.structs.replace(row.link, below=())
    fields["notes"] = tuple(
        NoteDocument(each.check.code, each.check.level, each.field, each.message, each.accepted or None)
        for each in row.notes
    )
    return as_text(ServiceDocument(**fields), form)


def print_service(row: ServiceRow) -> None:
    """The Service for people: its tree, then what is wrong and what to do about it."""
    console = Console(highlight=False, width=WIDE)
    console.print(_tree(row), soft_wrap=True)
    colour = "green" if row.condition in FINE else "red"
    console.print(
        Text(str(row.condition), colour).append(f": {row.detail}" if row.detail else "", "default"), soft_wrap=True
    )
    for each in row.notes:
        note = Text(f"{each.check.level}: ", "dim" if each.accepted else LEVEL_COLOURS[each.check.level])
        console.print(note.append(f"{each.message}   [{each.check.code}]", "default"), soft_wrap=True)
    if row.link is not None:
        broken = Text("first broken link: ", "bold").append(f"{row.link.layer} {row.link.name}", "bold red")
        console.print(broken.append(f": {row.link.detail}   [{row.link.owner}]", "default"), soft_wrap=True)
        console.print(Text(f"  next: {row.link.hint}"), soft_wrap=True)


def _tree(row: ServiceRow) -> Tree:
    head = _line(row.tree)
    told = ", ".join(filter(None, (row.type, *row.ports)))
    head.append(f"  {told}" if told else "")
    root = Tree(head)
    for link in row.tree.below:
        _grow(root, link, row.link)
    return root


def _grow(above: Tree, link: Link, first: Link | None) -> None:
    branch = above.add(_line(link, first=link is first))
    for below in link.below:
        _grow(branch, below, first)


def _line(link: Link, *, first: bool = False) -> Text:
    """What it is, what Octavia calls it, what is wrong with it; and (dim) its id."""
    line = Text(f"{link.layer} ").append(link.name, "bold")
    statuses = "/".join(filter(None, (link.provisioning_status, link.operating_status)))
    if statuses:
        line.append(f"  {statuses}", "green" if link.state is State.OK else "yellow")
    if link.broken:
        line.append(f"  {link.state}: {link.detail}", "bold red" if first else "red")
    elif link.state is State.PENDING:
        line.append(f"  {link.state}" + (f": {link.detail}" if link.detail else ""), "yellow")
    elif link.detail:
        line.append(f"  {link.detail}")
    if link.id and link.layer is not Layer.SERVICE:
        line.append(f"  {link.id}", "dim")
    return line
