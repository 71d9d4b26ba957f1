"""What a newcomer should see, shown by real commands on the running lab.

Each act shows its command and what it printed, then one claim and whether that output bears it out. Nothing is claimed
that no command showed; the first false claim ends the demo. Knows no Kubernetes and no Neutron API: it types commands.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install.versions import TEST_IMAGE
from kuryrctl.lab.kuryr import ENGINE, vm_addresses
from kuryrctl.lab.lab import environment
from kuryrctl.lab.network.vm import NETNS as VM_NETNS
from kuryrctl.lab.stages import Context

NAMESPACE = "demo"
DEPLOYMENT = "hello"
REPLICAS = 4
_PATIENCE_S = 60.0

Show = Callable[[str], None]


class Told(msgspec.Struct, frozen=True):
    """What a command answered."""

    returncode: int
    output: str

    def json(self) -> Any:
        return json.loads(self.output)


class FalseClaim(Exception):
    """A claim that its command did not bear out."""


class Narrator:
    """Runs commands in the lab's environment, shows them, and judges claims."""

    def __init__(self, env: Mapping[str, str], show: Show) -> None:
        self._env = {**os.environ, **env}
        self._show = show
        self._began = time.monotonic()

    def act(self, title: str) -> None:
        """Open a new part of the demo."""
        self._show(f"\n[{time.monotonic() - self._began:5.1f} s] {title}")

    def types(self, command: str, *, stdin: str | None = None) -> Told:
        """Show a command, run it, show what it printed."""
        self._show(f"  $ {command}")
        told = self.asks(command, stdin=stdin)
        for line in told.output.rstrip().splitlines():
            self._show(f"    {line}")
        return told

    def asks(self, command: str, *, stdin: str | None = None) -> Told:
        """Run a command without showing its answer."""
        done = subprocess.run(
            shlex.split(command),
            env=self._env,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "-f json" not in command and "-o json" not in command else subprocess.PIPE,
            text=True,
            timeout=_PATIENCE_S * 2,
            check=False,
        )
        return Told(done.returncode, done.stdout)

    def claims(self, claim: str, holds: bool) -> None:
        """Print the claim as true; raise FalseClaim when the commands did not show it."""
        if not holds:
            self._show(f"  FALSE {claim}")
            raise FalseClaim(claim)
        self._show(f"  ok    {claim}")

    def until(self, command: str, holds: Callable[[Told], bool]) -> tuple[Told, float]:
        """Repeat a command until its answer holds; the last answer, and the seconds it took."""
        began = time.monotonic()
        while True:
            told = self.asks(command)
            elapsed_s = time.monotonic() - began
            if holds(told) or elapsed_s > _PATIENCE_S:
                return told, elapsed_s
            time.sleep(0.2)


class _Pod(msgspec.Struct, frozen=True):
    name: str
    node: str
    ips: tuple[str, ...]
    ready: bool

    @property
    def v4(self) -> str:
        return next(ip for ip in self.ips if ":" not in ip)

    @property
    def v6(self) -> str:
        return next(ip for ip in self.ips if ":" in ip)


def run_demo(context: Context, show: Show) -> None:
    """Play the demo on the running lab. Raises FalseClaim at the first claim that is not so."""
    if not context.processes.running(ENGINE):
        raise LabError("the lab's engine does not run", hint="kuryrctl lab up")
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    narrator = Narrator({**environment(context.layout, path)}, show)
    pods = _rollout(narrator, TEST_IMAGE)
    _look(narrator, pods)
    _talk(narrator, pods, vm_addresses(context.layout))
    _repair(narrator, pods)
    narrator.act("Done. The deployment stays: look around, then `kuryrctl lab down`")


def _rollout(narrator: Narrator, image: str) -> list[_Pod]:
    narrator.act(f"A Deployment of {REPLICAS} pods over both nodes")
    narrator.types(f"kubectl delete namespace {NAMESPACE} --ignore-not-found")
    narrator.types("kubectl apply -f -", stdin=_manifest(image))
    began = time.monotonic()
    done = narrator.types(f"kubectl rollout status deployment/{DEPLOYMENT} -n {NAMESPACE} --timeout=60s")
    elapsed_s = time.monotonic() - began
    narrator.claims(f"{REPLICAS} pods Running and Ready after {elapsed_s:.1f} s", done.returncode == 0)
    pods = _pods(narrator)
    narrator.types(f"kubectl get kuryrports -n {NAMESPACE} -o wide")
    nodes = {pod.node for pod in pods}
    narrator.claims(f"pods on both nodes ({', '.join(sorted(nodes))}), IPv4 and IPv6 each", len(nodes) == 2)
    return pods


