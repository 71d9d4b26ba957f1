"""The programs that run in the services' own environment."""

from __future__ import annotations

import ast

import pytest

from kuryrctl.lab.openstack.database import INSIDE, SERVICES

PROGRAMS = sorted(path for path in INSIDE.glob("*.py") if path.name != "__init__.py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a program run by its path has no package"
            yield node.module


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_they_import_nothing_of_ours(path):
    assert not [name for name in imported(path) if name.split(".")[0] in ("kuryrctl", "osc_plugin", "msgspec")]


def test_every_service_has_a_program_that_fills_its_database():
    assert {f"{service}_database.py" for service in SERVICES} <= {path.name for path in PROGRAMS}
