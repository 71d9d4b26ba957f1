"""What the demo makes in Kubernetes, and the commands that ask for it.

Does not know: what is claimed of it.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from kuryrctl.lab.install.versions import TEST_IMAGE

NAMESPACE: Final = "demo"
DEPLOYMENT: Final = "hello"
REPLICAS: Final = 4
HTTP_PORT: Final = 8080
FRIEND, STRANGER = "friend", "stranger"
POLICY: Final = "friends-only"
LIST_PODS: Final = (
    f"kubectl get pods -n {NAMESPACE} -l app={DEPLOYMENT} -o custom-columns="
    "NAME:.metadata.name,NODE:.spec.nodeName,IPS:.status.podIPs[*].ip,UID:.metadata.uid,"
    "RESTARTS:.status.containerStatuses[0].restartCount"
)
LIST_PORTS: Final = f"kuryrctl port list --namespace {NAMESPACE} -c Pod -c Node -c Addresses -c Status -c Condition"
LIST_SERVICES: Final = (
    f"kuryrctl service list --namespace {NAMESPACE} -c Service -c VIPs -c 'Floating IPs' -c Members -c Condition"
)
LIST_POLICIES: Final = f"kuryrctl policy list --namespace {NAMESPACE}"
REMOVE: Final = f"kubectl delete namespace {NAMESPACE} --ignore-not-found"
CURL: Final = "curl -sS -m 2 --noproxy '*'"
_LABELS: Final = {"app": DEPLOYMENT}


class Pod(msgspec.Struct, frozen=True):
    """A pod as `LIST_PODS` prints it."""

    name: str
    node: str
    ips: tuple[str, ...]
    uid: str
    restarts: str

    @property
    def v4(self) -> str:
        """Its IPv4 address."""
        return next(ip for ip in self.ips if ":" not in ip)

    @property
    def v6(self) -> str:
        """Its IPv6 address."""
        return next(ip for ip in self.ips if ":" in ip)


def in_pod(name: str) -> str:
    """The beginning of a command that runs in a pod."""
    return f"kubectl exec -n {NAMESPACE} {name} --"


def across_nodes(pods: list[Pod]) -> tuple[Pod, Pod]:
    """Two pods on different nodes."""
    return pods[0], next(pod for pod in pods if pod.node != pods[0].node)


def run_client(name: str) -> str:
    """The command that makes a pod which only waits, with the label that the policy asks for."""
    return f"kubectl run {name} -n {NAMESPACE} --labels=role={name} --image={TEST_IMAGE} --image-pull-policy=Never"


def deployment() -> str:
    """The namespace and its Deployment of HTTP servers that answer with their own names, over both nodes."""
    container = {
        "name": "web",
        "image": TEST_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["netexec", f"--http-port={HTTP_PORT}"],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": HTTP_PORT}, "periodSeconds": 1},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": _LABELS},
    }
    pod = {"terminationGracePeriodSeconds": 1, "topologySpreadConstraints": [spread], "containers": [container]}
    spec = {
        "replicas": REPLICAS,
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    items = [namespace, _object("apps/v1", "Deployment", DEPLOYMENT, spec)]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def policy() -> str:
    """A NetworkPolicy that lets only the friend into the Deployment's pods."""
    friends = {"podSelector": {"matchLabels": {"role": FRIEND}}}
    spec = {"podSelector": {"matchLabels": _LABELS}, "policyTypes": ["Ingress"], "ingress": [{"from": [friends]}]}
    return json.dumps(_object("networking.k8s.io/v1", "NetworkPolicy", POLICY, spec))


def _object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
