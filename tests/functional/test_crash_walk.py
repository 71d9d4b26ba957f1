"""The crash walk on real servers: engine processes are killed (SIGKILL) after every single call that changes something.

A second, empty cluster has a cluster id, a network and pods of its own: API objects with a node, no kubelet. Its nodes
are called like the lab's chassis: Neutron binds ports to no other host. Proxies before its API server and before
Neutron kill the process. Each one begins where the one before it was killed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kuryrctl.lab import kuryr
from kuryrctl.lab.openstack.config import NEUTRON_URL
from tests.faults.faults import Hook
from tests.faults.proxy import Proxy, Rule, kubeconfig_of, of_kubeconfig
from tests.faults.rules import kind_of
from tests.functional.lab import Lab, wait_for

pytestmark = pytest.mark.long

CHANGING = (
    r"(POST|PUT|PATCH|DELETE) (networks|subnets|routers|security-groups|security-group-rules|ports)(/.*)?"
    r"|(POST|PATCH|DELETE) (kuryrports|kuryrnodes)"
)
"""What `cluster init` applies to Kubernetes each time anew is none of a plan's steps."""
MOST_DEATHS = 80
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default}}
spec: {{nodeName: {node}, containers: [{{name: c, image: none}}]}}
---
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {{name: {name}}}
---
"""
EVERYTHING = {
    "POST networks",
    "PUT networks/tags",
    "POST subnets",
    "POST routers",
    "PUT routers",
    "PUT routers/add_router_interface",
    "POST security-groups",
    "POST security-group-rules",
    "DELETE security-group-rules",
    "POST ports",
    "PUT ports",
    "PUT ports/tags",
    "DELETE ports",
    *(f"{method} {plural}" for method in ("POST", "PATCH", "DELETE") for plural in ("kuryrports", "kuryrnodes")),
}
"""The calls by which each kind of object is created, changed, adopted and deleted."""


class Killed(ConnectionError):
    """The call is not sent: who made it is dead."""


class Victim:
    """Engine processes of one cluster; the `nth` changing call of each kills it, before it is sent or once done."""

    def __init__(self, lab: Lab, folder: Path, kubeconfig: str, neutron: Proxy, kube: Proxy) -> None:
        self.lab, self.neutron, self.kube = lab, neutron, kube
        self.id = f"crash-{uuid.uuid4().hex[:6]}"
        self._direct = kubeconfig
        clouds = msgspec.yaml.decode(lab.layout.clouds_yaml.read_bytes())
        clouds["clouds"][kuryr.ENGINE_CLOUD]["network_endpoint_override"] = neutron.url
        (folder / "clouds.yaml").write_bytes(msgspec.yaml.encode(clouds))
        config = {
            "cluster_id": self.id,
            "pod_network": {"cidrs": ["10.77.0.0/24"]},
            "service_cidrs": ["10.78.0.0/16"],
            "external_network": "public",
            "port_batch": 2,
            "audit_log": str(folder / "audit.jsonl"),
        }
        (folder / "kuryrctl.yaml").write_bytes(msgspec.yaml.encode(config))
        self._env = os.environ | kuryr.engine_environment(lab.layout)
        self._env |= {
            "OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"),
            "KURYRCTL_CONFIG": str(folder / "kuryrctl.yaml"),
            "KUBECONFIG": str(kubeconfig_of(kube, folder / "proxied.kubeconfig")),
        }
        self._process: subprocess.Popen[str] | None = None
        self._countdown = 0
        self.log = ""

    def kubectl(self, *argv: str, stdin: str | None = None) -> str:
        return self.lab.kubectl("--kubeconfig", self._direct, *argv, stdin=stdin)

    def uids(self, *plurals: str) -> dict[str, str]:
        """Name → uid."""
        found = [each for kind in plurals for each in self.get(kind)]
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}

    def get(self, plural: str) -> list[Any]:
        found: list[Any] = msgspec.json.decode(self.kubectl("get", plural, "-A", "-o", "json"))["items"]
        return found

    def ours(self, collection: str) -> list[dict[str, Any]]:
        """All objects of the cluster, with tags or without."""
        answer = self.lab.cloud("admin").network.get(f"/{collection.replace('_', '-')}").json()[collection]
        return [each for each in answer if each["name"].startswith(f"kuryr-{self.id}-")]

    def ports(self) -> list[dict[str, Any]]:
        """All ports on the cluster's network but the router's."""
        networks = [network["id"] for network in self.ours("networks")]
        answer = self.lab.cloud("admin").network.get("/ports", params={"network_id": networks}).json()["ports"]
        return [port for port in answer if not port["device_owner"].startswith("network:")] if networks else []

    def run(self, *command: str, nth: int = 0, effect: bool = True) -> int:
        """One process: its return code, negative when it was killed at its `nth` call (0: never)."""
        self._countdown = nth
        for proxy in (self.neutron, self.kube):
            count = partial(self._count, proxy)
            proxy.add(Rule(Hook(after=count) if effect else Hook(before=count), kind=CHANGING, times=0))
        argv = [sys.executable, "-m", "kuryrctl.cli.app", *command]
        with subprocess.Popen(argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
            self._process = run
            self.log, _ = run.communicate(timeout=120)
        for proxy in (self.neutron, self.kube):
            proxy.clear()
        if run.returncode < 0:  # its lease would run out in 15 s
            self.kubectl("delete", "lease", "--all", "-n", "kube-system")
        return run.returncode

    def walk(self, nth: int, *, effect: bool) -> list[str]:
        """Processes, each killed at its `nth` call, until none is: by which kinds of call they died."""
        died = []
        for command in (("cluster", "init"), ("reconcile",)):
            while (code := self.run(*command, nth=nth, effect=effect)) < 0:
                assert code == -signal.SIGKILL, self.log
                died.append(self._last)
                assert len(died) < MOST_DEATHS, died
            assert code == 0, self.log
        return died

    def settled(self) -> None:
        """Everybody is served, nothing leaked, nothing doubled, and another run changes nothing."""
        pods, nodes = self.uids("pods"), self.uids("nodes")
        ports = self.ports()
        assert sorted(port["device_id"] for port in ports) == sorted([*pods.values(), *nodes.values()])
        by_owner = {port["device_id"]: port["id"] for port in ports}
        told = {each["spec"]["podUid"]: each["spec"]["interfaces"][0]["portId"] for each in self.get("kuryrports")}
        assert told == {uid: by_owner[uid] for uid in pods.values()}
        told = {each["metadata"]["name"]: each["spec"]["nodePort"]["portId"] for each in self.get("kuryrnodes")}
        assert told == {name: by_owner[uid] for name, uid in nodes.items()}
        for collection in ("networks", "subnets", "routers", "security_groups"):
            names = Counter(each["name"] for each in self.ours(collection))
            assert set(names.values()) == {1}, names
        before = self.neutron.count(CHANGING) + self.kube.count(CHANGING)
        assert (self.run("cluster", "init"), self.run("reconcile")) == (0, 0), self.log
        assert self.neutron.count(CHANGING) + self.kube.count(CHANGING) == before

    def clean_up(self) -> None:
        """Nothing of the cluster stays in the cloud."""
        api = self.lab.cloud("admin").network
        for port in self.ports():
            api.delete(f"/ports/{port['id']}")
        for router in self.ours("routers"):
            for port in api.get("/ports", params={"device_id": router["id"]}).json()["ports"]:
                api.put(f"/routers/{router['id']}/remove_router_interface", json={"port_id": port["id"]})
            api.delete(f"/routers/{router['id']}")
        for network in self.ours("networks"):
            api.delete(f"/networks/{network['id']}")
        for group in self.ours("security_groups"):
            api.delete(f"/security-groups/{group['id']}")
        left = [each["name"] for kind in ("networks", "routers", "security_groups") for each in self.ours(kind)]
        assert left == []

    def _count(self, proxy: Proxy) -> None:
        """A changing call is about to be sent, or is done: in the second case its answer never comes."""
        self._countdown -= 1
        if self._countdown:
            return
        self._last = next(call.kind for call in reversed(proxy.calls) if re.fullmatch(CHANGING, call.kind))
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        raise Killed


@pytest.fixture
def victim(lab: Lab, tmp_path: Path) -> Iterator[Victim]:
    with (
        lab.empty_cluster(tmp_path) as kubeconfig,
        Proxy(NEUTRON_URL) as neutron,
        of_kubeconfig(Path(kubeconfig)) as kube,
    ):
        victim = Victim(lab, tmp_path, kubeconfig, neutron, kube)
        wait_for(lambda: "default" in victim.kubectl("get", "namespaces"), 30)
        victim.kubectl("create", "serviceaccount", "default", "-n", "default")
        try:
            yield victim
        finally:
            victim.clean_up()


def populate(victim: Victim) -> None:
    nodes = "".join(NODE.format(name=name) for name in ("node1", "node2"))
    pods = "".join(POD.format(name=f"web-{n}", node="node1") for n in range(6))
    victim.kubectl("apply", "-f", "-", stdin=nodes + pods + POD.format(name="far", node="node2"))


def change(victim: Victim) -> None:
    """Pods and nodes come and go, and somebody changes something of every kind."""
    api = victim.lab.cloud("admin").network
    uids = victim.uids("pods")
    ports = {port["device_id"]: port["id"] for port in victim.ports()}
    api.put(f"/ports/{ports[uids['web-1']]}", json={"port": {"security_groups": []}})
    api.put(f"/ports/{ports[uids['web-2']]}/tags", json={"tags": []})
    api.delete(f"/ports/{ports[uids['web-3']]}")
    router = victim.ours("routers")[0]
    api.put(f"/routers/{router['id']}", json={"router": {"external_gateway_info": None}})
    api.put(f"/networks/{victim.ours('networks')[0]['id']}/tags", json={"tags": []})
    group = victim.ours("security_groups")[0]
    rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "udp"}
    project = {"tenant_id": group["tenant_id"]}
    api.post("/security-group-rules", json={"security_group_rule": rule | project})
    edit = {"spec": {"nodePort": None}}
    victim.kubectl("patch", "kuryrnode", "node1", "--type=merge", "-p", msgspec.json.encode(edit).decode())
    victim.kubectl("delete", "kuryrport", "web-5")
    victim.kubectl("delete", "pod", "web-0", "web-4", "far", "--grace-period=0", "--force")
    victim.kubectl("delete", "node", "node2")
    more = NODE.format(name="root") + "".join(POD.format(name=name, node="node1") for name in ("web-4", "web-6"))
    victim.kubectl("apply", "-f", "-", stdin=more)


def walked(victim: Victim, nth: int, effect: bool, record_property: Callable[[str, object], None]) -> None:
    died = []
    for begin in (populate, change):
        begin(victim)
        died += victim.walk(nth, effect=effect)
        victim.settled()
    assert len(died) >= 15
    when = "after" if effect else "before"
    for n, kind in enumerate(died, 1):
        record_property("crash-point", f"killed {when} call {n}, {kind}")
    calls = {kind_of(call.method, call.target) for proxy in (victim.neutron, victim.kube) for call in proxy.calls}
    assert calls >= EVERYTHING, sorted(EVERYTHING - calls)


def test_an_engine_killed_after_every_single_call(
    victim: Victim, record_property: Callable[[str, object], None]
) -> None:
    """Each process does one thing and dies before it has the answer."""
    walked(victim, 1, True, record_property)


@pytest.mark.long
def test_an_engine_killed_before_every_single_call(
    victim: Victim, record_property: Callable[[str, object], None]
) -> None:
    """Each process does one thing, and dies when it begins the next one."""
    walked(victim, 2, False, record_property)
