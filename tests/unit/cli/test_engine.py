"""The engine started before its cloud and its cluster are there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kuryrctl.cli import engine
from kuryrctl.cli.settings import Settings
from kuryrctl.cloud import Audit, OpenStack
from kuryrctl.core.config import parse_config
from kuryrctl.core.errors import Invalid, KuryrError, Unavailable
from kuryrctl.kube import Kube, Mutation
from tests.fakes.kube import FakeKube
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: s3cret}}}}]
contexts: [{{name: c, context: {{cluster: c, user: me}}}}]
"""
SILENT = Unavailable("Keystone does not answer", code="NET-UNREACHABLE")


class Surroundings(Settings):
    """Settings whose cloud fails so often before it answers."""

    faults: list[KuryrError]

    def cloud(self, audit: Audit | None = None) -> OpenStack:
        if self.faults:
            raise self.faults.pop(0)
        neutron = FakeNeutron()
        return OpenStack(neutron, FakeOctavia(neutron), audit=audit)

    def kube(self, on_mutation: Callable[[Mutation], None] | None = None) -> Kube:
        return Kube(FakeKube(), on_mutation=on_mutation)


def surroundings(*faults: KuryrError) -> Surroundings:
    made = Surroundings(parse_config({}), {})
    object.__setattr__(made, "faults", list(faults))
    return made


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_PAUSE_S", 0.01)


def test_a_cloud_that_is_down_at_the_start_is_waited_for_and_said(caplog: pytest.LogCaptureFixture) -> None:
    found = engine.engine_when_it_answers(surroundings(SILENT, SILENT, SILENT), threading.Event(), max_deletes=7)

    assert found is not None
    assert found[0].max_deletes == 7
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "Keystone does not answer (NET-UNREACHABLE)"
    ] * 3


def test_the_pause_grows_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Clockless(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            pauses.append(timeout)
            return False

    monkeypatch.setattr(engine, "FIRST_PAUSE_S", 1.0)
    assert engine.engine_when_it_answers(surroundings(*[SILENT] * 7), Clockless()) is not None
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_being_stopped_ends_the_waiting() -> None:
    stop = threading.Event()
    threading.Timer(0.05, stop.set).start()

    assert engine.engine_when_it_answers(surroundings(*[SILENT] * 10_000), stop) is None


def test_what_no_time_heals_is_raised() -> None:
    refused = Invalid("Keystone refuses the credential", code="KST-REFUSED")

    with pytest.raises(Invalid):
        engine.engine_when_it_answers(surroundings(SILENT, refused), threading.Event())


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("version", ["", "/v3"])
def test_a_watch_lives_while_nothing_answers_and_ends_when_told(version: str, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(port=closed_port()))
    environment = os.environ | {
        "OS_AUTH_URL": f"http://127.0.0.1:{closed_port()}{version}",
        "OS_USERNAME": "engine",
        "OS_PASSWORD": "secret",
        "OS_PROJECT_NAME": "demo",
        "OS_USER_DOMAIN_ID": "default",
        "OS_PROJECT_DOMAIN_ID": "default",
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }
    command = [sys.executable, "-m", "kuryrctl.cli.app", "reconcile", "--watch"]

    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        tries = 0
        said = []
        for line in watch.stderr:
            said.append(line)
            tries += "NET-UNREACHABLE" in line
            if tries == 2:
                watch.send_signal(signal.SIGTERM)
                break
        said += watch.stderr.readlines()

    assert (watch.returncode, tries) == (0, 2), "".join(said)
