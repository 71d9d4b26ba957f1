"""Start-up: what `kuryrctl --help` costs beyond an empty Python program, and what we add to `openstack --help`.

CPU time of whole processes in pairs that take turns. `openstack` runs the same interpreter and libraries with us and
without us: two folders of links to the installed packages, only one of which has ours, both with warm caches of
compiled files and of entry points.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.command import main
from bench.measure import cpu_of, in_turns
from bench.result import Measure, Result
from bench.serving import ROOT

GOAL_MS = 120.0
GOAL_PLUGIN_MS = 50.0
OURS = ("kuryrctl", "osc_plugin")
OPENSTACK = "import sys; from openstackclient.shell import main; sys.exit(main(['--help']))"


def run(size: int, repeat: int) -> Result:
    """`repeat` starts of each; a size means nothing here."""
    python, scripts = Path(sys.executable), Path(sysconfig.get_path("scripts"))
    with tempfile.TemporaryDirectory(prefix="kuryrctl-bench-") as name:
        folder = Path(name)
        usual = {"PATH": "/usr/bin:/bin", "HOME": name, "XDG_CACHE_HOME": f"{name}/cache", "COLUMNS": "120"}
        with_us, without_us = _packages(folder / "with", ours=True), _packages(folder / "without", ours=False)

        def side(*command: str | Path, **variables: str) -> Callable[[], dict[str, float]]:
            return lambda: {"ms": cpu_of(command, usual | variables) * 1e3}

        # -S, -P: the interpreter's own site-packages and this folder, which both have us, stay out.
        sides = {
            "empty": side(python, "-c", "pass"),
            "kuryrctl": side(scripts / "kuryrctl", "--help"),
            "without": side(python, "-S", "-P", "-c", OPENSTACK, PYTHONPATH=str(without_us)),
            "with": side(python, "-S", "-P", "-c", OPENSTACK, PYTHONPATH=str(with_us)),
        }
        _same_but_us(python, usual, with_us, without_us)
        in_turns(sides, 1)  # warm
        runs = {name: [run["ms"] for run in found] for name, found in in_turns(sides, repeat).items()}
    found = {name: statistics.median(each) for name, each in runs.items()}
    added = [with_ - without for with_, without in zip(runs["with"], runs["without"], strict=True)]
    ratio = found["kuryrctl"] / found["empty"]
    return Result(
        "start",
        0,
        repeat,
        ratio,
        "CPU of kuryrctl --help / of an empty Python program",
        (
            Measure("kuryrctl --help beyond python -c pass", found["kuryrctl"] - found["empty"], "ms CPU", GOAL_MS),
            Measure("added to openstack --help", statistics.median(added), "ms CPU", GOAL_PLUGIN_MS),
            Measure("python -c pass", found["empty"], "ms"),
            Measure("kuryrctl --help", found["kuryrctl"], "ms"),
            Measure("openstack --help without us", found["without"], "ms"),
            Measure("openstack --help with us", found["with"], "ms"),
            Measure("pairs differ by at least", min(added), "ms"),
            Measure("pairs differ by at most", max(added), "ms"),
            Measure("difference of the cheapest runs", min(runs["with"]) - min(runs["without"]), "ms"),
        ),
    )


def _packages(folder: Path, *, ours: bool) -> Path:
    """A folder of links to everything that is installed, with our packages as a wheel would put them, or without."""
    folder.mkdir()
    for kind in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(kind).iterdir():
            our_metadata = entry.name.startswith("kuryrctl-") and entry.suffix == ".dist-info"
            others = entry.suffix != ".pth" and not entry.name.startswith((*OURS, "__editable__", "__pycache__"))
            if others or (ours and our_metadata):
                (folder / entry.name).symlink_to(entry)
    for name in OURS if ours else ():
        (folder / name).symlink_to(ROOT / name)
    return folder


def _same_but_us(python: Path, environment: dict[str, str], with_us: Path, without_us: Path) -> None:
    """Raises RuntimeError unless our commands are in one help and not in the other: else nothing would be compared."""
    for folder, expected in ((with_us, True), (without_us, False)):
        command = [str(python), "-S", "-P", "-c", OPENSTACK]
        env = environment | {"PYTHONPATH": str(folder)}
        ran = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        if ("kuryr reconcile" in ran.stdout) is not expected:
            raise RuntimeError(f"openstack --help {'lacks' if expected else 'has'} our commands")


if __name__ == "__main__":
    main(run, "start-up: kuryrctl --help, and what openstack --help costs more with us", size=0, repeat=9)
