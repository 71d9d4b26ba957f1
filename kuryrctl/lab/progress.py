"""Shows a running graph of stages: a live table on a terminal, plain lines elsewhere. Keeps each stage's time.

Never silent for more than 10 s: what runs is told again, with what it does and for how long.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from kuryrctl.lab.errors import InterruptedLabError
from kuryrctl.lab.stages import Stage

QUIET_S = 8.0  # plain lines: the longest silence
SHOWN_SECONDS_FROM = 0.05

Clock = Callable[[], float]  # seconds since whenever


class Running:
    """A stage at work."""

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self.stage = stage
        self.text = ""
        self._clock = clock
        self._began = clock()

    @property
    def line(self) -> str:
        elapsed = self._clock() - self._began
        return f"{self.stage.title} ({elapsed:.0f} s){': ' + self.text if self.text else ''}"


class Progress:
    """Base of both views: what runs, and how long what has ended took."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.seconds: dict[str, float] = {}
        self.ended_at: dict[str, float] = {}
        self.running: dict[str, Running] = {}
        self.began = clock()

    def started(self, stage: Stage) -> None:
        self.running[stage.name] = Running(stage, self.clock)

    def progress(self, stage: Stage, text: str, elapsed_s: float) -> None:
        self.running[stage.name].text = text

    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None:
        self.running.pop(stage.name, None)
        self.seconds[stage.name] = elapsed_s
        self.ended_at[stage.name] = self.clock() - self.began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Plain(Progress):
    """One line when a stage took noticeable time, and a sign of life of what goes on."""

    def __init__(self, out: TextIO, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._out = out
        self._last = clock()
        self._over = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._signs_of_life, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None:
        super().finished(stage, elapsed_s, error)
        if error is not None:
            outcome = "interrupted" if isinstance(error, InterruptedLabError) else "failed"
            self._say(f"{stage.title}: {outcome} after {elapsed_s:.1f} s")
        elif elapsed_s >= SHOWN_SECONDS_FROM:
            self._say(f"{stage.title}: {elapsed_s:.1f} s")

    def _say(self, line: str) -> None:
        with self._lock:
            self._last = self.clock()
            self._out.write(f"[{self._last - self.began:6.1f} s] {line}\n")
            self._out.flush()

    def _signs_of_life(self) -> None:
        while not self._over.wait(0.5):
            self.break_silence()

    def break_silence(self) -> None:
        """Tell what runs, when nothing was said for QUIET_S."""
        if self.clock() - self._last >= QUIET_S:
            for running in list(self.running.values()):
                self._say(f"… {running.line}")


class Terminal(Progress):
    """A line for each running stage, redrawn; a lasting line for each that took noticeable time."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._console = Console(file=out)
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def finished(self, stage: Stage, elapsed_s: float, error: BaseException | None) -> None:
        super().finished(stage, elapsed_s, error)
        if error is None and elapsed_s < SHOWN_SECONDS_FROM:
            return
        sign, style = ("✗", "red") if error else ("✓", "green")
        self._console.print(Text.assemble((sign, style), f" {stage.title}", (f"  {elapsed_s:.1f} s", "dim")))

    def _draw(self) -> Group:
        rows = list(self.running.values())[-12:]
        return Group(*(Spinner("dots", text=Text(row.line, no_wrap=True, overflow="ellipsis")) for row in rows))


def view(out: TextIO) -> Progress:
    """The view that fits where it is shown."""
    return Terminal(out) if out.isatty() else Plain(out)
