"""The nodes' control groups: one root per node in every mounted hierarchy, for both cgroup versions.

Version 1 has a hierarchy per controller and wants cpusets filled by hand (cgroup-v1/cpusets.rst); version 2 has one,
whose root must hand its controllers down (cgroup-v2.rst, "Enabling and Disabling").
"""

import errno
import os
import signal
import time
from pathlib import Path

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.pids import ProcessId, identity
from kuryrctl.lab.process import write_atomically

WANTED_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


def hierarchies() -> dict[Path, str]:
    """Mount points of control group hierarchies, with their type (`cgroup` or `cgroup2`)."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return {Path(fields[1]): fields[2] for fields in lines if fields[2] in ("cgroup", "cgroup2")}


def handed_down_file(layout: Layout) -> Path:
    """Where the lab keeps what it changed at a version 2 root."""
    return layout.state / "cgroup-controllers"


def version() -> int:
    """2 when the machine has the unified hierarchy only, else 1."""
    return 2 if all(kind == "cgroup2" for kind in hierarchies().values()) else 1


def make(name: str, handed_down: Path) -> None:
    """Make the group `name` everywhere, usable for a kubelet.

    Controllers that a version 2 root did not hand down before are written to `handed_down`, for `take_back`.
    """
    for hierarchy, kind in hierarchies().items():
        if kind == "cgroup2" and (missing := _not_handed_down(hierarchy)):
            write_atomically(handed_down, f"{hierarchy}\n{' '.join(missing)}\n".encode(), 0o644)
            _switch(hierarchy, "+", missing)
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.mems", "cpuset.cpus"):
            if kind == "cgroup" and (group / file).exists():
                (group / file).write_text((hierarchy / file).read_text())


def remove(name: str) -> None:
    """Kill what runs in the group `name` and remove it with everything below; of the missing: nothing."""
    deadline = time.monotonic() + 10
    while groups := [hierarchy / name for hierarchy in hierarchies() if (hierarchy / name).exists()]:
        for process in members(name):
            process.send(signal.SIGKILL)
        for group in groups:
            _remove_tree(group)
        if time.monotonic() > deadline:
            raise LabError(f"control groups {', '.join(map(str, groups))} could not be removed: something runs in them")
        time.sleep(0.02)


def members(name: str) -> list[ProcessId]:
    """Every process in the group `name` or below it, in any hierarchy."""
    pids: set[int] = set()
    for hierarchy in hierarchies():
        for folder, _, files in os.walk(hierarchy / name):
            if "cgroup.procs" in files:
                try:
                    pids.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
                except (FileNotFoundError, OSError) as error:
                    if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                        raise
    return [process for pid in sorted(pids) if (process := identity(pid))]


def _remove_tree(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EBUSY):
                raise


def take_back(handed_down: Path) -> None:
    """Undo what `make` changed at the root of a version 2 hierarchy; of nothing: nothing."""
    if not handed_down.exists():
        return
    hierarchy, controllers = handed_down.read_text().splitlines()
    enabled = (Path(hierarchy) / "cgroup.subtree_control").read_text().split()
    _switch(Path(hierarchy), "-", [name for name in controllers.split() if name in enabled])
    handed_down.unlink()


def _not_handed_down(root: Path) -> list[str]:
    """Controllers a kubelet wants, which this version 2 hierarchy has and its root keeps to itself."""
    available = (root / "cgroup.controllers").read_text().split()
    enabled = (root / "cgroup.subtree_control").read_text().split()
    return [name for name in WANTED_CONTROLLERS if name in available and name not in enabled]


def _switch(root: Path, sign: str, controllers: list[str]) -> None:
    try:
        (root / "cgroup.subtree_control").write_text(" ".join(sign + name for name in controllers))
    except OSError as error:
        raise LabError(
            f"control group {root} cannot change what it hands down ({sign} {' '.join(controllers)}): {error.strerror}",
            hint="in a container, first move its processes into a group of their own (cgroup-v2.rst)",
        ) from error
