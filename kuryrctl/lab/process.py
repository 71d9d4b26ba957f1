"""Commands and daemons of the lab: start, find again, stop.

A daemon is known by a pid file that also holds the process' start time and the machine's boot id, so that a recycled
pid is never signalled. Every process of the lab carries MARKER in its environment: what lost its pid file is found
by that.
Knows nothing of what the daemons do.
"""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

import msgspec

from kuryrctl.lab.errors import InterruptedLabError, LabError, tail
from kuryrctl.lab.layout import MACHINE_DIR, MARKER, NETNS_DIR, Layout, node_named
from kuryrctl.lab.pids import ProcessId, command_of, identity, marked_processes, session_of, signal_all

__all__ = [
    "InterruptedLabError",
    "LabError",
    "Processes",
    "follow",
    "holder_of",
    "inside",
    "interrupt",
    "run",
    "tail",
    "wait_until",
]

RUNTIME_HELPERS = ("containerd-shim", "runc")  # names of processes that rightly outlive the one that started them

interrupt = threading.Event()  # set by the command line on SIGINT/SIGTERM: every wait and every run ends soon


def holder_of(node: str) -> ProcessId | None:
    """The process that holds a node's namespaces; None when there is none.

    A holder keeps a network namespace alive whose name was taken away: what would be started in that one could reach
    nothing. So it counts only while it is in the network namespace which has the node's name now.
    """
    try:
        process = msgspec.json.decode((MACHINE_DIR / node).read_bytes(), type=ProcessId)
        named = (NETNS_DIR / node_named(node).netns).stat()
        held = Path(f"/proc/{process.pid}/ns/net").stat()
    except (FileNotFoundError, ProcessLookupError, msgspec.DecodeError):
        return None
    # namespaces(7): two names of one namespace have equal device and inode numbers.
    return process if process.alive() and os.path.samestat(named, held) else None


def inside(node: str) -> list[str]:
    """The command prefix that runs something inside a node.

    The node's holder gives its mount, network and UTS namespace; before there is a holder, only the network namespace.
    """
    if holder := holder_of(node):
        return ["nsenter", "-t", str(holder.pid), "-m", "-n", "-u", "--"]
    netns = NETNS_DIR / node_named(node).netns
    if not netns.exists():
        raise LabError(f"node {node} has no network namespace {netns}", hint="kuryrctl lab up")
    return ["nsenter", f"--net={netns}", "--"]


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    node: str | None = None,
    stdin: str | None = None,
    timeout_s: float = 60.0,
) -> str:
    """Run a command to its end and return what it printed.

    `env` is added to this process' environment; `node` runs it inside that node.
    Raises LabError with the command and the tail of its stderr when it fails, is missing, or takes longer than
    `timeout_s`.
    """
    command = [*(inside(node) if node else []), *map(str, argv)]
    shown = " ".join(map(str, argv))[:300]
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise LabError(f"no such command: {command[0]} (of: {shown})") from None
    with process:
        try:
            output, errors = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LabError(f"`{shown}` did not end within {timeout_s:g} s") from None
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return output
    if interrupt.is_set():
        raise InterruptedLabError(f"interrupted in `{shown}`")
    detail = "\n".join((errors or output).splitlines()[-15:])
    raise LabError(f"`{shown}` ended with {_outcome(process.returncode)}", detail=detail)


