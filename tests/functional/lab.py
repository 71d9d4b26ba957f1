"""The lab as tests see it: commands with its environment, and the state of the world as plain values.

Every question is asked of the real part: the Kubernetes API by kubectl, Neutron by openstacksdk, pods by exec.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openstack

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
        self.image = self.env["KURYRCTL_LAB_IMAGE"]

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

    def get(self, *argv: str) -> Any:
        return json.loads(self.kubectl("get", *argv, "-o", "json"))

    def cloud(self, name: str = "") -> openstack.connection.Connection:
        """A connection as one of the clouds of the lab's clouds.yaml; the engine's own credential by default."""
        os.environ["OS_CLIENT_CONFIG_FILE"] = self.env["OS_CLIENT_CONFIG_FILE"]
        return openstack.connect(cloud=name or self.env["OS_CLOUD"])

    def ports(self, **query: str) -> list[dict[str, Any]]:
        """Ports of the cluster by Neutron's own list, raw."""
        query.setdefault("tags", f"kuryr:cluster={self.cluster_id}")
        with self.cloud("admin") as cloud:
            answer: list[dict[str, Any]] = cloud.network.get("/ports", params=query).json()["ports"]
            return answer

    def pod_ports(self) -> list[dict[str, Any]]:
        return [port for port in self.ports() if "kuryr:kind=pod" in port["tags"]]

    @property
    def cluster_id(self) -> str:
        return str(self.kuryrctl("config", "show", "-f", "json").json_option("cluster_id"))

    def deploy(self, namespace: str, name: str, replicas: int) -> None:
        self.kubectl(
            "apply",
            "-f",
            "-",
            stdin=POD.format(namespace=namespace, name=name, replicas=replicas, image=self.image),
        )

    def pods(self, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-n", namespace, *(["-l", selector] if selector else []))["items"]
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

    @contextmanager
    def engine_stopped(self) -> Iterator[None]:
        self.kuryrctl("lab", "engine", "stop")
        try:
            yield
        finally:
            self.kuryrctl("lab", "engine", "start")

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace of its own; when it ends, so do its pods and their ports."""
        name = f"t-{uuid.uuid4().hex[:8]}"
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
