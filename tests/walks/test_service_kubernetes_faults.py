"""Kubernetes' faults while Services come, scale, are made anew and go: all are served, nothing leaked or doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module

import pytest

from kuryrctl.kube import Kube
from kuryrctl.reconcile import AuditLog, Parts
from tests.faults.faults import Cut, Silence, Swallow, doubled, kubernetes_error, lost, shortened, swapped
from tests.faults.kube_transport import FaultyKube
from tests.faults.rules import Rule
from tests.unit.reconcile.service_site import ServiceSite
from tests.unit.reconcile.site import eventually
from tests.walks.test_service_crash_walk import settled

FOLLOWED = "WATCH (services|endpointslices)"
STATUS = "PATCH services/status"
"""Of the lists that are stale the first is none: what a watch begins with counts at once (decision 021)."""
PASSING: Mapping[str, tuple[Rule, ...]] = {
    "watches cut": (Rule(Cut(1), FOLLOWED, times=10),),
    "watches refused as too old": (Rule(kubernetes_error(410, "Expired", "too old"), FOLLOWED, times=6),),
    "events lost": (Rule(lost(3), "WATCH services", times=2), Rule(lost(2), "WATCH endpointslices", times=2)),
    "events doubled": (Rule(doubled(), FOLLOWED, times=5),),
    "events reordered": (Rule(swapped(), "WATCH services", times=2),),
    "a list that fails half way": (Rule(Cut(), "GET services", times=3),),
    "a list that is stale": (Rule(shortened("items", 1), "GET services", skip=1),),
    "a list of slices that is stale": (Rule(shortened("items", 0), "GET endpointslices", skip=1),),
    "a status not answered, but written": (Rule(Swallow(0.1), STATUS, times=3),),
    "a status not answered, not written": (Rule(Silence(0.1), STATUS, times=3),),
    "a status refused: busy": (Rule(kubernetes_error(429, "TooManyRequests", Retry_After="1"), STATUS, times=2),),
    "a status refused: broken": (Rule(kubernetes_error(500, "InternalError"), STATUS, times=3),),
    "a status refused: conflict": (Rule(kubernetes_error(409, "Conflict"), STATUS, times=3),),
}


class FaultySite(ServiceSite):
    """A site whose engine speaks to the cluster through `faulty`."""

    faulty: FaultyKube | None = None

    def parts(self, **limits: object) -> Parts:
        parts = super().parts(**{"first_rest_s": 0.01, **limits})
        if self.faulty is None:
            return parts
        self.client = Kube(self.faulty)
        return Parts(self.config, self.openstack, self.client, AuditLog(None, "test", clock=lambda: 0.0), None, 0.01)


def roll_out(site: ServiceSite) -> None:
    """Five Services come and scale, two go, one is made anew under its name and address."""
    for n in range(5):
        site.service(f"web-{n}", f"10.96.1.{n + 1}", type="LoadBalancer" if n % 2 else "ClusterIP")
        site.endpoints(f"web-{n}", f"10.65.1.{n}")
        time.sleep(0.01)
    for name in ("old-0", "old-1", "web-3"):
        site.kube.remove("services", "shop", name)
    site.service("web-3", "10.96.1.4", type="LoadBalancer")
    for n in range(5):
        site.endpoints(f"web-{n}", f"10.65.1.{n}", f"10.65.2.{n}")


def is_settled(site: ServiceSite) -> bool:
    try:
        settled(site)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("name", PASSING)
def test_a_rollout_of_services_survives_what_passes(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.1)
    site = FaultySite(full_turn_s=1)
    for n in range(3):
        site.service(f"old-{n}", f"10.96.0.{n + 10}")
    assert site.run().ok
    kept = site.balancer(site.kube.objects("services")["shop/old-2"]["metadata"]["uid"])["id"]
    site.faulty = FaultyKube(site.kube)
    site.faulty.add(*PASSING[name])

    with site.watching():
        eventually(lambda: bool(site.kube.open_watches()))
        roll_out(site)
        eventually(lambda: is_settled(site))

    settled(site)
    assert kept in {each["id"] for each in site.balancers()}, "what nobody touched was never made anew"
    for n in range(5):
        uid = site.kube.objects("services")[f"shop/web-{n}"]["metadata"]["uid"]
        assert site.members(uid) == [(f"10.65.1.{n}", 8080), (f"10.65.2.{n}", 8080)]
    assert site.faulty.injected, "nothing was injected"
    for fault, call in site.faulty.injected:
        record_property("fault-call", f"{fault} x {call}")
