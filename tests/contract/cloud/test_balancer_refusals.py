"""What an Octavia refuses and what it does by itself: the fake must do the same as the real one.

``{key}`` in a path or a body stands for the id behind a key.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import Struct

from tests.contract.cloud.services import Services
from tests.contract.cloud.test_refusals import NOBODY, resolved

Body = dict[str, Any]


class Case(Struct, frozen=True):
    """A call that is refused, beside a load balancer with a listener, a pool and a member."""

    title: str
    method: str
    path: str
    body: Body | None
    status: int
    says: str


def balancer(**fields: Any) -> Body:
    return {"loadbalancer": {"provider": "ovn", "vip_subnet_id": "{subnet/services}"} | fields}


def listener(**fields: Any) -> Body:
    below = {"loadbalancer_id": "{load-balancer}", "protocol": "TCP", "protocol_port": 81}
    return {"listener": below | fields}


def pool(**fields: Any) -> Body:
    return {
        "pool": {"loadbalancer_id": "{load-balancer}", "protocol": "TCP", "lb_algorithm": "SOURCE_IP_PORT"} | fields
    }


def member(**fields: Any) -> Body:
    return {"address": "10.91.0.21", "protocol_port": 80, "subnet_id": "{subnet/v4}"} | fields


def monitor(**fields: Any) -> Body:
    below = {"pool_id": "{pool}", "type": "TCP", "delay": 5, "timeout": 3, "max_retries": 2}
    return {"healthmonitor": below | fields}


BALANCERS, LISTENERS, POOLS, MEMBERS = "/loadbalancers", "/listeners", "/pools", "/pools/{pool}/members"
NAMELESS = [{"protocol": "TCP", "protocol_port": 80, "default_pool": {"protocol": "TCP", "lb_algorithm": "SOURCE_IP"}}]
CASES = [
    Case("no VIP", "POST", BALANCERS, {"loadbalancer": {"provider": "ovn"}}, 400, "VIP must contain one of"),
    Case("no provider of this cloud", "POST", BALANCERS, balancer(provider="nobody"), 400, "nobody"),
    Case("a taken VIP", "POST", BALANCERS, balancer(vip_address="10.92.0.10"), 409, "VIP IP address is already in use"),
    Case("a VIP outside of its subnet", "POST", BALANCERS, balancer(vip_address="10.99.0.1"), 500, "not a valid IP"),
    Case("no subnet", "POST", BALANCERS, balancer(vip_subnet_id=NOBODY), 400, "not found"),
    Case("a pool without a name", "POST", BALANCERS, balancer(listeners=NAMELESS), 400, "Pools must be named"),
    Case("an unknown attribute", "POST", BALANCERS, balancer(nonsense=1), 400, "[Uu]nknown attribute"),
    Case("a second listener on a port", "POST", LISTENERS, listener(protocol_port=80), 409, "is already using"),
    Case("a protocol that OVN has not", "POST", LISTENERS, listener(protocol="HTTP"), 501, "does not support HTTP"),
    Case("ranges", "POST", LISTENERS, listener(allowed_cidrs=["10.0.0.0/8"]), 501, "allowed_cidrs"),
    Case("a listener on nothing", "POST", LISTENERS, listener(loadbalancer_id=NOBODY), 404, "not found"),
    Case("an algorithm", "POST", POOLS, pool(lb_algorithm="ROUND_ROBIN"), 501, "does not support ROUND_ROBIN"),
    Case(
        "a time-out of TCP's affinity",
        "POST",
        POOLS,
        pool(session_persistence={"type": "SOURCE_IP", "persistence_timeout": 60}),
        400,
        "persistence_timeout",
    ),
    Case("a member twice", "PUT", MEMBERS, {"members": [member(), member()]}, 409, "already using ip 10.91.0.21"),
    Case("a member of the other family", "PUT", MEMBERS, {"members": [member(address="fd00::1")]}, 501, "[Mm]ix"),
    Case(
        "a far member without a subnet",
        "PUT",
        MEMBERS,
        {"members": [{"address": "10.254.7.7", "protocol_port": 80}]},
        501,
        "Subnet is required",
    ),
    Case("members of nothing", "PUT", f"/pools/{NOBODY}/members", {"members": []}, 404, "not found"),
    Case("a monitor that OVN has not", "POST", "/healthmonitors", monitor(type="HTTP"), 501, "HTTP"),
    Case("a monitor of datagrams", "POST", "/healthmonitors", monitor(type="UDP-CONNECT"), 400, "only supported for"),
    Case("a load balancer not there", "GET", f"{BALANCERS}/{NOBODY}", None, 404, "not found"),
    Case("a deletion without cascade", "DELETE", BALANCERS + "/{load-balancer}", None, 400, "has children"),
    Case("an unknown filter", "GET", f"{BALANCERS}?nonsense=1", None, 400, "duplicate or invalid"),
    Case("a fixed field", "PUT", LISTENERS + "/{listener}", {"listener": {"protocol_port": 1}}, 400, "[Uu]nknown"),
]


@pytest.fixture
def whole(services: Services) -> Services:
    """With one load balancer."""
    tree = services.done(services.create(services.balancer(services.listener(80, "10.91.0.11"))))
    services.world.ids |= {"load-balancer": tree.id, "listener": tree.listeners[0].id, "pool": tree.pools[0].id}
    return services


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_refused(whole: Services, case: Case) -> None:
    ids = whole.world.ids

    answer = whole.raw(case.method, case.path.format_map(ids), resolved(case.body, ids))

    assert answer.status == case.status, answer
    assert re.search(case.says, str(answer.json)), answer


def test_another_project_neither_sees_nor_changes_it(whole: Services) -> None:
    path = f"{BALANCERS}/{whole.world.ids['load-balancer']}"

    assert whole.raw("GET", path, by=whole.other).status == 403
    assert whole.raw("DELETE", f"{path}?cascade=true", by=whole.other).status == 403
    assert whole.world.ids["load-balancer"] not in str(whole.raw("GET", BALANCERS, by=whole.other).json)


def test_ovn_has_no_failover_and_a_member_may_not_ask_for_it(whole: Services) -> None:
    path = f"{BALANCERS}/{whole.world.ids['load-balancer']}/failover"

    by_admin, by_member = whole.raw("PUT", path, by=whole.admin), whole.raw("PUT", path, by=whole.member)

    assert (by_admin.status, by_member.status) == (501, 403)
    assert "does not support loadbalancer failover" in by_admin.json["faultstring"]


def test_lists_know_filters_of_tags_and_fields(whole: Services) -> None:
    tag = f"kuryr:cluster={whole.world.cluster_id}"

    tagged = whole.raw("GET", f"{BALANCERS}?tags={tag}&fields=id&fields=tags").json["loadbalancers"]
    untagged = whole.raw("GET", f"{BALANCERS}?not-tags={tag}&fields=id").json["loadbalancers"]

    assert [(set(each), each["id"]) for each in tagged] == [({"id", "tags"}, whole.world.ids["load-balancer"])]
    assert whole.world.ids["load-balancer"] not in {each["id"] for each in untagged}


def test_a_members_change_moves_its_pools_time_and_the_list_of_pools_names_its_members(whole: Services) -> None:
    """What the reader relies on when it reads the members of a pool again only where something has moved."""
    path = f"/pools/{whole.world.ids['pool']}"
    before = whole.raw("GET", path).json["pool"]
    (member_id,) = [each["id"] for each in before["members"]]
    whole.sleep(1.1)

    whole.raw("PUT", f"{path}/members/{member_id}", {"member": {"weight": 7}})
    whole.active(whole.world.ids["load-balancer"])
    weighed = whole.raw("GET", path).json["pool"]
    whole.sleep(1.1)
    whole.raw("DELETE", f"{path}/members/{member_id}")
    whole.until(lambda: whole.raw("GET", f"{path}/members").json["members"] == [])
    whole.active(whole.world.ids["load-balancer"])
    emptied = whole.raw("GET", path).json["pool"]

    assert before["updated_at"] < weighed["updated_at"] < emptied["updated_at"]
    assert ([each["id"] for each in weighed["members"]], emptied["members"]) == ([member_id], [])
