"""Parts of load balancers that the fake alone is asked for, since the lab's OVN was seen to end in ERROR with them.

Monitors: it wants a switch port behind every member. A pool's persistence that changes, and a pool that was lost below
its listener: its provider may fail at the update of a pool. And what is refused during another change: the lab's
Octavia is ready before a second call can reach it.
"""

from __future__ import annotations

import re

import msgspec
import pytest

from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.specs import ListenerSpec
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


def made(services: Services, *listeners: ListenerSpec) -> LoadBalancer:
    tree = services.done(services.create(services.balancer(*listeners)))
    services.octavia_calls.clear()
    return tree


def test_a_listener_comes_with_its_pool_its_members_and_its_monitor(services: Services) -> None:
    made(services, services.listener(80, *TWO))

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
    made(services, services.listener(80, *TWO))
    spec = services.monitor(80)

    first = services.done(services.create(spec)).pools[0].health_monitor
    assert first and (first.delay, first.name) == (5, "tcp-80")
    same = services.done(services.update(spec, first.id)).pools[0].health_monitor
    assert same and same.id == first.id
    changed = services.done(services.update(services.monitor(80, delay=9), first.id)).pools[0].health_monitor
    assert changed and changed.id != first.id and changed.delay == 9
    assert mutations(services.octavia_calls) == {("POST", "healthmonitors"): 2, ("DELETE", "healthmonitors"): 1}

    assert services.done(services.delete(spec, changed.id)).pools[0].health_monitor is None
    assert codes(services.apply(services.delete(spec, changed.id))) == [""]


def test_a_pool_that_was_lost_is_made_anew_below_its_listener(services: Services) -> None:
    spec = services.listener(80, *TWO)
    tree = made(services, spec)
    services.raw("DELETE", f"/pools/{tree.pools[0].id}")
    services.active(tree.id)

    tree = services.done(services.create(spec.pool))

    assert [addresses(pool) for pool in tree.pools] == [list(TWO)]
    assert tree.listeners[0].default_pool_id == tree.pools[0].id


def test_affinity_comes_and_goes_by_one_call_each(services: Services) -> None:
    spec = services.listener(80, *TWO).pool
    tree = made(services, services.listener(80, *TWO))
    id_ = tree.pools[0].id

    tree = services.done(services.update(msgspec.structs.replace(spec, persistence=("SOURCE_IP", None)), id_))
    assert tree.pools[0].session_persistence and tree.pools[0].session_persistence.type == "SOURCE_IP"
    tree = services.done(services.update(spec, id_))
    assert tree.pools[0].session_persistence is None
    tree = services.done(services.update(spec, id_))

    assert mutations(services.octavia_calls) == {("PUT", "pools"): 2}


def test_one_change_at_a_time(services: Services) -> None:
    tree = made(services, services.listener(80, *TWO))
    body = {"listener": {"loadbalancer_id": tree.id, "protocol": "TCP", "protocol_port": 81}}
    assert services.raw("POST", "/listeners", body).status == 201

    refused = (
        services.raw("POST", "/listeners", {"listener": {**body["listener"], "protocol_port": 82}}),
        services.raw("PUT", f"/pools/{tree.pools[0].id}/members", {"members": []}),
        services.raw("DELETE", f"/loadbalancers/{tree.id}?cascade=true"),
    )

    for answer in refused:
        assert answer.status == 409, answer
        assert re.search("is immutable|Invalid state PENDING_", answer.json["faultstring"])
