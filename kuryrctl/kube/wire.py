"""The API's objects as they travel, cut down to the fields we read, and how they become core types.

Field meanings: Kubernetes API reference; ours: ``manifests/*.yaml``. Unknown fields are ignored, a missing one that we
rely on is an error. Does not know: how they were read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from sys import intern
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct, field
from msgspec.structs import force_setattr

from kuryrctl.core.cluster import ContainerPort, Interface, KuryrNode, KuryrPort, Namespace, Node, Plugged, Pod
from kuryrctl.core.names import shortened
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.probe import KuryrProbe
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.sharing import one, one_mapping, share_texts
from kuryrctl.kube.addresses import addresses

KubeObject: TypeAlias = (
    Pod | Node | Namespace | KuryrPort | KuryrNode | KuryrProbe | NetworkPolicy | Service | EndpointSlice
)
W = TypeVar("W")

GROUP = "kuryr.openstack.org"
API_VERSION = f"{GROUP}/v1"
NODE_LABEL = f"{GROUP}/node"
_LABEL_MAX = 63


class OwnerReference(Struct, rename="camel"):
    """By whom an object lives: garbage collection deletes it after its owners (same uid)."""

    api_version: str
    kind: str
    name: str
    uid: str


class Meta(Struct, rename="camel"):
    """metav1.ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: list[OwnerReference] | None = None


class AnnotatedMeta(Meta):
    """Metadata with annotations, of which few are ever kept."""

    annotations: dict[str, str] | None = None


class ListMeta(Struct, rename="camel"):
    """metav1.ListMeta; `continue_` is empty on the last page."""

    resource_version: str
    continue_: str = field(default="", name="continue")


class Page(Struct, Generic[W]):
    """One page of a list."""

    metadata: ListMeta
    items: list[W] | None = None


class PodIP(Struct):
    """One address of a pod."""

    ip: str = ""


class ContainerPortWire(Struct, rename="camel"):
    """core/v1 ContainerPort."""

    container_port: int
    name: str = ""
    protocol: str | None = None


class ContainerWire(Struct, rename="camel"):
    """What is read of a core/v1 Container."""

    ports: list[ContainerPortWire] | None = None
    restart_policy: str = ""


class PodSpecWire(Struct, rename="camel"):
    """core/v1 PodSpec."""

    node_name: str = ""
    host_network: bool = False
    containers: list[ContainerWire] | None = None
    init_containers: list[ContainerWire] | None = None

    @property
    def named_ports(self) -> tuple[ContainerPort, ...]:
        """Those of containers, and of init containers that go on beside them (restartPolicy Always)."""
        beside = [each for each in self.init_containers or () if each.restart_policy == "Always"]
        return tuple(
            ContainerPort(port.name, port.container_port, port.protocol or "TCP")
            for container in (*(self.containers or ()), *beside)
            for port in container.ports or ()
            if port.name
        )


class PodStatusWire(Struct):
    """core/v1 PodStatus."""

    phase: str = "Pending"
    pod_ips: list[PodIP] | None = field(default=None, name="podIPs")


class PodWire(Struct):
    """core/v1 Pod."""

    metadata: Meta
    spec: PodSpecWire
    status: PodStatusWire = field(default_factory=PodStatusWire)

    def core(self) -> Pod:
        """As a core type."""
        meta = self.metadata
        return Pod(
            namespace=intern(meta.namespace),
            name=intern(meta.name),
            uid=intern(meta.uid),
            node=intern(self.spec.node_name),
            phase=intern(self.status.phase),
            host_network=self.spec.host_network,
            deleting=meta.deletion_timestamp is not None,
            labels=one_mapping(meta.labels),
            ips=addresses(entry.ip for entry in self.status.pod_ips or ()),
            created_s=_seconds(meta.creation_timestamp),
            ports=one(self.spec.named_ports),
        )


class TypedWord(Struct):
    """A condition (type, status) or an address (type, address) of a node."""

    type: str
    status: str = ""
    address: str = ""


class NodeStatusWire(Struct):
    """core/v1 NodeStatus."""

    addresses: list[TypedWord] | None = None
    conditions: list[TypedWord] | None = None


