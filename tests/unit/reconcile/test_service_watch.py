"""Services under the watch: events, lost events, Octavia's faults, and who waits for whom."""

from __future__ import annotations

import threading
from importlib import import_module

import pytest

from kuryrctl.cloud import OpenStack
from kuryrctl.core.errors import Owner, Unavailable
from kuryrctl.reconcile import AuditLog
from kuryrctl.reconcile.lanes import OCTAVIA_WORKERS
from kuryrctl.reconcile.watch import WATCHED
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia
from tests.unit.reconcile.service_site import ServiceSite
from tests.unit.reconcile.site import eventually

SILENT = Unavailable("Octavia does not answer", code="OCT-UNREACHABLE", owner=Owner.OCTAVIA)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ServiceSite:
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.1)
    return ServiceSite(full_turn_s=1)


def following(site: ServiceSite) -> None:
    """Until the watch has its lists: what is created from now on comes as events."""
    eventually(lambda: site.kube.open_watches() == len(WATCHED))


def answers(site: ServiceSite, uid: str) -> bool:
    """Whether a Service has the one load balancer that it needs."""
    found = site.balancers(uid)
    return len(found) == 1 and found[0]["provisioning_status"] == "ACTIVE"


def test_a_service_comes_scales_and_goes_by_events() -> None:
    site = ServiceSite(full_turn_s=3600)
    with site.watching():
        following(site)
        before = site.octavia_calls()
        uid = site.service("web", type="LoadBalancer")
        site.endpoints("web", "10.65.0.8")
        eventually(lambda: answers(site, uid) and site.members(uid) == [("10.65.0.8", 8080)])
        eventually(lambda: bool(site.ingress("web")))
        site.endpoints("web", "10.65.0.8", "10.65.0.9", "10.65.0.10")
        eventually(lambda: len(site.members(uid)) == 3)
        site.kube.remove("endpointslices", "shop", "web-1")
        eventually(lambda: site.members(uid) == [])
        site.kube.remove("services", "shop", "web")
        eventually(lambda: not site.balancers() and not site.floating_ips())
        made = site.octavia_calls() - before
        eventually(lambda: site.plan() == [])
    assert made["POST loadbalancers"] == made["DELETE loadbalancers"] == 1
    assert made["PUT pools/members"] in (2, 3), "the slice may have come after its Service was served"


def test_a_slice_that_changes_its_service_concerns_both() -> None:
    site = ServiceSite(full_turn_s=3600)
    one, two = site.service("one", "10.96.0.11"), site.service("two", "10.96.0.12")
    site.endpoints("one", "10.65.0.8")
    with site.watching():
        following(site)
        eventually(lambda: answers(site, one) and answers(site, two))
        site.kube.relabel("endpointslices", "shop", "one-1", {"kubernetes.io/service-name": "two"})
        eventually(lambda: (site.members(one), site.members(two)) == ([], [("10.65.0.8", 8080)]))
        eventually(lambda: site.plan() == [])


def test_a_service_made_anew_at_once_under_its_name_and_address_is_another_one() -> None:
    site = ServiceSite(full_turn_s=3600)
    with site.watching():
        following(site)
        for _ in range(3):
            uid = site.service("web", type="LoadBalancer")
            site.endpoints("web", "10.65.0.8")
            eventually(lambda: any(site.balancers()))
            site.kube.remove("services", "shop", "web")
        uid = site.service("web", type="LoadBalancer")
        eventually(lambda: len(site.balancers()) == 1 and answers(site, uid) and bool(site.ingress("web")))
        eventually(lambda: site.plan() == [])
    assert len(site.floating_ips()) == 1


def test_what_somebody_deletes_in_the_cloud_comes_back_at_a_full_turn(site: ServiceSite) -> None:
    uid = site.service("web")
    with site.watching():
        eventually(lambda: answers(site, uid))
        first = site.balancer(uid)["id"]
        site.octavia.request("DELETE", f"/loadbalancers/{first}?cascade=true")
        site.octavia.sleep(3)  # it is deleted by then, and who still waits for its creation does not give up
        eventually(lambda: answers(site, uid) and site.balancer(uid)["id"] != first)
        eventually(lambda: site.plan() == [])


def test_a_change_below_a_load_balancer_that_somebody_has_deleted_is_reason_to_look_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.1)
    site = ServiceSite(full_turn_s=3600)
    uid = site.service("web")
    with site.watching():
        following(site)
        eventually(lambda: answers(site, uid))
        first = site.balancer(uid)["id"]
        site.octavia.request("DELETE", f"/loadbalancers/{first}?cascade=true")
        site.octavia.sleep(3)  # it is deleted by then, and who still waits for its creation does not give up
        site.endpoints("web", "10.65.0.8")
        eventually(lambda: answers(site, uid) and site.members(uid) == [("10.65.0.8", 8080)])
        eventually(lambda: site.plan() == [])


