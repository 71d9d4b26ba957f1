"""The Neutrons on which the cases run: the fake always, the lab's with --lab (`eval "$(kuryrctl lab env)"`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kuryrctl.cloud import Neutron, Transport
from kuryrctl.cloud.session import open_session
from tests.contract.cloud.world import NODE1, NODE2, Recording, World
from tests.fakes.neutron import ADMIN, MEMBER, FakeNeutron


def fake_world() -> World:
    """A cloud in memory."""
    engine = FakeNeutron()
    engine.cloud.rules.hosts = frozenset({NODE1, NODE2})
    member, other = engine.session(engine.project_id, role=MEMBER), engine.session("project-b")
    admin = engine.session("admin-project", role=ADMIN)
    return _world(engine, member, other, admin, engine.external_network()["id"])


def real_world() -> World:
    """The lab's cloud: the engine's credential, a plain member of its project, another project, the administrator."""
    engine, member, other, admin = (open_session(cloud, None) for cloud in ("kuryr", "demo", "other", "admin"))
    return _world(engine, member, other, admin, Neutron(engine).find_network("public").id)


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
