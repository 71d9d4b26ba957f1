"""The cluster's DNS: CoreDNS as one pod behind the Service `kube-dns`.

It asks the API server at its real address: its own Service may not have a load balancer yet, or no longer. Names
outside the cluster are refused at once, since a lab has no upstream.
"""

import json
from typing import Any

from kuryrctl.lab import layout as places
from kuryrctl.lab.install.versions import DNS_IMAGE
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import run
from kuryrctl.lab.stages import Context

NAMESPACE = "kube-system"
NAME = "coredns"
SERVICE = "kube-dns"
LABELS = {"k8s-app": "kube-dns"}  # as everybody else has it: policies of people select it
TTL_S = 5
READY_TIMEOUT_S = 60
COREFILE = f"""\
.:53 {{
    errors
    health
    ready
    kubernetes {places.CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl {TTL_S}
    }}
    cache {TTL_S}
    loadbalance
}}
"""


def install(context: Context) -> None:
    """Say to Kubernetes that there is to be a DNS; waits for nothing."""
    run([*_kubectl(context.layout), "apply", "-f", "-"], stdin=json.dumps(manifest()), timeout_s=60)


def wait_ready(context: Context) -> None:
    """Return when its pod has read the cluster; whether anybody reaches it is the load balancer's business."""
    command = ("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, f"--timeout={READY_TIMEOUT_S}s")
    run([*_kubectl(context.layout), *command], timeout_s=READY_TIMEOUT_S + 10)


def _kubectl(layout: Layout) -> list[str]:
    return [str(layout.bin / "kubectl"), f"--kubeconfig={layout.kubeconfig()}"]


def manifest() -> dict[str, Any]:
    """All of it as one List."""
    return {"apiVersion": "v1", "kind": "List", "items": [*_identity(), _corefile(), _deployment(), _service()]}


def _identity() -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    role = f"system:{NAME}"
    reads = (("", ["services", "pods", "namespaces"]), ("discovery.k8s.io", ["endpointslices"]))
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role},
            "rules": [{"apiGroups": [api], "resources": kinds, "verbs": ["list", "watch"]} for api, kinds in reads],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    ]


def _metadata(name: str = NAME) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": LABELS}


def _corefile() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(), "data": {"Corefile": COREFILE}}


def _deployment() -> dict[str, Any]:
    pod = {
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "terminationGracePeriodSeconds": 1,
        "containers": [_container()],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": pod},
        },
    }


def _container() -> dict[str, Any]:
    api = {"KUBERNETES_SERVICE_HOST": places.MANAGEMENT_HOST, "KUBERNETES_SERVICE_PORT": str(places.API_SERVER_PORT)}
    return {
        "name": NAME,
        "image": DNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "env": [{"name": name, "value": value} for name, value in api.items()],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1, "timeoutSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 5},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }


def _service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(SERVICE),
        "spec": {
            "clusterIP": places.CLUSTER_DNS_IPS[0],
            "clusterIPs": list(places.CLUSTER_DNS_IPS),
            "ipFamilyPolicy": "RequireDualStack",
            "ipFamilies": ["IPv4", "IPv6"],
            "selector": LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns-tcp"},
            ],
        },
    }
