"""`scripts/test` and `scripts/demo`, with programs that only note how they were called: order, clean-up, exit codes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT

KURYRCTL = """#!/bin/bash
echo "kuryrctl $*" >> "$NOTES"
case "$*" in
    "lab status") exit "$LAB_STATUS" ;;
    "lab up"*) exit "${UP:-0}" ;;
    "lab env") echo 'export OS_CLOUD=lab PATH="/lab/bin:$PATH"' ;;
    "lab demo") exit "${DEMO:-0}" ;;
    "lab down") exit "${DOWN:-0}" ;;
esac
"""
PYTEST = """#!/bin/bash
echo "pytest ${OS_CLOUD:-no-cloud} $*" >> "$NOTES"
for word in "$@"; do case "$word" in --junit-xml=*) xml=${word#*=} ;; esac; done
case "$*" in
    *functional*) set -- $FUNCTIONAL ;;
    *--machine-before*) set -- $TRACES ;;
    *--lab*) set -- $CONTRACT ;;
    *) set -- $FAST ;;
esac
echo "<testsuites><testsuite tests=\\"$1\\" failures=\\"$2\\" errors=\\"0\\" skipped=\\"$3\\"/></testsuites>" > "$xml"
exit $(($2 > 0))
"""


class Checkout:
    """A folder with our scripts, and stand-ins for what they call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copytree(ROOT / ".ci", folder / ".ci")
        bin_ = folder / ".venv" / "bin"
        bin_.mkdir(parents=True)
        for name, text in {"kuryrctl": KURYRCTL, "pytest": PYTEST}.items():
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)
        (bin_ / "python").symlink_to(sys.executable)
        for name in ("setup.cfg", "pyproject.toml", ".venv/.ready"):
            (folder / name).touch()

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        usual = {
            "PATH": "/usr/bin:/bin",
            "LAB_STATUS": "1",
            "FAST": "9 0 1",
            "CONTRACT": "3 0 0",
            "FUNCTIONAL": "5 0 0",
            "TRACES": "1 0 0",
        }
        environment = {**usual, "NOTES": str(self.notes), **variables}
        return subprocess.run(words, capture_output=True, text=True, check=False, cwd="/", env=environment, timeout=60)

    def script(self, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.folder / name), *words, **variables)

    def calls(self) -> list[str]:
        return [re.split(r" --junit-xml| /", line)[0].rstrip() for line in self.notes.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    folder = tmp_path / "check out"
    folder.mkdir()
    checkout = Checkout(folder)
    ready = folder / ".venv" / ".ready"
    later = (folder / "setup.cfg").stat().st_mtime + 10
    os.utime(ready, (later, later))
    return checkout


@pytest.mark.parametrize("script", ["scripts/test", ".ci/run"])
def test_a_lab_that_was_down_is_taken_down_again(checkout, script):
    ran = checkout.script(script)

    assert ran.returncode == 0, ran.stderr
    assert checkout.calls() == [
        "pytest no-cloud -q -m not long",
        "kuryrctl lab status",
        "kuryrctl lab traces",
        "kuryrctl lab up",
        "kuryrctl lab env",
        "pytest lab -q -m lab and (not long) --lab",
        "pytest lab -q -m not long --lab",
        "kuryrctl lab down",
        "pytest lab -q --machine-before",
    ]
    assert ran.stdout.splitlines()[-4:] == [
        "unit and contract: 8 passed, 0 failed, 1 skipped",
        "contract on the lab: 3 passed, 0 failed, 0 skipped",
        "functional: 5 passed, 0 failed, 0 skipped",
        "lab down: 1 passed, 0 failed, 0 skipped",
    ]


def test_a_lab_that_was_up_stays_up(checkout):
    assert checkout.script("scripts/test", "--long", LAB_STATUS="0").returncode == 0
    assert checkout.calls() == [
        "pytest no-cloud -q -m long or not long",
        "kuryrctl lab status",
        "kuryrctl lab env",
        "pytest lab -q -m lab and (long or not long) --lab",
        "pytest lab -q -m long or not long --lab",
    ]


@pytest.mark.parametrize(
    "variables",
    [
        {"FAST": "9 1 0"},
        {"CONTRACT": "3 1 0"},
        {"CONTRACT": "3 0 1"},
        {"FUNCTIONAL": "5 1 0"},
        {"FUNCTIONAL": "5 0 1"},
        {"FUNCTIONAL": "0 0 0"},
        {"FAST": "0 0 0"},
        {"UP": "1"},
        {"DOWN": "1"},
        {"TRACES": "1 1 0"},
    ],
)
def test_whatever_fails_or_is_not_run_fails_the_script(checkout, variables):
    assert checkout.script("scripts/test", **variables).returncode != 0
    assert "kuryrctl lab down" in checkout.calls()


def test_the_demo_leaves_the_lab_up_and_says_how_to_go_on(checkout):
    ran = checkout.script("scripts/demo")

    assert ran.returncode == 0, ran.stderr
    assert checkout.calls() == ["kuryrctl lab up --timings", "kuryrctl lab env", "kuryrctl lab demo"]
    assert '. .venv/bin/activate; eval "$(kuryrctl lab env)"; kuryrctl status' in ran.stdout


@pytest.mark.parametrize("variables", [{"UP": "1"}, {"DEMO": "3"}])
def test_a_demo_that_fails_fails(checkout, variables):
    assert checkout.script("scripts/demo", **variables).returncode != 0


@pytest.mark.parametrize(("script", "word"), [("scripts/test", "--lng"), ("scripts/demo", "x")])
def test_unknown_words_are_usage_errors(checkout, script, word):
    ran = checkout.script(script, word)

    assert ran.returncode == 2
    assert ran.stderr.startswith(f"usage: {script}")
    assert not checkout.notes.exists()


@pytest.mark.parametrize("name", ["setup", "check", "test", "demo"])
def test_scripts_are_short_and_strict(name):
    text = (ROOT / "scripts" / name).read_text()

    assert "set -euo pipefail" in text
    assert len(text.splitlines()) < 50
