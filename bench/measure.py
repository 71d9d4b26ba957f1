"""CPU time and memory of processes, and medians of runs that take turns.

CPU time is what user code and the kernel spent for one process: on a busy machine it varies far less than the clock.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.serving import ROOT

MB = 1e6
Sides = Mapping[str, Callable[[], Mapping[str, float]]]
"""What is compared, by name: each runs once and gives its numbers."""


def in_turns(sides: Sides, repeat: int) -> dict[str, list[Mapping[str, float]]]:
    """Each side's numbers in `repeat` runs; the sides take turns, so the nth runs of all sides are neighbours."""
    runs: dict[str, list[Mapping[str, float]]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, run in sides.items():
            runs[name].append(run())
    return runs


def medians(sides: Sides, repeat: int) -> dict[str, dict[str, float]]:
    """Each side's numbers, each the median of `repeat` runs; the sides take turns."""
    return {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]}
        for name, found in in_turns(sides, repeat).items()
    }


def child(module: str, *words: str, env: Mapping[str, str]) -> dict[str, float]:
    """What a fresh interpreter, running one of our modules, prints as JSON. Raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", module, *words]
    ran = subprocess.run(command, cwd=ROOT, env=dict(env), check=True, stdout=subprocess.PIPE, text=True)
    numbers: dict[str, float] = json.loads(ran.stdout)
    return numbers


def cpu_of(command: Sequence[str | Path], env: Mapping[str, str]) -> float:
    """CPU seconds of one run of a program, its children included; its output goes nowhere. Raises if it fails."""
    words = [str(word) for word in command]
    with subprocess.Popen(words, env=dict(env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words, stderr=said)
    return usage.ru_utime + usage.ru_stime


def memory(pid: int | str = "self") -> dict[str, float]:
    """Megabytes (10⁶ bytes) of RAM that a process has now (`rss`), and that it had at most (`peak`)."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in status)
    return {
        "rss": int(fields["VmRSS"].split()[0]) * 1024 / MB,
        "peak": int(fields["VmHWM"].split()[0]) * 1024 / MB,
    }


def cpu_seconds(pid: int) -> float:
    """CPU time of a running process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tell(numbers: Mapping[str, Any]) -> None:
    """Print what `child` reads."""
    print(json.dumps(numbers))
