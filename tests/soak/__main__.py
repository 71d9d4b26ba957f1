"""Run a soak: `scripts/soak MINUTES [--seed N]`. Exits with 0 if nothing leaked, doubled or is left to do."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import uuid
from collections import Counter
from random import Random
from types import FrameType

from tests.functional.lab import Lab
from tests.soak.actions import FAULTS, OPERATIONS, Work, mend
from tests.soak.verdict import judge

PAUSE_S = (0.1, 1.5)
"""Between two operations."""
CALM_S = (3.0, 10.0)
"""Between two faults, so that some rollouts end."""


class Soak:
    """Operations all the time, one fault at a time; a line every minute."""

    def __init__(self, lab: Lab, seed: int, namespaces: tuple[str, ...]) -> None:
        self.lab = lab
        self.random = Random(seed)
        self.work = Work(lab, self.random, namespaces)
        self.operations: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.served: set[str] = set()
        self._coming: list[str] = []

    def run(self, minutes: float) -> None:
        """Until the time is over; the last fault is mended."""
        began = time.monotonic()
        fault, change_s = "", began + self.random.uniform(*CALM_S)
        told = 0
        while (now := time.monotonic()) < began + 60 * minutes:
            if now >= change_s:
                fault, lasts_s = self._mended() if fault else self._hurt()
                change_s = time.monotonic() + lasts_s
            self._operate()
            self._look()
            if now - began >= 60 * (told + 1):
                told += 1
                self._tell(f"minute {told} of {minutes:g}")
            time.sleep(self.random.uniform(*PAUSE_S))
        mend(self.lab)

    def _hurt(self) -> tuple[str, float]:
        if not self._coming:  # every kind once before any comes again: a short soak has them all, too
            self._coming = self.random.sample(list(FAULTS), len(FAULTS))
        name = self._coming.pop()
        fault = FAULTS[name]
        fault.hurt(self.lab, self.random)
        self.faults[name] += 1
        return name, self.random.uniform(fault.least_s, fault.most_s)

    def _mended(self) -> tuple[str, float]:
        mend(self.lab)
        return "", self.random.uniform(*CALM_S)

    def _operate(self) -> None:
        names = list(OPERATIONS)
        (name,) = self.random.choices(names, [OPERATIONS[each][0] for each in names])
        done = OPERATIONS[name][1](self.work)
        self.operations[name if done else "not done"] += 1

    def _look(self) -> None:
        """Which pods have addresses now; nobody answers while the API server is down."""
        answer = self.lab.run("kubectl", "get", "pods", "-A", "-o", "json", check=False)
        if answer.returncode == 0:
            pods = [pod for pod in json.loads(answer.stdout)["items"] if pod["status"].get("podIPs")]
            ours = [pod["metadata"] for pod in pods if pod["metadata"]["namespace"] in self.work.namespaces]
            self.served |= {meta["uid"] for meta in ours}

    def _tell(self, when: str) -> None:
        operations, faults = self.operations.total(), self.faults.total()
        wanted = sum(self.work.wanted.values())
        text = f"{when}: {operations} operations, {faults} faults, {len(self.served)} pods served, {wanted} wanted"
        print(text, flush=True)


def main() -> int:
    """Soak, judge with the pods and once more without them, and clean up in any case."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("minutes", type=float, metavar="MINUTES")
    parser.add_argument("--seed", type=int, help="repeats the choices of an earlier soak; default: by chance")
    given = parser.parse_args()
    if not given.minutes > 0:
        parser.error("MINUTES has to be more than 0")
    seed = Random().randrange(10**6) if given.seed is None else given.seed
    signal.signal(signal.SIGTERM, _interrupt)
    lab = Lab()
    mend(lab)
    namespaces = tuple(f"soak-{uuid.uuid4().hex[:6]}-{n}" for n in (1, 2))
    soak = Soak(lab, seed, namespaces)
    print(f"seed {seed}, {given.minutes:g} minutes", flush=True)
    try:
        for namespace in namespaces:
            lab.kubectl("create", "namespace", namespace)
        soak.run(given.minutes)
        with_pods = judge(lab, soak.work)
    finally:
        mend(lab)
        lab.kubectl("delete", "namespace", *namespaces, "--ignore-not-found", "--wait=true", timeout_s=300)
    soak.work.wanted.clear()
    without = judge(lab, soak.work)
    for title, counts in (("operations", soak.operations), ("faults", soak.faults)):
        print(f"{title}: {counts.total()} ({', '.join(f'{name} {count}' for name, count in counts.most_common())})")
    print(f"pods served: {len(soak.served)}")
    print(f"with its pods: {with_pods.text}")
    print(f"without them: {without.text}")
    return 0 if with_pods.good and without.good else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
