"""What is refused during another change: of the fake alone, since the lab's Octavia is ready before a second call."""

from __future__ import annotations

import re

from tests.contract.cloud.conftest import fake_world

TWO = ("10.91.0.11", "10.91.0.12")


def test_one_change_at_a_time() -> None:
    world = fake_world()
    world.set_up()
    services = world.services
    services.set_up()
    services.begin()
    tree = services.done(services.create(services.balancer(services.listener(80, *TWO))))
    body = {"loadbalancer_id": tree.id, "protocol": "TCP", "protocol_port": 81}
    assert services.raw("POST", "/listeners", {"listener": body}).status == 201

    refused = (
        services.raw("POST", "/listeners", {"listener": {**body, "protocol_port": 82}}),
        services.raw("PUT", f"/pools/{tree.pools[0].id}/members", {"members": []}),
        services.raw("DELETE", f"/loadbalancers/{tree.id}?cascade=true"),
    )

    for answer in refused:
        assert answer.status == 409, answer
        assert re.search("is immutable|Invalid state PENDING_", answer.json["faultstring"])
