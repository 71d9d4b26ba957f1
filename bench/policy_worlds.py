"""Policies and security groups over random worlds: how many a second, and that both judges agree in each of them.

A world is a small cluster with every construct of NetworkPolicy (tests/unit/core/policy/worlds.py); the Nth is the same
in every run. Ends with 1 at the first disagreement, which it explains with the number of its world.

    .venv/bin/python -m bench.policy_worlds --size 1000000
"""

from __future__ import annotations

import time
from random import Random

from bench.command import main
from bench.result import Measure, Result
from tests.unit.core.policy.agreement import Count, compiled, disagreements, explain
from tests.unit.core.policy.worlds import random_world

GOAL_MS = 10.0
"""A million worlds in less than three hours of one core."""


def run(size: int, repeat: int) -> Result:
    """`repeat` times `size` worlds, none of them twice."""
    count = Count()
    making = comparing = 0.0
    for number in range(size * repeat):
        began = time.process_time()
        world = random_world(Random(number))
        cloud = compiled(world)
        made = time.process_time()
        if disagreements(world, cloud, count):
            raise SystemExit(f"world {number}: policies and groups differ\n{explain(world)}")
        making += made - began
        comparing += time.process_time() - made
    return Result(
        "policy worlds",
        size,
        repeat,
        comparing / making,
        "CPU of both judges / of making and compiling the worlds",
        (
            Measure("one world", (making + comparing) * 1e3 / count.worlds, "ms CPU", GOAL_MS),
            Measure("worlds per second of CPU", count.worlds / (making + comparing), "/s"),
            Measure("worlds", count.worlds, ""),
            Measure("pairs", count.pairs, ""),
            Measure("disagreements", 0, ""),
        ),
    )


if __name__ == "__main__":
    main(run, "random worlds: whether policies and security groups agree, and how fast", size=2_000, repeat=1)
