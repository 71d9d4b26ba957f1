"""Services and EndpointSlices as they travel, and how they become core types.

The API server's defaults are filled in here, too: a manifest from a file means what it would mean once it was stored.
What the API server does not check of a Service, users get wrong: such a text is kept as it is, for `service lint`.
Field meanings: Kubernetes API reference (core/v1, discovery.k8s.io/v1). Does not know: how they were read, what load
balancers can do.
"""

from __future__ import annotations

from msgspec import Struct, field

from kuryrctl.core.lint import LINT_IGNORE
from kuryrctl.core.service_annotations import PREFIXES
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kuryrctl.core.sharing import one_mapping
from kuryrctl.kube.addresses import address, addresses, cidr
from kuryrctl.kube.wire import AnnotatedMeta, Meta

SERVICE_LABEL = "kubernetes.io/service-name"
AFFINITY_TIMEOUT_S = 10800
"""For how long a client stays with an endpoint where nothing is said (API reference, ClientIPConfig)."""
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
"""Where the ranges stood before the field; it still counts where the field is empty (Kubernetes, cloud-provider)."""


class ServicePortWire(Struct, rename="camel"):
    """core/v1 ServicePort."""

    port: int
    protocol: str | None = None
    name: str = ""
    target_port: int | str | None = None

    def core(self) -> ServicePort:
        """As a core type: without a target port it is the port."""
        return ServicePort(self.port, self.protocol or "TCP", self.name, self.target_port or self.port)


class ClientIPWire(Struct, rename="camel"):
    """core/v1 ClientIPConfig."""

    timeout_seconds: int | None = None


class AffinityConfigWire(Struct):
    """core/v1 SessionAffinityConfig."""

    client_ip: ClientIPWire | None = field(default=None, name="clientIP")


class ServiceSpecWire(Struct, rename="camel"):
    """core/v1 ServiceSpec."""

    type: str = "ClusterIP"
    cluster_ip: str = field(default="", name="clusterIP")
    cluster_ips: list[str] | None = field(default=None, name="clusterIPs")
    ports: list[ServicePortWire] | None = None
    selector: dict[str, str] | None = None
    session_affinity: str = ""
    session_affinity_config: AffinityConfigWire | None = None
    load_balancer_source_ranges: list[str] | None = None
    load_balancer_class: str | None = None
    load_balancer_ip: str = field(default="", name="loadBalancerIP")
    external_ips: list[str] | None = field(default=None, name="externalIPs")
    external_traffic_policy: str = ""
    internal_traffic_policy: str | None = None
    publish_not_ready_addresses: bool = False

    @property
    def affinity_timeout_s(self) -> int | None:
        """For how long a client stays with an endpoint; None: not said."""
        config = self.session_affinity_config
        return config.client_ip.timeout_seconds if config and config.client_ip else None


class IngressWire(Struct):
    """core/v1 LoadBalancerIngress; a load balancer that is known by a host name has no address."""

    ip: str = ""


class LoadBalancerStatusWire(Struct):
    """core/v1 LoadBalancerStatus."""

    ingress: list[IngressWire] | None = None


class ServiceStatusWire(Struct, rename="camel"):
    """core/v1 ServiceStatus."""

    load_balancer: LoadBalancerStatusWire = field(default_factory=LoadBalancerStatusWire)


class ServiceWire(Struct):
    """core/v1 Service."""

    metadata: AnnotatedMeta
    spec: ServiceSpecWire = field(default_factory=ServiceSpecWire)
    status: ServiceStatusWire = field(default_factory=ServiceStatusWire)

    def core(self) -> Service:
        """As a core type."""
        meta, spec = self.metadata, self.spec
        given = meta.annotations or {}
        ranges = spec.load_balancer_source_ranges or _listed(given.get(SOURCE_RANGES, ""))
        timeout_s = spec.affinity_timeout_s
        return Service(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            type=spec.type,
            cluster_ips=addresses(spec.cluster_ips or [spec.cluster_ip]),
            ports=tuple(port.core() for port in spec.ports or ()),
            resource_version=meta.resource_version,
            selects=bool(spec.selector),
            session_affinity=spec.session_affinity or "None",
            affinity_timeout_s=AFFINITY_TIMEOUT_S if timeout_s is None else timeout_s,
            source_ranges=tuple(cidr(each.strip()) for each in ranges),
            load_balancer_class=spec.load_balancer_class or "",
            load_balancer_ip=address(spec.load_balancer_ip),
            external_ips=tuple(map(address, spec.external_ips or ())),
            external_traffic_policy=spec.external_traffic_policy or "Cluster",
            internal_traffic_policy=spec.internal_traffic_policy or "Cluster",
            publish_not_ready=spec.publish_not_ready_addresses,
            deleting=meta.deletion_timestamp is not None,
            annotations=one_mapping({name: given[name] for name in sorted(given) if _known(name)}),
            ingress=addresses(each.ip for each in self.status.load_balancer.ingress or ()),
        )


class EndpointConditionsWire(Struct):
    """discovery/v1 EndpointConditions; None: unknown."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetReference(Struct):
    """What is read of a core/v1 ObjectReference."""

    kind: str = ""
    uid: str = ""


class EndpointWire(Struct, rename="camel"):
    """discovery/v1 Endpoint."""

    addresses: list[str]
    conditions: EndpointConditionsWire = field(default_factory=EndpointConditionsWire)
    target_ref: TargetReference | None = None

    def core(self) -> Endpoint:
        """As a core type: an unknown `ready` counts as true, an unknown `serving` as `ready` (API reference)."""
        ready = self.conditions.ready is not False
        target = self.target_ref
        return Endpoint(
            addresses=addresses(self.addresses),
            ready=ready,
            serving=ready if self.conditions.serving is None else self.conditions.serving,
            terminating=bool(self.conditions.terminating),
            pod_uid=target.uid if target and target.kind == "Pod" else "",
        )


class EndpointPortWire(Struct):
    """discovery/v1 EndpointPort."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None

    def core(self) -> EndpointPort:
        """As a core type."""
        return EndpointPort(self.name or "", self.port, self.protocol or "TCP")


class EndpointSliceWire(Struct, rename="camel"):
    """discovery/v1 EndpointSlice."""

    metadata: Meta
    address_type: str
    endpoints: list[EndpointWire] | None = None
    ports: list[EndpointPortWire] | None = None

    def core(self) -> EndpointSlice:
        """As a core type."""
        return EndpointSlice(
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            uid=self.metadata.uid,
            service=(self.metadata.labels or {}).get(SERVICE_LABEL, ""),
            address_type=self.address_type,
            endpoints=tuple(endpoint.core() for endpoint in self.endpoints or ()),
            ports=tuple(port.core() for port in self.ports or ()),
            resource_version=self.metadata.resource_version,
        )


def _known(annotation: str) -> bool:
    return annotation.startswith(PREFIXES) or annotation == LINT_IGNORE


def _listed(text: str) -> list[str]:
    return [each for each in text.split(",") if each.strip()]
