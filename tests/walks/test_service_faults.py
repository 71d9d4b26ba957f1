"""Every kind of call that serves Services x every fault of its service: told, got over, and settled by the next run.

Pods are served whatever Octavia does. The assertions are `walk`'s; two engines that are wrong on purpose show that
they would notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import import_module

import msgspec
import pytest
from _pytest.mark.structures import ParameterSet
from msgspec import Struct

from kuryrctl.cloud import Observation, OpenStack
from kuryrctl.cloud.meanings import OCTAVIA
from kuryrctl.core.errors import KuryrError
from kuryrctl.reconcile import AuditLog
from kuryrctl.reconcile.report import Failure, failure
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia
from tests.faults.faults import Fault, Refuse, Rewrite, Silence, Swallow, neutron_error, octavia_error
from tests.faults.rules import Rule
from tests.faults.transport import Faulty
from tests.unit.reconcile.service_site import ServiceSite
from tests.walks.fault_scenes import must_be_equal
from tests.walks.test_service_crash_walk import TWO, changed, fresh, settled

GARBLED = Rewrite(lambda body: body and b"<html>a proxy's page</html>", "garbled answer")
NO_ANSWER = (Refuse(), Silence(), Swallow())
OCTAVIA_CODES: tuple[tuple[Fault, str], ...] = (
    (octavia_error(400), "OCT-INVALID"),
    (octavia_error(401), "KST-TOKEN"),
    (octavia_error(403), "OCT-FORBIDDEN"),
    (octavia_error(404), "OCT-NOT-FOUND"),
    (octavia_error(409, "Load Balancer x is immutable and cannot be updated."), "OCT-PENDING"),
    (octavia_error(429), "OCT-BUSY"),
    (octavia_error(500), "OCT-UNAVAILABLE"),
    (octavia_error(503), "OCT-UNAVAILABLE"),
    *((fault, "OCT-UNREACHABLE") for fault in NO_ANSWER),
    (GARBLED, "OCT-ANSWER"),
)
NEUTRON_CODES: tuple[tuple[Fault, str], ...] = (
    (neutron_error(400), "NET-INVALID"),
    (neutron_error(403), "NET-FORBIDDEN"),
    (neutron_error(404), "NET-NOT-FOUND"),
    (neutron_error(409), "NET-CONFLICT"),
    (neutron_error(412), "NET-CHANGED"),
    (neutron_error(429), "NET-BUSY"),
    (neutron_error(500), "NET-UNAVAILABLE"),
    *((fault, "NET-UNREACHABLE") for fault in NO_ANSWER),
    (GARBLED, "NET-ANSWER"),
)
FLOATING = {"POST floatingips", "PUT floatingips", "PUT floatingips/tags", "DELETE floatingips", "GET floatingips"}
LISTS = ("GET loadbalancers", "GET listeners", "GET pools", "GET pools/members", "GET healthmonitors")
"""Of an observation; without them nothing is done to load balancers, and everything else is."""
REFUSALS = ("400", "403", "404", "412")
"""What no second try of the same call is expected to change."""
CONSEQUENCES = {"OCT-PENDING", "OCT-ADDRESS-TAKEN", "OCT-EXISTS", "NET-NEEDS", "NET-IN-USE", "NET-ADDRESS-TAKEN"}
"""What a fault may be told as where its call was believed, or done for a second time."""
MOST_CALLS = 12


class Scene(Struct, frozen=True):
    """What has happened to Services, and the kinds of call that the engine makes about it."""

    name: str
    prepare: Callable[[], ServiceSite]
    kinds: tuple[str, ...]


def _ports_go() -> ServiceSite:
    """All was well; then a Service lost a port, and somebody switched a pool off."""
    site = fresh()
    site.service("split", "10.96.0.18", ports=TWO)
    assert site.run().ok
    site.service("split", "10.96.0.18")
    pool = site.octavia.objects("pools")[0]
    site.octavia.change("pools", pool["id"], admin_state_up=False)
    return site


SCENES = (
    Scene(
        "services come",
        fresh,
        ("POST loadbalancers", "GET loadbalancers/status", "POST floatingips", "PUT floatingips/tags"),
    ),
    Scene(
        "services change",
        changed,
        (
            "POST loadbalancers",
            "PUT loadbalancers",
            "DELETE loadbalancers",
            "POST pools",
            "PUT pools/members",
            "POST listeners",
            "DELETE listeners",
            "DELETE pools",
            "DELETE healthmonitors",
            "GET loadbalancers/status",
            "POST floatingips",
            "PUT floatingips/tags",
            "DELETE floatingips",
        ),
    ),
    Scene("ports go", _ports_go, ("DELETE listeners", "DELETE pools", "PUT pools", "GET loadbalancers/status")),
)
CHANGED = SCENES[1]


class FaultySite:
    """A scene's site, whose engine speaks to both services through faults."""

    def __init__(self, site: ServiceSite) -> None:
        self.site = site
        site.speaking = self._speaking  # type: ignore[method-assign]  # of this one site

    @cached_property
    def neutron(self) -> Faulty:
        """What stands before Neutron."""
        return Faulty(self.site.cloud)

    @cached_property
    def octavia(self) -> Faulty:
        """What stands before Octavia."""
        return Faulty(self.site.octavia, OCTAVIA)

    @property
    def calls(self) -> int:
        """How many calls came so far, over both."""
        return len(self.neutron.calls) + len(self.octavia.calls)

    def before(self, kind: str) -> Faulty:
        """What stands before the service with this kind of call."""
        return self.neutron if kind in FLOATING else self.octavia

    def clear(self) -> None:
        """No more faults."""
        self.neutron.clear()
        self.octavia.clear()

    def _speaking(self, neutron: FakeNeutron, octavia: FakeOctavia, audit: AuditLog) -> OpenStack:
        return OpenStack(self.neutron, self.octavia, audit=audit, clock=octavia.clock, sleep=octavia.sleep)


