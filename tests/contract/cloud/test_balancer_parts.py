"""What is below a load balancer changes part by part, on the fake and on the lab's Octavia."""

from __future__ import annotations

import re

import msgspec

from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.specs import ListenerSpec
from tests.contract.cloud.services import Services, addresses, mutations, statuses
from tests.contract.cloud.world import codes

TWO = ("10.91.0.11", "10.91.0.12")


def _made(services: Services, *listeners: ListenerSpec) -> LoadBalancer:
    tree = services.done(services.create(services.balancer(*listeners)))
    services.octavia_calls.clear()
    return tree


def _ports(tree: LoadBalancer) -> set[tuple[str, int]]:
    return {(listener.protocol, listener.protocol_port) for listener in tree.listeners}


def test_a_listener_comes_with_its_pool_and_its_members(services: Services) -> None:
    _made(services, services.listener(80, *TWO))
    spec = services.listener(443, *TWO)

    tree = services.done(services.create(spec))

    assert _ports(tree) == {("TCP", 80), ("TCP", 443)} and statuses(tree) == {"ACTIVE"}
    pool = next(pool for pool in tree.pools if pool.name == "tcp-443")
    assert addresses(pool) == list(TWO)
    assert mutations(services.octavia_calls) == {
        ("POST", "pools"): 1,
        ("PUT", "pools/members"): 1,
        ("POST", "listeners"): 1,
    }


def test_sctp_is_accepted(services: Services) -> None:
    tree = _made(services, services.listener(7000, *TWO, protocol="SCTP"))

    assert _ports(tree) == {("SCTP", 7000)} and statuses(tree) == {"ACTIVE"}
    assert [addresses(pool) for pool in tree.pools] == [list(TWO)]


def test_a_listener_whose_creation_broke_off_is_finished_and_nothing_of_it_doubled(services: Services) -> None:
    _made(services, services.listener(80, *TWO))
    step = services.create(services.listener(443, *TWO))
    services.octavia.lose_next = "POST /pools"
    assert codes(services.apply(step)) == ["OCT-UNREACHABLE"]

    tree = services.done(step)
    again = services.done(step)

    assert sorted(pool.name for pool in tree.pools) == ["tcp-443", "tcp-80"]
    assert [addresses(pool) for pool in tree.pools] == [list(TWO), list(TWO)]
    assert _ports(tree) == _ports(again) == {("TCP", 80), ("TCP", 443)}


def test_a_listener_goes_with_its_pool_and_going_again_is_success(services: Services) -> None:
    http, https = services.listener(80, *TWO), services.listener(443, *TWO)
    tree = _made(services, http, https)
    id_ = services.world.ids[https.key]

    tree = services.done(services.delete(https, id_))
    assert (_ports(tree), [pool.name for pool in tree.pools]) == ({("TCP", 80)}, ["tcp-80"])
    assert mutations(services.octavia_calls) == {("DELETE", "listeners"): 1, ("DELETE", "pools"): 1}

    tree = services.done(services.delete(https, id_))
    assert _ports(tree) == {("TCP", 80)}


def test_a_pool_goes_by_itself(services: Services) -> None:
    spec = services.listener(80, *TWO)
    tree = _made(services, spec)

    tree = services.done(services.delete(spec.pool, tree.pools[0].id))

    assert tree.pools == () and tree.listeners[0].default_pool_id is None


def test_what_somebody_has_switched_off_is_switched_on(services: Services) -> None:
    listener = services.listener(80, *TWO)
    tree = _made(services, listener)
    pool = tree.pools[0].id
    for path, singular in ((f"loadbalancers/{tree.id}", "loadbalancer"), (f"pools/{pool}", "pool")):
        services.raw("PUT", f"/{path}", {singular: {"admin_state_up": False}})
        services.until(lambda: statuses(services.observed()[tree.id]) == {"ACTIVE"})
    off = services.observed()[tree.id]
    assert (off.admin_state_up, off.pools[0].admin_state_up) == (False, False)

    services.done(services.update(services.balancer(listener), tree.id))
    tree = services.done(services.update(listener.pool, pool))

    assert (tree.admin_state_up, tree.pools[0].admin_state_up) == (True, True)


