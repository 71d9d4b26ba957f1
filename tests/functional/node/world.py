"""An agent in this process, with a cluster that the test plays, and the CNI entry as a runtime runs it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from kuryrctl.core.cluster import Interface, KuryrNode, KuryrPort
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Informer, Kube, Message
from kuryrctl.node import install
from kuryrctl.node.agent import FOLLOWED, Agent, AgentOptions, Follower
from kuryrctl.node.ovsdb import Ovsdb
from tests.fakes.kube import FakeKube
from tests.functional.node.switch import eventually

NODE = "node1"
ROOT = Path(__file__).resolve().parents[3]


class Cluster:
    """An API server in memory, on which the test plays the engine."""

    def __init__(self) -> None:
        self.fake = FakeKube()
        self.kube = Kube(self.fake)
        self.fake.add_namespace("shop")
        self._node_uid = self.fake.add_node(NODE, "10.254.77.1")
        self.kube.write_kuryr_node(NODE, self._node_uid, None)

    @property
    def ports(self) -> dict[str, KuryrPort]:
        """The KuryrPorts, by ``namespace/name``."""
        items = self.kube.list_kind(Kind.KURYR_PORT).items
        return {f"{item.namespace}/{item.name}": item for item in items if isinstance(item, KuryrPort)}

    @property
    def node(self) -> KuryrNode:
        """The KuryrNode."""
        (item,) = self.kube.list_kind(Kind.KURYR_NODE).items
        assert isinstance(item, KuryrNode)
        return item

    @property
    def node_reports(self) -> int:
        """How often the KuryrNode's status was written."""
        return sum(method == "PATCH" and path.endswith(f"{NODE}/status") for method, path in self.fake.requests)

    def assign(self, pod: str, uid: str, interface: Interface) -> None:
        """As the engine does: one KuryrPort for each pod, a new one for a new uid."""
        namespace, name = pod.split("/")
        there = self.ports.get(pod)
        if there is not None and there.pod_uid != uid:
            self.kube.delete_kuryr_port(namespace, name, there.uid)
            there = None
        self.kube.write_kuryr_port(
            msgspec.structs.replace(there, interfaces=(interface,))
            if there is not None
            else KuryrPort(namespace, name, uid, NODE, (interface,))
        )

    def give_node_port(self, interface: Interface | None) -> None:
        """As the engine does."""
        self.kube.write_kuryr_node(NODE, self._node_uid, interface)

    def followers(self, out: queue.Queue[Message]) -> list[Follower]:
        """What the agent follows."""
        return [Informer(self.kube, kind, out, node=NODE) for kind in FOLLOWED]


class Runtime:
    """Calls the installed entry as a container runtime does."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "run" / "agent.sock"
        self.bin = folder / "bin"
        self.conf = folder / "net.d"
        install.install(install.InstallOptions(bin_dir=self.bin, conf_dir=self.conf, socket=self.socket))

    def config(self, version: str, **more: Any) -> str:
        """The plugin's configuration, as libcni makes it of the conflist."""
        conflist = json.loads((self.conf / install.CONFLIST_NAME).read_text())
        return json.dumps(conflist["plugins"][0] | {"cniVersion": version, "name": conflist["name"]} | more)

    def call(self, verb: str, stdin: str, **environment: str) -> tuple[int, Any]:
        """Exit code and answer."""
        return self.ended(self.begin({"CNI_COMMAND": verb, **environment}), stdin.encode())

    def begin(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start the entry; it waits for its configuration on stdin."""
        return subprocess.Popen(
            [self.bin / install.ENTRY_NAME],
            env={"CNI_PATH": str(self.bin), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def ended(self, entry: subprocess.Popen[bytes], stdin: bytes | None = None) -> tuple[int, Any]:
        """Exit code and answer of an entry that was started."""
        answer, trouble = entry.communicate(stdin, timeout=120)
        assert trouble == b"", trouble.decode()
        return entry.returncode, json.loads(answer) if answer else None

    def add(self, pod: Sandbox, version: str = "1.1.0") -> tuple[int, Any]:
        return self.call("ADD", self.config(version), **pod.environment)

    def check(self, pod: Sandbox) -> tuple[int, Any]:
        return self.call("CHECK", self.config("1.1.0"), **pod.environment)

    def delete(self, pod: Sandbox) -> tuple[int, Any]:
        """As a runtime does late: without namespace, arguments and prevResult."""
        environment = {key: pod.environment[key] for key in ("CNI_CONTAINERID", "CNI_IFNAME")}
        return self.call("DEL", self.config("1.1.0"), **environment)

    def status(self) -> tuple[int, Any]:
        return self.call("STATUS", self.config("1.1.0"))


class Sandbox(msgspec.Struct, frozen=True):
    """A pod's sandbox, as the runtime knows it."""

    pod: str
    uid: str
    container: str
    netns: str

    @property
    def environment(self) -> dict[str, str]:
        namespace, name = self.pod.split("/")
        return {
            "CNI_CONTAINERID": self.container,
            "CNI_NETNS": self.netns,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};"
            f"K8S_POD_INFRA_CONTAINER_ID={self.container};K8S_POD_UID={self.uid}",
        }


class RunningAgent:
    """The agent in threads of this process."""

    def __init__(
        self,
        socket: Path,
        address: str,
        cluster: Cluster,
        *,
        assignment_timeout_s: float = 10.0,
        synced: bool = True,
        tick_s: float = 0.5,
    ) -> None:
        options = AgentOptions(NODE, socket, address, "br-int", assignment_timeout_s, tick_s)
        self.ovsdb = Ovsdb(address, "br-int")
        self.agent = Agent(options, self.ovsdb, cluster.kube, cluster.followers)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.agent.run, args=(self._stop,), name="agent")
        self._thread.start()
        deadline = time.monotonic() + 5
        while not socket.exists() or self.agent.assignments.synced is not synced:
            assert time.monotonic() < deadline, "the agent did not start"
            time.sleep(0.01)

    def stop(self) -> float:
        """Stop it; how long that took, in seconds."""
        started = time.monotonic()
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.ovsdb.close()
        return time.monotonic() - started


class Process:
    """An agent in a process of its own, with the first `pods` pods assigned: it can be killed, and held up."""

    def __init__(self, runtime: Runtime, address: str, pods: int) -> None:
        command = [sys.executable, "-m", "tests.functional.node.agent_process", str(runtime.socket), address]
        self._process = subprocess.Popen([*command, str(pods)], cwd=ROOT)
        eventually(lambda: runtime.status()[0] == 0, "the agent answers", timeout_s=20)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the folder changes while it is read
