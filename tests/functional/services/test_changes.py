"""Services that change while somebody asks, and whose load balancers somebody deletes."""

from __future__ import annotations

import time

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
    vips = {name: shop.addresses(name)[0] for name in ("web", "outside", "sticky")}
    trees = {name: shop.balancers(vip)[0] for name, vip in vips.items()}
    listener = next(each["id"] for each in trees["outside"]["listeners"])
    pool = next(each["id"] for each in trees["sticky"]["pools"])
    shop.remove(f"loadbalancers/{trees['web']['id']}")
    shop.remove(f"listeners/{listener}")
    for member in shop.octavia(f"pools/{pool}")["pool"]["members"]:
        shop.remove(f"pools/{pool}/members/{member['id']}")
    wait_for(lambda: not any(shop.client.reaches(vip, 80, 1.0) for vip in vips.values()), 30, shop.told)
    for name, vip in vips.items():
        if name != "sticky":
            shop.answer_exactly(shop.servers(), vip)
    shop.answers(vips["sticky"], 80)
    assert shop.balancers(vips["outside"])[0]["id"] == trees["outside"]["id"]
    assert shop.octavia(f"pools/{pool}")["pool"]["id"] == pool


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