def run_of(site: ServiceSite) -> Sequence[Failure]:
    """All that one run told."""
    try:
        return site.run(first_rest_s=0.002).failures
    except KuryrError as error:
        return [failure(error)]


def walk(scene: Scene, kind: str, fault: Fault, code: str, *, times: int) -> None:
    """One combination. `times` 0: the fault lasts for the whole run."""
    site = scene.prepare()
    site.kube.add_pod("shop", "beside", node="node1")
    faulty = FaultySite(site)
    before = len(site.octavia.requests)
    faulty.before(kind).add(Rule(fault, kind=re.escape(kind), times=times))

    told = {each.code for each in run_of(site)}

    assert faulty.before(kind).injected[:1] == [(fault.name, kind)]
    assert told <= {code, *CONSEQUENCES}, "a fault is told by its own code"
    gone = (kind, fault.name) == ("GET pools/members", "404")  # which is what a pool that went meanwhile looks like
    if kind in LISTS and not gone and (times == 0 or fault.name in REFUSALS):
        writes = [call for call in site.octavia.requests[before:] if call[0] != "GET"]
        must_be_equal({"what is done to load balancers that were not listed": (writes, [])})
    elif times == 1 and fault.name not in (*REFUSALS, "409") and kind not in LISTS:
        assert told == set(), "what passes by itself is got over in the same run"
    assert pods_served(site), "Octavia is no pod's business"
    if times == 0:
        assert faulty.calls <= MOST_CALLS * undisturbed(scene), "a run does not spin"
    faulty.clear()
    for _ in range(2):
        site.octavia.sleep(60)
        run_of(site)
    assert run_of(site) == ()
    settled(site)


def pods_served(site: ServiceSite) -> bool:
    """Whether every pod's node is told which port the pod has."""
    pods = {pod["metadata"]["uid"] for pod in site.kube.objects("pods").values()}
    return pods == {port["spec"]["podUid"] for port in site.kube.objects("kuryrports").values()}


