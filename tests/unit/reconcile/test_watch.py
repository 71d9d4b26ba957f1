"""The watch on fake servers: events, faults, the end. What the servers hold is asserted, and how many calls it took."""

from __future__ import annotations

import math
import queue
import threading
import time
from importlib import import_module

import pytest
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.cluster import Namespace, Pod
from kuryrctl.core.errors import Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.kube import Changed, Kube, Lease
from kuryrctl.reconcile import leadership
from kuryrctl.reconcile.leadership import Following, Keeper, Leading
from kuryrctl.reconcile.turn import Done
from kuryrctl.reconcile.watch import WATCHED, lack_endpoints, may_have_company
from tests.fakes.kube import FakeKube
from tests.unit.reconcile.site import Site, eventually


@pytest.fixture
def site() -> Site:
    return Site(full_turn_s=1)


def served(site: Site) -> set[str]:
    return {names.uid_of(port.tags) for port in site.ports()}


def told(site: Site) -> set[str]:
    return {port["spec"]["podUid"] for port in site.kube.objects("kuryrports").values()}


def following(site: Site) -> None:
    """Until the watch has its lists: what is created from now on comes as events."""
    eventually(lambda: site.kube.open_watches() == len(WATCHED))


@pytest.mark.parametrize("count", [1, 10, 25])
def test_pods_created_together_share_their_calls(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together is within a quiet of 30 ms: here the pods come as one, and the quiet is long, not the machine fast."""
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "QUIET_S", 1)
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "GATHER_S", 10)
    site = Site(full_turn_s=3600)
    with site.watching():
        following(site)
        site.neutron.calls.clear()
        with site.kube.changed:
            uids = {site.kube.add_pod("shop", f"web-{n}", node=f"node{n % 2 + 1}") for n in range(count)}
        eventually(lambda: told(site) == uids)
        assert site.neutron.calls == {("POST", "ports"): math.ceil(count / site.config.port_batch)}
    assert served(site) == uids
    assert site.plan() == []


POD = Pod("shop", "web-0", "uid-1", node="node1")


@pytest.mark.parametrize(
    ("message", "waits"),
    [
        (Changed(Kind.POD, POD), True),
        (Changed(Kind.POD, replace(POD, ips=("10.65.0.5",))), False),
        (Changed(Kind.NAMESPACE, Namespace("shop", "uid-2")), False),
        (Changed(Kind.ENDPOINT_SLICE, EndpointSlice("shop", "web-1", "uid-4", "web")), True),
        (Done("cloud", ()), False),
    ],
)
def test_only_new_pods_and_slices_wait_for_others(message: object, waits: bool) -> None:
    """What a pod with a port gets by a new label is a call of its own: waiting would only make it later."""
    assert may_have_company(message) is waits


def test_a_new_service_waits_for_its_first_slice() -> None:
    new = Changed(Kind.SERVICE, Service("shop", "web", "uid-3"))
    theirs, its = (
        Changed(Kind.ENDPOINT_SLICE, EndpointSlice("shop", f"{name}-1", "uid-4", name)) for name in ("db", "web")
    )
    by_hand = Changed(Kind.SERVICE, Service("shop", "web", "uid-3", selects=False))
    going = Changed(Kind.SERVICE, new.object, deleted=True)
    assert lack_endpoints([new], ()) and lack_endpoints([new, theirs], ())
    assert not lack_endpoints([new, its], ()) and not lack_endpoints([its, theirs, new], ())
    assert not lack_endpoints([new], {"shop/web"})
    assert not lack_endpoints([by_hand, going, theirs], ())


def test_a_once_run_shares_calls_the_same_way() -> None:
    site = Site()
    for n in range(25):
        site.kube.add_pod("shop", f"web-{n}", node="node1")
    assert site.run().created == 50
    assert site.neutron.calls["POST", "ports"] == 3


def test_a_pod_gets_its_port_when_it_is_scheduled_and_gives_it_back_when_it_is_deleted(site: Site) -> None:
    with site.watching():
        following(site)
        uid = site.kube.add_pod("shop", "web-0")
        site.kube.schedule_pod("shop", "web-0", "node1")
        eventually(lambda: told(site) == {uid})
        site.kube.delete_pod("shop", "web-0")
        new = site.kube.add_pod("shop", "web-0", node="node2")
        eventually(lambda: told(site) == {new} and served(site) == {new})
        site.kube.finish_pod("shop", "web-0")
        eventually(lambda: not served(site) and not told(site))
        eventually(lambda: site.plan() == [])


def test_more_deletions_than_one_run_may_are_done_when_each_was_seen(site: Site) -> None:
    with site.watching():
        following(site)
        uids = {site.kube.add_pod("shop", f"web-{n}", node="node1") for n in range(15)}
        eventually(lambda: told(site) == uids)
        for n in range(15):
            site.kube.delete_pod("shop", f"web-{n}")
        eventually(lambda: not served(site))


def test_a_port_deleted_by_hand_comes_back_at_the_next_full_turn(site: Site) -> None:
    with site.watching():
        following(site)
        uid = site.kube.add_pod("shop", "web-0", node="node1")
        eventually(lambda: told(site) == {uid})
        before = site.port_of(uid)
        site.delete_port(before.id)
        eventually(lambda: served(site) == {uid})
        after = site.port_of(uid)
        assert (after.mac_address, after.fixed_ips) == (before.mac_address, before.fixed_ips)
        eventually(lambda: site.kuryr_port("shop/web-0")["spec"]["interfaces"][0]["portId"] == after.id)


def test_lost_and_doubled_events_are_made_up_for(site: Site) -> None:
    with site.watching():
        following(site)
        first = site.kube.add_pod("shop", "web-0", node="node1")
        eventually(lambda: told(site) == {first})
        site.kube.send_events(0)
        site.kube.delete_pod("shop", "web-0")
        second = site.kube.add_pod("shop", "web-1", node="node1")
        site.kube.send_events(2)
        third = site.kube.add_pod("shop", "web-2", node="node2")
        eventually(lambda: served(site) == {second, third} and told(site) == {second, third})


def test_watches_that_break_and_histories_that_are_forgotten(site: Site) -> None:
    with site.watching():
        following(site)
        for n, fault in enumerate((site.kube.cut_watches, site.kube.compact)):
            fault()
            uid = site.kube.add_pod("shop", f"web-{n}", node="node1")
            eventually(lambda uid=uid: uid in told(site))
        site.kube.cut_watches()
        site.kube.delete_pod("shop", "web-0")
        site.kube.compact()
        eventually(lambda: len(served(site)) == 1)


def test_a_stale_list_takes_no_port_from_a_running_pod(site: Site) -> None:
    with site.watching():
        following(site)
        site.kube.freeze_lists()
        uid = site.kube.add_pod("shop", "web-0", node="node1")
        eventually(lambda: told(site) == {uid})
        port = site.port_of(uid)
        turns = len(site.kube.requests)
        eventually(lambda: len(site.kube.requests) > turns + 5)  # one full turn has read the stale lists
        site.kube.thaw_lists()
        assert site.port_of(uid).id == port.id


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_neutron_that_does_not_answer_is_waited_for(site: Site, after_effect: bool) -> None:
    with site.watching():
        following(site)
        silence = Unavailable("no answer", code="NET-UNAVAILABLE", after_s=0.05)
        site.cloud.fail_next("POST", "/ports", silence, after_effect=after_effect, times=2)
        site.cloud.fail_next("GET", "/ports", silence, times=2)
        uids = {site.kube.add_pod("shop", f"web-{n}", node="node1") for n in range(3)}
        eventually(lambda: told(site) == uids)
    assert len(site.ports()) == 3
    assert site.plan() == []


def test_an_api_server_that_is_down_at_the_start_is_waited_for(site: Site) -> None:
    site.kube.fail(times=1)
    uid = site.kube.add_pod("shop", "web-0", node="node1")
    with site.watching():
        eventually(lambda: told(site) == {uid})


def test_a_first_list_of_ports_that_fails_alone_is_asked_for_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster's lists wait for it: they prove who is absent only if they are younger than the ports."""
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.05)
    site.cloud.fail_next("GET", "/ports", Unavailable("not JSON", code="NET-ANSWER", after_s=0))
    uid = site.kube.add_pod("shop", "web-0", node="node1")
    with site.watching():
        eventually(lambda: told(site) == {uid})