def test_a_listener_gets_another_name_and_nothing_else_is_sent(services: Services) -> None:
    spec = services.listener(80, *TWO)
    tree = _made(services, spec)
    renamed = msgspec.structs.replace(spec, name="web")

    tree = services.done(services.update(renamed, tree.listeners[0].id))
    again = services.done(services.update(renamed, tree.listeners[0].id))

    assert tree.listeners[0].name == again.listeners[0].name == "web"
    assert mutations(services.octavia_calls) == {("PUT", "listeners"): 1}


def test_a_listener_comes_with_its_pool_its_members_and_its_monitor(services: Services) -> None:
    _made(services, services.listener(80, *TWO))

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
    _made(services, services.listener(80, *TWO))
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
    tree = _made(services, spec)
    services.raw("DELETE", f"/pools/{tree.pools[0].id}")
    services.active(tree.id)

    tree = services.done(services.create(spec.pool))

    assert [addresses(pool) for pool in tree.pools] == [list(TWO)]
    assert tree.listeners[0].default_pool_id == tree.pools[0].id


def test_affinity_comes_and_goes_by_one_call_each(services: Services) -> None:
    spec = services.listener(80, *TWO).pool
    tree = _made(services, services.listener(80, *TWO))
    id_ = tree.pools[0].id

    tree = services.done(services.update(msgspec.structs.replace(spec, persistence=("SOURCE_IP", None)), id_))
    assert tree.pools[0].session_persistence and tree.pools[0].session_persistence.type == "SOURCE_IP"
    tree = services.done(services.update(spec, id_))
    assert tree.pools[0].session_persistence is None
    tree = services.done(services.update(spec, id_))

    assert mutations(services.octavia_calls) == {("PUT", "pools"): 2}


def test_ovn_gives_up_a_pool_whose_persistence_changes_without_its_admin_state(services: Services) -> None:
    """Why an update of ours says both; where this fails, a provider has been mended."""
    tree = _made(services, services.listener(80, *TWO))
    pool = tree.pools[0].id

    services.raw("PUT", f"/pools/{pool}", {"pool": {"session_persistence": {"type": "SOURCE_IP"}}})

    services.until(lambda: services.observed()[tree.id].pools[0].provisioning_status == "ERROR")


def test_one_change_at_a_time(services: Services) -> None:
    tree = _made(services, services.listener(80, *TWO))
    body = {"loadbalancer_id": tree.id, "protocol": "TCP", "protocol_port": 81}
    with services.at_work():
        assert services.raw("POST", "/listeners", {"listener": body}).status == 201
        refused = (
            services.raw("POST", "/listeners", {"listener": {**body, "protocol_port": 82}}),
            services.raw("PUT", f"/pools/{tree.pools[0].id}/members", {"members": []}),
            services.raw("DELETE", f"/loadbalancers/{tree.id}?cascade=true"),
        )
    for answer in refused:
        assert answer.status == 409, answer
        assert re.search("is immutable|Invalid state PENDING_", answer.json["faultstring"])
    services.active(tree.id)
    assert _ports(services.observed()[tree.id]) == {("TCP", 80), ("TCP", 81)}


def test_members_go_to_none_and_come_back(services: Services) -> None:
    none, two = services.listener(80).pool.members, services.listener(80, *TWO).pool.members
    tree = _made(services, services.listener(80, *TWO))
    pool = tree.pools[0].id

    assert [addresses(each) for each in services.done(services.update(none, pool)).pools] == [[]]
    assert [addresses(each) for each in services.done(services.update(two, pool)).pools] == [list(TWO)]


def test_a_member_outside_of_every_subnet_is_reached_by_the_vips(services: Services) -> None:
    far = msgspec.structs.replace(services.listener(80, "10.254.7.7").pool.members.members[0], subnet=None)
    listener = services.listener(80)
    members = msgspec.structs.replace(listener.pool.members, members=(far,))
    pool = msgspec.structs.replace(listener.pool, members=members)
    tree = _made(services, msgspec.structs.replace(listener, pool=pool))

    tree = services.done(services.update(members, tree.pools[0].id))

    assert addresses(tree.pools[0]) == ["10.254.7.7"] and statuses(tree) == {"ACTIVE"}
