"""The Neutrons on which the cases run: the fake always, the lab's with --lab (`eval "$(kuryrctl lab env)"`)."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kuryrctl.cloud import Neutron, Transport
from kuryrctl.cloud.session import open_session
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import Processes
from tests.contract.cloud.services import Services
from tests.contract.cloud.world import NODE1, NODE2, Recording, World
from tests.fakes.neutron import ADMIN, MEMBER, FakeNeutron
from tests.fakes.octavia import FakeOctavia


def fake_world() -> World:
    """A cloud in memory."""
    engine = FakeNeutron()
    engine.agents_on(NODE1, NODE2)
    member, other = engine.session(engine.project_id, role=MEMBER), engine.session("project-b")
    admin = engine.session("admin-project", role=ADMIN)
    world = _world(engine, member, other, admin, engine.external_network()["id"])
    octavia = FakeOctavia(engine)
    world.services = Services(world, octavia, *(FakeOctavia(each) for each in (member, other, admin)))
    world.services.clock, world.services.sleep = octavia.clock, octavia.sleep

    @contextmanager
    def at_work() -> Iterator[None]:
        rules = octavia.cloud.rules
        rules.active_s, before = 3600.0, rules.active_s
        yield
        rules.active_s = before
        octavia.sleep(3600.0)

    world.services.at_work = at_work
    return world


def real_world() -> World:
    """The lab's cloud: the engine's credential, a plain member of its project, another project, the administrator."""
    sessions = [open_session(cloud, None) for cloud in ("kuryr", "demo", "other", "admin")]
    engine, member, other, admin = (session.neutron for session in sessions)
    world = _world(engine, member, other, admin, Neutron(engine).find_network("public").id)
    world.services = Services(world, *(session.octavia for session in sessions if session.octavia))
    world.services.clock, world.services.sleep = time.monotonic, time.sleep
    world.services.at_work = _unheard
    return world


@contextmanager
def _unheard() -> Iterator[None]:
    """The lab's Octavia does not hear what its provider has done; that waits 5 s for it (octavia_lib's driver_lib)."""
    session = str(Processes(Layout.of(os.environ)).pid("octavia"))
    told = subprocess.run(["pgrep", "-s", session, "-f", "status_listener"], capture_output=True, text=True, check=True)
    (listener,) = map(int, told.stdout.split())
    os.kill(listener, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(listener, signal.SIGCONT)


def _world(engine: Transport, member: Transport, other: Transport, admin: Transport, external: str) -> World:
    made: list[str] = []
    return World(
        transport=Recording(engine, made),
        member=Recording(member, made),
        other=Recording(other, made),
        admin=admin,
        created=made,
        external=external,
    )


@pytest.fixture(scope="session", params=["fake", pytest.param("real", marks=pytest.mark.lab)])
def cloud(request: pytest.FixtureRequest) -> Iterator[World]:
    """One Neutron for the session, with a pod network."""
    world = fake_world() if request.param == "fake" else real_world()
    try:
        world.set_up()
        yield world
    finally:
        world.clean(all_=True)


@pytest.fixture
def world(cloud: World) -> Iterator[World]:
    """The Neutron, as it was before the case: what the case makes is taken away."""
    cloud.neutron.calls.clear()
    cloud.audit.clear()
    yield cloud
    cloud.clean()


@pytest.fixture(scope="session")
def services_network(cloud: World) -> World:
    """The network of Services behind a router to the external one."""
    cloud.services.set_up()
    return cloud


@pytest.fixture
def services(services_network: World, world: World) -> Iterator[Services]:
    """The same cloud's Octavia, without load balancers of the case."""
    assert services_network is world
    world.services.begin()
    yield world.services
    world.services.clean()
