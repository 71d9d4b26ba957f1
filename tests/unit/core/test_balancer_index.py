"""Whose load balancers and floating IPs they are, and by which keys they are found."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.balancers import FloatingIP, HealthMonitor, Listener, LoadBalancer, Pool
from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import Identity, Proof, claim_balancer, claim_floating_ip, service_tags

IDENTITY = Identity("kuryr", "project", "net")
TAGS = service_tags("kuryr", "u1", "4")
BALANCER = LoadBalancer(
    "lb1",
    name="kuryr/shop/web",
    project_id="project",
    description=names.description(TAGS),
    vip_address="10.96.0.5",
    vip_port_id="vip",
    tags=TAGS,
)
FLOATING = FloatingIP("fip1", "203.0.113.7", "public", "project", "vip", tags=TAGS, description=names.description(TAGS))


@pytest.mark.parametrize(
    ("changes", "proof", "why"),
    [
        ({}, Proof.TAGGED, ""),
        ({"tags": ()}, Proof.DERIVED, ""),
        ({"tags": ("theirs", *TAGS)}, Proof.TAGGED, ""),
        ({"tags": (), "description": "web"}, Proof.FOREIGN, ""),
        ({"tags": (), "project_id": "other"}, Proof.FOREIGN, ""),
        ({"tags": service_tags("prod", "u1", "4")}, Proof.FOREIGN, ""),
        ({"description": "copied"}, Proof.SUSPICIOUS, "its description is not the one that it was made with"),
        ({"project_id": "other"}, Proof.SUSPICIOUS, "it belongs to project other, not to ours"),
        (
            {"tags": names.tags("kuryr", "pod", "u1")},
            Proof.SUSPICIOUS,
            'its tags name the role "pod" and the uid "u1", which no load-balancer of ours has',
        ),
        (
            {"tags": service_tags("kuryr", "u1", "5")},
            Proof.SUSPICIOUS,
            'its tags name the role "service-5" and the uid "u1", which no load-balancer of ours has',
        ),
        ({"vip_address": "fd00::5"}, Proof.SUSPICIOUS, "its address fd00::5 is none of IPv4"),
    ],
)
def test_a_load_balancer_is_ours_when_all_its_marks_agree(changes: dict[str, Any], proof: Proof, why: str):
    claim = claim_balancer(replace(BALANCER, **changes), IDENTITY)

    assert (claim.proof, claim.why) == (proof, why)
    assert (claim.key == "load-balancer/service/u1/4") is claim.ours


@pytest.mark.parametrize(
    ("changes", "proof"),
    [
        ({}, Proof.TAGGED),
        ({"tags": ()}, Proof.DERIVED),
        ({"tags": (*TAGS, names.KEEP)}, Proof.TAGGED),
        ({"description": ""}, Proof.SUSPICIOUS),
        ({"tags": (), "description": ""}, Proof.FOREIGN),
    ],
)
def test_so_is_a_floating_ip(changes: dict[str, Any], proof: Proof):
    assert claim_floating_ip(replace(FLOATING, **changes), IDENTITY).proof is proof


def test_everything_below_is_found_by_key():
    tree = replace(
        BALANCER,
        listeners=(Listener("l1", "TCP", 80, default_pool_id="p1"), Listener("l2", "UDP", 53, default_pool_id="p2")),
        pools=(
            Pool("p1", "TCP", "SOURCE_IP_PORT", "tcp-80", health_monitor=HealthMonitor("m1", "TCP", 5, 3, 3)),
            Pool("p2", "UDP", "SOURCE_IP_PORT", "by hand"),
            Pool("p3", "TCP", "SOURCE_IP_PORT", "left over"),
            Pool("p4", "TCP", "SOURCE_IP_PORT", "tcp-443"),
        ),
    )

    assert dict(Balancers(IDENTITY, [tree], [FLOATING]).ids) == {
        "load-balancer/service/u1/4": "lb1",
        "floating-ip/service/u1/4": "fip1",
        "listener/service/u1/4/tcp-80": "l1",
        "listener/service/u1/4/udp-53": "l2",
        "pool/service/u1/4/tcp-80": "p1",
        "member/service/u1/4/tcp-80": "p1",
        "health-monitor/service/u1/4/tcp-80": "m1",
        "pool/service/u1/4/udp-53": "p2",
        "member/service/u1/4/udp-53": "p2",
        "pool/service/u1/4/p3": "p3",
        "member/service/u1/4/p3": "p3",
        "pool/service/u1/4/tcp-443": "p4",
        "member/service/u1/4/tcp-443": "p4",
    }


def test_of_doubles_the_tagged_one_is_used():
    double = replace(BALANCER, id="lb0", tags=())
    index = Balancers(IDENTITY, [double, BALANCER])

    assert [each.id for each in index.of("u1")["load-balancer/service/u1/4"]] == ["lb1", "lb0"]
    assert index.count_ours() == 2


def test_what_is_put_and_dropped_leaves_nothing_behind():
    index = Balancers(IDENTITY, [BALANCER], [FLOATING])
    index.put(replace(BALANCER, listeners=(Listener("l1", "TCP", 80),)))
    assert index.ids["listener/service/u1/4/tcp-80"] == "l1"
    assert (index.count_ours(), index.count_ours(Kind.FLOATING_IP)) == (1, 1)

    index.drop("lb1")
    index.drop("fip1")
    index.drop("unknown")

    assert (index.served(), dict(index.ids), index.of("u1"), list(index)) == (set(), {}, {}, [])


def test_everybodys_floating_ips_are_known_but_no_foreign_load_balancer():
    theirs = FloatingIP("theirs", "203.0.113.9", "public", "project", "vm")
    index = Balancers(IDENTITY, [LoadBalancer("other")], [theirs, FLOATING])

    assert index.floating_ip_at("203.0.113.9") == theirs
    assert (index.floating_ips_on("vm"), index.claim("theirs").ours) == ((theirs,), False)
    assert index.by_id("other") is None
    index.put(replace(theirs, port_id=None))
    assert (index.floating_ips_on("vm"), index.floating_ips_on("")) == ((), ())
    index.drop("theirs")
    assert index.floating_ip_at("203.0.113.9") is None
    assert index.served() == {"u1"}


def test_a_suspicious_one_is_told_and_is_nobodys():
    index = Balancers(IDENTITY, [replace(BALANCER, description="copied")])

    assert [finding.message for finding in index.suspicious()] == [
        "load-balancer lb1 carries our tags, but its description is not the one that it was made with; kuryrctl leaves"
        " it alone"
    ]
    assert index.of("u1") == {}
