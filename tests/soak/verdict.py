"""What a soak left behind, asked of Neutron, of Kubernetes and of the plan. Nothing may be left, nothing may lack."""

from __future__ import annotations

import time
from collections import Counter

from msgspec import Struct

from tests.functional.lab import Lab, is_ready
from tests.soak.actions import Work

QUIET_S = 240.0
LEAK_S = 120.0


class Verdict(Struct, frozen=True):
    """Counts of ports, of plan steps, of pods, and of processes of the lab's switches that died by themselves."""

    leaked: int
    doubled: int
    steps: int
    lacking: int
    deaths: int = 0

    @property
    def good(self) -> bool:
        """Whether the soak found nothing."""
        return not any((self.leaked, self.doubled, self.steps, self.lacking, self.deaths))

    @property
    def text(self) -> str:
        """One line."""
        return (
            f"{self.leaked} ports leaked, {self.doubled} doubled, {self.steps} plan steps left,"
            f" {self.lacking} pods not Ready, {self.deaths} switches died"
        )


def judge(lab: Lab, work: Work) -> Verdict:
    """Wait for quiet, then count. The engine is running before and after."""
    deadline = time.monotonic() + QUIET_S
    while (lacking := _lacking(lab, work)) and time.monotonic() < deadline:
        time.sleep(1)
    deadline = time.monotonic() + LEAK_S
    while (leaked := _leaked(lab)) and time.monotonic() < deadline:
        time.sleep(1)
    served = Counter(port["device_id"] for port in lab.pod_ports())
    with lab.engine_stopped():
        plan = lab.kuryrctl("reconcile", "--dry-run", "-f", "json", check=False)
    steps = [step["key"] for step in plan.json()["steps"]]
    for what, found in (("leaked", leaked), ("plan step", steps)):
        for each in found:
            print(f"{what}: {each}", flush=True)
    doubled = sum(count - 1 for count in served.values())
    return Verdict(len(leaked), doubled, len(steps), lacking, len(lab.chassis_deaths()))


def _lacking(lab: Lab, work: Work) -> int:
    """Pods that are wanted and not Ready, and those that should have gone."""
    pods = [pod for namespace in work.namespaces for pod in lab.pods(namespace)]
    ready = sum(map(is_ready, pods))
    wanted = sum(work.wanted.values())
    return abs(wanted - ready) + len(pods) - ready if (len(pods), ready) != (wanted, wanted) else 0


def _leaked(lab: Lab) -> list[str]:
    """Ports of ours that serve a pod that is not there."""
    there = {pod["metadata"]["uid"] for pod in lab.get("pods", "-A")["items"]}
    return [port["id"] for port in lab.pod_ports() if port["device_id"] not in there]
