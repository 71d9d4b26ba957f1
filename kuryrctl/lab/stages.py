"""A graph of jobs, run in parallel as far as their needs allow.

Knows neither what the jobs do nor how their progress is shown: an observer gets the events.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

import msgspec

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import InterruptedLabError, Processes, interrupt

MAX_PARALLEL = 16  # most of them wait for something


class Context:
    """What a stage works with: the lab's folders, its daemons, and a line of progress."""

    def __init__(self, layout: Layout, processes: Processes, report: Callable[[str], None] = lambda text: None) -> None:
        self.layout = layout
        self.processes = processes
        self.report = report

    def reporting(self, report: Callable[[str], None]) -> "Context":
        """The same lab, whose progress lines go to `report`."""
        return Context(self.layout, self.processes, report)


class Stage(msgspec.Struct, frozen=True):
    """One job. `run` is idempotent: it does what is missing and returns when its result is usable.

    `needs` names stages that must have finished before; a need that is not part of the graph counts as fulfilled.
    `title` completes the sentence "kuryrctl is …".
    """

    name: str
    title: str
    run: Callable[[Context], None]
    needs: tuple[str, ...] = ()


class Observer(Protocol):
    """Hears what happens. Called from many threads, one at a time. Times are seconds since the stage began."""

    def started(self, stage: Stage) -> None: ...
    def progress(self, stage: Stage, text: str, elapsed_s: float) -> None: ...
    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None: ...


class Silent:
    """An observer that shows nothing."""

    def started(self, stage: Stage) -> None: ...
    def progress(self, stage: Stage, text: str, elapsed_s: float) -> None: ...
    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None: ...


def run_stages(stages: Iterable[Stage], context: Context, observer: Observer | None = None) -> None:
    """Run every stage once, as early as its needs allow.

    The first failure starts no further stage, waits for the running ones, and is raised as LabError naming its stage.
    Raises ValueError for doubled names or a circle, before anything ran.
    """
    pending = {stage.name: stage for stage in checked(stages)}
    known = set(pending)
    done: set[str] = set()
    events = _OneAtATime(observer or Silent())
    failure: BaseException | None = None
    failed: Stage | None = None
    with ThreadPoolExecutor(MAX_PARALLEL, thread_name_prefix="lab") as pool:
        running: dict[Future[None], Stage] = {}
        try:
            while pending or running:
                ready = [
                    s for s in pending.values() if failure is None and done.issuperset(known.intersection(s.needs))
                ]
                for stage in ready:
                    del pending[stage.name]
                    running[pool.submit(_run_one, stage, context, events)] = stage
                if not running:
                    break
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    stage = running.pop(future)
                    error = future.exception()
                    if error is None:
                        done.add(stage.name)
                    elif failure is None or (
                        isinstance(failure, InterruptedLabError) and not isinstance(error, InterruptedLabError)
                    ):
                        failure, failed = error, stage
        except BaseException:
            interrupt.set()  # Ctrl-C: the running stages end soon, and the pool is waited for
            raise
    if failure is None or failed is None:
        return
    if isinstance(failure, LabError):
        raise type(failure)(f"{failed.name}: {failure.message}", hint=failure.hint, detail=failure.detail) from failure
    raise LabError(f"{failed.name}: {type(failure).__name__}: {failure}") from failure


def checked(stages: Iterable[Stage]) -> list[Stage]:
    """The stages in an order in which one after the other would work."""
    remaining = list(stages)
    names = {stage.name for stage in remaining}
    if len(names) != len(remaining):
        raise ValueError(f"stages with the same name: {sorted(stage.name for stage in remaining)}")
    order: list[Stage] = []
    placed: set[str] = set()
    while remaining:
        ready = [stage for stage in remaining if placed.issuperset(names.intersection(stage.needs))]
        if not ready:
            raise ValueError(f"stages that need each other: {sorted(stage.name for stage in remaining)}")
        order += ready
        placed.update(stage.name for stage in ready)
        remaining = [stage for stage in remaining if stage.name not in placed]
    return order


def _run_one(stage: Stage, context: Context, observer: Observer) -> None:
    began = time.monotonic()

    def report(text: str) -> None:
        observer.progress(stage, text, time.monotonic() - began)

    observer.started(stage)
    try:
        stage.run(context.reporting(report))
    except BaseException as error:
        observer.finished(stage, time.monotonic() - began, error)
        raise
    observer.finished(stage, time.monotonic() - began, None)


class _OneAtATime:
    """Hands events to an observer under a lock."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()

    def started(self, stage: Stage) -> None:
        with self._lock:
            self._observer.started(stage)

    def progress(self, stage: Stage, text: str, elapsed_s: float) -> None:
        with self._lock:
            self._observer.progress(stage, text, elapsed_s)

    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None:
        with self._lock:
            self._observer.finished(stage, elapsed_s, error)