def follow(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long command to its end, handing every line it prints (both streams) to `on_line` and to the end of `log`.

    Its environment is this process' with `env` on top. Raises LabError with the tail of what it printed when it fails.
    """
    shown = " ".join(map(str, argv))[:200]
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", errors="replace") as out,
        subprocess.Popen(
            list(map(str, argv)),
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        out.write(f"$ {shown}\n")
        watcher = threading.Thread(target=_end_when_interrupted, args=(process,), daemon=True)
        watcher.start()
        try:
            assert process.stdout is not None  # given PIPE
            for line in process.stdout:
                out.write(line)
                if line.strip():
                    on_line(line.rstrip())
        except BaseException:
            _kill_session(process)
            raise
    watcher.join()
    if interrupt.is_set():
        raise InterruptedLabError(f"interrupted in `{shown}`")
    if process.returncode != 0:
        raise LabError(f"`{shown}` ended with {_outcome(process.returncode)}", detail=tail(log), hint=f"see {log}")


def _end_when_interrupted(process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        if interrupt.wait(0.2):
            _kill_session(process)
            return


def _kill_session(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _inherited() -> dict[str, str]:
    """This process' environment without what belongs to the person who started it: a cloud, a cluster, our options."""
    personal = ("OS_", "KUBECONFIG", "KURYRCTL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(personal)}


def _outcome(returncode: int) -> str:
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"


def wait_until(
    condition: Callable[[], bool],
    what: str,
    timeout_s: float,
    interval_s: float = 0.05,
    *,
    log: Path | None = None,
    alive: Callable[[], bool] | None = None,
) -> None:
    """Return as soon as `condition()` holds.

    Raises LabError naming `what`, with the tail of `log` when one is given, after `timeout_s` seconds, or at once when
    `alive()` says that what should bring it about has died.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if interrupt.is_set():
            raise InterruptedLabError(f"interrupted while waiting until {what}")
        hint = f"see {log}" if log else ""
        if alive is not None and not alive():
            raise LabError(f"not so, and its process ended: {what}", detail=tail(log) if log else "", hint=hint)
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout_s:g} s: {what}", detail=tail(log) if log else "", hint=hint)
        time.sleep(interval_s)


def listens(path: Path) -> bool:
    """Whether a server accepts connections there: its file appears with bind(2), and refuses until listen(2)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


class Processes:
    """The daemons of one lab, by name. Safe to use from several threads for different names."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        node: str | None = None,
    ) -> None:
        """Start a daemon in a session of its own, unless it runs; `node` starts it inside that node.

        Its output goes to `layout.log_file(name)`; the log of the run before is kept as NAME.log.1.
        """
        if self.running(name):
            return
        command = [*(inside(node) if node else []), *map(str, argv)]
        log = self._layout.log_file(name)
        pid_file = self._layout.pid_file(name)
        for folder in (log.parent, pid_file.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as out:
            try:
                child = subprocess.Popen(
                    command,
                    env={**_inherited(), **(env or {}), MARKER: str(self._layout.state)},
                    cwd=self._layout.run,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise LabError(f"{name} not started: no such command {command[0]}", hint="kuryrctl lab up") from None
        self._children[name] = child
        process = identity(child.pid)
        if process is None:
            raise LabError(f"{name} ended as soon as it was started", detail=tail(log), hint=f"see {log}")
        write_atomically(pid_file, msgspec.json.encode(process))

    def stop(self, *names: str, grace_s: float = 3.0) -> list[str]:
        """End these daemons together with all their children: TERM, then KILL after `grace_s`; of the missing: nothing.

        Children are the processes of the daemon's session, whatever process group they made for themselves; a container
        runtime's shims are not: they keep containers alive while it is restarted.
        Returns the daemons that TERM did not end in time.
        """
        daemons = {name: process for name in names if (process := self._process(name))}
        leaders = {process.pid: process for process in daemons.values()}
        ending = {*leaders.values(), *self._children_of(leaders)} if leaders else set()
        killed: set[ProcessId] = set()
        while ending:
            killed.update(signal_all(ending, grace_s))
            ending = set(self._children_of(leaders))  # forked while the others ended
            grace_s = 0.0
        for name in names:
            self._layout.pid_file(name).unlink(missing_ok=True)
            if child := self._children.pop(name, None):
                child.wait()
        return [name for name, process in daemons.items() if process in killed]

    def _children_of(self, sessions: Container[int]) -> list[ProcessId]:
        return [
            process
            for process in marked_processes(self._layout)
            if session_of(process) in sessions and not command_of(process).startswith(RUNTIME_HELPERS)
        ]

    def running(self, name: str) -> bool:
        return self._process(name) is not None

    def pid(self, name: str) -> int | None:
        """Pid of a running daemon."""
        process = self._process(name)
        return process.pid if process else None

    def identity(self, name: str) -> ProcessId | None:
        """The running daemon, for keeping elsewhere."""
        return self._process(name)

    def names(self) -> list[str]:
        """Daemons that were started and not stopped, running or dead."""
        folder = self._layout.pid_file("any").parent
        return sorted(path.name for path in folder.iterdir() if "." not in path.name) if folder.exists() else []

    def _process(self, name: str) -> ProcessId | None:
        if child := self._children.get(name):
            child.poll()  # reap it, if it died
        try:
            process = msgspec.json.decode(self._layout.pid_file(name).read_bytes(), type=ProcessId)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return process if process.alive() else None


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that nobody ever sees half of it, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise
