"""Services and their endpoints as observed. Field names are Kubernetes' (core/v1 Service, discovery.k8s.io/v1).

Does not know: the API's wire shape (`kube` maps it), load balancers.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct


class ServicePort(Struct, frozen=True):
    """A port of a Service; `target_port` is a number or the name of a container port, and the slices resolve it."""

    port: int
    protocol: str = "TCP"
    name: str = ""
    target_port: int | str = 0


class Service(Struct, frozen=True, weakref=True):
    """A Service. `cluster_ips` is empty for a headless one and an ExternalName.

    `annotations` are those that load balancers know (`kube` leaves out all others); `ingress` are the addresses in its
    ``status.loadBalancer``; `affinity_timeout_s` counts where `session_affinity` is ``ClientIP``.
    """

    namespace: str
    name: str
    uid: str
    type: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    resource_version: str = ""
    selects: bool = True
    session_affinity: str = "None"
    affinity_timeout_s: int = 10800
    source_ranges: tuple[str, ...] = ()
    load_balancer_class: str = ""
    load_balancer_ip: str = ""
    external_ips: tuple[str, ...] = ()
    external_traffic_policy: str = "Cluster"
    internal_traffic_policy: str = "Cluster"
    publish_not_ready: bool = False
    deleting: bool = False
    annotations: Mapping[str, str] = MappingProxyType({})
    ingress: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}"


class Endpoint(Struct, frozen=True, gc=False):
    """Who answers for a Service; `pod_uid` is empty where the target is no pod or not named."""

    addresses: tuple[str, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    pod_uid: str = ""


class EndpointPort(Struct, frozen=True):
    """A port on which every endpoint of the slice answers; `name` is the Service port's. `port` None: every port."""

    name: str = ""
    port: int | None = None
    protocol: str = "TCP"


class EndpointSlice(Struct, frozen=True, weakref=True):
    """Some of the endpoints of one Service of the same namespace. `address_type`: IPv4, IPv6 or FQDN."""

    namespace: str
    name: str
    uid: str
    service: str = ""
    address_type: str = "IPv4"
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()
    resource_version: str = ""

    @property
    def full_name(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}"
