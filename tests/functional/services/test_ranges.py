"""Who may come from outside: `loadBalancerSourceRanges`, which OVN's load balancers do not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kuryrctl.lab.layout import EXTERNAL_GATEWAY
from tests.functional.lab import wait_for
from tests.functional.services.shop import PATIENT_S, WEB, Shop
from tests.functional.services.wire import OUTSIDE

OURS, OTHERS = f"{EXTERNAL_GATEWAY}/32", "198.51.100.0/24"


def limited(*ranges: str) -> dict[str, Any]:
    return {
        "type": "LoadBalancer",
        "selector": WEB,
        "ports": [{"port": 80, "targetPort": 8081}],  # whose group no other Service of the shop opens to the world
        "loadBalancerSourceRanges": list(ranges),
    }


@pytest.fixture
def address(shop: Shop) -> Iterator[str]:
    """The external address of a Service that lets in the tests' host; its ClusterIP is gone afterwards."""
    shop.apply("limited", limited(OURS))
    (vip,) = shop.addresses("limited")
    try:
        yield shop.external("limited")
    finally:
        shop.delete("limited")
        shop.gone(vip)


def test_source_ranges_let_in_and_shut_out_the_world_and_no_pod(shop: Shop, address: str) -> None:
    (vip,) = shop.addresses("limited")
    shop.answers(address, 80, client=OUTSIDE)
    shop.answers(vip, 80)
    shop.apply("limited", limited(OTHERS))
    wait_for(lambda: not OUTSIDE.reaches(address, 80, 1.0), PATIENT_S, shop.told)
    assert not any(OUTSIDE.reaches(address, 80, 1.0) for _ in range(5))
    for client in shop.clients.values():
        assert client.fetch(vip, 80) in shop.servers()
    shop.apply("limited", limited(OTHERS, OURS))
    shop.answers(address, 80, client=OUTSIDE)
