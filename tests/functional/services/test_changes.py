"""Services that change while somebody asks, whose load balancers somebody deletes, and whose Octavia is away."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.functional.lab import wait_for
from tests.functional.services.shop import PATIENT_S, WEB, Shop
from tests.functional.services.wire import asking

PORTS = [{"port": 80, "targetPort": "http"}]


def test_no_request_fails_while_a_member_is_added_and_the_others_follow(shop: Shop) -> None:
    vip = shop.addresses("web")[0]
    shop.answer_exactly(shop.servers(), vip)
    with asking(shop.client, vip, 80) as heard:
        five = shop.scale(5)
        wait_for(lambda: heard.names == set(five), PATIENT_S, lambda: (heard.names, five, shop.told()))
        time.sleep(1)
    assert heard.failed == [], f"{len(heard.failed)} of {heard.count}"
    try:
        shop.scale(0)
        wait_for(lambda: not shop.client.reaches(vip, 80, 1.0), PATIENT_S, shop.told)
        shop.answer_exactly(shop.scale(2), vip)
    finally:
        three = shop.scale(3)
    shop.answer_exactly(three, vip)


def test_what_somebody_deletes_in_octavia_comes_back(shop: Shop) -> None:
    """Seen by their ids: a full turn may come in the middle, and then there is no moment when nobody answers."""
    vips = {name: shop.addresses(name)[0] for name in ("web", "outside", "sticky")}
    outside, sticky = (shop.balancers(vips[name])[0] for name in ("outside", "sticky"))
    (pool,) = (each["id"] for each in sticky["pools"])

    def ids() -> list[set[str]]:
        """Of the load balancers of one Service, the listeners of another, and the members of the third."""
        found = (
            shop.balancers(vips["web"]),
            shop.octavia(f"loadbalancers/{outside['id']}")["loadbalancer"]["listeners"],
            shop.octavia(f"pools/{pool}")["pool"]["members"],
        )
        return [{each["id"] for each in things} for things in found]

    before = balancers, listeners, members = ids()
    doomed = (("loadbalancers", balancers), ("listeners", listeners), (f"pools/{pool}/members", members))
    for collection, of_it in doomed:
        for id_ in of_it:
            shop.remove(f"{collection}/{id_}")
    wait_for(lambda: all(now and not now & then for now, then in zip(ids(), before, strict=True)), PATIENT_S, shop.told)
    for name in ("web", "outside"):
        shop.answer_exactly(shop.servers(), vips[name])
    shop.answers(vips["sticky"], 80)


def test_a_service_that_is_made_again_at_once_answers_under_name_and_address(shop: Shop) -> None:
    shop.apply("again", {"selector": WEB, "ports": PORTS})
    (vip,) = shop.addresses("again")
    shop.answers(vip, 80)
    (before,) = shop.balancers(vip)
    shop.delete("again")
    shop.apply("again", {"selector": WEB, "ports": [{"port": 82, "targetPort": 8081}], "clusterIP": vip})
    shop.answers(vip, 82)
    wait_for(lambda: len(shop.balancers(vip)) == 1, PATIENT_S, shop.told)  # the old one's row outlives its port
    assert shop.balancers(vip)[0]["id"] != before["id"]
    assert not shop.client.reaches(vip, 80, 1.0)
    shop.delete("again")
    shop.gone(vip)


def without_octavia(shop: Shop) -> None:
    shop.lab.context.processes.stop("octavia", grace_s=0.0)


@pytest.fixture
def vips(shop: Shop) -> dict[str, str]:
    """Two Services with their load balancers; their addresses."""
    for name in ("doomed", "growing"):
        shop.apply(name, {"selector": WEB, "ports": PORTS})
    found = {name: shop.addresses(name)[0] for name in ("doomed", "growing")}
    for vip in found.values():
        shop.answers(vip, 80)
    return found


@pytest.mark.long
def test_octavia_goes_in_mid_change_and_everything_follows_when_it_is_back(shop: Shop, vips: dict[str, str]) -> None:
    spec: dict[str, Any] = {"selector": WEB, "ports": [{"port": port, "targetPort": 8080} for port in (80, 83)]}
    spec["ports"] = [{**port, "name": f"p{port['port']}"} for port in spec["ports"]]
    shop.apply("growing", spec)
    without_octavia(shop)
    try:
        shop.apply("late", {"selector": WEB, "ports": PORTS})
        shop.delete("doomed")  # returns: nothing of ours holds a Service back
        three = shop.servers()
        five = shop.scale(5)  # pods get their ports all the same
        shop.answer_exactly(three, vips["growing"])
    finally:
        shop.lab.up()
        shop.lab.kuryrctl("lab", "engine", "stop")
        # What Octavia was at work on when it ended is in ERROR now, and that is repaired when somebody says so.
        shop.lab.kuryrctl(
            "service", "sync", "--repair", "--wait", "30", "-n", shop.namespace, check=False, timeout_s=300
        )
        shop.lab.kuryrctl("lab", "engine", "start")
    late = shop.addresses("late")[0]
    try:
        shop.answer_exactly(five, late)
        shop.answer_exactly(five, vips["growing"], 83)
        shop.gone(vips["doomed"])
    finally:
        shop.scale(3)
        shop.delete("late", "growing")
    shop.gone(late, vips["growing"])
