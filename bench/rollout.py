"""A rollout on the lab, from the Deployment's creation to all pods Running, against the same one with hostNetwork pods.

A hostNetwork pod needs no network of its own: what it takes is the scheduler's, the kubelets' and the runtime's time,
which the other side takes as well. What is left is ours, and Neutron's. Clock, not CPU time. The sides take turns; each
time every port is made anew. Needs a running lab whose nodes nobody else works on.
"""

from __future__ import annotations

import json
import statistics
import time

from bench.command import main
from bench.measure import in_turns
from bench.result import Measure, Result
from tests.functional.lab import Lab

NAME = "rollout"
TIMEOUT_S = 300


def run(size: int, repeat: int) -> Result:
    """`repeat` rollouts of `size` pods on each side. Raises AssertionError where the lab is not up, or a rollout ends
    not within five minutes."""
    lab = Lab()
    sides = {"ours": lambda: rolled_out(lab, size), "host": lambda: rolled_out(lab, size, host_network=True)}
    rolled_out(lab, 2)  # warm
    found = {side: statistics.median(each["s"] for each in runs) for side, runs in in_turns(sides, repeat).items()}
    ratio = found["ours"] / found["host"]
    return Result(
        NAME,
        size,
        repeat,
        ratio,
        f"{size} pods to all Running / the same with hostNetwork pods",
        (
            Measure(f"{size} pods to all Running / hostNetwork pods", ratio, ""),
            Measure("on Neutron ports", found["ours"], "s"),
            Measure("on the nodes' own network", found["host"], "s"),
            Measure("difference for each pod", (found["ours"] - found["host"]) / size, "s"),
        ),
    )


def rolled_out(lab: Lab, pods: int, *, host_network: bool = False) -> dict[str, float]:
    """Seconds that one rollout takes, in a namespace of its own. Without probes, Running is Ready is available."""
    with lab.namespace() as namespace:
        start = time.monotonic()
        lab.kubectl("create", "-n", namespace, "-f", "-", stdin=deployment(lab.image, pods, host_network=host_network))
        wait = ("rollout", "status", "-n", namespace, f"deployment/{NAME}", f"--timeout={TIMEOUT_S}s")
        lab.kubectl(*wait, timeout_s=TIMEOUT_S + 10)
        return {"s": time.monotonic() - start}


def deployment(image: str, replicas: int, *, host_network: bool) -> str:
    """As JSON. Containers sleep; nothing but the network differs."""
    labels = {"app": NAME}
    pod = {
        "hostNetwork": host_network,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "pause", "image": image, "imagePullPolicy": "Never", "args": ["pause"]}],
    }
    return json.dumps(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                "strategy": {"type": "Recreate"},
            },
        }
    )


if __name__ == "__main__":
    main(run, "a rollout of pods against hostNetwork pods, on the lab", size=30, repeat=3)
