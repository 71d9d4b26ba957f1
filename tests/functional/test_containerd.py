"""containerd 2.x and a kubelet drive the CNI entry: pods come and go at once on one node, its agent is killed, too.

What the runtime asked for is read off the world: its own sandboxes and cached results, the node's devices, its switch,
and the agent's report.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import Struct

from kuryrctl.lab.kubernetes.node import CNI_CACHE
from kuryrctl.lab.layout import NODES
from kuryrctl.lab.network import chassis
from kuryrctl.lab.process import inside
from kuryrctl.node.cni import DELETED_DIR
from kuryrctl.node.install import CONFLIST_NAME, ENTRY_NAME
from tests.functional.lab import Done, Lab, is_ready, wait_for

Count = Callable[[str, object], None]
NODE = NODES[0]
PODS = 20
DOWN_S = 15
COLLECTED_S = 90  # the kubelet removes ended sandboxes once a minute (pkg/kubelet: ContainerGCPeriod)
POD = {"nodeName": NODE.name, "terminationGracePeriodSeconds": 0}


class Left(Struct, frozen=True):
    """What pods' networks leave on the node, each by its own witness."""

    devices: frozenset[str]
    ovs_ports: frozenset[str]
    cached_results: frozenset[str]
    noted_deletions: frozenset[str]
    reported: frozenset[str]

    def beyond(self, earlier: Left) -> list[str]:
        """What was not there earlier."""
        return [name for field in self.__struct_fields__ for name in getattr(self, field) - getattr(earlier, field)]


class NodeOfLab:
    """The node under test, as containerd sees it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        layout = lab.layout
        self._entry = layout.cni_bin_dir(NODE.name) / ENTRY_NAME
        self._notes = layout.agent_socket(NODE.name).parent / DELETED_DIR
        conflist = json.loads((layout.cni_conf_dir(NODE.name) / CONFLIST_NAME).read_text())
        self._config = conflist["plugins"][0] | {"cniVersion": conflist["cniVersion"], "name": conflist["name"]}
        (self._chassis,) = (each for each in chassis.ALL if each.node == NODE)

    def left(self) -> Left:
        links = self.inside("ip", "-json", "link").json()
        ports = chassis.vsctl(self.lab.layout, self._chassis, "list-ports", "br-int").split()
        return Left(
            devices=frozenset(link["ifname"] for link in links if link["ifname"].startswith("tap")),
            ovs_ports=frozenset(port for port in ports if port.startswith("tap")),
            cached_results=frozenset(self.inside("ls", f"{CNI_CACHE}/results").stdout.split()),
            noted_deletions=frozenset(note.name for note in self._notes.iterdir()),
            reported=frozenset(self.lab.plugged(NODE.name)),
        )

    def inside(self, *argv: str) -> Done:
        return self.lab.run(*inside(NODE.name), *argv)

    def sandboxes(self) -> list[str]:
        """The sandboxes that containerd has."""
        ctr = (str(self.lab.layout.bin / "ctr"), "--address", str(self.lab.layout.containerd_socket(NODE.name)))
        kind = 'labels."io.cri-containerd.kind"==sandbox'
        return self.lab.run(*ctr, "-n", "k8s.io", "containers", "ls", "-q", kind).stdout.split()

    def result_of(self, pod: dict[str, Any]) -> dict[str, Any]:
        """What libcni in containerd cached of the pod's ADD."""
        uid = pod["metadata"]["uid"]
        for name in self.inside("ls", f"{CNI_CACHE}/results").stdout.split():
            cached: dict[str, Any] = json.loads(self.inside("cat", f"{CNI_CACHE}/results/{name}").stdout)
            if ["K8S_POD_UID", uid] in cached["cniArgs"]:
                return cached
        raise AssertionError(f"containerd has no result of pod {uid}")

    def call(self, verb: str, environment: dict[str, str], **config: Any) -> tuple[int, Any]:
        """Call the entry where containerd does; exit code and answer."""
        words = [f"{key}={value}" for key, value in {"CNI_COMMAND": verb, "CNI_PATH": "/", **environment}.items()]
        done = self.lab.run(
            *inside(NODE.name), "env", *words, str(self._entry), stdin=json.dumps(self._config | config), check=False
        )
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def condition(self) -> dict[str, Any]:
        """The node's condition Ready."""
        conditions = self.lab.get("node", NODE.name)["status"]["conditions"]
        found: dict[str, Any] = next(each for each in conditions if each["type"] == "Ready")
        return found

    def is_ready(self) -> bool:
        return bool(self.condition()["status"] == "True")


