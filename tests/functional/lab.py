"""The lab as tests see it: commands with its environment, and the state of the world as plain values.

Every question is asked of the real part: the Kubernetes API by kubectl, Neutron by openstacksdk, pods by exec.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openstack

from kuryrctl.core.config import LEASE_DURATION_S
from kuryrctl.lab import kuryr, network
from kuryrctl.lab.install.versions import TEST_IMAGE
from kuryrctl.lab.kubernetes import pki
from kuryrctl.lab.kubernetes.control_plane import api_server_command
from kuryrctl.lab.lab import context_of
from kuryrctl.lab.layout import API_SERVER_PORT, MANAGEMENT_HOST, NODES, Layout
from kuryrctl.lab.network import chassis

POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
         labelSelector: {{matchLabels: {{app: {name}}}}}}}
      containers:
      - name: web
        image: {image}
        imagePullPolicy: Never
        args: [netexec, --http-port=8080]
        readinessProbe: {{httpGet: {{path: /hostname, port: 8080}}, periodSeconds: 1}}
"""
NAMESPACE = "t-{}"
START_API_SERVER = """
import os
from kuryrctl.lab.kubernetes.control_plane import start_api_server
from kuryrctl.lab.lab import context_of
from kuryrctl.lab.layout import Layout

start_api_server(context_of(Layout.of(os.environ)))
"""


class Done:
    """A command that ended."""

    def __init__(self, argv: list[str], returncode: int, stdout: str, stderr: str) -> None:
        self.argv, self.returncode, self.stdout, self.stderr = argv, returncode, stdout, stderr

    def json(self) -> Any:
        return json.loads(self.stdout)

    def __repr__(self) -> str:
        return f"{shlex.join(self.argv)} -> {self.returncode}\n{self.stdout}\n{self.stderr}"


