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
from kuryrctl.lab.process import ProcessId, identity

WANTED_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


def hierarchies() -> dict[Path, str]:
    """Mount points of control group hierarchies, with their type (`cgroup` or `cgroup2`)."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return {Path(fields[1]): fields[2] for fields in lines if fields[2] in ("cgroup", "cgroup2")}


def version() -> int:
    """2 when the machine has the unified hierarchy only, else 1."""
    return 2 if all(kind == "cgroup2" for kind in hierarchies().values()) else 1


def make(name: str) -> None:
    """Make the group `name` everywhere, usable for a kubelet."""
    for hierarchy, kind in hierarchies().items():
        if kind == "cgroup2":
            _hand_down(hierarchy)
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


def _hand_down(root: Path) -> None:
    """Let groups of a version 2 hierarchy have the controllers a kubelet wants, as far as this hierarchy has them."""
    available = (root / "cgroup.controllers").read_text().split()
    enabled = (root / "cgroup.subtree_control").read_text().split()
    missing = [f"+{name}" for name in WANTED_CONTROLLERS if name in available and name not in enabled]
    if not missing:
        return
    try:
        (root / "cgroup.subtree_control").write_text(" ".join(missing))
    except OSError as error:
        raise LabError(
            f"control group {root} cannot hand down {' '.join(missing)}: {error.strerror}",
            hint="in a container, first move its processes into a group of their own (cgroup-v2.rst)",
        ) from error
