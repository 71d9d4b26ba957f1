"""NetworkPolicies with real packets, IPv4 and IPv6: what is closed, what is open, what comes back by itself.

Three pods: `server` (node1), which is asked, `client` (node2), which asks, both in one namespace, and `stranger` in
another. Every answer is waited for: a policy takes effect a moment after it was written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.lab import Lab, addresses, is_ready, wait_for

pytestmark = pytest.mark.long

Pod = dict[str, Any]
HTTP, OTHER, UDP = 8080, 8090, 8081
WITHIN_S = 30
ALL = {"podSelector": {}}
SERVER = {"podSelector": {"matchLabels": {"app": "server"}}}
CLIENT = {"podSelector": {"matchLabels": {"app": "client"}}}
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
except OSError:
    sys.exit(1)
"""


def manifest(lab: Lab, namespace: str, name: str, node: str, port: int) -> dict[str, Any]:
    """A pod that answers HTTP at `port` (named ``api``) and UDP; its readiness is probed by its own kubelet."""
    container = {
        "name": "c",
        "image": lab.image,
        "imagePullPolicy": "Never",
        "args": ["netexec", f"--http-port={port}", f"--udp-port={UDP}"],
        "ports": [{"name": "api", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": port}, "periodSeconds": 1},
    }
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container]}
    meta = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


class Scene:
    """The pods, and what may be asked between them."""

    def __init__(self, lab: Lab, home: str, abroad: str) -> None:
        self.lab, self.home, self.abroad = lab, home, abroad
        for namespace, name, node, port in (
            (home, "server", "node1", HTTP),
            (home, "second", "node2", OTHER),
            (home, "client", "node2", HTTP),
            (abroad, "stranger", "node2", HTTP),
        ):
            self.apply(manifest(lab, namespace, name, node, port))
        lab.wait_ready(home, 3)
        lab.wait_ready(abroad, 1)

    def apply(self, body: dict[str, Any]) -> None:
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def policy(self, name: str, **spec: Any) -> None:
        meta = {"name": name, "namespace": self.home}
        self.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec})

    def no_policy(self) -> None:
        self.lab.kubectl("delete", "networkpolicy", "--all", "-n", self.home)

    def pod(self, name: str) -> Pod:
        pods = self.lab.pods(self.home) + self.lab.pods(self.abroad)
        return next(pod for pod in pods if pod["metadata"]["name"] == name)

    def connects(self, source: str, target: str, port: int = HTTP, protocol: str = "tcp") -> set[bool]:
        """Whether a connection succeeds, of each IP family."""
        meta = self.pod(source)["metadata"]
        found = set()
        for address in addresses(self.pod(target)) if not target[0].isdigit() else [target]:
            host = f"[{address}]" if ":" in address else address
            argv = ["kubectl", "exec", "-n", meta["namespace"], meta["name"], "--", "/agnhost", "connect"]
            argv += [f"--protocol={protocol}", "--timeout=1s", f"{host}:{port}"]
            found.add(self.lab.run(*argv, check=False).returncode == 0)
        return found

    def opens(self, source: str, target: str, port: int = HTTP, protocol: str = "tcp") -> None:
        self._becomes({True}, source, target, port, protocol)

    def closes(self, source: str, target: str, port: int = HTTP, protocol: str = "tcp") -> None:
        self._becomes({False}, source, target, port, protocol)

    def _becomes(self, wanted: set[bool], *asked: Any) -> None:
        wait_for(lambda: self.connects(*asked) == wanted, WITHIN_S, lambda: (asked, self.connects(*asked)))


@pytest.fixture(scope="module")
def whole(lab: Lab) -> Iterator[Scene]:
    with lab.namespace() as home, lab.namespace() as abroad:
        yield Scene(lab, home, abroad)


@pytest.fixture
def scene(whole: Scene) -> Iterator[Scene]:
    """Open, before and after."""
    whole.opens("client", "server")
    yield whole
    whole.no_policy()
    whole.opens("client", "server")
    whole.opens("stranger", "server")


def test_default_deny_of_ingress_closes_what_comes_in_and_nothing_else(scene: Scene) -> None:
    scene.policy("deny", **SERVER, policyTypes=["Ingress"])

    scene.closes("client", "server")
    scene.closes("client", "server", UDP, "udp")
    scene.opens("server", "client")


def test_default_deny_of_egress_closes_what_goes_out_and_nothing_else(scene: Scene) -> None:
    scene.policy("deny", **CLIENT, policyTypes=["Egress"])

    scene.closes("client", "server")
    scene.opens("server", "client")


def test_peers_are_pods_namespaces_and_addresses(scene: Scene) -> None:
    scene.policy("rules", **SERVER, ingress=[{"from": [CLIENT]}])
    scene.closes("stranger", "server")
    scene.opens("client", "server")

    abroad = {"matchLabels": {"kubernetes.io/metadata.name": scene.abroad}}
    scene.policy("rules", **SERVER, ingress=[{"from": [{"namespaceSelector": abroad}]}])
    scene.closes("client", "server")
    scene.opens("stranger", "server")

    blocks = [{"ipBlock": {"cidr": f"{a}/{128 if ':' in a else 32}"}} for a in addresses(scene.pod("client"))]
    scene.policy("rules", **SERVER, ingress=[{"from": blocks}])
    scene.closes("stranger", "server")
    scene.opens("client", "server")