@pytest.fixture
def node(lab: Lab) -> Iterator[NodeOfLab]:
    """The node, with its agent back afterwards."""
    yield NodeOfLab(lab)
    lab.up()


@pytest.fixture
def witness(lab: Lab, node: NodeOfLab) -> Iterator[dict[str, Any]]:
    """A pod of the node that runs all the time."""
    with lab.namespace() as namespace:
        create(lab, namespace, ["witness"])
        yield lab.wait_ready(namespace, 1)[0]


def create(lab: Lab, namespace: str, names: list[str]) -> None:
    """Pods of the node that sleep, by one call."""
    container = {"name": "pause", "image": lab.image, "imagePullPolicy": "Never", "args": ["pause"]}
    items = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": POD | {"containers": [container]}}
        for name in names
    ]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    lab.kubectl("create", "-n", namespace, "-f", "-", stdin=document)


def test_pods_come_and_go_at_once_and_the_agent_is_killed_meanwhile(
    lab: Lab, node: NodeOfLab, witness: dict[str, Any], record_property: Count
) -> None:
    before, sandboxes = node.left(), set(node.sandboxes())
    with lab.namespace() as namespace:
        create(lab, namespace, [f"web-{number}" for number in range(PODS)])
        ready: list[bool] = []

        def some() -> bool:
            ready[:] = map(is_ready, lab.pods(namespace))
            return sum(ready) >= PODS // 4

        wait_for(some, 60)
        assert not all(ready), "none is under way any more: killed too late"
        assert len(node.left().devices - before.devices) >= PODS // 4
        record_property("cni-case", f"containerd 2: {PODS} ADDs at once")

        os.kill(lab.pid(f"agent-{NODE.name}"), signal.SIGKILL)
        killed = time.monotonic()
        lab.kubectl("delete", "pods", "--all", "-n", namespace, "--wait=false")
        code, answer = node.call("STATUS", {})
        assert (code, answer["code"]) == (1, 50), answer
        wait_for(lambda: not node.is_ready(), DOWN_S - (time.monotonic() - killed), node.condition)
        assert "network" in node.condition()["message"].lower()
        record_property("cni-case", "containerd 2: STATUS without an agent, the node is NotReady")
        wait_for(lambda: lab.pods(namespace) == [], 60, lambda: lab.kubectl("get", "pods", "-n", namespace))
        # Pods without a grace period go at once; the kubelet ends their sandboxes after that.
        wait_for(lambda: bool(node.left().noted_deletions), 30, lambda: "no DEL came while the agent was away")
        record_property("cni-case", "containerd 2: DELs without an agent")

        lab.up()
        wait_for(node.is_ready, DOWN_S, node.condition)
        record_property("cni-case", "containerd 2: STATUS with an agent again, the node is Ready")
    wait_for(lambda: sandboxes.issuperset(node.sandboxes()), COLLECTED_S, node.sandboxes)
    wait_for(lambda: not node.left().beyond(before), 30, lambda: node.left().beyond(before))
    record_property("cni-case", "containerd 2: nothing left of pods whose agent was killed")
    assert lab.reaches(witness, witness["status"]["podIP"])


def test_check_and_gc_agree_with_what_containerd_has(
    node: NodeOfLab, witness: dict[str, Any], record_property: Count
) -> None:
    cached = node.result_of(witness)
    environment = {
        "CNI_CONTAINERID": cached["containerId"],
        "CNI_IFNAME": cached["ifName"],
        "CNI_NETNS": cached["netns"],
        "CNI_ARGS": ";".join("=".join(pair) for pair in cached["cniArgs"]),
    }
    assert node.call("CHECK", environment, prevResult=cached["result"]) == (0, None)
    record_property("cni-case", "containerd 2: CHECK of its result")

    before = node.left()
    valid = [{"containerID": sandbox, "ifname": cached["ifName"]} for sandbox in node.sandboxes()]
    assert cached["containerId"] in {each["containerID"] for each in valid}
    assert node.call("GC", {}, **{"cni.dev/valid-attachments": valid}) == (0, None)
    assert node.left() == before
    record_property("cni-case", "containerd 2: GC with its sandboxes")
