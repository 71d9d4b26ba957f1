"""What a benchmark has found, for people (one Markdown row for each measure with a goal) and for machines (JSON).

Does not know: how anything was measured.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

SCHEMA_VERSION = 1
HEAD = "| benchmark | measured | goal | measured / goal | met | how it came about |\n|---|---:|---:|---:|---|---|"


class Measure(Struct, frozen=True):
    """One number. `goal` is the most that it should be; None: it is told to understand the others."""

    name: str
    value: float
    unit: str
    goal: float | None = None

    @property
    def of_goal(self) -> float | None:
        """The value as a multiple of its goal."""
        return None if self.goal is None else self.value / self.goal


class Result(Struct, frozen=True):
    """One benchmark's answer. `ratio` is what `ratio_of` says, of medians over `repeat` runs of each side."""

    benchmark: str
    size: int
    repeat: int
    ratio: float
    ratio_of: str
    measures: tuple[Measure, ...]

    def measure(self, name: str) -> Measure:
        """The measure of that name."""
        return next(each for each in self.measures if each.name == name)

    def rows(self) -> list[str]:
        """A Markdown row for each measure that has a goal, or for the first one; the others stand in the first row."""
        judged = [each for each in self.measures if each.goal is not None] or list(self.measures[:1])
        others = "; ".join(f"{each.name} {_number(each)}" for each in self.measures if each not in judged)
        return [
            f"| {self.benchmark}: {each.name} | {_number(each)} | {_judged(each)} | {others * (each is judged[0])} |"
            for each in judged
        ]


class Machine(Struct, frozen=True):
    """Where it ran. A `load_1m` (runnable tasks, mean of a minute) that is not small: others used the machine, too."""

    system: str
    processor: str
    cores: int
    python: str
    load_1m: float


class Document(Struct, frozen=True):
    """What `--json` writes."""

    schema_version: int
    machine: Machine
    results: tuple[Result, ...]


def document(results: Iterable[Result]) -> bytes:
    """The results with the machine, as indented JSON."""
    made = Document(SCHEMA_VERSION, machine(), tuple(results))
    return msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"


def machine() -> Machine:
    """This machine, now."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return Machine(
        platform.platform(), model, os.cpu_count() or 0, platform.python_version(), round(os.getloadavg()[0], 2)
    )


def table(results: Iterable[Result]) -> str:
    """All rows below one head."""
    return "\n".join([HEAD, *(row for result in results for row in result.rows())])


def _judged(measure: Measure) -> str:
    """The cells for the goal, the measure as a multiple of it, and whether it is met."""
    if measure.goal is None:
        return "none | |"
    goal = _number(Measure(measure.name, measure.goal, measure.unit))
    return f"≤ {goal} | {measure.of_goal:.2f} | {'yes' if measure.value <= measure.goal else 'no'}"


def _number(measure: Measure) -> str:
    value = measure.value
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f} {measure.unit}".rstrip()
