"""What people install is whole: every tracked file of the packages is in the wheel, and the wheel works by itself."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.repository import ROOT, files

LOADS_DATA = """
import sys
from importlib.metadata import entry_points
from importlib.resources import files
manifests = sorted(file.name for file in (files("kuryrctl") / "kube" / "manifests").iterdir())
playbooks = (files("kuryrctl") / "playbooks" / "README.md").read_text()
assert manifests and all((files("kuryrctl") / "kube" / "manifests" / name).read_text() for name in manifests), manifests
assert "kuryrctl doctor" in playbooks
for point in entry_points(group="console_scripts"):
    if point.value.startswith("kuryrctl."):
        point.load()
print(*manifests)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the checkout's files only: no leftover of an earlier build can hide what is missing."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source" / "kuryrctl").mkdir(parents=True)
    (folder / "source" / "kuryrctl" / "playbooks").symlink_to("../playbooks")
    for name in files("kuryrctl", "osc_plugin", "playbooks", "setup.cfg", "pyproject.toml", "README.md"):
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, folder / "source"],
        check=True,
        capture_output=True,
        text=True,
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_tracked_file_of_the_packages(wheel):
    expected = {*files("kuryrctl", "osc_plugin"), *(f"kuryrctl/{name}" for name in files("playbooks"))}

    assert expected - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_the_wheel_holds_nothing_of_the_tests(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"kuryrctl", "osc_plugin"}


def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    """Its dependencies are the ones of this environment, lent by a path: what is proved is our own package."""
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    site = next((tmp_path / "env" / "lib").glob("python3.*/site-packages"))
    lend_dependencies(site)

    def run(*words: str | Path) -> str:
        ran = subprocess.run(words, check=False, capture_output=True, text=True, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    assert run(python.parent / "kuryrctl", "--version").startswith("kuryrctl ")
    assert "cluster_id" in run(python.parent / "kubectl-kuryr", "config", "show", "-f", "value")
    assert run(python, "-c", "import kuryrctl; print(kuryrctl.__file__)").startswith(str(site))
    assert ".yaml" in run(python, "-c", LOADS_DATA)


def lend_dependencies(site: Path) -> None:
    """Link what the libraries need, never our own editable installation."""
    for package in Path(next(path for path in sys.path if path.endswith("site-packages"))).iterdir():
        if "kuryrctl" not in package.name and not package.name.endswith(".pth") and not (site / package.name).exists():
            (site / package.name).symlink_to(package)


def test_console_scripts_are_the_documented_ones():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    names = {line.partition("=")[0].strip() for line in config["options.entry_points"]["console_scripts"].splitlines()}

    assert names - {""} == {"kuryrctl", "kubectl-kuryr", "kuryr-cni"}
