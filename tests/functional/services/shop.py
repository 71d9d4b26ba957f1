"""A namespace with servers behind Services, and with clients: what tests about Services share.

Asked are real packets and the real Octavia; of what kuryrctl thinks of a Service nothing decides what is expected.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from typing import Any

from tests.functional.lab import Lab, wait_for
from tests.functional.services.wire import Client, inside

HTTP, ADMIN = 8080, 8081
PATIENT_S = 240.0
"""A full turn comes each minute; Octavia may be long over its work on a machine that others use."""
POD = """
  terminationGracePeriodSeconds: 1
  containers:
  - name: serve
    image: {image}
    imagePullPolicy: Never
    command: [sh, -c, "/agnhost netexec --http-port=8081 --udp-port=8081 & exec /agnhost netexec --http-port=8080 --udp-port=8080"]
    ports:
    - {{name: http, containerPort: 8080}}
    - {{name: echo, containerPort: 8080, protocol: UDP}}
    - {{name: admin, containerPort: 8081}}
    readinessProbe: {{httpGet: {{path: /hostname, port: 8080}}, periodSeconds: 1, timeoutSeconds: 5}}
"""  # noqa: E501
SERVERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:{pod}
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
         labelSelector: {{matchLabels: {{app: web}}}}}}
"""
CLIENT = """
---
apiVersion: v1
kind: Pod
metadata: {{name: client-{node}, namespace: {namespace}, labels: {{app: client}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {node}}}
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: sleep, image: "{image}", imagePullPolicy: Never, args: [pause]}}
"""
BOTH = {"ipFamilyPolicy": "RequireDualStack"}
WEB = {"app": "web"}
SERVICES: dict[str, dict[str, Any]] = {
    "web": {
        **BOTH,
        "selector": WEB,
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http"},
            {"name": "echo", "port": 80, "targetPort": "echo", "protocol": "UDP"},
            {"name": "admin", "port": 81, "targetPort": ADMIN},
        ],
    },
    "outside": {"type": "LoadBalancer", "selector": WEB, "ports": [{"port": 80, "targetPort": "http"}]},
    "sticky": {"sessionAffinity": "ClientIP", "selector": WEB, "ports": [{"port": 80, "targetPort": "http"}]},
}


class Shop:
    """The namespace; `clients` are its clients by node."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab, self.namespace = lab, namespace
        self.clients: dict[str, Client] = {}

    def open(self) -> None:
        """Make everything; returns once all pods are Ready and every Service answers."""
        pod = POD.format(image=self.lab.image).replace("\n", "\n    ").rstrip()
        text = SERVERS.format(namespace=self.namespace, pod=pod)
        for node in self.lab.nodes():
            text += CLIENT.format(node=node, namespace=self.namespace, image=self.lab.image)
        self.lab.kubectl("apply", "-f", "-", stdin=text)
        for name, spec in SERVICES.items():
            self.apply(name, spec)
        self.lab.wait_ready(self.namespace, 5, 150)
        for node in self.lab.nodes():
            (pod_,) = (each for each in self.lab.pods(self.namespace) if each["metadata"]["name"] == f"client-{node}")
            self.clients[node] = inside(pod_, self.lab.layout)
        for name, spec in SERVICES.items():
            for address, port in product(self.addresses(name), spec["ports"]):  # a load balancer opens one by one
                self.answers(address, port["port"], port.get("protocol", "TCP"))

    @property
    def client(self) -> Client:
        """One of the clients, where it does not matter which."""
        return self.clients[self.lab.nodes()[0]]

    def apply(self, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        """Make or change a Service."""
        self.lab.kubectl("apply", "-f", "-", stdin=self.document(name, spec, **metadata))

    def document(self, name: str, spec: dict[str, Any], **metadata: Any) -> str:
        """A Service of this namespace as JSON."""
        where = {"name": name, "namespace": self.namespace, **metadata}
        return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": spec})

    def delete(self, *names: str) -> None:
        """Delete Services, and wait for Kubernetes only."""
        self.lab.kubectl("delete", "service", "-n", self.namespace, *names, "--wait=true", timeout_s=30)

    def service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.lab.get("service", name, "-n", self.namespace)
        return found

    def addresses(self, name: str) -> tuple[str, ...]:
        """The ClusterIPs of a Service."""
        return tuple(self.service(name)["spec"]["clusterIPs"])

    def external(self, name: str) -> str:
        """The one external address of a Service, once its status has it."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = self.service(name)["status"]["loadBalancer"].get("ingress", [])
            return bool(found)

        wait_for(there, PATIENT_S, lambda: self.events(name))
        (ingress,) = found
        return str(ingress["ip"])

    def answers(self, address: str, port: int, protocol: str = "TCP", client: Client | None = None) -> None:
        """Return once somebody answers there."""
        asking = client or self.client
        ask = asking.reaches if protocol == "TCP" else asking.hears
        wait_for(lambda: ask(address, port, 1.0), PATIENT_S, self.told)

    def answer_exactly(self, names: Sequence[str], address: str, port: int = 80) -> None:
        """Return once these, all of them and nobody else, answer there."""
        seen: set[str] = set()

        def so() -> bool:
            seen.clear()
            try:
                seen.update(self.client.names(address, port, 12 * len(names)))
            except OSError as error:
                seen.add(repr(error))
            return seen == set(names)

        wait_for(so, PATIENT_S, lambda: (seen, names, self.told()))

    def servers(self) -> list[str]:
        """The names of the server pods."""
        return [pod["metadata"]["name"] for pod in self.lab.pods(self.namespace, "app=web")]

    def scale(self, replicas: int) -> list[str]:
        """So many servers; returns their names once they are Ready, and no other is left."""
        self.lab.kubectl("scale", "deployment/web", "-n", self.namespace, f"--replicas={replicas}")
        self.lab.wait_ready(self.namespace, replicas + len(self.clients), 150)
        return self.servers()

    # -- Octavia

    def octavia(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.lab.cloud("admin").load_balancer.get(f"/lbaas/{path}", params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def balancers(self, *addresses: str) -> list[dict[str, Any]]:
        """The load balancers with these VIPs; Octavia lists one that goes meanwhile as an empty object."""
        found = self.octavia("loadbalancers")["loadbalancers"]
        return [each for each in found if each.get("vip_address") in addresses]

    def remove(self, path: str) -> None:
        """Delete something of Octavia's by hand."""
        cloud = self.lab.cloud("admin").load_balancer
        query = {"cascade": "true"} if path.startswith("loadbalancers/") else {}
        wait_for(lambda: cloud.delete(f"/lbaas/{path}", params=query).status_code == 204, 30, lambda: path)

    def gone(self, *addresses: str) -> None:
        """Return once no load balancer has these VIPs."""
        wait_for(lambda: not self.balancers(*addresses), PATIENT_S, self.told)

    def events(self, name: str) -> str:
        """What Kubernetes' Events say of a Service."""
        about = f"involvedObject.name={name},involvedObject.kind=Service"
        return self.lab.kubectl("get", "events", "-n", self.namespace, "--field-selector", about)

    def told(self) -> str:
        """What there is to read when something is not as it should be."""
        return self.lab.told(self.namespace)
