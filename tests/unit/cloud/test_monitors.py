"""Health monitors, on the fake alone: OVN wants a switch port behind every member of a monitored pool."""

from __future__ import annotations

import pytest

from tests.contract.cloud.conftest import fake_world
from tests.contract.cloud.services import Services, addresses, mutations, statuses
from tests.contract.cloud.world import codes

TWO = ("10.91.0.11", "10.91.0.12")


@pytest.fixture
def services() -> Services:
    world = fake_world()
    world.set_up()
    world.services.set_up()
    world.services.begin()
    return world.services


def test_a_listener_comes_with_its_pool_its_members_and_its_monitor(services: Services) -> None:
    services.done(services.create(services.balancer(services.listener(80, *TWO))))
    services.octavia_calls.clear()

    tree = services.done(services.create(services.listener(443, *TWO, monitor=services.monitor(443))))

    pool = next(pool for pool in tree.pools if pool.name == "tcp-443")
    assert statuses(tree) == {"ACTIVE"} and addresses(pool) == list(TWO)
    assert pool.health_monitor and (pool.health_monitor.type, pool.health_monitor.delay) == ("TCP", 5)
    assert mutations(services.octavia_calls) == {
        ("POST", "pools"): 1,
        ("PUT", "pools/members"): 1,
        ("POST", "healthmonitors"): 1,
        ("POST", "listeners"): 1,
    }


def test_a_monitor_comes_is_made_anew_where_it_differs_and_goes(services: Services) -> None:
    services.done(services.create(services.balancer(services.listener(80, *TWO))))
    services.octavia_calls.clear()
    spec = services.monitor(80)

    made = services.done(services.create(spec)).pools[0].health_monitor
    assert made and (made.delay, made.name) == (5, "tcp-80")
    same = services.done(services.update(spec, made.id)).pools[0].health_monitor
    assert same and same.id == made.id
    changed = services.done(services.update(services.monitor(80, delay=9), made.id)).pools[0].health_monitor
    assert changed and changed.id != made.id and changed.delay == 9
    assert mutations(services.octavia_calls) == {("POST", "healthmonitors"): 2, ("DELETE", "healthmonitors"): 1}

    assert services.done(services.delete(spec, changed.id)).pools[0].health_monitor is None
    assert codes(services.apply(services.delete(spec, changed.id))) == [""]
