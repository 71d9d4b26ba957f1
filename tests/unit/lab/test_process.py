"""Daemons by pid file: found again, stopped with their children, never mistaken for another process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kuryrctl.lab import process as process_module
from kuryrctl.lab.errors import InterruptedLabError, LabError
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.pids import ProcessId, identity, marked_processes
from kuryrctl.lab.process import (
    Processes,
    follow,
    holder_of,
    inside,
    interrupt,
    listens,
    run,
    wait_until,
    write_atomically,
)

SLEEP = ["sleep", "600"]
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], process_group=0)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    layout.run.mkdir(parents=True)
    return layout


@pytest.fixture
def processes(layout: Layout) -> Iterator[Processes]:
    processes = Processes(layout)
    yield processes
    processes.stop(*processes.names(), grace_s=0.2)
    assert marked_processes(layout) == []


def test_a_daemon_runs_in_a_session_of_its_own_until_it_is_stopped(processes, layout):
    processes.start("etcd", SLEEP)

    pid = processes.pid("etcd")
    assert pid is not None
    assert os.getsid(pid) == pid
    assert processes.names() == ["etcd"]

    processes.stop("etcd")
    assert not processes.running("etcd")
    assert processes.names() == []
    assert identity(pid) is None


def test_starting_what_runs_changes_nothing(processes):
    processes.start("etcd", SLEEP)
    first = processes.pid("etcd")

    processes.start("etcd", SLEEP)

    assert processes.pid("etcd") == first


def test_a_daemon_does_not_inherit_the_cloud_of_the_person_who_starts_it(processes, layout, monkeypatch):
    monkeypatch.setenv("OS_PASSWORD", "secret")
    processes.start("sleeper", SLEEP, env={"OS_CLOUD": "given"})
    environ = Path(f"/proc/{processes.pid('sleeper')}/environ")
    wait_until(lambda: bool(environ.read_text()), "its program is loaded", 10)  # empty for a moment in execve(2)
    environment = environ.read_text().split("\0")

    assert [entry for entry in environment if entry.startswith("OS_")] == ["OS_CLOUD=given"]


def test_another_command_finds_the_daemons_of_an_earlier_one(processes, layout):
    processes.start("etcd", SLEEP)

    later = Processes(layout)

    assert later.pid("etcd") == processes.pid("etcd")
    later.stop("etcd")
    assert not processes.running("etcd")


def test_a_recycled_pid_is_neither_running_nor_killed(processes, layout):
    stranger = subprocess.Popen(SLEEP)
    try:
        seen = identity(stranger.pid)
        assert seen is not None
        stale = ProcessId(seen.pid, seen.started - 1, seen.boot)
        write_atomically(layout.pid_file("etcd"), msgspec.json.encode(stale))

        assert not processes.running("etcd")
        processes.stop("etcd", grace_s=0.1)

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_daemon_that_ignores_term_is_killed_after_the_grace(processes):
    processes.start("stubborn", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"])
    wait_until(lambda: "ready" in processes._layout.log_file("stubborn").read_text(), "it ignores TERM", 10)

    processes.start("willing", SLEEP)

    killed = processes.stop("stubborn", "willing", "missing", grace_s=2.0)

    assert killed == ["stubborn"]
    assert not processes.running("stubborn")


def test_children_that_left_the_process_group_end_with_their_daemon(processes, layout):
    processes.start("family", [sys.executable, "-c", FAMILY])
    log = layout.log_file("family")
    wait_until(lambda: bool(log.read_text().strip()), "it has a child", 10)
    child = int(log.read_text())

    processes.stop("family")

    assert identity(child) is None


def test_a_daemon_without_its_pid_file_is_found_by_its_mark(processes, layout):
    processes.start("lost", SLEEP)
    pid = processes.pid("lost")
    kept = layout.pid_file("lost").read_bytes()
    layout.pid_file("lost").unlink()

    def found() -> bool:
        """Its environment is empty for a moment in execve(2)."""
        return [process.pid for process in marked_processes(layout)] == [pid]

    wait_until(found, "it is found by its mark", 10)
    assert marked_processes(Layout(state=layout.state / "other")) == []

    layout.pid_file("lost").write_bytes(kept)


def test_a_dead_daemon_stays_known_and_is_started_again(processes):
    processes.start("etcd", SLEEP)
    first = processes.pid("etcd")
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: not processes.running("etcd"), "it died", 10)
    assert processes.names() == ["etcd"]

    processes.start("etcd", SLEEP)

    assert processes.pid("etcd") not in (None, first)


def test_the_log_of_the_run_before_is_kept(processes, layout):
    for text in ("first", "second"):
        processes.start("talker", ["sh", "-c", f"echo {text}; exec sleep 600"])
        wait_until(lambda text=text: text in layout.log_file("talker").read_text(), "it spoke", 10)
        processes.stop("talker")

    assert layout.log_file("talker").read_text() == "second\n"
    assert layout.log_file("talker").with_suffix(".log.1").read_text() == "first\n"


@pytest.fixture
def node1(tmp_path, monkeypatch) -> Path:
    """Where node1's network namespace has its name; this process is noted as its holder."""
    monkeypatch.setattr(process_module, "MACHINE_DIR", tmp_path)
    monkeypatch.setattr(process_module, "NETNS_DIR", tmp_path)
    write_atomically(tmp_path / "node1", msgspec.json.encode(identity(os.getpid())))
    return tmp_path / "lab-node1"


