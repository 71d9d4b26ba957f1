"""`policy verify` of a whole cluster: whether policies and groups allow the same, for every pair and every port.

The cluster is that of `bench.policies`; the cloud holds what the compiler makes of it, so nothing differs. Only the
comparison is timed, not reading.
"""

from __future__ import annotations

from statistics import median

from bench.command import main
from bench.policies import CONFIG, seconds, world
from bench.result import Measure, Result
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.verify import Verification, verify
from tests.unit.core.policy.worlds import cloud_of

OUTSIDE = ("203.0.113.5", "2001:db8::5")


def run(size: int, repeat: int) -> Result:
    """`size` pods. Raises RuntimeError where both do not agree."""
    cluster = world(size)
    policies = Policies(CONFIG)
    policies.replace(cluster)
    cloud = cloud_of(cluster, policies)
    found: list[Verification] = []
    took = [seconds(lambda: found.append(verify(cluster, cloud, CONFIG, outside=OUTSIDE))) for _ in range(repeat)]
    if found[0].differing:
        raise RuntimeError(f"{found[0].differing} pairs differ, such as {found[0].disagreements[0].flow}")
    each_us = median(took) / max(size, 1) * 1e6
    return Result(
        "verify",
        size,
        repeat,
        each_us,
        "microseconds of CPU for each pod",
        (
            Measure(f"{size} pods, {len(cluster.policies)} policies", median(took), "s CPU"),
            Measure("pairs compared", found[0].pairs / 1e9, "thousand million"),
            Measure("groups", float(len(cloud.security_groups)), ""),
        ),
    )


if __name__ == "__main__":
    main(run, "verification of policies and groups", size=10_000, repeat=2)
