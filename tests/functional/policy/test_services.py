"""Policies and Service addresses: a client that may open every endpoint may open the Service, by packets.

The load balancers are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.functional.lab import wait_for
from tests.functional.policy.site import Flow, Site
from tests.functional.policy.wire import VM, answers

PORT, TARGET_PORT = 8000, 80
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {selector}
  ports: [{{port: 8000, targetPort: 80}}]
"""
X_A = "podSelector: {matchLabels: {pod: a}}"


def to(peer: str, port: int = TARGET_PORT) -> str:
    """Egress of the pods called ``a`` to this peer."""
    return f"{{{X_A}, policyTypes: [Egress], egress: [{{to: [{{{peer}}}], ports: [{{port: {port}}}]}}]}}"


Y = "namespaceSelector: {matchLabels: {letter: ns-y}}"


@contextmanager
def balanced(site: Site, name: str, selector: str) -> Iterator[tuple[str, ...]]:
    """A Service of y with these endpoints; its addresses, once somebody answers at each of them."""
    namespace = site.namespaces["y"]
    text = SERVICE.format(name=name, namespace=namespace, selector=selector)
    site.lab.kubectl("apply", "-f", "-", stdin=text)
    addresses = tuple(site.lab.get("service", name, "-n", namespace)["spec"]["clusterIPs"])
    try:
        for address in addresses:
            wait_for(lambda address=address: answers(VM, address, PORT), 150, lambda: site.lab.told(namespace))  # type: ignore[misc]
        yield addresses
    finally:
        site.lab.kubectl("delete", "-f", "-", stdin=text)


@pytest.fixture(scope="module")
def services(nine: Site) -> Iterator[dict[str, tuple[str, ...]]]:
    """Two Services of y, each with its addresses: `one` has endpoint y/a, `all` has y/a, y/b and y/c."""
    nine.policies({})
    with ExitStack() as made:
        yield {
            name: made.enter_context(balanced(nine, name, selector))
            for name, selector in (("one", "{pod: a}"), ("all", "{site: nine}"))
        }


def reaching(site: Site, services: dict[str, tuple[str, ...]]) -> dict[str, set[str]]:
    """By Service, the pods that it answers: at each of its addresses every time, or at none at all."""
    known = {(name, 6 if ":" in address else 4): address for name, each in services.items() for address in each}
    flows = [Flow(source, name, "TCP", PORT, family) for source in site.pods for name, family in known]
    said: dict[tuple[str, str], set[bool]] = {(name, source): set() for name in services for source in site.pods}
    for _ in range(3):
        for flow, passed in site.probe(flows, 1.0, known).items():
            said[flow.target, flow.source].add(passed)
    assert {len(answers) for answers in said.values()} == {1}, said
    return {name: {source for source in site.pods if said[name, source] == {True}} for name in services}


def test_a_service_is_open_to_whom_all_its_endpoints_are(site: Site, services: dict[str, tuple[str, ...]]) -> None:
    everybody = set(site.pods)
    strangers = everybody - {"x/a"}

    def open_to(specs: dict[str, str]) -> tuple[set[str], set[str]]:
        site.policies(specs)
        found = reaching(site, services)
        return found["one"], found["all"]

    assert open_to({}) == (everybody, everybody)
    assert open_to({"x/out": to(Y)}) == (everybody, everybody)
    assert open_to({"x/out": to(f"{Y}, {X_A}")}) == (everybody, strangers)
    assert open_to({"x/out": to(Y, 81)}) == (strangers, strangers)
    assert open_to({"x/out": to(Y, PORT)}) == (strangers, strangers), "a Service's own port says nothing of endpoints"


def test_endpoints_see_who_asks_and_a_pod_reaches_itself(site: Site, services: dict[str, tuple[str, ...]]) -> None:
    from_x = "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {letter: ns-x}}}]}]}"
    site.policies({"y/in": from_x, "x/out": to(Y)})
    found = reaching(site, {"one": services["one"]})
    assert found == {"one": {"x/a", "x/b", "x/c", "y/a"}}