def test_a_failing_pod_stops_nobody_else_and_its_user_is_told(site: Site) -> None:
    with site.watching():
        following(site)
        site.cloud.set_quota("port", len(site.cloud.objects("ports")) + 1)
        site.kube.add_pod("shop", "one", node="node1")
        eventually(lambda: len(told(site)) == 1)
        site.kube.add_pod("shop", "two", node="node1")
        eventually(lambda: [event["reason"] for event in site.events()] == ["KuryrQuotaExceeded"])
        assert site.events()[0]["regarding"]["name"] == "two"
        site.kube.delete_pod("shop", "one")
        eventually(lambda: site.kube.objects("kuryrports").keys() == {"shop/two"})


@pytest.mark.parametrize("whose", ["cloud", "cluster"])
def test_a_bug_in_an_observation_does_not_end_full_turns(
    site: Site, whose: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.05)
    with site.watching():
        following(site)
        uid = site.kube.add_pod("shop", "web-0", node="node1")
        eventually(lambda: told(site) == {uid})
        bug = "an observation failed"
        for _ in range(3):  # more often than there are threads for it
            before = sum(record.getMessage() == bug for record in caplog.records)
            if whose == "cloud":
                site.cloud.fail_next("GET", "/ports", RuntimeError("a bug of the transport"))
            else:
                site.kube.break_once(verb="GET", path="/pods?")
            eventually(lambda before=before: sum(r.getMessage() == bug for r in caplog.records) > before)
        site.delete_port(site.port_of(uid).id)
        eventually(lambda: served(site) == {uid})
    assert "RuntimeError: a bug of the transport" in caplog.text


