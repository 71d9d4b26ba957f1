"""Hints, help and documents name only commands that exist: who follows a hint must not be told "no such command"."""

from __future__ import annotations

import ast
import re

import pytest

from kuryrctl.cli.commands import COMMANDS
from tests.repository import ROOT, files

NAMED = re.compile(r"\bkuryrctl ([a-z]+)(?: ([a-z]+)\b)?(?: ([a-z]+)\b)?")
SPOKEN = frozenset(
    {"agent", "did", "does", "gives", "import", "imports", "in", "installed", "is", "leaves", "needs", "now", "reach"}
)
"""What follows our name in a sentence about us. A sentence with another word: add it here, if it is no command's."""
OF_CLIFF = frozenset({"complete", "help"})
TO_COME = frozenset({"doctor"})
"""Announced as what is not there yet."""
SHORTENED = frozenset({"po l"})


def unknown(text: str) -> list[str]:
    """The commands that a text names and that do not exist."""
    found = []
    for match in NAMED.finditer(text):
        words = [word for word in match.groups() if word]
        if words[0] in SPOKEN | OF_CLIFF | TO_COME or " ".join(words[:2]) in SHORTENED:
            continue
        if not _exists(words):
            found.append(match[0])
    return found


def _exists(words: list[str]) -> bool:
    """Whether these words begin with a command, or are all of them the beginning of one (``kuryrctl lab engine``)."""
    begun = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    return any(one in COMMANDS for one in begun) or any(name.startswith(f"{begun[-1]} ") for name in COMMANDS)


def strings(source: str) -> str:
    """All string constants of a module, docstrings and the fixed parts of f-strings among them."""
    constants = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return "\n".join(constant for constant in constants if isinstance(constant, str))


@pytest.mark.parametrize("name", [name for name in files("kuryrctl", "osc_plugin") if name.endswith(".py")])
def test_the_code_names_commands_that_exist(name):
    assert unknown(strings((ROOT / name).read_text())) == []


DOCUMENTS = [
    name for name in files("README.md", "docs", "playbooks", "releasenotes") if name.endswith((".md", ".yaml"))
]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_name_commands_that_exist(name):
    assert unknown((ROOT / name).read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kuryrctl port leaks finds them", ["kuryrctl port leaks finds"]),
        ("kuryrctl leaks", ["kuryrctl leaks"]),
        ("kuryrctl lab engine sotp", ["kuryrctl lab engine sotp"]),
        ("kuryrctl port list finds them, kuryrctl reconcile repairs it, `kuryrctl port`", []),
        ("kuryrctl lab engine stop; kuryrctl po l", []),
        ("kuryrctl is not running, kuryrctl did not plug it", []),
    ],
)
def test_the_pattern_of_command_names(text, found):
    assert unknown(text) == found
