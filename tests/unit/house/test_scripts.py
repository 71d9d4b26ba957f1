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

SPREAD = "-n auto --dist worksteal"
AGAIN = "--reruns 1 --max-suite-reruns 5 --rerun-show-tracebacks"
KURYRCTL = """#!/bin/bash
echo "kuryrctl $*" >> "$NOTES"
case "$*" in
    "lab status") exit "$LAB_STATUS" ;;
    "lab up"*) exit "${UP:-0}" ;;
    "lab env") echo 'export OS_CLOUD=lab PATH="/lab/bin:$PATH"' ;;
    "lab demo") exit "${DEMO:-0}" ;;
    "lab down") if grep -q "lab up" "$NOTES"; then exit "${DOWN:-0}"; else exit "${DOWN_BEFORE:-0}"; fi ;;
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
        f"pytest no-cloud -q -m not long {SPREAD}",
        "kuryrctl lab status",
        "kuryrctl lab down",
        "kuryrctl lab traces",
        "kuryrctl lab up",
        "kuryrctl lab env",
        f"pytest lab -q -m lab and (not long) --lab {AGAIN}",
        f"pytest lab -q -m not long --lab {AGAIN}",
        "kuryrctl lab down",
        "pytest lab -q --machine-before",
    ]
    assert ran.stdout.splitlines()[-8:] == [
        "unit and contract: 8 passed, 0 failed, 1 skipped",
        "contract on the lab: 3 passed, 0 failed, 0 skipped",
        "functional: 5 passed, 0 failed, 0 skipped",
        "lab down: 1 passed, 0 failed, 0 skipped",
        "fault x call combinations: 0",
        "crash points: 0",
        "CNI cases: 0",
        "cases of policies by packets: 0",
    ]


def test_a_lab_that_was_up_stays_up(checkout):
    assert checkout.script("scripts/test", "--long", LAB_STATUS="0").returncode == 0
    assert checkout.calls() == [
        f"pytest no-cloud -q -m long or not long {SPREAD}",
        "kuryrctl lab status",
        "kuryrctl lab env",
        f"pytest lab -q -m lab and (long or not long) --lab {AGAIN}",
        f"pytest lab -q -m long or not long --lab {AGAIN}",
    ]


def test_a_lab_that_is_partly_up_is_taken_down_before_the_machine_is_looked_at(checkout):
    ran = checkout.script("scripts/test", LAB_STATUS="20")

    assert ran.returncode == 0
    assert "not wholly up: taking down what there may be of it" in ran.stderr
    assert checkout.calls().index("kuryrctl lab down") < checkout.calls().index("kuryrctl lab traces")


def test_where_what_is_left_of_a_lab_cannot_be_taken_down_no_lab_is_brought_up(checkout):
    assert checkout.script("scripts/test", DOWN_BEFORE="1").returncode == 1
    assert "kuryrctl lab up" not in checkout.calls()


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
    up = checkout.calls().index("kuryrctl lab up")
    assert "kuryrctl lab down" in checkout.calls()[up:]


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


@pytest.fixture
def bare(checkout) -> Path:
    """A checkout without its environment, on a machine without Python; the folder of all the machine's programs."""
    shutil.rmtree(checkout.folder / ".venv")
    programs = checkout.folder.parent / "programs"
    programs.mkdir()
    for name in ("bash", "cat", "chmod", "dirname", "env", "mkdir", "sed", "touch"):
        (programs / name).symlink_to(str(shutil.which(name)))
    program(programs, "id", "echo 0")
    program(programs, "sleep", 'echo "sleep $1" >> "$NOTES"; exec /bin/sleep 0.1')
    return programs


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


# As `python3 -m venv` and `.venv/bin/python -m pip`; installing takes a while without a word.
PYTHON = """#!/bin/bash
echo "python $1 $2 $3" >> "$NOTES"
case "$1 $2 $3" in
    "-c import ensurepip, venv ") [ "${VENV:-yes}" = yes ] || [ -e "$0.venv" ] ;;
    "-m venv --clear") mkdir -p .venv/bin; cat "$0" > .venv/bin/python; chmod 755 .venv/bin/python ;;
    "-m pip install") /bin/sleep "${TAKES:-0}"; echo "Collecting cliff>=4.7"; exit "${PIP:-0}" ;;
esac
"""
APT = """echo "apt-get $*" >> "$NOTES"
case "$*" in *python3-venv*) cat "$PROGRAMS/python.text" > "$PROGRAMS/python3" ;; esac
case "$*" in *python3-venv*) chmod 755 "$PROGRAMS/python3"; touch "$PROGRAMS/python3.venv" ;; esac"""