class NodeWire(Struct):
    """core/v1 Node."""

    metadata: Meta
    status: NodeStatusWire = field(default_factory=NodeStatusWire)

    def core(self) -> Node:
        """As a core type; its own addresses are the internal ones."""
        return Node(
            name=self.metadata.name,
            uid=self.metadata.uid,
            addresses=addresses(each.address for each in self.status.addresses or () if each.type == "InternalIP"),
            ready=any(entry.type == "Ready" and entry.status == "True" for entry in self.status.conditions or ()),
            resource_version=self.metadata.resource_version,
        )


class NamespaceWire(Struct):
    """core/v1 Namespace."""

    metadata: Meta

    def core(self) -> Namespace:
        """As a core type."""
        meta = self.metadata
        return Namespace(meta.name, meta.uid, meta.labels or {}, meta.resource_version)


class KuryrPortSpecWire(Struct, rename="camel"):
    """KuryrPort `spec`."""

    pod_uid: str
    node: str
    interfaces: tuple[Interface, ...]


class KuryrPortStatusWire(Struct):
    """KuryrPort `status`."""

    bound: bool = False
    since: str = ""
    error: str = ""
    sandbox: str = ""


class KuryrPortWire(Struct):
    """KuryrPort."""

    metadata: Meta
    spec: KuryrPortSpecWire
    status: KuryrPortStatusWire = field(default_factory=KuryrPortStatusWire)

    def core(self) -> KuryrPort:
        """As a core type."""
        for interface in self.spec.interfaces:
            share_texts(interface, ("name", "port_id", "mac_address"))
            force_setattr(interface, "gateways", one(interface.gateways))
            force_setattr(interface, "routes", one(interface.routes))
        return KuryrPort(
            namespace=intern(self.metadata.namespace),
            name=intern(self.metadata.name),
            pod_uid=intern(self.spec.pod_uid),
            node=intern(self.spec.node),
            interfaces=self.spec.interfaces,
            uid=self.metadata.uid,
            resource_version=self.metadata.resource_version,
            bound=self.status.bound,
            since=self.status.since,
            error=self.status.error,
            sandbox=self.status.sandbox,
        )


class KuryrNodeSpecWire(Struct, rename="camel"):
    """KuryrNode `spec`."""

    node_port: Interface | None = None


class KuryrNodeStatusWire(Struct):
    """KuryrNode `status`."""

    heartbeat: datetime | None = None
    plugged: tuple[Plugged, ...] = ()
    version: str = ""
    error: str = ""


class KuryrNodeWire(Struct):
    """KuryrNode."""

    metadata: Meta
    spec: KuryrNodeSpecWire
    status: KuryrNodeStatusWire = field(default_factory=KuryrNodeStatusWire)

    def core(self) -> KuryrNode:
        """As a core type."""
        return KuryrNode(
            name=self.metadata.name,
            node_port=self.spec.node_port,
            uid=self.metadata.uid,
            resource_version=self.metadata.resource_version,
            heartbeat_s=_seconds(self.status.heartbeat),
            plugged=self.status.plugged,
            version=self.status.version,
            error=self.status.error,
        )


class WatchLine(Struct):
    """One line of a watch. The object's type follows from `type`: ours, a bookmark's metadata, or a Status."""

    type: str
    object: msgspec.Raw


class Bookmark(Struct):
    """What is read of a BOOKMARK's object."""

    metadata: Meta


def node_label(node: str) -> str:
    """The value of the label that says whose an object is: a label's value ends at 63 characters, a node's at 253."""
    return shortened(node, _LABEL_MAX)


def kuryr_port_body(port: KuryrPort) -> dict[str, Any]:
    """A new KuryrPort, owned by its pod."""
    return {
        "apiVersion": API_VERSION,
        "kind": "KuryrPort",
        "metadata": {
            "namespace": port.namespace,
            "name": port.name,
            "labels": {NODE_LABEL: node_label(port.node)},
            "ownerReferences": [OwnerReference("v1", "Pod", port.name, port.pod_uid)],
        },
        "spec": KuryrPortSpecWire(port.pod_uid, port.node, port.interfaces),
    }


def kuryr_node_body(name: str, node_uid: str, node_port: Interface | None) -> dict[str, Any]:
    """A new KuryrNode, owned by its node."""
    return {
        "apiVersion": API_VERSION,
        "kind": "KuryrNode",
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: node_label(name)},
            "ownerReferences": [OwnerReference("v1", "Node", name, node_uid)],
        },
        "spec": KuryrNodeSpecWire(node_port),
    }


def micro_time(seconds: float) -> str:
    """Seconds since the epoch as metav1.MicroTime (RFC 3339, six digits)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0
