"""A graph of stages: order, failure, progress."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import Processes
from kuryrctl.lab.stages import Context, Stage, checked, run_stages


class Journal:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, stage: Stage) -> None:
        self.lines.append(f"start {stage.name}")

    def progress(self, stage: Stage, text: str, elapsed_s: float) -> None:
        self.lines.append(f"{stage.name}: {text}")

    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None:
        self.lines.append(f"{'fail' if error else 'end'} {stage.name}")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    return Context(layout, Processes(layout))


def stage(name: str, *needs: str, run: object = None) -> Stage:
    return Stage(name, name, run if callable(run) else lambda context: None, needs)


def test_a_stage_begins_after_everything_it_needs_has_ended(context):
    journal = Journal()

    run_stages([stage("pod", "node", "port"), stage("port", "cloud"), stage("node"), stage("cloud")], context, journal)

    for before, after in (("node", "pod"), ("port", "pod"), ("cloud", "port")):
        assert journal.lines.index(f"end {before}") < journal.lines.index(f"start {after}")


def test_stages_that_do_not_need_each_other_run_at_the_same_time(context):
    meeting = threading.Barrier(3, timeout=10)

    run_stages([stage(name, run=lambda context: meeting.wait()) for name in "abc"], context)

    assert not meeting.broken


def test_a_need_outside_the_graph_counts_as_fulfilled(context):
    journal = Journal()

    run_stages([stage("kubelet", "install")], context, journal)

    assert journal.lines == ["start kubelet", "end kubelet"]


def test_the_first_failure_starts_nothing_more_waits_for_the_rest_and_names_its_stage(context):
    failed = threading.Event()
    journal = Journal()

    def fail(context: Context) -> None:
        failed.set()
        raise LabError("no memory", hint="buy some", detail="malloc: 0")

    def work(context: Context) -> None:
        assert failed.wait(10)

    graph = [stage("bad", run=fail), stage("busy", run=work), stage("later", "bad"), stage("never", "busy")]
    with pytest.raises(LabError) as raised:
        run_stages(graph, context, journal)

    assert raised.value.message == "bad: no memory"
    assert (raised.value.hint, raised.value.detail) == ("buy some", "malloc: 0")
    assert "end busy" in journal.lines
    assert {"start later", "start never"}.isdisjoint(journal.lines)


def test_a_fault_of_ours_is_named_with_its_stage(context):
    def broken(context: Context) -> None:
        raise KeyError("eth0")

    with pytest.raises(LabError, match="wires: KeyError: 'eth0'"):
        run_stages([stage("wires", run=broken)], context)


def test_a_report_belongs_to_the_stage_that_makes_it(context):
    journal = Journal()

    run_stages([stage("etcd", run=lambda context: context.report("waiting"))], context, journal)

    assert journal.lines == ["start etcd", "etcd: waiting", "end etcd"]


@pytest.mark.parametrize(
    ("graph", "message"),
    [([stage("a", "b"), stage("b", "a")], "need each other"), ([stage("a"), stage("a")], "same name")],
)
def test_an_impossible_graph_is_refused_before_anything_runs(graph, message):
    with pytest.raises(ValueError, match=message):
        checked(graph)
