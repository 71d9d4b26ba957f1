"""What the tracked files must not hold, and what setup.cfg must say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest

from kuryrctl import __version__
from kuryrctl.cli.commands import COMMANDS
from tests.repository import ROOT, files

OF_ONE_MACHINE = re.compile(r"(?<![\w./-])/(?:work|root|home/\w+)/|/tmp/bash_jobs")
"""Folders of whoever wrote the code."""
OF_A_MERGE = re.compile("^(<{7}|>{7})( |$)")
"""What git leaves around two versions of the same lines."""
LONGEST_MODULE = 400
"""Lines. What is longer holds two ideas, and is split along them."""


@pytest.mark.parametrize("never", [OF_ONE_MACHINE, OF_A_MERGE], ids=["a path of one machine", "a mark of a merge"])
def test_no_file_holds(never):
    found = []
    for name in files():
        if ROOT / name == Path(__file__):
            continue
        try:
            text = (ROOT / name).read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{name}:{number}: {line.strip()}" for number, line in enumerate(text.splitlines(), 1) if never.search(line)
        ]
    assert found == []


@pytest.mark.parametrize(("text", "found"), [("cd /work/main", True), ("/root/.cache", True), ("a/work/b", False)])
def test_the_pattern_of_machine_paths(text, found):
    assert bool(OF_ONE_MACHINE.search(text)) is found


@pytest.mark.parametrize(("text", "found"), [("<<<<<<< main", True), (">>>>>>> a b", True), ("<<<<<<<<", False)])
def test_the_pattern_of_marks_of_a_merge(text, found):
    assert bool(OF_A_MERGE.search(text)) is found


def test_every_module_says_what_it_is_responsible_for():
    modules = [name for name in files("kuryrctl", "osc_plugin", "scripts", "tests") if name.endswith(".py")]
    texts = {name: (ROOT / name).read_text() for name in modules}

    assert texts
    assert [name for name, text in texts.items() if text and not ast.get_docstring(ast.parse(text))] == []


def test_no_module_of_the_product_is_longer_than_an_idea():
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in files("kuryrctl", "osc_plugin")}
    modules = {name: lines for name, lines in lengths.items() if name.endswith(".py")}

    assert modules
    assert {name: lines for name, lines in modules.items() if lines > LONGEST_MODULE} == {}


def test_setup_cfg_names_the_commands_of_the_table():
    checked = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "entry-points"), "--check"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_installed_entry_points_are_the_table():
    """After a change: `.venv/bin/pip install -e . --no-deps`."""
    groups = {"kuryrctl.commands": "", "openstack.kuryr.v1": "kuryr_"}
    for group, prefix in groups.items():
        installed = {
            point.name.removeprefix(prefix).replace("_", " "): point.value
            for point in distribution("kuryrctl").entry_points
            if point.group == group
        }
        assert installed == {name: entry.target for name, entry in COMMANDS.items()}, group


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_the_table_exists_and_is_described_as_its_docstring(name):
    command = EntryPoint(name=name, value=COMMANDS[name].target, group="").load()

    assert command.__doc__.splitlines()[0].rstrip(".") == COMMANDS[name].summary


def test_the_version_is_said_once():
    assert distribution("kuryrctl").version == __version__
