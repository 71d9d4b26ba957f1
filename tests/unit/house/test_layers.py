"""The import contracts of pyproject.toml hold, so the tests alone keep the layers apart."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.repository import ROOT


def test_imports_point_one_way():
    """A process of its own: in this one, import-linter would disable every logger that exists."""
    linter = Path(sys.executable).parent / "lint-imports"
    ran = subprocess.run([linter, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_contracts_name_packages_that_exist():
    """A contract on a misspelt package would hold for ever."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {module for contract in contracts for module in contract.get("source_modules", [])}

    assert named
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []


def test_every_package_stands_in_a_layer():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = {name.strip() for layer in layers for name in layer.split(":")}
    packages = {f"kuryrctl.{path.parent.name}" for path in (ROOT / "kuryrctl").glob("*/__init__.py")}

    assert packages - named == set()