_UNDISTURBED: dict[str, int] = {}


def undisturbed(scene: Scene) -> int:
    """How many calls the scene takes without faults."""
    if scene.name not in _UNDISTURBED:
        site = scene.prepare()
        site.kube.add_pod("shop", "beside", node="node1")
        faulty = FaultySite(site)
        assert run_of(site) == ()
        _UNDISTURBED[scene.name] = faulty.calls
    return _UNDISTURBED[scene.name]


def codes_of(kind: str) -> Sequence[tuple[Fault, str]]:
    """The faults of the service with this kind of call."""
    return NEUTRON_CODES if kind in FLOATING else OCTAVIA_CODES


def cases(in_every_run: Callable[[Scene, str, Fault], bool]) -> list[ParameterSet]:
    """The matrix as pytest's parameters."""
    hits = [(scene, kind) for scene in SCENES for kind in scene.kinds]
    hits += [(CHANGED, kind) for kind in (*LISTS, "GET floatingips")]
    return [
        pytest.param(
            *(scene, kind, fault, code),
            id=f"{scene.name}-{kind}-{fault.name}",
            marks=() if in_every_run(scene, kind, fault) else pytest.mark.long,
        )
        for scene, kind in hits
        for fault, code in codes_of(kind)
    ]


SHORT = ("404", "409", "503", "time-out after success", "garbled answer")
"""Of the faults that a run treats alike, one: the others are walked in the long run."""


@pytest.mark.parametrize("scene", [pytest.param(scene, id=scene.name) for scene in SCENES])
def test_the_table_of_calls_is_the_truth(scene: Scene) -> None:
    site = scene.prepare()
    faulty = FaultySite(site)

    assert run_of(site) == ()

    made = [*faulty.octavia.calls, *(call for call in faulty.neutron.calls if "floatingips" in call.kind)]
    assert {call.kind for call in made if call.mutates} == {kind for kind in scene.kinds if not kind.startswith("GET ")}


@pytest.mark.parametrize(("scene", "kind", "fault", "code"), cases(lambda scene, kind, fault: fault.name in SHORT))
def test_a_fault_of_one_call(
    scene: Scene, kind: str, fault: Fault, code: str, record_property: Callable[[str, object], None]
) -> None:
    walk(scene, kind, fault, code, times=1)
    record_property("fault-call", f"{scene.name}: {fault.name} x {kind}, once")


@pytest.mark.parametrize(
    ("scene", "kind", "fault", "code"),
    cases(lambda scene, kind, fault: scene is SCENES[0] and fault.name in ("409", "503", "time-out after success")),
)
def test_a_fault_that_lasts(
    scene: Scene, kind: str, fault: Fault, code: str, record_property: Callable[[str, object], None]
) -> None:
    walk(scene, kind, fault, code, times=0)
    record_property("fault-call", f"{scene.name}: {fault.name} x {kind}, lasting")


def test_an_engine_that_lets_pods_wait_for_octavia_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("kuryrctl.reconcile.once"), "BALANCING_KINDS", frozenset())

    with pytest.raises(AssertionError, match="no pod's business"):
        walk(CHANGED, "GET loadbalancers", octavia_error(403), "OCT-FORBIDDEN", times=1)


def test_an_engine_that_believes_a_failed_list_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = OpenStack.observe

    def believing(cloud: OpenStack, cluster_id: str, *, networks: Sequence[str] = ()) -> Observation:
        found = listed(cloud, cluster_id, networks=networks)
        return msgspec.structs.replace(found, complete=found.complete | found.errors.keys(), errors={})

    monkeypatch.setattr(OpenStack, "observe", believing)

    with pytest.raises(AssertionError, match="load balancers that were not listed"):
        walk(CHANGED, "GET loadbalancers", octavia_error(403), "OCT-FORBIDDEN", times=1)
