"""Processes of the machine, told apart for all time and found by the lab's mark; ended together.

Knows nothing of what runs in them, nor of pid files.
"""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import MARKER, Layout


class ProcessId(msgspec.Struct, frozen=True):
    """One process for all time: pid, start time in clock ticks since boot, boot id."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        return identity(self.pid) == self

    def send(self, signal_number: int) -> None:
        """Signal it; of the dead: nothing."""
        if not self.alive():
            return
        try:
            os.kill(self.pid, signal_number)
        except ProcessLookupError:
            return


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identity(pid: int) -> ProcessId | None:
    """What runs as `pid` now; None when nothing does, or only a zombie (proc(5), stat fields 3 and 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return ProcessId(pid, int(fields[19]), boot_id())


def marked_processes(layout: Layout) -> list[ProcessId]:
    """Every live process whose environment says that it belongs to the lab of this state folder."""
    wanted = f"{MARKER}={layout.state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            marked = wanted in (entry / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if marked and int(entry.name) != os.getpid() and (process := identity(int(entry.name))):
            found.append(process)
    return found


def session_of(process: ProcessId) -> int:
    """The session a process belongs to, which is the pid of the daemon that began it; 0 when it is gone."""
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def command_of(process: ProcessId) -> str:
    """Short name of a process (proc(5), comm); empty when it is gone."""
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def signal_all(processes: Iterable[ProcessId], grace_s: float) -> list[ProcessId]:
    """TERM to all of them at once, KILL to those that are still there after the grace, and wait until they are gone.

    Returns those that had to be killed.
    """
    killed: list[ProcessId] = []
    waiting = [process for process in processes if process.alive()]
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if number == signal.SIGKILL:
            killed = waiting
        for process in waiting:
            process.send(number)
        deadline = time.monotonic() + patience_s
        while waiting and time.monotonic() < deadline:
            time.sleep(0.02)
            waiting = [process for process in waiting if process.alive()]
    if waiting:
        raise LabError(f"processes {', '.join(str(p.pid) for p in waiting)} did not die, not even of KILL")
    return killed
