"""What a soak does to the lab: operations as users do them, and faults as they happen to operators.

Does not know: when something is done, what is expected of the end.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from random import Random

from msgspec import Struct

from tests.functional.lab import POD, Lab, wait_for

MOST_PODS = 16
MOST_REPLICAS = 4
MEND_S = 120.0
ENGINE, API_SERVER, NEUTRON = "engine", "kube-apiserver", "neutron"


class Work:
    """The Deployments that the soak has, with the replicas that it asked for; every choice is `random`'s."""

    def __init__(self, lab: Lab, random: Random, namespaces: tuple[str, ...]) -> None:
        self.lab = lab
        self.random = random
        self.namespaces = namespaces
        self.wanted: dict[tuple[str, str], int] = {}
        self._made = 0

    def create(self) -> bool:
        """One more Deployment."""
        self._made += 1
        where = (self.random.choice(self.namespaces), f"web-{self._made}")
        return self._scaled(where)

    def scale(self) -> bool:
        """Another number of pods, also none."""
        return bool(self.wanted) and self._scaled(self.random.choice(list(self.wanted)))

    def delete(self) -> bool:
        """A Deployment with all its pods."""
        if not self.wanted:
            return False
        namespace, name = where = self.random.choice(list(self.wanted))
        done = self._kubectl("delete", "deployment", name, "-n", namespace, "--wait=false")
        if done:
            del self.wanted[where]
        return done

    def delete_pod(self) -> bool:
        """One pod, sometimes by force; its Deployment makes another one."""
        force = self.random.choice(([], ["--force", "--grace-period=0"]))
        return self._any_pod("delete", "pod", "--wait=false", "--ignore-not-found", *force)

    def relabel(self) -> bool:
        """One pod, or a namespace."""
        label = f"soak={self.random.randrange(5)}"
        if self.random.random() < 0.3:
            return self._kubectl("label", "namespace", self.random.choice(self.namespaces), label, "--overwrite")
        return self._any_pod("label", "pod", label, "--overwrite")

    def _scaled(self, where: tuple[str, str]) -> bool:
        others = sum(count for each, count in self.wanted.items() if each != where)
        replicas = min(self.random.randint(0, MOST_REPLICAS), MOST_PODS - others)
        namespace, name = where
        text = POD.format(namespace=namespace, name=name, replicas=replicas, image=self.lab.image)
        done = self._kubectl("apply", "-f", "-", stdin=text)
        if done:
            self.wanted[where] = replicas
        return done

    def _any_pod(self, verb: str, *rest: str) -> bool:
        namespace = self.random.choice(self.namespaces)
        listed = self.lab.run("kubectl", "get", "pods", "-n", namespace, "-o", "name", check=False).stdout.split()
        if not listed:
            return False
        name = self.random.choice(sorted(listed)).removeprefix("pod/")
        return self._kubectl(verb, rest[0], name, "-n", namespace, *rest[1:])

    def _kubectl(self, *argv: str, stdin: str | None = None) -> bool:
        """Whether it was done: an API server that is down, or a pod that went meanwhile, belongs to a soak."""
        return self.lab.run("kubectl", *argv, stdin=stdin, check=False).returncode == 0


OPERATIONS: Mapping[str, tuple[int, Callable[[Work], bool]]] = {
    "create": (3, Work.create),
    "scale": (5, Work.scale),
    "delete": (2, Work.delete),
    "delete a pod": (3, Work.delete_pod),
    "relabel": (2, Work.relabel),
}
"""Each with its weight."""


class Fault(Struct, frozen=True):
    """`hurt` does it; it is mended after a random number of seconds between `least_s` and `most_s`."""

    hurt: Callable[[Lab, Random], None]
    least_s: float
    most_s: float


def mend(lab: Lab) -> None:
    """Everything runs again, whatever was done to it. The engine first: without it, `lab up` waits for its Lease.

    `lab up` may need a second try: a Neutron that has just started was seen to list no networks at all.
    """
    engine = lab.context.processes.pid(ENGINE)
    if engine:
        os.kill(engine, signal.SIGCONT)
    else:
        lab.kuryrctl("lab", "engine", "start")
    wait_for(lambda: lab.run("kuryrctl", "lab", "up", check=False).returncode == 0, MEND_S)


def _kill_engine(lab: Lab, random: Random) -> None:
    os.kill(lab.pid(ENGINE), signal.SIGKILL)


def _pause_engine(lab: Lab, random: Random) -> None:
    os.kill(lab.pid(ENGINE), signal.SIGSTOP)


def _kill_agent(lab: Lab, random: Random) -> None:
    os.kill(lab.pid(f"agent-{random.choice(lab.nodes())}"), signal.SIGKILL)


def _stop_neutron(lab: Lab, random: Random) -> None:
    lab.context.processes.stop(NEUTRON)


def _stop_api_server(lab: Lab, random: Random) -> None:
    lab.context.processes.stop(API_SERVER)


FAULTS: Mapping[str, Fault] = {
    "engine killed": Fault(_kill_engine, 0, 10),
    "engine paused": Fault(_pause_engine, 5, 25),
    "agent killed": Fault(_kill_agent, 0, 10),
    "Neutron stopped": Fault(_stop_neutron, 3, 15),
    "API server restarted": Fault(_stop_api_server, 0, 3),
}
"""A pause goes beyond the engine's lease, or not."""