def _look(narrator: Narrator, pods: list[_Pod]) -> None:
    narrator.act("Each pod is a Neutron port")
    rows, elapsed_s = narrator.until(
        f"kuryrctl port list --namespace {NAMESPACE} -f json",
        lambda told: told.returncode == 0 and all(row["Condition"] == "ok" for row in told.json()),
    )
    narrator.types(f"kuryrctl port list --namespace {NAMESPACE}")
    addresses = {address for row in rows.json() for address in row["Addresses"]}
    narrator.claims(
        f"each pod's addresses are those of an ACTIVE Neutron port bound to its node ({elapsed_s:.1f} s)",
        len(rows.json()) == len(pods)
        and {ip for pod in pods for ip in pod.ips} == addresses
        and all(row["Status"] == "ACTIVE" and row["Condition"] == "ok" for row in rows.json()),
    )


def _talk(narrator: Narrator, pods: list[_Pod], vm_addresses: Sequence[str]) -> None:
    first = pods[0]
    other = next(pod for pod in pods if pod.node != first.node)
    narrator.act(f"Pod to pod across nodes: {first.name} on {first.node}, {other.name} on {other.node}")
    for address in (other.v4, other.v6):
        answer = narrator.types(f"{_in_pod(first)} ping -c 2 -W 3 {address}")
        narrator.claims(f"{other.name} answers at {address}", answer.returncode == 0)
    answer = narrator.types(f"{_in_pod(first)} curl -s -m 5 http://{other.v4}:8080/hostname")
    narrator.claims("and serves HTTP under its own name", answer.output.strip().endswith(other.name))
    narrator.act("Pod and VM share one network")
    for address in vm_addresses:
        answer = narrator.types(f"{_in_pod(first)} ping -c 2 -W 3 {address}")
        narrator.claims(f"the VM answers the pod at {address}", answer.returncode == 0)
    answer = narrator.types(f"ip netns exec {VM_NETNS} busybox ping -c 2 -W 3 {first.v4}")
    narrator.claims("the pod answers the VM", answer.returncode == 0)


def _repair(narrator: Narrator, pods: list[_Pod]) -> None:
    victim = pods[0]
    narrator.act("A dry run says what is wrong before anything is done")
    narrator.types("kuryrctl lab engine stop")
    converged = narrator.types("kuryrctl reconcile --dry-run")
    narrator.claims("nothing to do: the dry run exits 0", converged.returncode == 0)
    port = next(
        row["Port ID"]
        for row in narrator.asks(f"kuryrctl port list --namespace {NAMESPACE} -f json").json()
        if row["Pod"] == victim.name
    )
    narrator.types(f"openstack port delete {port}")
    drift = narrator.types("kuryrctl reconcile --dry-run")
    narrator.claims(
        "the dry run exits 21 (drift) and names the pod", drift.returncode == 21 and victim.name in drift.output
    )
    narrator.act("A watch repairs it, without re-creating the pod")
    narrator.types("kuryrctl lab engine start")
    ping = f"{_in_pod(pods[1])} ping -c 1 -W 1 {victim.v4}"
    answer, elapsed_s = narrator.until(ping, lambda told: told.returncode == 0)
    narrator.types(ping)
    narrator.claims(
        f"{victim.name} has network again, at the same address, after {elapsed_s:.1f} s", answer.returncode == 0
    )
    narrator.claims("and was not re-created", victim.name in {pod.name for pod in _pods(narrator)})


def _pods(narrator: Narrator) -> list[_Pod]:
    items = narrator.asks(f"kubectl get pods -n {NAMESPACE} -l app={DEPLOYMENT} -o json").json()["items"]
    return sorted(
        (
            _Pod(
                name=item["metadata"]["name"],
                node=item["spec"]["nodeName"],
                ips=tuple(entry["ip"] for entry in item["status"].get("podIPs", ())),
                ready=all(status["ready"] for status in item["status"].get("containerStatuses", ())),
            )
            for item in items
        ),
        key=lambda pod: (pod.node, pod.name),
    )


def _in_pod(pod: _Pod) -> str:
    return f"kubectl exec -n {NAMESPACE} {pod.name} --"


def _manifest(image: str) -> str:
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "Never",
        "args": ["netexec", "--http-port=8080"],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1},
    }
    labels = {"app": DEPLOYMENT}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "topologySpreadConstraints": [spread],
                    "containers": [container],
                },
            },
        },
    }
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, deployment]})
