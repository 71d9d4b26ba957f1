"""Planning: from what was read to steps, for a cluster whose pods are all new and for one where nothing is left to do.

A fresh process connects to servers with such a world, reads it as every run does, and plans. What counts as planning is
everything between the last answer and the plan: finding our own objects, indexing all ports, comparing. Reading is told
beside it. Memory is the whole process', with interpreter, libraries, both observations and the plan.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from bench.command import main
from bench.measure import child, medians, memory, tell
from bench.result import Measure, Result
from bench.serving import Site, serving

GOAL_S = 1.0
GOAL_MB = 150.0
LINEAR = 1.25
"""The most that one pod of ten times as many may cost, in pods of the smaller world."""
FACTOR = 10


def run(size: int, repeat: int) -> Result:
    """`size` pods, and ten times as many."""
    with (
        serving(size, served=False) as new,
        serving(size) as settled,
        serving(FACTOR * size, served=False) as many_new,
        serving(FACTOR * size) as many_settled,
    ):

        def side(site: Site) -> Callable[[], dict[str, float]]:
            return lambda: child("bench.plan", "--child", env=site.environment)

        found = medians({"new": side(new), "settled": side(settled)}, repeat)
        found |= medians({"many new": side(many_new), "many settled": side(many_settled)}, 1)
    expected = {"new": 2 * size, "settled": 0, "many new": 2 * FACTOR * size, "many settled": 0}
    steps = {name: int(found[name]["steps"]) for name in found}
    if steps != expected:
        raise RuntimeError(f"plans of {steps} steps, where {expected} are right")
    worst = max(("new", "settled"), key=lambda name: found[name]["plan_s"])
    growth = {name: found[f"many {name}"]["plan_s"] / found[name]["plan_s"] / FACTOR for name in ("new", "settled")}
    ratio = max(growth.values())
    return Result(
        "plan",
        size,
        repeat,
        ratio,
        f"CPU for one of {FACTOR * size} pods / CPU for one of {size} pods (1: linear)",
        (
            Measure(f"{size} pods", found[worst]["plan_s"], "s CPU", GOAL_S),
            Measure(f"{size} pods, whole process", max(found[n]["peak_mb"] for n in ("new", "settled")), "MB", GOAL_MB),
            Measure(f"one pod of {FACTOR * size} / one of {size}", ratio, "", LINEAR),
            Measure("all new", found["new"]["plan_s"], "s"),
            Measure("nothing to do", found["settled"]["plan_s"], "s"),
            Measure("reading, nothing to do", found["settled"]["read_s"], "s"),
            Measure("process when connected", found["settled"]["connected_mb"], "MB"),
            Measure("process when read, nothing to do", found["settled"]["read_mb"], "MB"),
            Measure("peak, all new", found["new"]["peak_mb"], "MB"),
            Measure("peak, nothing to do", found["settled"]["peak_mb"], "MB"),
            Measure(f"{FACTOR * size} all new", found["many new"]["plan_s"], "s"),
            Measure(f"{FACTOR * size} nothing to do", found["many settled"]["plan_s"], "s"),
            Measure(f"peak, {FACTOR * size} nothing to do", found["many settled"]["peak_mb"], "MB"),
        ),
    )


def plan() -> None:
    """The measured process."""

    from kuryrctl import cloud, kube
    from kuryrctl.cli.settings import load
    from kuryrctl.reconcile import AuditLog, Parts, Scope
    from kuryrctl.reconcile.turn import Turn

    config, _ = load(None, os.environ, {})
    parts = Parts(config, cloud.connect(), kube.connect(), AuditLog(None, "bench"))
    turn = Turn(parts, Scope.PODS, lambda: False)
    connected_mb, started_s = memory()["rss"], time.process_time()
    there = parts.cloud.observe(config.cluster_id)
    cluster, _ = parts.cluster.observe()
    read_s, read_mb, started_s = time.process_time() - started_s, memory()["rss"], time.process_time()
    turn.state.take_cloud(there, turn.state.mark())
    turn.state.take_cluster(cluster)
    turn.state.prove_absent(turn.state.absent_owners())
    turn.check()
    steps = len(turn.difference().plan)
    plan_s = time.process_time() - started_s
    turn.stop(0)
    tell(
        {
            "steps": steps,
            "plan_s": plan_s,
            "read_s": read_s,
            "connected_mb": connected_mb,
            "read_mb": read_mb,
            "peak_mb": memory()["peak"],
        }
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--child", action="store_true")
    if parser.parse_known_args()[0].child:
        plan()
    else:
        main(run, "plan for many pods: CPU, memory, growth", size=10_000, repeat=3)
