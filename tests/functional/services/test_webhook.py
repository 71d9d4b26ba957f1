"""An admission webhook that a pod serves: the API server calls it through its Service."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.lab.kubernetes import pki
from tests.functional.lab import Done, wait_for
from tests.functional.services.shop import PATIENT_S, Shop
from tests.functional.services.wire import OUTSIDE

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: hook, namespace: {namespace}, labels: {{app: hook}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: hook
    image: {image}
    imagePullPolicy: Never
    args: [webhook, --port=8443, --tls-cert-file=/keys/tls.crt, --tls-private-key-file=/keys/tls.key]
    volumeMounts: [{{name: keys, mountPath: /keys}}]
    readinessProbe: {{tcpSocket: {{port: 8443}}, periodSeconds: 1, timeoutSeconds: 5}}
  volumes: [{{name: keys, secret: {{secretName: hook}}}}]
"""


@pytest.fixture
def webhook(shop: Shop, tmp_path: Path) -> Iterator[str]:
    """A webhook that denies every ConfigMap of the shop; its ClusterIP."""
    name = f"hook.{shop.namespace}.svc"
    for file in ("ca.crt", "ca.key"):
        shutil.copy(shop.lab.layout.pki / file, tmp_path / file)
    pki.issue(tmp_path, pki.Certificate("tls", name, names=(name,)))
    keys = (f"--cert={tmp_path / 'tls.crt'}", f"--key={tmp_path / 'tls.key'}")
    shop.lab.kubectl("create", "secret", "tls", "hook", "-n", shop.namespace, *keys)
    shop.lab.kubectl("apply", "-f", "-", stdin=POD.format(namespace=shop.namespace, image=shop.lab.image))
    shop.apply("hook", {"selector": {"app": "hook"}, "ports": [{"port": 443, "targetPort": 8443}]})
    configuration = json.dumps(registration(shop, (tmp_path / "ca.crt").read_bytes()))
    shop.lab.kubectl("wait", "pod/hook", "-n", shop.namespace, "--for=condition=Ready", "--timeout=90s")
    (vip,) = shop.addresses("hook")
    try:
        yield vip
    finally:
        shop.lab.kubectl("delete", "-f", "-", "--ignore-not-found", stdin=configuration)
        shop.lab.kubectl("delete", "service/hook", "pod/hook", "secret/hook", "-n", shop.namespace)
        shop.gone(vip)


def registration(shop: Shop, authority: bytes) -> dict[str, Any]:
    service = {"namespace": shop.namespace, "name": "hook", "path": "/always-deny", "port": 443}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"hook-{shop.namespace}"},
        "webhooks": [
            {
                "name": "hook.kuryr.lab",
                "clientConfig": {"service": service, "caBundle": base64.b64encode(authority).decode()},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop.namespace}},
                "rules": [rule],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 20,
            }
        ],
    }


def test_the_api_server_calls_a_webhook_through_its_service(shop: Shop, webhook: str, tmp_path: Path) -> None:
    wait_for(lambda: OUTSIDE.opens(webhook, 443), PATIENT_S, shop.told)
    create = ("create", "configmap", "denied", "-n", shop.namespace, "--from-literal=a=b")
    assert shop.lab.run("kubectl", *create, "--dry-run=server", check=False).returncode == 0
    configuration = registration(shop, (tmp_path / "ca.crt").read_bytes())
    shop.lab.kubectl("apply", "-f", "-", stdin=json.dumps(configuration))
    told: list[Done] = []

    def denied() -> bool:  # the API server reads its webhooks again within a second or so
        told[:] = [shop.lab.run("kubectl", *create, "--dry-run=server", check=False)]
        return told[0].returncode != 0

    wait_for(denied, 30)
    assert "this webhook denies all requests" in told[0].stderr
