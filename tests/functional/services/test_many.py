"""Fifty Services at once: each gets its one load balancer, and Neutron and the pods do not wait for them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functional.lab import wait_for
from tests.functional.services.shop import WEB, Shop

pytestmark = pytest.mark.long

COUNT = 50
TIMEOUT_S = 600.0


def test_fifty_services_made_together_answer_and_go_together(shop: Shop) -> None:
    names = [f"many-{number}" for number in range(COUNT)]
    spec = {"selector": WEB, "ports": [{"port": 80, "targetPort": "http"}]}
    documents = [json.loads(shop.document(name, spec)) for name in names]
    shop.lab.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    found = shop.lab.get("services", "-n", shop.namespace)["items"]
    vips = {each["spec"]["clusterIP"] for each in found if each["metadata"]["name"] in names}
    assert len(vips) == COUNT
    silent = set(vips)

    def all_answer() -> bool:
        with ThreadPoolExecutor(8) as pool:
            waiting = sorted(silent)
            answers = pool.map(lambda vip: shop.client.reaches(vip, 80, 1.0), waiting)
            silent.difference_update(vip for vip, there in zip(waiting, answers, strict=True) if there)
        return not silent

    wait_for(all_answer, TIMEOUT_S, lambda: (len(silent), shop.told()))
    assert len(shop.balancers(*vips)) == COUNT
    shop.delete(*names)
    wait_for(lambda: not shop.balancers(*vips), TIMEOUT_S, shop.told)
