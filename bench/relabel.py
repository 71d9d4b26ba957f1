"""Pods that change their labels all at once: calls to Neutron, and the time until nothing is left to do.

As API objects on the tests' fake servers, which answer at once: the time is the engine's own. All come under a policy
by their new label, so each pod's port gets another group list, and no rule changes. One full run each time.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from statistics import median

from bench.command import main
from bench.policies import seconds
from bench.result import Measure, Result
from bench.serving import OPTIONS
from tests.unit.reconcile.site import NODES, Site

NAMESPACE = "shop"
POLICY = {"podSelector": {"matchLabels": {"guarded": "yes"}}, "policyTypes": ["Ingress"], "ingress": []}


def run(size: int, repeat: int) -> Result:
    """`size` pods. Raises RuntimeError where a run fails, or leaves something to do."""
    site = Site(audit_log=Path(os.devnull), **OPTIONS)
    site.kube.apply("networkpolicies", NAMESPACE, "guard", spec=POLICY)
    for number in range(size):
        site.kube.add_pod(NAMESPACE, f"pod-{number}", node=NODES[number % len(NODES)])
    _settle(site)
    took: list[float] = []
    calls: Counter[str] = Counter()
    for labels in ({"guarded": "yes"}, {"guarded": "no"}) * repeat:
        for number in range(size):
            site.kube.relabel("pods", NAMESPACE, f"pod-{number}", labels)
        took.append(seconds(lambda: _settle(site)))
        for (method, _), times in site.neutron.calls.items():
            calls[method] += times
    if site.plan():
        raise RuntimeError(f"something was left to do: {site.plan()[0]}")
    updates = calls["PUT"] / max(size, 1) / len(took)
    return Result(
        "relabel",
        size,
        repeat,
        updates,
        "updates of ports for each pod",
        (
            Measure("updates for each pod", updates, "", 1.0),
            Measure(f"{size} pods until nothing is left to do", median(took), "s CPU"),
            Measure("reads", calls["GET"] / len(took), ""),
            Measure("other calls", (calls.total() - calls["PUT"] - calls["GET"]) / len(took), ""),
        ),
    )


def _settle(site: Site) -> None:
    report = site.run()
    if not report.ok:
        raise RuntimeError(f"the run failed: {report}")


if __name__ == "__main__":
    main(run, "pods that change their labels at once", size=100, repeat=2)
