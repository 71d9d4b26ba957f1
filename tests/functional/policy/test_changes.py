"""What happens to pods that run: policies come, change and go, pods and namespaces change their labels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.functional.lab import wait_for
from tests.functional.policy import wire
from tests.functional.policy.site import TCP80, Flow, Site, everything

DENY_IN = "{podSelector: {}, policyTypes: [Ingress]}"
FRIENDS = "{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {role: friend}}}]}]}"  # noqa: E501
GUARDED = "{podSelector: {matchLabels: {guarded: 'yes'}}, ingress: []}"
TEAM = "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {team: red}}}]}]}"  # noqa: E501


@contextmanager
def labelled(site: Site, kind: str, name: str, label: str) -> Iterator[None]:
    """Inside, the pod (``x/a``) or namespace (``x``) has the label; both times the cloud has followed."""
    where = ("pod", name[2:], "-n", site.namespaces[name[0]]) if kind == "pod" else (kind, site.namespaces[name])
    site.lab.kubectl("label", *where, label)
    site.settle()
    try:
        yield
    finally:
        site.lab.kubectl("label", *where, f"{label.partition('=')[0]}-")
        site.settle()


def test_a_policy_that_is_edited_closes_and_opens_and_one_that_is_deleted_is_forgotten(site: Site) -> None:
    site.check({"x/p": "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}"}, lambda f: f.ns[1] != "x" or f.port == 80)
    site.check({"x/p": DENY_IN}, lambda f: f.ns[1] != "x")
    site.check({"x/p": "{podSelector: {}, ingress: [{}]}"}, everything)
    site.check({"x/p": DENY_IN}, lambda f: f.ns[1] != "x", TCP80)
    site.check({}, everything)


def test_a_peer_that_changes_its_labels_is_let_in_and_out(site: Site) -> None:
    site.check({"x/p": FRIENDS}, lambda f: f.target != "x/a", TCP80)
    with labelled(site, "pod", "y/b", "role=friend"):
        site.expect(lambda f: f.target != "x/a" or f.source == "y/b", TCP80)
    site.expect(lambda f: f.target != "x/a", TCP80)


def test_a_pod_that_changes_its_labels_is_closed_and_opened(site: Site) -> None:
    site.check({"x/p": GUARDED}, everything, TCP80)
    with labelled(site, "pod", "x/c", "guarded=yes"):
        site.expect(lambda f: f.target != "x/c", TCP80)
    site.expect(everything, TCP80)


def test_a_namespace_that_changes_its_labels_is_let_in_and_out(site: Site) -> None:
    site.check({"x/p": TEAM}, lambda f: f.source != "x/a", TCP80)
    with labelled(site, "namespace", "z", "team=red"):
        site.expect(lambda f: f.source != "x/a" or f.ns[1] == "z", TCP80)
    site.expect(lambda f: f.source != "x/a", TCP80)


def test_a_pod_made_under_a_policy_is_closed_from_its_first_packet(site: Site) -> None:
    """A stranger knocks all the time, from before the pod has network until long after it is Ready."""
    site.policies({"x/p": DENY_IN})
    lab, namespace, node = site.lab, site.namespaces["x"], site.lab.nodes()[0]
    let_in: list[str] = []
    knocks: dict[str, int] = {}
    over = threading.Event()

    def knock(address: str) -> None:
        while not over.is_set():
            knocks[address] = knocks.get(address, 0) + 1
            if wire.answers(wire.VM, address, 80, 0.05):
                let_in.append(address)

    lab.kubectl("apply", "-f", "-", stdin=site.manifest("x/d", node))
    told: list[str] = []

    def addresses() -> bool:
        found = lab.kubectl("get", "kuryrport", "d", "-n", namespace, "--ignore-not-found", "-o",
                            "jsonpath={.spec.interfaces[*].addresses[*]}")  # fmt: skip
        told[:] = [word.partition("/")[0] for word in found.split()]
        return len(told) == 2

    try:
        wait_for(addresses, 30)
        threads = [threading.Thread(target=knock, args=(address,)) for address in told]
        for thread in threads:
            thread.start()
        lab.wait_ready(namespace, 4)
        site.look()
        flows = [Flow(source, "x/d", "TCP", 80, family) for source in site.pods for family in (4, 6)]
        answered = {flow for flow, passed in site.probe(flows).items() if passed}
    finally:
        over.set()
        lab.kubectl("delete", "pod", "d", "-n", namespace, "--wait=true")
    for thread in threads:
        thread.join()
    assert {flow.source for flow in answered} == {"x/d"}
    assert let_in == []
    assert min(knocks[address] for address in told) >= 10, knocks