def test_egress_and_ingress_must_both_allow(scene: Scene) -> None:
    scene.policy("out", **CLIENT, policyTypes=["Egress"], egress=[{"to": [SERVER], "ports": [{"port": HTTP}]}])
    scene.closes("client", "second", OTHER)
    scene.opens("client", "server")

    scene.policy("in", **SERVER, policyTypes=["Ingress"])
    scene.closes("client", "server")


def test_a_named_port_is_each_pods_own_and_ranges_and_protocols_count(scene: Scene) -> None:
    scene.policy("named", **ALL, ingress=[{"ports": [{"port": "api"}]}])
    scene.closes("client", "server", UDP, "udp")
    scene.opens("client", "server", HTTP)
    scene.opens("client", "second", OTHER)

    scene.policy("named", **ALL, ingress=[{"ports": [{"port": UDP, "endPort": OTHER}]}])
    scene.closes("client", "server", HTTP)
    scene.opens("client", "second", OTHER)

    scene.policy("named", **ALL, ingress=[{"ports": [{"port": UDP, "protocol": "UDP"}]}])
    scene.closes("client", "second", OTHER)
    scene.opens("client", "server", UDP, "udp")


def test_a_label_closes_and_opens(scene: Scene) -> None:
    scene.policy("rules", **SERVER, ingress=[{"from": [CLIENT]}])
    scene.closes("stranger", "server")
    scene.opens("client", "server")

    scene.lab.kubectl("label", "pod", "client", "-n", scene.home, "app=other", "--overwrite")
    scene.closes("client", "server")
    scene.lab.kubectl("label", "pod", "client", "-n", scene.home, "app=client", "--overwrite")
    scene.opens("client", "server")


def test_a_vm_is_an_address_like_any_other(scene: Scene) -> None:
    def from_vm() -> set[bool]:
        def answers(address: str) -> bool:
            argv = ("ip", "netns", "exec", "lab-vm", sys.executable, "-c", _CONNECT, address, str(HTTP))
            return scene.lab.run(*argv, check=False).returncode == 0

        return {answers(address) for address in addresses(scene.pod("server"))}

    assert from_vm() == {True}
    scene.policy("rules", **SERVER, ingress=[{"from": [CLIENT]}])
    wait_for(lambda: from_vm() == {False}, WITHIN_S, from_vm)
    blocks = [{"ipBlock": {"cidr": f"{a}/{128 if ':' in a else 32}"}} for a in scene.lab.vm_addresses]
    scene.policy("rules", **SERVER, ingress=[{"from": blocks}])
    wait_for(lambda: from_vm() == {True}, WITHIN_S, from_vm)


def test_kubelets_probe_their_own_pods_and_no_other_node_gets_through(scene: Scene) -> None:
    scene.policy("deny", **ALL, policyTypes=["Ingress", "Egress"])
    scene.closes("client", "server")

    def from_node(node: str) -> set[bool]:
        def answers(address: str) -> bool:
            pid = str(scene.lab.pid(f"holder-{node}"))
            argv = ("nsenter", "-t", pid, "-n", sys.executable, "-c", _CONNECT, address, str(HTTP))
            return scene.lab.run(*argv, check=False).returncode == 0

        return {answers(address) for address in addresses(scene.pod("server"))}

    wait_for(lambda: from_node("node2") == {False}, WITHIN_S, lambda: from_node("node2"))
    assert from_node("node1") == {True}
    scene.apply(manifest(scene.lab, scene.home, "late", "node1", HTTP))
    wait_for(lambda: is_ready(scene.pod("late")), 60, lambda: scene.pod("late")["status"])
    assert is_ready(scene.pod("server"))
    scene.closes("client", "late")
    scene.lab.kubectl("delete", "pod", "late", "-n", scene.home)


def test_what_somebody_changed_in_the_cloud_is_drift_and_comes_back(scene: Scene) -> None:
    scene.policy("rules", **SERVER, ingress=[{"from": [CLIENT]}])
    scene.closes("stranger", "server")
    scene.opens("client", "server")
    policy = scene.lab.get("networkpolicy", "rules", "-n", scene.home)["metadata"]["uid"]
    cloud = scene.lab.cloud("admin").network
    groups = cloud.get("/security-groups", params={"tags": f"kuryr:uid={policy}"}).json()["security_groups"]
    rules = [rule for group in groups for rule in group["security_group_rules"]]
    (port,) = [p for p in scene.lab.pod_ports() if p["device_id"] == scene.pod("client")["metadata"]["uid"]]
    with scene.lab.engine_stopped():
        for rule in rules:
            cloud.delete(f"/security-group-rules/{rule['id']}")
        cloud.put(f"/ports/{port['id']}", json={"port": {"security_groups": []}})
        scene.closes("client", "server")
        assert scene.lab.kuryrctl("policy", "sync", "--dry-run", check=False).returncode == 21

        scene.lab.kuryrctl("policy", "sync")

        scene.opens("client", "server")
        scene.closes("stranger", "server")
        assert scene.lab.kuryrctl("policy", "sync", "--dry-run", check=False).returncode == 0
