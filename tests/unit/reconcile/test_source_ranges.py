"""Source ranges of Services on a site: members are guarded first, and nothing leads there when they cannot be."""

from __future__ import annotations

import pytest

from kuryrctl.core import names
from tests.unit.reconcile.service_site import ServiceSite
from tests.unit.reconcile.site import eventually

WEB, ADDRESS = {"app": "web"}, "10.65.0.8"
RANGES = {"type": "LoadBalancer", "loadBalancerSourceRanges": ["198.51.100.0/24"]}
OPEN = {"podSelector": {"matchLabels": WEB}, "ingress": [{"ports": [{"port": 8080}]}]}


@pytest.fixture
def site() -> ServiceSite:
    """A pod that has reported its address."""
    site = ServiceSite()
    site.kube.add_pod("shop", "web", node="node1", uid="web", labels=WEB, phase="Running", ips=(ADDRESS,))
    assert site.run().ok
    return site


def opened(site: ServiceSite) -> str:
    """Service shop/web with source ranges, whose member is the pod; its uid."""
    uid = site.service("web", **RANGES)
    site.endpoints("web", ADDRESS)
    return uid


def roles(site: ServiceSite) -> set[str]:
    """The roles of the groups that the pod's port carries."""
    groups = {group["id"]: group["tags"] for group in site.cloud.objects("security_groups")}
    return {names.role_of(groups[id_]) for id_ in site.port_of("web").security_groups}


def leads_to(site: ServiceSite) -> list[str | None]:
    return [each["port_id"] for each in site.floating_ips()]


def test_a_member_is_guarded_before_a_floating_ip_leads_to_it(site: ServiceSite) -> None:
    uid = opened(site)
    port = site.port_of("web").id

    assert site.run().ok

    assert "guard" in roles(site) and "open-ingress" not in roles(site)
    assert leads_to(site) == [site.balancer(uid)["vip_port_id"]]
    calls = [f"{method} {path.partition('?')[0]}" for method, path in site.cloud.requests]
    assert calls.index(f"PUT /ports/{port}") < calls.index("POST /floatingips")
    assert site.ingress("web") == [site.floating_ips()[0]["floating_ip_address"]]
    assert site.plan() == []


def test_without_ranges_the_member_is_open_again(site: ServiceSite) -> None:
    opened(site)
    assert site.run().ok

    site.service("web", type="LoadBalancer")
    assert site.run().ok

    assert "open-ingress" in roles(site) and "guard" not in roles(site)
    assert site.plan() == []


def test_a_policy_that_lets_others_in_closes_the_service_and_loses_no_address(site: ServiceSite) -> None:
    opened(site)
    assert site.run().ok
    (before,) = site.floating_ips()
    site.kube.apply("networkpolicies", "shop", "open", spec=OPEN)

    assert site.run().ok

    assert (leads_to(site), site.ingress("web")) == ([None], [])
    assert site.floating_ips()[0]["floating_ip_address"] == before["floating_ip_address"]
    told = [event["note"] for event in site.events() if "SVC-RANGES" in event["note"]]
    assert told and "a policy lets others in to that port of pod shop/web" in told[0]
    assert site.plan() == []


def test_a_watching_engine_closes_it_without_waiting_for_a_full_turn(site: ServiceSite) -> None:
    opened(site)
    assert site.run().ok
    with site.watching():
        site.kube.apply("networkpolicies", "shop", "open", spec=OPEN)
        eventually(lambda: leads_to(site) == [None])
        eventually(lambda: site.ingress("web") == [])


def test_an_endpoint_that_is_no_pod_keeps_the_service_closed(site: ServiceSite) -> None:
    site.service("web", **RANGES)
    site.endpoints("web", "203.0.113.9")

    assert site.run().ok

    assert site.floating_ips() == []
    assert site.plan() == []
