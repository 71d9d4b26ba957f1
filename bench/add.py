"""A CNI ADD from the entry's start to its end, split, against the same work by a bare script in one process.

A private Open vSwitch (userspace datapath) and a real OVN in a network namespace, an agent whose cluster is in memory,
the entry as a runtime starts it. The assignment is there before the ADD: the engine's time is another benchmark. The
sides take turns, and each ADD is for a new port and a new namespace. Clock, not CPU time: an ADD mostly waits.
Needs root, and the lab's Open vSwitch (`kuryrctl lab up` installs it), but not a running lab.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from bench.bare import BareProcess
from bench.command import main
from bench.measure import in_turns
from bench.result import Measure, Result
from kuryrctl.core.cluster import Interface
from kuryrctl.node import interfaces, namespaces
from kuryrctl.node.agent import Agent
from kuryrctl.node.assignments import Assignments
from kuryrctl.node.netlink import Netlink
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Ovsdb
from tests.functional.node.ovn import Ovn
from tests.functional.node.switch import Switch
from tests.functional.node.world import Cluster, RunningAgent, Runtime, Sandbox

GOAL_RATIO = 1.5
PARTS = ("netlink", "ovsdb", "ovn-installed", "announce")
TIMED: tuple[tuple[str, Any, str], ...] = (
    ("agent", Agent, "bind"),
    ("wait", Assignments, "wait"),
    ("bind", OvsBinder, "setup"),
    ("netlink", Netlink, "apply"),
    ("netlink", Netlink, "link"),
    ("netlink", interfaces, "checksum_offload_off"),
    ("netlink", interfaces, "keep_silent"),
    ("netlink", interfaces, "static_ipv6"),
    ("ovsdb", Ovsdb, "plug"),
    ("ovn-installed", Ovsdb, "_wait"),
    ("announce", interfaces, "announce"),
)
"""What is timed inside the agent, under which name."""


class Node:
    """A node with its agent, on which containers come and go."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._ovn = Ovn(switch)
        self._cluster = Cluster()
        self._runtime = Runtime(switch.folder)
        self._agent = RunningAgent(self._runtime.socket, switch.ovsdb, self._cluster, tick_s=600)
        self._bare = BareProcess(switch.ovsdb)
        self._number = 0

    def ours(self) -> dict[str, float]:
        """One ADD through the entry and the agent; milliseconds of each part."""
        with self._container() as (wanted, pod):
            self._cluster.assign(pod.pod, pod.uid, wanted)
            _until(lambda: self._agent.agent.assignments.of(pod.pod) is not None)
            with stopwatch() as spent:
                start = time.perf_counter()
                code, answer = self._runtime.add(pod)
                whole = (time.perf_counter() - start) * 1e3
            if code:
                raise RuntimeError(f"ADD failed: {answer}")
            self._runtime.delete(pod)
        return {"ms": whole, "entry": whole - spent["agent"], **spent}

    def bare(self) -> dict[str, float]:
        """The same by the bare script."""
        with self._container() as (wanted, pod):
            spent = self._bare.add(wanted, pod.netns)
            self._switch.vsctl("del-port", "br-int", f"tap{wanted.port_id[:11]}")
        return spent

    def status(self) -> dict[str, float]:
        """The entry and the socket alone: a STATUS."""
        start = time.perf_counter()
        code, answer = self._runtime.status()
        if code:
            raise RuntimeError(f"STATUS failed: {answer}")
        return {"ms": (time.perf_counter() - start) * 1e3}

    def stop(self) -> None:
        self._bare.stop()
        self._agent.stop()

    @contextmanager
    def _container(self) -> Iterator[tuple[Interface, Sandbox]]:
        """A new port of OVN, and a namespace."""
        self._number += 1
        number, name = self._number, f"kb-{os.getpid()}-{self._number}"
        wanted = Interface(
            name="eth0",
            port_id=f"{number:08x}-1111-4222-8333-444444444444",
            mac_address=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
            addresses=(f"10.65.{number >> 8}.{number & 255}/16", f"fd00:10:65::{number:x}/64"),
            gateways=("10.65.255.254", "fd00:10:65::ffff"),
            mtu=1442,
        )
        self._ovn.add_port(wanted)
        self._ovn.nb("--timeout=20", "--wait=hv", "sync")
        try:
            netns = namespaces.create(name)
            yield wanted, Sandbox(f"shop/web-{number}", f"uid-{number}", f"sandbox-{number}", str(netns))
        finally:
            namespaces.delete(name)
            self._ovn.delete_port(wanted)


@contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Milliseconds spent in the functions TIMED, by name, while this lasts."""
    spent = dict.fromkeys((name for name, _, _ in TIMED), 0.0)
    with ExitStack() as stack:
        for name, owner, function in TIMED:
            timed = _timed(getattr(owner, function), name, spent)
            stack.enter_context(mock.patch.object(owner, function, timed))
        yield spent


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += (time.perf_counter() - start) * 1e3

    return timed


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.005)


@contextmanager
def running() -> Iterator[Node]:
    """A node of its own; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    switch = Switch(folder, namespace=f"kb-{os.getpid()}")
    try:
        switch.start()
        with namespaces.entered(namespaces.path_of(switch.namespace)):
            node = Node(switch)
            try:
                yield node
            finally:
                node.stop()
    finally:
        switch.stop()
        shutil.rmtree(folder)


def run(size: int, repeat: int) -> Result:
    """`size` ADDs of each side; they are repetitions already, so `repeat` means nothing here."""
    with running() as node:
        sides = {"ours": node.ours, "bare": node.bare, "status": node.status}
        in_turns(sides, 2)  # warm
        runs = in_turns(sides, size)
    found = {name: {key: statistics.median(run[key] for run in each) for key in each[0]} for name, each in runs.items()}
    ours, bare = found["ours"], found["bare"]
    ratio = ours["agent"] / bare["ms"]
    split = [Measure(f"{part}, ours", ours[part], "ms") for part in ("entry", "wait", *PARTS)]
    return Result(
        "add",
        size,
        1,
        ratio,
        "an ADD in the agent / the same work by a bare script",
        (
            Measure("an ADD without its entry / a bare script", ratio, "", GOAL_RATIO),
            Measure("an ADD, entry and agent", ours["ms"], "ms"),
            Measure("the agent's part", ours["agent"], "ms"),
            Measure("a bare script", bare["ms"], "ms"),
            Measure("a STATUS (entry and socket alone)", found["status"]["ms"], "ms"),
            *split,
            Measure("the agent's rest", ours["agent"] - ours["wait"] - sum(ours[part] for part in PARTS), "ms"),
            *(Measure(f"{part}, bare", bare[part], "ms") for part in PARTS),
        ),
    )


if __name__ == "__main__":
    main(run, "CNI ADD, split, against a bare script", size=40, repeat=1)
