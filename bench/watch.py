"""Memory of `kuryrctl reconcile --watch` in a settled cluster: the command itself, real clients, servers beside it.

The servers are another process that answers over HTTP on 127.0.0.1, so the command holds what it holds in a cluster:
both observations, a second one of each in every full turn, the clients' libraries, its open watches. Not there: TLS,
and events (a settled cluster has few). It is looked at when two full turns have ended and it rests. The same command
without any pod is told beside it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.command import main
from bench.measure import cpu_seconds, medians, memory
from bench.result import Measure, Result
from bench.serving import ROOT, Site, serving
from kuryrctl.kube.resources import OBSERVED, RESOURCES

GOAL_MB = 150.0
FULL_TURN_S = 5
LISTS = 3
"""The informers' list, and those of two full turns."""
REST_S = 1.0
"""At rest: hardly any CPU used for so long. Less than the time between two full turns."""
LIMIT_S = 120.0


def run(size: int, repeat: int) -> Result:
    """`size` pods."""
    with serving(size, full_turn_s=FULL_TURN_S) as full, serving(0, full_turn_s=FULL_TURN_S) as empty:
        found = medians({"full": lambda: watch(full), "empty": lambda: watch(empty)}, repeat)
        writes = [*full.writes(), *empty.writes()]
    if writes:
        raise RuntimeError(f"the engine wrote, so this was no settled cluster: {sorted(set(writes))}")
    ratio = found["full"]["rss"] / found["empty"]["rss"]
    return Result(
        "watch",
        size,
        repeat,
        ratio,
        f"memory of the watch with {size} pods / without any",
        (
            Measure(f"memory with {size} pods, at rest", found["full"]["rss"], "MB", GOAL_MB),
            Measure("the same, peak so far", found["full"]["peak"], "MB", GOAL_MB),
            Measure("without any pod, at rest", found["empty"]["rss"], "MB"),
            Measure("for each pod", (found["full"]["rss"] - found["empty"]["rss"]) * 1e3 / max(size, 1), "kB"),
            Measure("CPU of a start and two full turns", found["full"]["cpu_s"], "s"),
        ),
    )


def watch(site: Site) -> dict[str, float]:
    """One run of the command, until it rests after two full turns."""
    before = _listed(site)
    command = [sys.executable, "-m", "kuryrctl.cli.app", "reconcile", "--watch"]
    log = site.folder / "watch.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=site.environment, stdout=out, stderr=out)
    try:
        _until(lambda: _listed(site) >= before + LISTS, process, log)
        _rest(process.pid)
        numbers = memory(process.pid) | {"cpu_s": cpu_seconds(process.pid)}
        process.send_signal(signal.SIGTERM)
        if process.wait(30):
            raise RuntimeError(f"the watch ended with {process.returncode}: {log.read_text()}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return numbers


def _listed(site: Site) -> int:
    """How often the kind was listed that every observation reads last."""
    last = RESOURCES[OBSERVED[-1]]
    return site.requests()[f"GET {last.base}/{last.plural}"]


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the watch did not get so far: {log.read_text()}")
        time.sleep(0.1)


def _rest(pid: int) -> None:
    used_s = -1.0
    while cpu_seconds(pid) - used_s > 0.05 * REST_S:
        used_s = cpu_seconds(pid)
        time.sleep(REST_S)


if __name__ == "__main__":
    main(run, "memory of reconcile --watch", size=10_000, repeat=2)
