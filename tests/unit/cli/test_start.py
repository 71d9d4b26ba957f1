"""What a start of ours imports, counted: modules do not depend on how busy the machine is, seconds do."""

from __future__ import annotations

import json
import subprocess
import sys

from kuryrctl.cli.commands import COMMANDS

HEAVY = {
    "keystoneauth1", "kubernetes", "openstack", "osc_lib", "ovs", "ovsdbapp", "prettytable", "prompt_toolkit",
    "pyroute2", "requests", "rich", "tabulate", "urllib3", "yaml",
}  # fmt: skip
"""Libraries that only the call that needs them may import."""

ALL_COMMANDS = """
from importlib.metadata import EntryPoint
from kuryrctl.cli.commands import COMMANDS
for name, entry in COMMANDS.items():
    EntryPoint(name=name, value=entry.target, group="").load()
"""


MOST_OF_ONE = 180
MOST_MODULES = 210
"""Of all commands together, cliff included (123 of them): what `openstack --help` may load for us; 196 as of now."""


def modules(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`, beyond those of an empty program."""
    tail = "\nimport sys, json; json.dump(sorted(sys.modules), sys.stderr)"

    def loaded(source: str) -> set[str]:
        ran = subprocess.run([sys.executable, "-c", source + tail], capture_output=True, text=True, check=True)
        return set(json.loads(ran.stderr))

    return loaded(code) - loaded("")


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_help_needs_neither_cliff_nor_any_library():
    added = modules("from kuryrctl.cli.app import main; main(['--help'])")

    assert top(added) & (HEAVY | {"cliff", "stevedore", "msgspec", "importlib_metadata"}) == set()
    assert "importlib.metadata" not in added
    assert {name for name in added if name.startswith("kuryrctl")} == {
        "kuryrctl", "kuryrctl.cli", "kuryrctl.cli.app", "kuryrctl.cli.commands", "kuryrctl.cli.exit_codes",
        "kuryrctl.cli.overview",
    }  # fmt: skip


def test_the_plugin_module_imports_nothing_of_others():
    """Every `openstack` command imports it, whatever it does."""
    added = modules("import osc_plugin.plugin")

    assert top(added) - sys.stdlib_module_names == {"osc_plugin"}
    assert len(added) < 10


def test_the_hook_imports_only_what_names_our_ports():
    """Every `openstack port list` imports it; cliff is there already."""
    added = modules("import osc_plugin.hooks") - modules("import cliff.hooks")

    assert {name for name in added if name.startswith("kuryrctl")} == {
        "kuryrctl",
        "kuryrctl.core",
        "kuryrctl.core.names",
    }
    assert top(added) & HEAVY == set()


def test_classes_of_commands_import_no_client_library():
    """`openstack --help` loads every command's class to print its first line."""
    added = modules(ALL_COMMANDS)

    assert len(added) <= MOST_MODULES
    assert top(added) & HEAVY == set()
    assert {name for name in added if name.startswith(("kuryrctl.cloud.", "kuryrctl.kube.", "kuryrctl.node."))} == set()


def test_no_class_of_a_command_imports_much_beside_cliff():
    """Each by itself, as a command starts. The most now: 168, of which cliff 123."""
    files = {entry.target.partition(":")[0] for entry in COMMANDS.values()}
    added = {name: len(modules(f"import {name}")) for name in sorted(files)}
    assert {name: count for name, count in added.items() if count > MOST_OF_ONE} == {}


def test_a_command_that_asks_no_cloud_imports_no_client_library():
    added = modules("from kuryrctl.cli.app import main; main(['config', 'show', '-f', 'json'])")

    assert top(added) & (HEAVY - {"prettytable", "yaml"}) == set()  # cliff's table and YAML formatters
