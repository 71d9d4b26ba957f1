"""A network namespace with its own Open vSwitch (userspace datapath), and namespaces that play pods. Needs root.

The tests run inside the namespace: what acts for a node does so on a real node as well. Nothing of it touches the
machine's own interfaces. No lab is needed, only the lab's Open vSwitch (``kuryrctl lab up`` installs it).
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kuryrctl.core.cluster import Interface
from kuryrctl.node import namespaces
from kuryrctl.node.binder import BindRequest
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Ovsdb
from tests.functional.node.switch import Controller, Switch
from tests.functional.node.world import Cluster, RunningAgent, Runtime, Sandbox

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    """A running Open vSwitch in a namespace of its own."""
    folder = Path(tempfile.mkdtemp(prefix="kn-", dir="/tmp"))  # unix socket paths must stay short
    started = Switch(folder, namespace=f"kn-{os.getpid()}-{next(_numbers)}")
    try:
        started.start()
        yield started
        assert started.aborts() == [], "ovs-vswitchd aborted during the tests"
    finally:
        started.stop()
        shutil.rmtree(folder)


@pytest.fixture
def node(switch: Switch) -> Iterator[Switch]:
    """The test runs inside the switch's namespace, and leaves the bridge empty."""
    with namespaces.entered(namespaces.path_of(switch.namespace)):
        yield switch
    leftovers = switch.ports()
    switch.clear()
    assert leftovers == [], "the test left ports on the bridge"


@pytest.fixture
def controller(node: Switch) -> Iterator[Controller]:
    """Plays ovn-controller: says `ovn-installed` of every port that has an id."""
    playing = Controller(node.ovsdb)
    yield playing
    playing.stop()


@pytest.fixture
def ovsdb(node: Switch) -> Iterator[Ovsdb]:
    """Our connection to the switch's database."""
    connected = Ovsdb(node.ovsdb, "br-int")
    yield connected
    connected.close()


@pytest.fixture
def binder(ovsdb: Ovsdb) -> OvsBinder:
    """The binder under test."""
    return OvsBinder(ovsdb, install_timeout_s=5)


@pytest.fixture
def pods() -> Iterator[Callable[[str], Path]]:
    """Makes namespaces that play pods' sandboxes; gives their path."""
    made: list[str] = []

    def make(name: str) -> Path:
        made.append(f"kp-{os.getpid()}-{name}")
        return namespaces.create(made[-1])

    yield make
    for name in made:
        namespaces.delete(name)


@pytest.fixture
def requests_of(pods: Callable[[str], Path]) -> Callable[[int], BindRequest]:
    """The bind request of the nth pod, dual stack, in a new namespace."""

    def make(number: int) -> BindRequest:
        return BindRequest(
            interface=interface_of(number),
            pod=f"shop/web-{number}",
            pod_uid=f"uid-{number}",
            sandbox=f"sandbox-{number}",
            netns=str(pods(f"{number}")),
            network="kuryr",
        )

    return make


@pytest.fixture
def cluster() -> Cluster:
    """An API server in memory, on which the test plays the engine."""
    return Cluster()


@pytest.fixture
def runtime(node: Switch) -> Runtime:
    """The entry, installed; its socket in the switch's folder, whose path is short."""
    return Runtime(node.folder)


@pytest.fixture
def agent(node: Switch, controller: Controller, cluster: Cluster, runtime: Runtime) -> Iterator[RunningAgent]:
    """A running agent."""
    running = RunningAgent(runtime.socket, node.ovsdb, cluster)
    yield running
    running.stop()


@pytest.fixture
def sandbox(pods: Callable[[str], Path]) -> Callable[[int], Sandbox]:
    """The nth pod's first sandbox."""

    def make(number: int) -> Sandbox:
        return Sandbox(f"shop/web-{number}", f"uid-{number}", f"sandbox-{number}", str(pods(str(number))))

    return make


def interface_of(number: int) -> Interface:
    """The nth pod's assignment."""
    return Interface(
        name="eth0",
        port_id=f"{number:08x}-1111-4222-8333-444444444444",
        mac_address=f"02:00:00:00:00:{number:02x}",
        addresses=(f"10.65.0.{number}/24", f"fd00:10:65::{number:x}/64"),
        gateways=("10.65.0.254", "fd00:10:65::fffe"),
        mtu=1442,
    )