def test_inside_a_node_is_where_its_holder_is(node1):
    node1.symlink_to("/proc/self/ns/net")

    assert inside("node1")[:3] == ["nsenter", "-t", str(os.getpid())]


def test_a_holder_of_a_namespace_that_was_made_anew_is_none(node1):
    node1.symlink_to("/proc/self/ns/uts")  # another namespace than the one the holder's network is in

    assert holder_of("node1") is None
    assert inside("node1") == ["nsenter", f"--net={node1}", "--"]


def test_a_holder_of_a_namespace_that_was_taken_away_is_none(node1):
    assert holder_of("node1") is None
    with pytest.raises(LabError, match="node1 has no network namespace"):
        inside("node1")


def test_a_command_that_fails_is_told_with_what_it_printed():
    with pytest.raises(LabError, match="ended with exit code 3") as raised:
        run(["sh", "-c", "echo no such bridge >&2; exit 3"])

    assert raised.value.detail == "no such bridge"


def test_a_command_gives_its_output_and_takes_input():
    assert run(["cat"], stdin="hello") == "hello"


def test_a_missing_command_and_one_that_takes_too_long_are_told():
    with pytest.raises(LabError, match="no such command: labctl-missing"):
        run(["labctl-missing"])
    with pytest.raises(LabError, match=r"did not end within 0\.1 s"):
        run(SLEEP, timeout_s=0.1)


def test_following_a_command_hears_every_line_and_keeps_them(tmp_path):
    heard: list[str] = []
    log = tmp_path / "log" / "build.log"

    with pytest.raises(LabError) as raised:
        follow(["sh", "-c", "echo one; echo two >&2; exit 1"], heard.append, log=log)

    assert heard == ["one", "two"]
    assert "two" in raised.value.detail
    assert str(log) in raised.value.hint


def test_waiting_tells_what_did_not_come_with_the_end_of_the_log(tmp_path):
    log = tmp_path / "etcd.log"
    log.write_text("bind: address already in use\n")

    with pytest.raises(LabError, match=r"not within 0\.1 s: etcd answers") as raised:
        wait_until(lambda: False, "etcd answers", 0.1, log=log)
    assert raised.value.detail == "bind: address already in use"

    began = time.monotonic()
    with pytest.raises(LabError, match="its process ended"):
        wait_until(lambda: False, "etcd answers", 60, log=log, alive=lambda: False)
    assert time.monotonic() - began < 60


def test_a_socket_that_is_there_serves_only_when_somebody_listens(tmp_path):
    path = tmp_path / "db.sock"
    assert not listens(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert path.exists() and not listens(path)
        server.listen()
        assert listens(path)
    assert path.exists() and not listens(path)


def test_an_interruption_ends_every_wait():
    interrupt.set()
    try:
        with pytest.raises(InterruptedLabError):
            wait_until(lambda: False, "etcd answers", 60)
    finally:
        interrupt.clear()