def test_a_service_that_went_while_we_were_down_loses_its_load_balancer(site: ServiceSite) -> None:
    uid = site.service("web")
    assert site.run().ok
    assert answers(site, uid)
    site.kube.remove("services", "shop", "web")
    with site.watching():
        eventually(lambda: not site.balancers())


def test_a_service_that_went_while_octavia_was_down_loses_its_load_balancer_later(site: ServiceSite) -> None:
    uid = site.service("web")
    with site.watching():
        eventually(lambda: answers(site, uid))
        for method in ("GET", "POST", "PUT", "DELETE"):
            site.octavia.fail_next(method, "/", SILENT, times=1000)
        site.kube.remove("services", "shop", "web")
        pod = site.kube.add_pod("shop", "late", node="node1")
        eventually(lambda: {port.device_id for port in site.ports()} == {pod})
        assert site.balancers(uid)
        late = site.service("late", "10.96.0.20")
        eventually(lambda: bool(site.events()))
        site.octavia.cloud.injected.clear()
        eventually(lambda: answers(site, late))
        eventually(lambda: not site.balancers(uid))
        eventually(lambda: site.plan() == [])
    assert {event["regarding"]["uid"] for event in site.events()} == {late}, "told once, and only who waits"


def test_silence_of_octavia_is_logged_once_for_all_its_kinds_and_not_asked_about_all_the_time(
    site: ServiceSite, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if "OCT-UNREACHABLE" in record.getMessage()]

    with site.watching():
        following(site)
        caplog.clear()
        site.octavia.fail_next("GET", "/loadbalancers", SILENT, times=3)
        eventually(lambda: len(told()) >= 3)
        assert not site.octavia.cloud.injected
    assert len(told()) == 3
    assert site.events() == [], "no Service waits for a load balancer"
    assert told()[0].startswith("health-monitor, listener, load-balancer, member, pool not observed: ")


@pytest.mark.parametrize("lost", ["creation", "deletion", "scaling"])
def test_a_lost_event_is_made_up_for_by_full_turns(site: ServiceSite, lost: str) -> None:
    uid = site.service("web")
    site.endpoints("web", "10.65.0.8")
    with site.watching():
        following(site)
        eventually(lambda: answers(site, uid))
        site.kube.send_events(0)
        match lost:
            case "creation":
                late = site.service("late", "10.96.0.20")
                eventually(lambda: answers(site, late))
            case "deletion":
                site.kube.remove("services", "shop", "web")
                eventually(lambda: not site.balancers(uid))
            case "scaling":
                site.endpoints("web", "10.65.0.8", "10.65.0.9")
                eventually(lambda: len(site.members(uid)) == 2)
        site.kube.send_events(1)
        eventually(lambda: site.plan() == [])


def test_a_list_that_is_out_of_date_takes_no_load_balancer(site: ServiceSite) -> None:
    with site.watching():
        following(site)
        site.kube.freeze_lists()
        uid = site.service("web")
        eventually(lambda: answers(site, uid))
        first = site.balancer(uid)["id"]
        seen = len(site.kube.requests)
        eventually(lambda: any(path.startswith("/api/v1/services?") for _, path in site.kube.requests[seen:]))
        site.kube.thaw_lists()
        seen = len(site.kube.requests)
        eventually(lambda: sum("/services?" in path for _, path in site.kube.requests[seen:]) >= 2)
        assert site.balancer(uid)["id"] == first


class Slow(ServiceSite):
    """An Octavia that is never done with a load balancer before `done` is set."""

    def __init__(self, **options: object) -> None:
        self.done = threading.Event()
        super().__init__(**options)

    def speaking(self, neutron: FakeNeutron, octavia: FakeOctavia, audit: AuditLog) -> OpenStack:
        def sleep(seconds: float) -> None:
            assert self.done.wait(30)
            octavia.sleep(seconds)

        return OpenStack(neutron, octavia, audit=audit, clock=octavia.clock, sleep=sleep)


def test_no_port_waits_for_a_load_balancer() -> None:
    site = Slow(full_turn_s=3600)
    with site.watching():
        following(site)
        services = [site.service(f"web-{n}", f"10.96.1.{n}") for n in range(2 * OCTAVIA_WORKERS)]
        eventually(lambda: len(site.balancers()) == OCTAVIA_WORKERS)
        pods = {site.kube.add_pod("shop", f"web-{n}", node="node1") for n in range(5)}
        eventually(lambda: {port.device_id for port in site.ports()} == pods)
        assert len(site.balancers()) == OCTAVIA_WORKERS, "so many are waited for at once, and no more"
        site.done.set()
        eventually(lambda: all(answers(site, uid) for uid in services))
        eventually(lambda: site.plan() == [])
