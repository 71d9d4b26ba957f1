"""Engines that are killed after every single call of a Service's creation, change and end: nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.lab.openstack.config import NEUTRON_URL, OCTAVIA_URL
from tests.faults.proxy import Proxy
from tests.functional.services.shop import WEB, Shop
from tests.functional.services.wire import OUTSIDE
from tests.functional.victims import Victims

pytestmark = pytest.mark.long

FIRST: dict[str, Any] = {
    "type": "LoadBalancer",
    "selector": WEB,
    "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "echo", "port": 80, "protocol": "UDP"}],
}
FIRST["ports"][1]["targetPort"] = "echo"
SECOND = {
    **FIRST,
    "ports": [{"name": "admin", "port": 81, "targetPort": "admin"}, {"name": "http", "port": 80, "targetPort": 8081}],
}


def listeners(shop: Shop, vip: str) -> list[tuple[str, int, int]]:
    """Protocol, port and number of members of each listener, of the one load balancer with this VIP."""
    (balancer,) = shop.balancers(vip)
    tree = shop.octavia(f"loadbalancers/{balancer['id']}/status")["statuses"]["loadbalancer"]
    found = []
    for each in tree["listeners"]:
        known = shop.octavia(f"listeners/{each['id']}")["listener"]
        members = [member for pool in each["pools"] for member in pool["members"]]
        found.append((known["protocol"], known["protocol_port"], len(members)))
    return sorted(found)


def floating_ips(shop: Shop) -> list[str]:
    found = shop.lab.cloud("admin").network.get("/floatingips").json()["floatingips"]
    return [each["floating_ip_address"] for each in found]


def test_engines_that_die_at_every_call_leave_one_load_balancer_and_one_floating_ip(
    shop: Shop, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    before = floating_ips(shop)
    with shop.lab.engine_stopped(), Proxy(NEUTRON_URL) as neutron, Proxy(OCTAVIA_URL) as octavia:
        proxies = {"network": neutron, "load_balancer": octavia}

        def deaths(what: str) -> list[str]:
            """Engines run and die until one is done; by which calls they died."""
            died = []
            for kind in Victims(shop.lab, tmp_path, proxies, "service", "sync", "-n", shop.namespace).until_done():
                died.append(kind)
                record_property("crash-point", f"{what}: service sync killed after call {len(died)}, {kind}")
            return died

        shop.apply("killed", FIRST)
        (vip,) = shop.addresses("killed")
        died = deaths("made")
        assert {"POST loadbalancers", "POST floatingips"} <= set(died), died
        assert listeners(shop, vip) == [("TCP", 80, 3), ("UDP", 80, 3)]
        (address,) = set(floating_ips(shop)) - set(before)
        shop.answers(address, 80, client=OUTSIDE)
        assert OUTSIDE.says(vip, 80, b"echo here") == b"here"
        (made,) = shop.balancers(vip)

        shop.apply("killed", SECOND)
        died = deaths("changed")
        assert {"POST listeners", "DELETE listeners"} <= set(died), died
        assert listeners(shop, vip) == [("TCP", 80, 3), ("TCP", 81, 3)]
        assert shop.balancers(vip)[0]["id"] == made["id"]
        assert OUTSIDE.fetch(address, 81) in shop.servers()

        shop.delete("killed")
        assert "DELETE loadbalancers" in deaths("deleted")
        shop.gone(vip)
        assert floating_ips(shop) == before
