"""A site whose cloud has an Octavia and an external network, with words for Services and their endpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kuryrctl.cloud import OpenStack
from kuryrctl.core import names
from kuryrctl.kube import Kube
from kuryrctl.reconcile import AuditLog, Parts
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia
from tests.unit.reconcile.site import Site

HTTP = ({"name": "http", "port": 80, "targetPort": 8080},)
WRITES = ("POST", "PUT", "DELETE")


class ServiceSite(Site):
    """See the module. `octavia` speaks to the Octavia beside `cloud`."""

    def __init__(self, *, converged: bool = True, audit_log: Path | None = None, **options: Any) -> None:
        super().__init__(converged=False, audit_log=audit_log, **{"external_network": "public", **options})
        self.cloud.external_network()
        self.octavia = FakeOctavia(self.cloud)
        if converged:
            assert self.init().ok
            assert self.run().ok

    def parts(self, **limits: Any) -> Parts:
        audit = AuditLog(self.audit_log, "test", clock=lambda: 0.0)
        self.openstack = self.speaking(self.cloud, self.octavia, audit)
        self.client = Kube(self.kube, on_mutation=audit.of_kubernetes)
        return Parts(self.config, self.openstack, self.client, audit, **limits)

    def speaking(self, neutron: FakeNeutron, octavia: FakeOctavia, audit: AuditLog) -> OpenStack:
        """The cloud as an engine sees it."""
        return OpenStack(neutron, octavia, audit=audit, clock=octavia.clock, sleep=octavia.sleep)

    # -- what people do

    def service(self, name: str, address: str = "10.96.0.10", namespace: str = "shop", **spec: Any) -> str:
        """A Service of one HTTP port (``type=…`` and so on); its uid."""
        given = {
            "clusterIPs": [address] if address else [],
            "ports": HTTP,
            "selector": {"app": name},
            "type": "ClusterIP",
        }
        annotations = spec.pop("annotations", {})
        return self.kube.apply("services", namespace, name, spec={**given, **spec}, annotations=annotations)

    def endpoints(
        self, name: str, *addresses: str, namespace: str = "shop", part: str = "1", ready: bool = True
    ) -> None:
        """One of its slices holds these addresses, and no others."""
        self.kube.apply(
            *("endpointslices", namespace, f"{name}-{part}"),
            labels={"kubernetes.io/service-name": name},
            addressType="IPv6" if any(":" in each for each in addresses) else "IPv4",
            endpoints=[{"addresses": [each], "conditions": {"ready": ready}} for each in addresses],
            ports=[{"name": "http", "port": 8080, "protocol": "TCP"}],
        )

    # -- what the servers hold

    def balancers(self, uid: str = "") -> list[dict[str, Any]]:
        """The load balancers (of one Service)."""
        return [each for each in self.octavia.objects("loadbalancers") if uid in ("", names.uid_of(each["tags"]))]

    def balancer(self, uid: str) -> dict[str, Any]:
        """The one load balancer of a Service."""
        found = self.balancers(uid)
        assert len(found) == 1, f"{len(found)} load balancers of {uid}"
        return found[0]

    def members(self, uid: str) -> list[tuple[str, int]]:
        """Where the one load balancer of a Service sends to."""
        pools = {each["id"] for each in self.octavia.objects("pools") if each["_lb"] == self.balancer(uid)["id"]}
        found = [each for each in self.octavia.objects("members") if each["_pool"] in pools]
        return sorted((each["address"], each["protocol_port"]) for each in found)

    def floating_ips(self) -> list[dict[str, Any]]:
        """All floating IPs."""
        return self.cloud.objects("floatingips")

    def ingress(self, name: str, namespace: str = "shop") -> list[str]:
        """The addresses in a Service's status."""
        status = self.kube.objects("services")[f"{namespace}/{name}"]["status"]
        return [each["ip"] for each in status["loadBalancer"].get("ingress") or ()]

    def octavia_calls(self, methods: Sequence[str] = WRITES) -> Counter[str]:
        """The calls of the engine that was made last, by method and resource."""
        assert self.openstack.octavia is not None
        found = self.openstack.octavia.calls
        return Counter({f"{method} {path}": count for (method, path), count in found.items() if method in methods})
