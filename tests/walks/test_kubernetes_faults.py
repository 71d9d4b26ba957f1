"""Kubernetes' faults in the middle of a rollout, and two engines at once: all is served, nothing leaked or doubled.

The rules are those that the lab's engine meets through the proxy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from itertools import count

import pytest

from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Kube
from kuryrctl.kube.client import PAGE_SIZE
from kuryrctl.reconcile import AuditLog, Parts
from tests.faults.faults import kubernetes_error
from tests.faults.kube_transport import FaultyKube
from tests.faults.kubernetes import LASTING, PASSING
from tests.faults.rules import Rule
from tests.unit.reconcile.site import Site, eventually
from tests.walks.mortal import Life
from tests.walks.test_crash_walk import changed, live, settled
from tests.walks.test_watch_histories import Watched

Record = Callable[[str, object], None]


class FaultySite(Site):
    """A site whose engine speaks to the cluster through `faulty`."""

    def __init__(self, **options: object) -> None:
        self.faulty: FaultyKube | None = None
        self.page_size = PAGE_SIZE
        super().__init__(**options)

    def parts(self, **limits: object) -> Parts:
        parts = super().parts(**{"first_rest_s": 0.01, **limits})
        if self.faulty is None:
            return parts
        self.client = Kube(self.faulty, page_size=self.page_size)
        return Parts(self.config, self.neutron, self.client, AuditLog(None, "test", clock=lambda: 0.0), None, 0.01)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> FaultySite:
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.1)
    site = FaultySite(full_turn_s=1)
    for n in range(3):
        site.kube.add_pod("shop", f"old-{n}", node="node1")
    assert site.run().ok
    site.faulty = FaultyKube(site.kube)
    return site


def roll_out(site: Site) -> None:
    """Ten pods come, three go, one is made anew under its name."""
    for n in range(10):
        site.kube.add_pod("shop", f"web-{n}", node=f"node{n % 2 + 1}")
        time.sleep(0.01)
    for n in range(3):
        site.kube.delete_pod("shop", f"old-{n}")
    site.kube.delete_pod("shop", "web-0")
    site.kube.add_pod("shop", "web-0", node="node2")


def is_settled(site: Site) -> bool:
    try:
        settled(site)
    except AssertionError:
        return False
    return True


def following(site: FaultySite) -> None:
    eventually(lambda: site.kube.open_watches() >= 5)


@pytest.mark.parametrize("name", PASSING)
def test_a_rollout_survives_what_passes(site: FaultySite, name: str, record_property: Record) -> None:
    assert site.faulty
    site.faulty.add(*PASSING[name])
    with site.watching():
        eventually(lambda: bool(site.kube.open_watches()))
        roll_out(site)
        eventually(lambda: is_settled(site))
    settled(site)
    assert site.faulty.injected, "nothing was injected"
    assert site.faulty.count() < 600, "a spin"
    for fault, call in site.faulty.injected:
        record_property("fault-call", f"{fault} x {call}")


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_is_named_and_healed_when_it_is_mended(
    site: FaultySite, name: str, caplog: pytest.LogCaptureFixture, record_property: Record
) -> None:
    assert site.faulty
    code, rule = LASTING[name]
    ports = {port.id for port in site.ports("node")}
    with site.watching() as engine:
        following(site)
        site.faulty.add(rule)
        site.kube.remove("kuryrnodes", "", "node2")
        site.kube.cut_watches()
        site.kube.compact()
        roll_out(site)
        eventually(lambda: code in caplog.text)
        before = site.faulty.count(rule.kind)
        time.sleep(1.5)
        assert site.faulty.count(rule.kind) - before < 400, "a spin"  # 89 to 115 were seen; a spin makes thousands
        assert engine.is_alive()
        assert {port.id for port in site.ports("node")} == ports
        site.faulty.clear()
        eventually(lambda: is_settled(site))
    hint = {"KUBE-NOT-FOUND": "cluster init", "KUBE-FORBIDDEN": "kubectl auth"}[code]
    assert any(code in record.getMessage() and hint in record.getMessage() for record in caplog.records)
    for fault, call in site.faulty.injected:
        record_property("fault-call", f"{fault} x {call}")


@pytest.mark.parametrize("plural", ["pods", "kuryrports", "nodes", "kuryrnodes", "namespaces"])
def test_a_kind_whose_list_fails_half_way_is_unknown_and_nothing_that_depends_on_it_is_deleted(
    site: FaultySite, plural: str
) -> None:
    """The first page is served, and names one; whom a later page would have named must not look as if it were gone."""
    assert site.faulty
    site.page_size = 1
    site.kube.delete_pod("shop", "old-1")
    site.faulty.add(Rule(kubernetes_error(500, "InternalError"), f"GET {plural}", "continue=", times=0))
    before, asked = held(site), len(site.kube.requests)

    with pytest.raises(KuryrError):
        site.run()

    served = [path for _, path in site.kube.requests[asked:] if f"/{plural}?" in path]
    assert served and not any("continue=" in path for path in served), "only first pages were served"
    assert site.faulty.injected, "no later page was asked for"
    assert held(site) == before
    site.faulty.clear()
    assert site.run().ok
    settled(site)


def held(site: Site) -> object:
    """All that the engine may delete."""
    return site.cloud_objects(), site.kube.objects("kuryrports"), site.kube.objects("kuryrnodes")


def test_kuryr_ports_that_somebody_edits_or_deletes_come_back(site: FaultySite) -> None:
    with site.watching():
        following(site)
        roll_out(site)
        with suppress(KeyError):  # its pod has gone: the engine may be first
            site.kube.remove("kuryrports", "shop", "old-0")
        eventually(lambda: "shop/web-5" in site.kube.objects("kuryrports"))
        wrong = site.kube.objects("kuryrports")["shop/web-5"]
        wrong["spec"]["interfaces"][0]["portId"] = "00000000-0000-4000-8000-00000000dead"
        site.kube.apply("kuryrports", "shop", "web-5", spec=wrong["spec"])
        eventually(lambda: is_settled(site))
        site.kube.remove("kuryrports", "shop", "web-6")
        eventually(lambda: is_settled(site))


class Sleeper(Life):
    """A process that is stopped (SIGSTOP) at some calls, with all of its threads, and sends each when it goes on."""

    def __init__(self, at: Collection[int]) -> None:
        super().__init__()
        self._at = at
        self._asleep, self._awake = threading.Event(), threading.Event()

    def sent(self) -> None:
        if len(self.calls) in self._at:
            self._asleep.set()
            assert self._awake.wait(30)
            self._awake.clear()

    def wake(self) -> None:
        """Let it go on."""
        self._asleep.clear()
        self._awake.set()

    def sleeps(self, work: Future[None]) -> bool:
        """Whether it is stopped; False: it has done its work, which went well."""
        while not self._asleep.wait(0.005):
            if work.done():
                work.result()
                return False
        return True


def serving(site: Site, uids: Collection[str]) -> object:
    """Which ports those pods and nodes have, and which ones their nodes are told of."""
    ports = [(port["device_id"], port["id"]) for port in site.cloud.objects("ports") if port["device_id"] in uids]
    told = [port["spec"] for port in site.kube.objects("kuryrports").values() if port["spec"]["podUid"] in uids]
    return sorted(ports), sorted((spec["podUid"], spec["interfaces"][0]["portId"]) for spec in told)


def take_over(site: Site) -> None:
    """Another engine, after the lease has run out, does all there is to do, and the world goes on."""
    site.kube.remove("leases", site.config.lease.namespace, site.config.lease.name)
    assert site.init().ok
    assert site.run().ok
    site.kube.delete_pod("shop", "web-2")
    site.kube.add_pod("shop", "web-2", node="node3")
    assert site.run().ok


@pytest.mark.parametrize("naps", [(0,), (0, 1, 2, 4, 8)], ids=["once", "again and again"])
def test_an_engine_that_is_stopped_beyond_its_lease_does_no_harm_when_it_goes_on(naps: tuple[int, ...]) -> None:
    """From every call of a run on: each time another one takes over, and the first one still believes it leads.

    What the other one serves has the same ports when the first one is through or sleeps again, before anybody repairs.
    """
    for first in count(1):
        site, life = changed(), Sleeper([first + nap for nap in naps])
        with ThreadPoolExecutor(1) as process:
            work = process.submit(live, site, life)
            if not life.sleeps(work):
                break
            asleep = True
            while asleep:
                take_over(site)
                objects = (*site.kube.objects("pods").values(), *site.kube.objects("nodes").values())
                uids = {each["metadata"]["uid"] for each in objects}
                before = serving(site, uids)
                life.wake()
                asleep = life.sleeps(work)
                assert serving(site, uids) == before, f"asleep at {life.calls[first - 1 :]}"
        with suppress(KeyError):
            site.kube.remove("leases", site.config.lease.namespace, site.config.lease.name)
        assert site.init().ok
        assert site.run().ok
        settled(site)
    assert first > 15


def test_a_late_event_of_an_earlier_pod_takes_nothing_from_the_one_that_has_its_name() -> None:
    """Nobody asks for the earlier pod's proof of absence any more; its event comes all the same."""
    world = Watched()
    try:
        for event in (("create", "pod-0", "node1"), ("delete", "pod-0")):
            world.apply(event)
            world.hear("once")
            world.pump()
        early = next(change for change in world.feeds[Kind.POD].told if not change.deleted)
        for _ in range(3):
            world.do_full()
        world.apply(("create", "pod-0", "node1"))
        world.hear("once")
        world.pump()
        rightly = world.site.kuryr_port("shop/pod-0")["metadata"]["uid"]
        world.watch.turn.inbox.put(early)
        for _ in range(3):
            world.pump()
            for feed in world.feeds.values():
                feed.look()
                feed.deliver(1)
        assert world.site.kuryr_port("shop/pod-0")["metadata"]["uid"] == rightly
        assert len(world.site.ports()) == 1
        world.recover()
        world.check()
    finally:
        world.watch.turn.stop(1)
