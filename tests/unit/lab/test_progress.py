"""Plain lines of progress: what took time, and never a silence of 10 s."""

from __future__ import annotations

import io
import itertools
import threading

import pytest

from kuryrctl.lab import progress
from kuryrctl.lab.errors import InterruptedLabError, LabError
from kuryrctl.lab.progress import Plain
from kuryrctl.lab.stages import Stage

BUILD = Stage("install-programs", "building Kubernetes", print)
FETCH = Stage("install-openstack", "installing OpenStack", print)


class Clock:
    """Goes on when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A view on a clock of ours, and what it wrote since the last look."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._out = io.StringIO()
        self.view = Plain(self._out, self.clock)

    def after(self, seconds: float) -> list[str]:
        self.clock.now += seconds
        self.view.break_silence()
        lines = self._out.getvalue().splitlines()
        self._out.seek(0)
        self._out.truncate()
        return lines


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_what_runs_is_told_again_after_eight_silent_seconds(watched):
    watched.view.started(BUILD)
    watched.view.started(FETCH)
    watched.view.progress(BUILD, "816 packages compiled", 1.0)

    assert watched.after(7.9) == []
    assert watched.after(0.2) == [
        "[   8.1 s] … building Kubernetes (8 s): 816 packages compiled",
        "[   8.1 s] … installing OpenStack (8 s)",
    ]
    assert watched.after(7.9) == []
    assert [line.partition("…")[0] for line in watched.after(0.2)] == ["[  16.2 s] "] * 2


def test_in_ten_minutes_of_one_stage_no_silence_lasts_ten_seconds(watched):
    watched.view.started(BUILD)
    told = [0.0, *(step / 2 for step in range(1, 1201) if watched.after(0.5))]

    assert max(after - before for before, after in itertools.pairwise(told)) < 10
    assert told[-1] > 590


def test_a_stage_that_ended_is_told_with_its_time_and_no_more(watched):
    watched.view.started(BUILD)
    watched.clock.now += 5
    watched.view.finished(BUILD, 5.0, None)

    assert watched.after(60) == ["[   5.0 s] building Kubernetes: 5.0 s"]
    assert (watched.view.seconds, watched.view.ended_at) == ({BUILD.name: 5.0}, {BUILD.name: 5.0})


def test_a_stage_that_took_no_time_is_not_told(watched):
    watched.view.started(BUILD)
    watched.view.finished(BUILD, 0.01, None)

    assert watched.after(0) == []


@pytest.mark.parametrize(
    ("error", "outcome"), [(LabError("no space"), "failed"), (InterruptedLabError("Ctrl-C"), "interrupted")]
)
def test_how_a_stage_ended_is_told(watched, error, outcome):
    watched.view.started(BUILD)
    watched.view.finished(BUILD, 0.0, error)

    assert watched.after(0) == [f"[   0.0 s] building Kubernetes: {outcome} after 0.0 s"]


def test_silence_is_broken_while_the_view_is_open(monkeypatch):
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    spoke = threading.Event()

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            if "… building" in text:
                spoke.set()
            return super().write(text)

    with Plain(Out()) as view:
        view.started(BUILD)
        assert spoke.wait(10)
