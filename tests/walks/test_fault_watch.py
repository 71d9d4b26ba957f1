"""The watch and every fault of the cloud: it goes on, tells the pods' users what does not pass, and never spins."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from importlib import import_module

import pytest

from tests.faults.faults import Fault, neutron_error
from tests.faults.rules import Rule
from tests.unit.reconcile.site import eventually
from tests.walks.fault_scenes import LISTS, FaultySite, scene_named, settled
from tests.walks.test_fault_matrix import CODES

CALLS = (*LISTS, "POST ports", "PUT ports", "PUT ports/tags", "DELETE ports")
NEVER_TOLD = ("time-out after success", "garbled answer")
"""What was made is found and adopted: there is nothing to tell."""
MOST_TRIES = 60
"""Of creating three ports that are always refused, until half a second after the first was told of: the first rest is
2 ms here, each further one twice as long, and a bulk that may have one bad port is tried in halves."""

Record = Callable[[str, object], None]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed observation is made again after a moment."""
    monkeypatch.setattr(import_module("kuryrctl.reconcile.watch"), "SOON_S", 0.02)


def every_fault(*but: str) -> pytest.MarkDecorator:
    """As parameters, with the code under which it is told."""
    cases = [pytest.param(fault, code, id=fault.name) for fault, code in CODES if fault.name not in but]
    return pytest.mark.parametrize(("fault", "code"), cases)


def told(site: FaultySite) -> set[str]:
    """The uids of the pods whose node is told of a port."""
    return {port["spec"]["podUid"] for port in site.kube.objects("kuryrports").values()}


@every_fault()
def test_every_call_fails_while_pods_come_and_go(fault: Fault, code: str, record_property: Record) -> None:
    site = FaultySite(full_turn_s=1)
    scene_named("changed by hand").prepare(site)
    site.faulty.clear()
    site.faulty.add(*(Rule(fault, kind=re.escape(call), times=1) for call in CALLS))
    with site.watching() as thread:
        eventually(lambda: {"PUT ports", "PUT ports/tags"} <= {call for _, call in site.faulty.injected})
        for n in range(2):
            site.kube.delete_pod("shop", f"web-{n + 4}")
        late = {site.kube.add_pod("bank", f"late-{n}", node="node1") for n in range(4)}
        eventually(lambda: late <= told(site) and len(told(site)) == 8 and not site.faulty.waiting())
        eventually(lambda: len(site.ports()) == 8)
        assert thread.is_alive()
    settled(site)
    for call in CALLS:
        record_property("fault-call", f"watch: {fault.name} x {call}")


@pytest.mark.parametrize("call", [call for call in LISTS if call != "GET ports"])
def test_what_was_not_listed_is_not_called_missing(call: str, caplog: pytest.LogCaptureFixture) -> None:
    """`cluster init` would help nobody, and would be the wrong thing to advise."""
    site = FaultySite(full_turn_s=1)
    site.faulty.add(Rule(neutron_error(503), kind=re.escape(call), times=3))
    uid = site.kube.add_pod("shop", "web", node="node1")
    with site.watching():
        eventually(lambda: told(site) == {uid})
    assert "not listed: injected by a test" in caplog.text
    assert "CLUSTER-INIT" not in caplog.text


@every_fault(*NEVER_TOLD)
def test_what_lasts_is_told_to_the_pods_users_and_tried_ever_more_seldom(
    fault: Fault, code: str, record_property: Record
) -> None:
    site = FaultySite(full_turn_s=3600)
    with site.watching():
        eventually(lambda: site.kube.open_watches() >= 5)
        site.faulty.add(Rule(fault, kind="POST ports", times=0))
        names = {f"web-{n}" for n in range(3)}
        uids = {site.kube.add_pod("shop", name, node="node1") for name in names}
        eventually(lambda: {event["regarding"]["name"] for event in site.events()} == names)
        time.sleep(0.5)
        assert site.faulty.count("POST ports") <= MOST_TRIES
        assert all(f"({code})" in event["note"] for event in site.events())
        assert {event["reason"] for event in site.events()} == {"KuryrPortFailed"}
        site.faulty.clear()
        eventually(lambda: told(site) == uids)
    settled(site)
    record_property("fault-call", f"watch: {fault.name} x POST ports, lasting")
