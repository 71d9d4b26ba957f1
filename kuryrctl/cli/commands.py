"""The one table of all commands: what `kuryrctl` runs, and what setup.cfg announces to `openstack`.

A static table starts faster than a search for entry points. After a change: ``scripts/entry-points`` (it writes the
same names and classes into setup.cfg; a test compares them).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """Where a command's class is (``module:Class``), and the first line of its docstring."""

    target: str
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "config show": Entry("kuryrctl.cli.config:ShowConfig", "Show every option, its value and where it came from"),
    "config validate": Entry("kuryrctl.cli.config:ValidateConfig", "Check a configuration file without using it"),
}


def starting_with(words: list[str]) -> list[str]:
    """The commands whose first words are these or begin with them, in the table's order."""
    return [
        name for name in COMMANDS if len(name.split()) >= len(words) and all(map(str.startswith, name.split(), words))
    ]
