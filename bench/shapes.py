"""What real servers' objects carry beyond what anybody here reads: a decoder has to pass over all of it.

The fields of a port: Neutron 29 with ML2/OVN and its usual extensions. A pod: a Deployment's, on Kubernetes 1.34.
"""

from __future__ import annotations

from typing import Any

PORT: dict[str, Any] = {
    "allowed_address_pairs": [],
    "extra_dhcp_opts": [],
    "binding:profile": {},
    "binding:vif_details": {"port_filter": True, "connectivity": "l2", "bound_drivers": {"0": "ovn"}},
    "dns_name": "",
    "dns_domain": "",
    "dns_assignment": [],
    "ip_allocation": "immediate",
    "propagate_uplink_status": True,
    "resource_request": None,
    "qos_network_policy_id": None,
    "qos_policy_id": None,
    "numa_affinity_policy": None,
    "hardware_offload_type": None,
    "device_profile": None,
    "hints": None,
    "trusted": None,
}

_MANAGED = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "apiVersion": "v1",
    "time": "2026-11-23T08:00:00Z",
    "fieldsType": "FieldsV1",
    "fieldsV1": {
        "f:metadata": {
            "f:generateName": {},
            "f:labels": {".": {}, "f:app": {}, "f:pod-template-hash": {}},
            "f:ownerReferences": {".": {}, 'k:{"uid":"0c3a2d9e-5a3f-4f0b-9f55-0f3f1c1d7a10"}': {}},
        },
        "f:spec": {
            "f:containers": {
                'k:{"name":"web"}': {
                    ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {},
                    "f:ports": {".": {}, 'k:{"containerPort":8080,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
                }
            },
            "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
            "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
        },
    },
}  # fmt: skip
_TOKEN_MOUNT = {
    "name": "kube-api-access",
    "readOnly": True,
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
}


def pod(namespace: str, name: str, uid: str, node: str, addresses: list[str]) -> dict[str, Any]:
    """A running pod as the API server lists it."""
    since = "2026-11-23T08:00:05Z"
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "metadata": {
            "name": name,
            "generateName": "web-6c5f9d7b8-",
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": "4711",
            "creationTimestamp": "2026-11-23T08:00:00Z",
            "labels": {"app": "web", "pod-template-hash": "6c5f9d7b8"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6c5f9d7b8", "controller": True,
                    "uid": "0c3a2d9e-5a3f-4f0b-9f55-0f3f1c1d7a10", "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [_MANAGED],
        },
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": "web", "image": "registry.example/web:1.2.3", "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}},
                    "volumeMounts": [_TOKEN_MOUNT],
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }
            ],
            "volumes": [
                {
                    "name": "kube-api-access",
                    "projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]},
                }
            ],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
            "serviceAccountName": "default", "schedulerName": "default-scheduler", "priority": 0,
            "tolerations": [
                {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
                for key in ("not-ready", "unreachable")
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "hostIP": "203.0.113.1",
            "startTime": since,
            "qosClass": "Burstable",
            "conditions": [
                {"type": type_, "status": "True", "lastProbeTime": None, "lastTransitionTime": since}
                for type_ in conditions
            ],
            "containerStatuses": [
                {
                    "name": "web", "image": "registry.example/web:1.2.3", "ready": True, "restartCount": 0,
                    "started": True, "state": {"running": {"startedAt": since}}, "lastState": {},
                    "containerID": f"containerd://{uid}", "imageID": "registry.example/web@sha256:0123456789abcdef",
                }
            ],
        },
    }  # fmt: skip