def test_a_bug_in_telling_a_user_costs_no_worker(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with site.watching():
        following(site)
        site.cloud.set_quota("port", len(site.cloud.objects("ports")))
        for n in range(3):  # more often than there are threads for it
            site.kube.break_once(verb="POST", path="/events")
            site.kube.add_pod("shop", f"web-{n}", node="node1")
            eventually(lambda n=n: caplog.text.count("a job of side-") > n)
        site.kube.add_pod("shop", "web-3", node="node1")
        eventually(lambda: "web-3" in {event["regarding"]["name"] for event in site.events()})
        site.cloud.set_quota("port", 100)
        eventually(lambda: len(told(site)) == 4)


def test_a_bug_in_keeping_the_lease_is_told_and_it_is_kept_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "RETRY_S", 0.01)
    kube = FakeKube()
    said: queue.Queue[Leading | Following] = queue.Queue()
    lease = Lease(Kube(kube), namespace="kube-system", name="kuryr", duration_s=15)
    kube.break_once(path="/leases")
    keeper = Keeper(lease, 1, said.put)
    keeper.start()

    first, then = said.get(timeout=10), said.get(timeout=10)
    kube.break_once(verb="PUT", path="/leases")
    last = said.get(timeout=10)
    renewals = kube.version
    eventually(lambda: kube.version > renewals)
    assert lease.valid()
    keeper.stop(10)

    assert isinstance(first, Following)
    assert isinstance(then, Leading)
    assert isinstance(last, Following)
    assert (first.error.code, last.error.code) == ("INTERNAL", "INTERNAL")
    assert lease.holder() is None


def test_the_wrong_cluster_is_watched_without_any_change(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1")
    site.run()
    before = site.cloud_objects()
    site.kube = FakeKube()
    with site.watching():
        following(site)
        time.sleep(0.3)
    assert site.cloud_objects() == before


def test_who_waits_for_the_lease_writes_nothing_and_begins_when_it_is_free(site: Site) -> None:
    lease = site.lease()
    site.kube.add_pod("shop", "web-0", node="node1")
    lease.acquire()  # somebody else
    before = site.cloud_objects()
    with site.watching():
        time.sleep(0.3)
        assert site.cloud_objects() == before
        assert told(site) == set()
        lease.release()
        eventually(lambda: len(told(site)) == 1)


def test_it_ends_at_once_also_while_a_call_is_out(site: Site) -> None:
    hang = threading.Event()
    with site.watching() as thread:
        following(site)
        request = site.cloud.request

        def hanging(method: str, path: str, **given: object) -> object:
            if method == "POST":
                hang.wait(20)
            return request(method, path, **given)  # type: ignore[arg-type]  # passed through as it came

        site.cloud.request = hanging  # type: ignore[method-assign]  # a server that hangs
        site.kube.add_pod("shop", "web-0", node="node1")
        time.sleep(0.2)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert not thread.is_alive()
    hang.set()
    holder = site.lease().holder()
    assert holder is None
