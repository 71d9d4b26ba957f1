"""The Kubernetes side as observed: what the engine needs of pods and nodes, and our own two objects.

Field names are Kubernetes'. Does not know: the API's wire shape (`kube` maps it), the cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.services import EndpointSlice, Service

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


class ContainerPort(Struct, frozen=True, gc=False):
    """A named port of a pod's containers (core/v1 ContainerPort)."""

    name: str
    port: int
    protocol: str = "TCP"


class Pod(Struct, frozen=True, weakref=True):
    """A pod. `created_s` is its creation as seconds since the epoch; `node` is empty until it is scheduled.

    `ports` are the named ones only: nothing else of a container's ports means anything to the network.
    """

    namespace: str
    name: str
    uid: str
    node: str = ""
    phase: str = "Pending"
    host_network: bool = False
    deleting: bool = False
    labels: Mapping[str, str] = MappingProxyType({})
    ips: tuple[str, ...] = ()
    created_s: float = 0.0
    ports: tuple[ContainerPort, ...] = ()

    @property
    def full_name(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}"

    @property
    def wants_port(self) -> bool:
        """Whether the pod holds a port: scheduled, on the pod network, not finished (Kubernetes pod life cycle)."""
        return bool(self.node) and not self.host_network and self.phase not in FINISHED_PHASES


class Node(Struct, frozen=True, weakref=True):
    """A node, with its own addresses."""

    name: str
    uid: str
    addresses: tuple[str, ...] = ()
    ready: bool = False
    resource_version: str = ""


class Namespace(Struct, frozen=True, weakref=True):
    """A namespace."""

    name: str
    uid: str
    labels: Mapping[str, str] = MappingProxyType({})
    resource_version: str = ""


class Route(Struct, frozen=True, gc=False):
    """A route of an interface; `gateway` is an address on the link."""

    destination: str
    gateway: str


class Interface(Struct, frozen=True, rename="camel", gc=False):
    """What a node needs to give a network namespace one interface (KuryrPort/KuryrNode `spec`).

    `addresses` are ``ADDRESS/PREFIX``; `gateways` at most one for each family; `mtu` in bytes.
    """

    name: str
    port_id: str
    mac_address: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    mtu: int = 1500


class KuryrPort(Struct, frozen=True, weakref=True):
    """What engine and agent tell each other of one pod (same namespace and name).

    spec (written by the engine): `pod_uid`, `node`, `interfaces`. status (by that node's agent): `bound`, `since`
    (RFC 3339), `error`, `sandbox` (the runtime's container id).
    """

    namespace: str
    name: str
    pod_uid: str
    node: str
    interfaces: tuple[Interface, ...]
    uid: str = ""
    resource_version: str = ""
    bound: bool = False
    since: str = ""
    error: str = ""
    sandbox: str = ""


class Plugged(Struct, frozen=True, rename="camel", gc=False):
    """A port that is plugged on a node, for whom."""

    port_id: str
    pod_uid: str
    sandbox: str = ""


class KuryrNode(Struct, frozen=True, weakref=True):
    """What engine and agent tell each other of one node (same name).

    spec: `node_port` (None until the engine made it). status: `heartbeat_s` (seconds since the epoch, 0 before the
    first), `plugged`, `version`, `error`.
    """

    name: str
    node_port: Interface | None = None
    uid: str = ""
    resource_version: str = ""
    heartbeat_s: float = 0.0
    plugged: tuple[Plugged, ...] = ()
    version: str = ""
    error: str = ""


class ClusterState(Struct, frozen=True):
    """One observation of the cluster: pods by uid, what has a namespace by ``namespace/name``, the rest by name.

    `complete` names the kinds that were listed in full by a consistent read; any other kind is unknown.
    `kube_system_uid` says which cluster this is.
    """

    kube_system_uid: str = ""
    pods: Mapping[str, Pod] = MappingProxyType({})
    nodes: Mapping[str, Node] = MappingProxyType({})
    namespaces: Mapping[str, Namespace] = MappingProxyType({})
    kuryr_ports: Mapping[str, KuryrPort] = MappingProxyType({})
    kuryr_nodes: Mapping[str, KuryrNode] = MappingProxyType({})
    policies: Mapping[str, NetworkPolicy] = MappingProxyType({})
    services: Mapping[str, Service] = MappingProxyType({})
    endpoint_slices: Mapping[str, EndpointSlice] = MappingProxyType({})
    complete: frozenset[Kind] = frozenset()