def set_up(checkout: Checkout, programs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (programs / "python.text").write_text(PYTHON)
    return checkout.script("scripts/setup", PATH=str(programs), PROGRAMS=str(programs), **variables)


def test_on_a_machine_without_python_setup_says_and_installs_it(checkout, bare):
    program(bare, "apt-get", APT)

    ran = set_up(checkout, bare)

    assert ran.returncode == 0, ran.stderr
    assert "scripts/setup installs the Debian packages python3 python3-venv" in ran.stderr
    assert [line for line in checkout.calls() if line.startswith("apt-get")] == [
        "apt-get -qq update",
        "apt-get -qq install -y --no-install-recommends python3 python3-venv",
    ]
    assert (checkout.folder / ".venv" / ".ready").exists()


def test_what_makes_environments_is_installed_alone_where_python_is_there(checkout, bare):
    program(bare, "apt-get", APT)
    (bare / "python3").write_text(PYTHON)
    (bare / "python3").chmod(0o755)

    assert set_up(checkout, bare, VENV="no").returncode == 0
    assert "apt-get -qq install -y --no-install-recommends python3-venv" in checkout.calls()


def test_on_a_machine_without_python_and_apt_setup_says_what_to_install(checkout, bare):
    ran = set_up(checkout, bare)

    assert ran.returncode == 1
    assert "found no Python >= 3.11 and no apt-get: install Python 3.11" in ran.stderr
    assert not (checkout.folder / ".venv").exists()


@pytest.mark.parametrize("outcome", ["0", "3"])
def test_setup_gives_signs_of_life_until_it_ends_however_it_ends(checkout, bare, outcome):
    (bare / "python3").write_text(PYTHON)
    (bare / "python3").chmod(0o755)

    ran = set_up(checkout, bare, TAKES="2", PIP=outcome)  # it would not return while something held its stderr

    assert ran.returncode == int(outcome)
    assert ran.stderr.count("scripts/setup has been at work for") >= 3
    assert "Terminated" not in ran.stderr
    assert "sleep 8" in checkout.calls()
    assert (checkout.folder / ".venv" / ".ready").exists() == (outcome == "0")


@pytest.mark.parametrize("name", ["setup", "check", "test", "demo"])
def test_scripts_are_short_and_strict(name):
    text = (ROOT / "scripts" / name).read_text()

    assert "set -euo pipefail" in text
    assert len(text.splitlines()) < 50


def test_different_cases_of_tests_that_passed_are_counted(checkout, tmp_path):
    (tmp_path / "fast.xml").write_text("""<testsuites><testsuite tests="4" failures="1" errors="0" skipped="1">
        <testcase name="a"><properties>
            <property name="fault-call" value="503 x POST ports"/>
            <property name="fault-call" value="503 x GET ports"/>
            <property name="crash-point" value="1"/>
        </properties></testcase>
        <testcase name="b"><properties><property name="fault-call" value="503 x GET ports"/></properties></testcase>
        <testcase name="c"><properties><property name="cni-case" value="ADD"/></properties><failure/></testcase>
        <testcase name="d"><properties><property name="cni-case" value="DEL"/></properties><skipped/></testcase>
    </testsuite></testsuites>""")
    (tmp_path / "lab.xml").write_text("""<testsuites><testsuite tests="1" failures="0" errors="0" skipped="0">
        <testcase name="e"><properties><property name="fault-call" value="503 x GET ports"/></properties></testcase>
    </testsuite></testsuites>""")

    ran = checkout.script("scripts/counts", f"fast={tmp_path}/fast.xml", f"lab={tmp_path}/lab.xml")

    assert ran.stdout.splitlines()[2:] == [
        "fault x call combinations: 3 (fast 2, lab 1)",
        "crash points: 1 (fast 1)",
        "CNI cases: 0",
        "cases of policies by packets: 0",
    ]
    assert ran.returncode == 1


def test_a_case_of_an_unknown_kind_is_an_error(checkout, tmp_path):
    (tmp_path / "fast.xml").write_text("""<testsuites><testsuite tests="1" failures="0" errors="0" skipped="0">
        <testcase name="a"><properties><property name="crashpoint" value="1"/></properties></testcase>
    </testsuite></testsuites>""")

    ran = checkout.script("scripts/counts", f"fast={tmp_path}/fast.xml")

    assert (ran.returncode, "crashpoint" in ran.stderr) == (1, True)
