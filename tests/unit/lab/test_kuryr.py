"""How the lab ends our own parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryrctl.lab import kuryr
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import Processes, wait_until
from kuryrctl.lab.stages import Context

DEAF = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setattr(kuryr, "GRACE_S", 2.0)
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    layout.run.mkdir(parents=True)
    processes = Processes(layout)
    yield Context(layout, processes)
    processes.stop(*processes.names(), grace_s=0.0)


def start_deaf(context: Context, name: str) -> None:
    context.processes.start(name, DEAF)
    wait_until(lambda: "deaf" in context.layout.log_file(name).read_text(), "it ignores TERM", 10)


def test_an_engine_that_had_to_be_killed_is_told_of(context: Context) -> None:
    start_deaf(context, kuryr.ENGINE)

    with pytest.raises(LabError, match=r"^engine did not end within 2 s of TERM and was killed") as fault:
        kuryr.stop_engine(context)

    assert "deaf" in fault.value.detail
    assert not context.processes.running(kuryr.ENGINE)


def test_an_engine_that_ends_and_one_that_does_not_run_are_no_matter(context: Context) -> None:
    context.processes.start(kuryr.ENGINE, ["sleep", "600"])

    kuryr.stop_engine(context)
    kuryr.stop_engine(context)

    assert not context.processes.running(kuryr.ENGINE)


def test_taking_the_lab_down_names_who_had_to_be_killed_and_goes_on(context: Context) -> None:
    start_deaf(context, "agent-node1")
    said: list[str] = []

    kuryr.down(context.reporting(said.append))

    assert said == ["agent-node1 did not end within 2 s of TERM and was killed"]
