"""Ends that are no pods: the VM, both ways; nodes, a pod's own and the other; connections that are open already."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from kuryrctl.lab.layout import NODES
from tests.functional.lab import wait_for
from tests.functional.policy import wire
from tests.functional.policy.site import Flow, Site

DENY_IN = "{podSelector: {}, policyTypes: [Ingress]}"
DENY_OUT = "{podSelector: {}, policyTypes: [Egress]}"
End = TypeVar("End")


def the_vm(site: Site) -> str:
    """The VM as peers."""
    return ", ".join(f"{{ipBlock: {{cidr: '{text}/{128 if ':' in text else 32}'}}}}" for text in site.lab.vm_addresses)


def vm_to_pods(site: Site) -> dict[tuple[str, int], bool]:
    """Which pods and ports answer the VM, by all their addresses."""
    ends = {(name, port): pod.ips for name, pod in site.pods.items() for port in (80, 81)}
    return knocked({end: [(wire.VM, address, end[1]) for address in ips] for end, ips in ends.items()})


def knocked(doors: Mapping[End, Sequence[tuple[str, str, int]]]) -> dict[End, bool]:
    """Which ends answer, each at all its doors or at none: from a namespace, an address and a port."""
    with ThreadPoolExecutor(16) as pool:
        tried = {end: [pool.submit(wire.answers, *door) for door in each] for end, each in doors.items()}
        said = {end: {answer.result() for answer in answers} for end, answers in tried.items()}
    assert {len(answers) for answers in said.values()} == {1}, said
    return {end: answers.pop() for end, answers in said.items()}


def pods_to(site: Site, end: str, addresses: tuple[str, ...], port: int) -> set[str]:
    """The pods that reach an end that is no pod, each by both IP versions or by none."""
    known = {(end, 6 if ":" in address else 4): address for address in addresses}
    flows = [Flow(source, end, "TCP", port, family) for source in site.pods for _, family in known]
    answered = {flow for flow, passed in site.probe(flows, 2.0, known).items() if passed}
    by_family = [{flow.source for flow in answered if flow.family == family} for _, family in known]
    assert all(each == by_family[0] for each in by_family), by_family
    return by_family[0]


@pytest.fixture
def vm(site: Site) -> Iterator[tuple[str, ...]]:
    """The VM's addresses; it listens at port 80."""
    with contextlib.ExitStack() as servers:
        for address in site.lab.vm_addresses:
            servers.enter_context(wire.listening(wire.VM, address, 80))
        yield site.lab.vm_addresses


def test_a_vm_is_let_in_by_its_address_only(site: Site) -> None:
    site.policies({})
    assert all(vm_to_pods(site).values())
    site.policies({"x/in": DENY_IN, "y/in": "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"})
    assert {name for (name, _), open_ in vm_to_pods(site).items() if open_} == {"z/a", "z/b", "z/c"}
    rule = f"{{from: [{the_vm(site)}], ports: [{{port: 81}}]}}"
    spec = f"{{podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{rule}]}}"
    site.policies({"x/in": DENY_IN, "x/vm": spec})
    assert {end for end, open_ in vm_to_pods(site).items() if open_ and end[0][0] == "x"} == {("x/a", 81)}


def test_a_pod_is_let_out_to_a_vm_by_its_address_only(site: Site, vm: tuple[str, ...]) -> None:
    site.policies({})
    assert pods_to(site, "vm", vm, 80) == set(site.pods)
    allowed = f"{{podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Egress], egress: [{{to: [{the_vm(site)}]}}]}}"
    pods_only = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}"
    site.policies({"x/out": DENY_OUT, "x/vm": allowed, "y/out": pods_only})
    assert pods_to(site, "vm", vm, 80) == {"x/a", "z/a", "z/b", "z/c"}


def test_a_pods_own_node_is_always_let_in_and_another_node_is_not(site: Site) -> None:
    """The kubelet's probes come from the own node; the other node's host processes are strangers."""

    def answered() -> set[tuple[str, str]]:
        doors = {
            (node.name, name): [(node.netns, address, 80) for address in pod.ips]
            for node in NODES
            for name, pod in site.pods.items()
        }
        return {end for end, open_ in knocked(doors).items() if open_}

    everywhere = {(node.name, name) for node in NODES for name in site.pods}
    own = {(pod.node, name) for name, pod in site.pods.items()}
    site.policies({})
    assert answered() == everywhere
    site.policies({"x/in": DENY_IN, "y/in": DENY_IN})
    assert answered() == {(node, name) for node, name in everywhere if name[0] == "z"} | own


def test_a_pod_is_always_let_out_to_its_own_node_and_to_no_other(site: Site) -> None:
    site.policies({"x/out": DENY_OUT})
    for node in NODES:
        found = site.lab.get("kuryrnode", node.name)["spec"]["nodePort"]["addresses"]
        addresses = tuple(text.partition("/")[0] for text in found)
        with contextlib.ExitStack() as servers:
            for address in addresses:
                servers.enter_context(wire.listening(node.netns, address, 90))
            reaching = pods_to(site, "node", addresses, 90)
        assert reaching == {name for name, pod in site.pods.items() if name[0] != "x" or pod.node == node.name}


@pytest.mark.parametrize("family", [4, 6])
def test_a_policy_cuts_the_connections_into_a_pod_that_it_closes(site: Site, family: int) -> None:
    site.policies({})
    client = http.client.HTTPConnection(site.address("x/a", family), 80)
    client.sock = wire.connect(wire.VM, client.host, 80, 5)
    with contextlib.closing(client):
        assert asked(client) == "a"
        site.policies({"x/in": DENY_IN})
        with pytest.raises(TimeoutError):
            asked(client)


@pytest.mark.parametrize("family", [4, 6])
def test_a_policy_cuts_the_connections_out_of_a_pod_that_it_closes(site: Site, family: int) -> None:
    """A pod sends a word five times a second over one connection."""
    site.policies({})
    address = next(text for text in site.lab.vm_addresses if (":" in text) == (family == 6))
    pod = site.pods["x/a"]
    talk = f"while sleep 0.2; do echo word; done | nc {address} 90"
    argv = ["kubectl", "exec", "-n", pod.namespace, pod.name, "--", "timeout", "60", "sh", "-c", talk]
    with wire.listening(wire.VM, address, 90) as server:
        server.settimeout(30)
        with subprocess.Popen(argv, env=site.lab.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as talker:
            opened, _ = server.accept()
            with opened:
                heard = Heard(opened)
                wait_for(lambda: heard.count > 3, 20)
                site.policies({"x/out": DENY_OUT})
                time.sleep(1)  # a word on its way
                before = heard.count
                time.sleep(2)
                assert heard.count == before
            talker.kill()


class Heard:
    """Counts what arrives, in the background."""

    def __init__(self, opened: socket.socket) -> None:
        self.count = 0
        threading.Thread(target=self._listen, args=(opened,), daemon=True).start()

    def _listen(self, opened: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := opened.recv(4096):
                self.count += received.count(b"\n")


def asked(client: http.client.HTTPConnection) -> str:
    """The host name that the server answers over the one connection. Raises TimeoutError after 5 s."""
    client.request("GET", "/hostname")
    return client.getresponse().read().decode()
