"""An agent in this process, with a cluster that the test plays, and the CNI entry as a runtime runs it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from kuryrctl.core.cluster import Interface, KuryrNode, KuryrPort
from kuryrctl.core.errors import NotFound, Owner
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Changed, Listed, Message
from kuryrctl.node import install
from kuryrctl.node.agent import Agent, AgentOptions
from kuryrctl.node.ovsdb import Ovsdb

NODE = "node1"


class Cluster:
    """KuryrPorts and a KuryrNode, as the API server keeps them: versions, status apart from spec, a watch."""

    def __init__(self) -> None:
        self.ports: dict[str, KuryrPort] = {}
        self.node = KuryrNode(name=NODE, uid="node-uid", resource_version="1")
        self.watchers: list[queue.Queue[Message]] = []
        self.writes: list[str] = []
        self._version = 1
        self._guard = threading.RLock()

    def assign(self, pod: str, uid: str, interface: Interface) -> None:
        """As the engine does."""
        with self._guard:
            namespace, name = pod.split("/")
            before = self.ports.get(pod)
            kept = before if before is not None and before.pod_uid == uid else KuryrPort("", "", "", "", ())
            self._put(
                msgspec.structs.replace(
                    kept,
                    namespace=namespace,
                    name=name,
                    pod_uid=uid,
                    node=NODE,
                    interfaces=(interface,),
                    uid=f"kp-{uid}",
                )
            )

    def remove(self, pod: str) -> None:
        """The KuryrPort is deleted, with its pod."""
        with self._guard:
            gone = self.ports.pop(pod)
            self._tell(Changed(Kind.KURYR_PORT, gone, deleted=True))

    def give_node_port(self, interface: Interface) -> None:
        """As the engine does."""
        with self._guard:
            self.node = msgspec.structs.replace(self.node, node_port=interface, resource_version=self._next())
            self._tell(Changed(Kind.KURYR_NODE, self.node))

    # --- what the agent calls ---
    def write_kuryr_port_status(self, port: KuryrPort) -> KuryrPort:
        with self._guard:
            self.writes.append(f"{port.namespace}/{port.name}")
            current = self.ports.get(f"{port.namespace}/{port.name}")
            if current is None or current.uid != port.uid:
                raise NotFound("gone", code="KUBE-NOT-FOUND", owner=Owner.KUBERNETES)
            return self._put(
                msgspec.structs.replace(
                    current, bound=port.bound, since=port.since, error=port.error, sandbox=port.sandbox
                )
            )

    def write_kuryr_node_status(self, node: KuryrNode) -> KuryrNode:
        with self._guard:
            self.writes.append(node.name)
            self.node = msgspec.structs.replace(
                self.node,
                heartbeat_s=node.heartbeat_s,
                plugged=node.plugged,
                version=node.version,
                error=node.error,
                resource_version=self._next(),
            )
            self._tell(Changed(Kind.KURYR_NODE, self.node))
            return self.node

    def watch(self, out: queue.Queue[Message]) -> None:
        """List, then tell every change."""
        with self._guard:
            out.put(Listed(Kind.KURYR_PORT, tuple(self.ports.values()), str(self._version)))
            out.put(Listed(Kind.KURYR_NODE, (self.node,), str(self._version)))
            self.watchers.append(out)

    def _put(self, port: KuryrPort) -> KuryrPort:
        stored = msgspec.structs.replace(port, resource_version=self._next())
        self.ports[f"{port.namespace}/{port.name}"] = stored
        self._tell(Changed(Kind.KURYR_PORT, stored))
        return stored

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _tell(self, message: Message) -> None:
        for watcher in self.watchers:
            watcher.put(message)


class Watch:
    """A follower that tells what the cluster of the test tells, from its start on."""

    def __init__(self, cluster: Cluster, out: queue.Queue[Message]) -> None:
        self._cluster, self._out = cluster, out

    def start(self) -> None:
        self._cluster.watch(self._out)

    def stop(self) -> None:
        self._cluster.watchers.remove(self._out)


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
        done = subprocess.run(
            [self.bin / install.ENTRY_NAME],
            input=stdin,
            env={"CNI_COMMAND": verb, "CNI_PATH": str(self.bin), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stderr == "", done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout else None

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

    def __init__(self, socket: Path, address: str, cluster: Cluster, *, assignment_timeout_s: float = 10.0) -> None:
        options = AgentOptions(NODE, socket, address, "br-int", assignment_timeout_s, tick_s=0.5)
        self.ovsdb = Ovsdb(address, "br-int")
        self.agent = Agent(options, self.ovsdb, cluster, lambda out: [Watch(cluster, out)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.agent.run, args=(self._stop,), name="agent")
        self._thread.start()
        deadline = time.monotonic() + 5
        while not (socket.exists() and self.agent.assignments.synced):
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


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the folder changes while it is read