class Lab:
    """The running lab. Raises where it is not up: a functional test without its lab fails."""

    def __init__(self) -> None:
        exported = subprocess.run(
            [sys.executable, "-m", "kuryrctl.cli.app", "lab", "env"], capture_output=True, text=True, check=False
        )
        assert exported.returncode == 0, f"the lab is not up: {exported.stderr}"
        self.env = {**os.environ, **dict(_exports(exported.stdout))}
        self.env["PATH"] = f"{Path(sys.executable).parent}:{self.env['PATH']}"
        self.image = TEST_IMAGE
        self._clouds: dict[str, openstack.connection.Connection] = {}
        self.layout = Layout.of(os.environ)
        self.context = context_of(self.layout)
        self.cluster_id = kuryr.CLUSTER_ID
        self._wants_engine = True

    def run(self, *argv: str, stdin: str | None = None, timeout_s: float = 120, check: bool = True) -> Done:
        """Run a command with the lab's environment."""
        done = subprocess.run(
            argv, env=self.env, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        result = Done(list(argv), done.returncode, done.stdout, done.stderr)
        assert not check or done.returncode == 0, result
        return result

    def kubectl(self, *argv: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        return self.run("kubectl", *argv, stdin=stdin, timeout_s=timeout_s).stdout

    def kuryrctl(self, *argv: str, check: bool = True, timeout_s: float = 120) -> Done:
        return self.run("kuryrctl", *argv, check=check, timeout_s=timeout_s)

    def plan(self) -> Done:
        """What is left to do, whether or not an engine is at it: 0 for nothing."""
        return self.kuryrctl("reconcile", "--dry-run", check=False)

    def get(self, *argv: str) -> Any:
        return json.loads(self.kubectl("get", *argv, "-o", "json"))

    def cloud(self, name: str = "") -> openstack.connection.Connection:
        """A connection as one of the clouds of the lab's clouds.yaml; the engine's own credential by default."""
        name = name or self.env["OS_CLOUD"]
        if name not in self._clouds:
            os.environ["OS_CLIENT_CONFIG_FILE"] = self.env["OS_CLIENT_CONFIG_FILE"]
            self._clouds[name] = openstack.connect(cloud=name)
        return self._clouds[name]

    def ports(self, **query: str) -> list[dict[str, Any]]:
        """Ports of the cluster by Neutron's own list, raw."""
        query.setdefault("tags", f"kuryr:cluster={self.cluster_id}")
        answer: list[dict[str, Any]] = self.cloud("admin").network.get("/ports", params=query).json()["ports"]
        return answer

    def pod_ports(self) -> list[dict[str, Any]]:
        return [port for port in self.ports() if "kuryr:kind=pod" in port["tags"]]

    def nodes(self) -> list[str]:
        return [node.name for node in NODES]

    def pid(self, component: str) -> int:
        """The pid of a daemon of the lab, which must run."""
        pid = self.context.processes.pid(component)
        assert pid, f"{component} does not run"
        return pid

    def start_api_server(self) -> None:
        """By a process that ends: the server is not to be a child of the tests'."""
        self.run(sys.executable, "-c", START_API_SERVER)

    def up(self) -> None:
        """Start what was killed, but no engine where none is wanted."""
        self.kuryrctl("lab", "up")
        if not self._wants_engine:
            self.kuryrctl("lab", "engine", "stop")

    def plugged(self, node: str) -> set[str]:
        """The uids of the pods for which the node's switch has a port."""
        found = self.get("kuryrnode", node)["status"].get("plugged", [])
        return {entry["podUid"] for entry in found}

    @property
    def vm_addresses(self) -> tuple[str, ...]:
        found = kuryr.vm_addresses(self.layout)
        assert len(found) == 2, found
        return found

    def _lease(self) -> dict[str, Any]:
        found = self.get("leases", "-n", "kube-system")["items"]
        name = f"kuryrctl-{self.cluster_id}"
        return next((lease["spec"] for lease in found if lease["metadata"]["name"] == name), {})

    def lease_holder(self) -> str:
        """Who wrote itself down last and did not give the Lease back: a dead one stays there."""
        return str(self._lease().get("holderIdentity", ""))

    def is_led(self) -> bool:
        """Whether the Lease has a holder and has not run out (coordination.k8s.io/v1 LeaseSpec)."""
        lease = self._lease()
        if not lease.get("holderIdentity"):
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(lease["renewTime"])
        return age.total_seconds() <= lease["leaseDurationSeconds"]

    def audit_log(self) -> str:
        return (self.layout.log / "audit.jsonl").read_text()

    def chassis_deaths(self) -> list[str]:
        return network.chassis_deaths(self.layout)

    @contextmanager
    def empty_cluster(self, folder: Path) -> Iterator[str]:
        """The kubeconfig of another real cluster, an empty one: a second API server on its own prefix of the etcd."""
        port, prefix = API_SERVER_PORT + 1, f"/other-{uuid.uuid4().hex[:6]}"
        command = [
            *(arg.replace(f"--secure-port={API_SERVER_PORT}", f"--secure-port={port}")
              for arg in api_server_command(self.layout)),
            f"--etcd-prefix={prefix}",
        ]  # fmt: skip
        config = pki.write_kubeconfig(self.layout, "admin").read_text()
        kubeconfig = folder / "other.kubeconfig"
        kubeconfig.write_text(config.replace(f"{MANAGEMENT_HOST}:{API_SERVER_PORT}", f"{MANAGEMENT_HOST}:{port}"))
        with (
            (folder / "other-apiserver.log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as api,
        ):
            try:
                ask = ("kubectl", "--kubeconfig", str(kubeconfig), "get", "namespace", "kube-system")
                wait_for(lambda: self.run(*ask, check=False).returncode == 0, 60, lambda: log)
                manifests = self.kuryrctl("cluster", "manifests").stdout
                self.kubectl("--kubeconfig", str(kubeconfig), "apply", "--server-side", "-f", "-", stdin=manifests)
                yield str(kubeconfig)
            finally:
                api.terminate()

    def told(self, namespace: str) -> str:
        """What there is to read of a namespace when its Services are not as they should be."""
        shown = self.kubectl("get", "service,endpointslices,pods,events", "-n", namespace, "-o", "wide")
        return shown + self.kuryrctl("lab", "engine", "logs", "-n", "30", check=False).stdout

    def deploy(self, namespace: str, name: str, replicas: int) -> None:
        self.kubectl(
            "apply",
            "-f",
            "-",
            stdin=POD.format(namespace=namespace, name=name, replicas=replicas, image=self.image),
        )

    def stateful(self, namespace: str, name: str, replicas: int) -> None:
        """The same pods as a StatefulSet: names stay, uids change."""
        deployment = POD.format(namespace=namespace, name=name, replicas=replicas, image=self.image)
        self.kubectl("apply", "-f", "-", stdin=deployment.replace("kind: Deployment", "kind: StatefulSet"))

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-n", namespace, *(["-l", selector] if selector else []))[
            "items"
        ]
        return found

    def wait_ready(self, namespace: str, count: int, timeout_s: float = 90) -> list[dict[str, Any]]:
        """The `count` pods of the namespace, once all are Ready."""

        def ready() -> bool:
            pods = self.pods(namespace)
            return len(pods) == count and all(is_ready(pod) for pod in pods)

        wait_for(ready, timeout_s, lambda: self.kubectl("get", "pods,kp,events", "-n", namespace, "-o", "wide"))
        return self.pods(namespace)

    def exec(self, pod: Mapping[str, Any], *command: str, timeout_s: float = 30) -> str:
        meta = pod["metadata"]
        return self.kubectl("exec", "-n", meta["namespace"], meta["name"], "--", *command, timeout_s=timeout_s)

    def reaches(self, pod: Mapping[str, Any], address: str) -> bool:
        """Whether a ping from the pod is answered within 3 s."""
        meta = pod["metadata"]
        family = "-6" if ":" in address else "-4"
        argv = ("exec", "-n", meta["namespace"], meta["name"], "--", "ping", family, "-c", "1", "-W", "3", address)
        return self.run("kubectl", *argv, check=False).returncode == 0

    def reach(self, pod: Mapping[str, Any], address: str) -> None:
        """Return once it is reached: the data plane of another chassis follows a moment after a pod is Ready."""
        wait_for(lambda: self.reaches(pod, address), 20, lambda: f"{pod['metadata']['name']} -> {address}")

    def installed(self) -> None:
        """Return once every chassis has the flows of what Neutron has answered so far (ovn-nbctl(8): --wait=hv)."""
        database = f"unix:{self.layout.ovn_run}/ovnnb_db.sock"
        self.run(chassis.program(self.layout, "ovn-nbctl"), "--timeout=60", f"--db={database}", "--wait=hv", "sync")

    @contextmanager
    def engine_stopped(self) -> Iterator[None]:
        """A quiet cluster; the engine is back afterwards."""
        self._wants_engine = False
        try:
            self.kuryrctl("lab", "engine", "stop")
            wait_for(lambda: not self.is_led(), 2 * LEASE_DURATION_S, self.lease_holder)
            yield
        finally:
            self._wants_engine = True
            self.kuryrctl("lab", "engine", "start")

    def not_running(self) -> list[str]:
        """Daemons of the lab that are dead: those that were started and not stopped, and the engine if it is wanted."""
        processes = self.context.processes
        wanted = {*processes.names(), *([kuryr.ENGINE] if self._wants_engine else [])}
        return sorted(name for name in wanted if not processes.running(name))

    def sweep(self) -> None:
        """Remove the namespaces of tests that were killed: the lab's state outlives them, `lab down` included."""
        names = [each["metadata"]["name"] for each in self.get("namespaces")["items"]]
        if left := [name for name in names if re.fullmatch(NAMESPACE.format("[0-9a-f]{8}"), name)]:
            self.kubectl("delete", "namespace", *left, "--wait=true", timeout_s=180)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace of its own; when it ends, so do its pods and their ports."""
        name = NAMESPACE.format(uuid.uuid4().hex[:8])
        self.kubectl("create", "namespace", name)
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=true", timeout_s=180)


def is_ready(pod: Mapping[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def addresses(pod: Mapping[str, Any]) -> list[str]:
    return [entry["ip"] for entry in pod["status"]["podIPs"]]


def wait_for(condition: Callable[[], bool], timeout_s: float, explain: Callable[[], object] = lambda: "") -> None:
    """Poll until the condition holds; after `timeout_s` seconds the test fails with the explanation."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {timeout_s:g} s: {explain()}"
        time.sleep(0.3)


def _exports(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            yield name, os.path.expandvars(" ".join(shlex.split(value)))
