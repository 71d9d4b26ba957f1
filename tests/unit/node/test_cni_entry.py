"""The CNI entry as a process of its own, against agents that the test plays."""

from __future__ import annotations

import ast
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.node import cni, install

ADD = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/x", "CNI_IFNAME": "eth0"}
DEL = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0"}
CHECK = ADD | {"CNI_COMMAND": "CHECK"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a unix socket's has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="kn-") as made:
        yield Path(made)


@pytest.fixture
def entry(folder: Path) -> Path:
    """The entry as `node install` writes it, for an agent at folder/a.sock."""
    path = folder / "kuryr-cni"
    path.write_text(install.entry_text(Path(sys.executable).resolve(), folder / "a.sock"))
    path.chmod(0o755)
    return path


def config(folder: Path, **more: Any) -> str:
    return json.dumps({"cniVersion": "1.0.0", "name": "k", "type": "kuryr-cni", "socket": f"{folder}/a.sock", **more})


def call(entry: Path, stdin: str, environment: dict[str, str]) -> tuple[int, Any]:
    done = subprocess.run([entry], input=stdin, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def agent(folder: Path, talk: Callable[[socket.socket], None]) -> threading.Thread:
    """Serves one call at folder/a.sock."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/a.sock")
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    """Takes the request, then answers."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"taken\n")
        assert connection.recv(65536).endswith(b"\n")
        connection.sendall(answer)

    return talk


def test_the_usual_call_imports_built_in_modules_only_besides_os(folder: Path, entry: Path) -> None:
    serving = agent(folder, answering(b"ok\n{}"))

    done = subprocess.run(
        [sys.executable, "-IS", "-X", "importtime", entry],
        input=config(folder),
        env=ADD,
        capture_output=True,
        text=True,
        check=True,
    )
    serving.join()
    bare = subprocess.run(
        [sys.executable, "-IS", "-X", "importtime", "-c", "import os"], capture_output=True, text=True, check=True
    )

    assert done.stdout == "{}"
    assert imported(done.stderr) - imported(bare.stderr) <= {"__future__", "_socket", "_json", "time"}


def imported(report: str) -> set[str]:
    """The modules that -X importtime names."""
    return {line.rpartition("|")[2].strip() for line in report.splitlines()[1:]}


def test_what_the_agent_gets_and_what_the_runtime_gets(folder: Path, entry: Path) -> None:
    received: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"taken\n")
        received.append(connection.recv(65536))
        connection.sendall(b'ok\n{"cniVersion"')
        time.sleep(0.05)
        connection.sendall(b':"1.0.0"}')

    serving = agent(folder, talk)
    arguments = 'K8S_POD_NAME=a"b\\c;K8S_POD_NAMESPACE=\u00e9'

    assert call(entry, config(folder), ADD | {"CNI_ARGS": arguments, "PATH": "/bin"}) == (0, {"cniVersion": "1.0.0"})

    serving.join()
    assert json.loads(received[0]) == {"env": ADD | {"CNI_ARGS": arguments}, "config": config(folder)}


def test_the_agents_error_is_the_exit_code(folder: Path, entry: Path) -> None:
    serving = agent(folder, answering(b'error\n{"code":11}'))
    assert call(entry, config(folder), ADD) == (1, {"code": 11})
    serving.join()


def test_a_socket_of_the_configuration_counts_more_than_the_installed_one(folder: Path, entry: Path) -> None:
    elsewhere = folder / "other"
    elsewhere.mkdir()
    serving = agent(elsewhere, answering(b"ok\n"))
    assert call(entry, config(folder, socket=f"{elsewhere}/a.sock"), ADD) == (0, None)
    serving.join()


def until_closed(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


SILENT: dict[str, Callable[[socket.socket], None]] = {
    "says nothing": until_closed,
    "hangs up": lambda connection: None,
    "ends in between": answering(b""),
}


@pytest.mark.parametrize("how", SILENT)
def test_an_agent_that_does_not_answer(how: str, folder: Path, entry: Path) -> None:
    serving = agent(folder, SILENT[how])
    started = time.monotonic()

    code, error = call(entry, config(folder), ADD)

    assert (code, error["code"]) == (1, 11)
    assert time.monotonic() - started < 60  # its own time is up after 2 s; an answer may take 110 s
    serving.join()


class SlowAgent:
    """A socket each of whose calls takes its whole time, or as long as it was told; the clock is its own."""

    now_s = 100.0

    def __init__(self, connect_s: float, send_s: float) -> None:
        self.takes_s = {"connect": connect_s, "sendall": send_s, "recv": math.inf}
        self.timeout_s = math.inf

    def settimeout(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s

    def _wait(self, call: str) -> None:
        self.now_s += min(self.takes_s[call], self.timeout_s)
        if self.takes_s[call] > self.timeout_s:
            raise TimeoutError("timed out")

    def connect(self, path: str) -> None:
        self._wait("connect")

    def sendall(self, data: bytes) -> None:
        self._wait("sendall")

    def recv(self, size: int) -> bytes:
        self._wait("recv")
        raise AssertionError("it never answers")

    def close(self) -> None: ...


@pytest.mark.parametrize(("connect_s", "send_s"), [(0, 0), (1, 0), (1, 0.7), (1.8, 0), (0, 1.8), (math.inf, 0)])
def test_everything_before_the_agent_has_taken_the_call_shares_one_deadline(
    connect_s: float, send_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowAgent(connect_s, send_s)
    monkeypatch.setattr(cni, "socket", lambda *_: slow)
    monkeypatch.setattr(cni, "monotonic", lambda: slow.now_s)

    with pytest.raises((cni.NoAgent, OSError)):
        cni._ask("/run/a.sock", ADD, "{}")

    assert slow.now_s - SlowAgent.now_s == pytest.approx(cni.TAKEN_TIMEOUT_S)
    assert cni.TAKEN_TIMEOUT_S < 2


def test_an_agent_that_has_taken_the_call_has_more_time(folder: Path, entry: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"taken\n")
        assert connection.recv(65536).endswith(b"\n")
        time.sleep(cni.TAKEN_TIMEOUT_S + 0.3)
        connection.sendall(b"ok\n{}")

    serving = agent(folder, talk)
    assert call(entry, config(folder), ADD) == (0, {})
    serving.join()


@pytest.mark.parametrize(
    ("environment", "stdin", "code"),
    [
        (ADD, None, 11),
        (CHECK, None, 11),
        ({"CNI_COMMAND": "STATUS"}, None, 50),
        ({"CNI_COMMAND": "GC"}, None, 11),
        (ADD, "{", 6),
        (ADD, "[]", 6),
        (DEL, "\0\x01", 6),
        ({"CNI_COMMAND": "VERSION"}, "no json", 6),
        ({}, None, 4),
        ({"CNI_COMMAND": "FROB"}, None, 4),
        (ADD | {"CNI_NETNS": ""}, None, 4),
        (DEL | {"CNI_CONTAINERID": ""}, None, 4),
        ({key: value for key, value in ADD.items() if key != "CNI_IFNAME"}, None, 4),
    ],
)
def test_errors_without_an_agent(
    environment: dict[str, str], stdin: str | None, code: int, folder: Path, entry: Path
) -> None:
    exit_code, error = call(entry, config(folder) if stdin is None else stdin, environment)

    assert (exit_code, error["code"]) == (1, code)
    assert error["cniVersion"] == ("1.0.0" if stdin is None else "1.1.0")
    assert error["msg"]


def test_versions_need_no_agent(folder: Path, entry: Path) -> None:
    answer = call(entry, '{"cniVersion": "0.4.0"}', {"CNI_COMMAND": "VERSION"})
    assert answer == (0, {"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]})


def test_a_del_without_an_agent_is_noted(folder: Path, entry: Path) -> None:
    assert call(entry, config(folder), DEL) == (0, None)
    (folder / cni.DELETED_DIR).mkdir()
    assert call(entry, config(folder), DEL) == (0, None)
    assert call(entry, config(folder), DEL) == (0, None)
    assert os.listdir(folder / cni.DELETED_DIR) == ["c1:eth0"]  # noqa: PTH208 - names only
    code, error = call(entry, config(folder), DEL | {"CNI_CONTAINERID": "../../etc/x"})
    assert (code, error["code"]) == (1, 5)


def test_it_is_written_for_python_3_9() -> None:
    ast.parse(Path(cni.__file__).read_text(), feature_version=(3, 9))
