"""What the engine, the agent and the commands do with Kubernetes, in core types.

Writes carry preconditions (uid, for our two objects also the resource version), so that a late writer loses instead of
harming.
Knows: paths, verbs, preconditions. Does not know: why something is written, leadership, back-off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kuryrctl.core.cluster import ClusterState, Interface, KuryrNode, KuryrPort, Namespace, Node, Pod
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.probe import KuryrProbe
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.sharing import Held
from kuryrctl.kube import wire
from kuryrctl.kube.api import Api, Mutation, decoded
from kuryrctl.kube.errors import Gone
from kuryrctl.kube.events import EventRecorder, ObjectRef
from kuryrctl.kube.install import Finding, Installer
from kuryrctl.kube.probes import Probes
from kuryrctl.kube.resources import OBSERVED, RESOURCES
from kuryrctl.kube.service_wire import ServiceWire
from kuryrctl.kube.transport import MERGE_PATCH, Transport
from kuryrctl.kube.watch import Watch
from kuryrctl.kube.wire import KubeObject, KuryrNodeWire, KuryrPortWire

PAGE_SIZE = 500
_LIST_TRIES = 3


class Listed(Struct, frozen=True):
    """All objects of one kind (or one node's share) as they were at `resource_version`."""

    kind: Kind
    items: tuple[KubeObject, ...]
    resource_version: str


class Kube:
    """One Kubernetes cluster. Thread-safe. Every method raises KuryrErrors with codes ``KUBE-…`` and nothing else."""

    def __init__(
        self,
        transport: Transport,
        *,
        on_mutation: Callable[[Mutation], None] | None = None,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self.api = Api(transport, on_mutation)
        self.probes = Probes(self.api)
        self._page_size = page_size
        self._held: dict[Kind, Held[KubeObject]] = {kind: Held() for kind in RESOURCES}
        self._events = EventRecorder(self.api)
        self._installer = Installer(self.api)

    def close(self) -> None:
        """Close idle connections."""
        self.api.transport.close()

    # -- observing

    def observe(self) -> tuple[ClusterState, Mapping[Kind, KuryrError]]:
        """Consistent lists of every kind, and why the kinds that are not `complete` are not."""
        listed: dict[Kind, tuple[KubeObject, ...]] = {}
        errors: dict[Kind, KuryrError] = {}
        for kind in OBSERVED:
            try:
                listed[kind] = self.list_kind(kind).items
            except KuryrError as error:
                errors[kind] = error
        return _state(listed), errors

    def list_kind(self, kind: Kind, *, node: str | None = None) -> Listed:
        """A list by a consistent read, in pages of one snapshot. `node`: only what concerns that node."""
        for _ in range(_LIST_TRIES - 1):
            try:
                return self._list(kind, node)
            except Gone:  # the snapshot was compacted between two pages: only a list from its beginning is consistent
                continue
        return self._list(kind, node)

    def watch(self, kind: Kind, resource_version: str, *, node: str | None = None, stop: threading.Event) -> Watch:
        """The changes after `resource_version`. Raises Gone, here or while iterating, when a new list is needed."""
        return Watch(self.api.transport, RESOURCES[kind], resource_version, node, stop=stop, held=self._held[kind])

    # -- the engine's writes

    def write_kuryr_port(self, port: KuryrPort) -> KuryrPort:
        """Create it (empty resource version) or update its spec as the one that was read. Its status is not touched.

        Raises Conflict when it exists already, or changed since it was read.
        """
        resource = RESOURCES[Kind.KURYR_PORT]
        doing = f"write KuryrPort {port.namespace}/{port.name}"
        if not port.resource_version:
            path = resource.path("", port.namespace)
            response = self.api.call("POST", path, doing, body=wire.kuryr_port_body(port))
        else:
            body = {
                "metadata": {"uid": port.uid, "resourceVersion": port.resource_version},
                "spec": wire.KuryrPortSpecWire(port.pod_uid, port.node, port.interfaces),
            }
            path = resource.path(port.name, port.namespace)
            response = self.api.call("PATCH", path, doing, body=body, content_type=MERGE_PATCH)
        return decoded(response, doing, KuryrPortWire).core()

    def delete_kuryr_port(self, namespace: str, name: str, uid: str) -> None:
        """Delete the one with this uid; if it is gone, or another has its name, that is success."""
        path = RESOURCES[Kind.KURYR_PORT].path(name, namespace)
        self.api.delete(path, f"delete KuryrPort {namespace}/{name}", uid)

    def write_kuryr_node(self, name: str, node_uid: str, node_port: Interface | None) -> KuryrNode:
        """Create it or set its node port. A KuryrNode of an earlier node of that name (other uid) is replaced."""
        path = RESOURCES[Kind.KURYR_NODE].path(name)
        doing = f"write KuryrNode {name}"
        current = self.api.get(path, doing, KuryrNodeWire)
        if current and node_uid not in {owner.uid for owner in current.metadata.owner_references or ()}:
            self.api.delete(path, doing, current.metadata.uid)
            current = None
        if current is None:
            body = wire.kuryr_node_body(name, node_uid, node_port)
            response = self.api.call("POST", RESOURCES[Kind.KURYR_NODE].path(""), doing, body=body)
            return decoded(response, doing, KuryrNodeWire).core()
        if current.spec.node_port == node_port:
            return current.core()
        body = {"metadata": {"uid": current.metadata.uid}, "spec": wire.KuryrNodeSpecWire(node_port)}
        response = self.api.call("PATCH", path, doing, body=body, content_type=MERGE_PATCH)
        return decoded(response, doing, KuryrNodeWire).core()

    def delete_kuryr_node(self, name: str, uid: str) -> None:
        """Delete the one with this uid; if it is gone, or another has its name, that is success."""
        self.api.delete(RESOURCES[Kind.KURYR_NODE].path(name), f"delete KuryrNode {name}", uid)

    def delete_expired_probes(self, now_s: float) -> None:
        """Delete the KuryrProbes whose time to live is over at `now_s` (seconds since the epoch)."""
        for probe in self.list_kind(Kind.KURYR_PROBE).items:
            if isinstance(probe, KuryrProbe) and probe.expired(now_s):
                self.probes.delete(probe)

    def write_service_status(self, namespace: str, name: str, uid: str, ingress: Sequence[str]) -> Service:
        """Write the addresses of its load balancers; the rest of its status, and its spec, are not touched.

        Raises NotFound when it is gone, Conflict when another Service has its name.
        """
        path = RESOURCES[Kind.SERVICE].path(name, namespace, "status")
        doing = f"write the status of Service {namespace}/{name}"
        addresses = {"ingress": [{"ip": each} for each in ingress]}
        response = self.api.report(path, doing, uid, addresses, part="/status/loadBalancer")
        return decoded(response, doing, ServiceWire).core()

    # -- the agent's writes

    def write_kuryr_port_status(self, port: KuryrPort) -> KuryrPort:
        """Write `bound`, `since`, `error`, `sandbox`; its spec is not touched.

        Raises NotFound when it is gone, Conflict when another object has its name.
        """
        status = wire.KuryrPortStatusWire(port.bound, port.since, port.error, port.sandbox)
        path = RESOURCES[Kind.KURYR_PORT].path(port.name, port.namespace, "status")
        doing = f"report on KuryrPort {port.namespace}/{port.name}"
        return decoded(self.api.report(path, doing, port.uid, status), doing, KuryrPortWire).core()

    def write_kuryr_node_status(self, node: KuryrNode) -> KuryrNode:
        """Write `heartbeat_s`, `plugged`, `version`, `error`; errors as of `write_kuryr_port_status`."""
        status = {
            "heartbeat": wire.micro_time(node.heartbeat_s),
            "plugged": node.plugged,
            "version": node.version,
            "error": node.error,
        }
        path = RESOURCES[Kind.KURYR_NODE].path(node.name, subresource="status")
        doing = f"report on KuryrNode {node.name}"
        return decoded(self.api.report(path, doing, node.uid, status), doing, KuryrNodeWire).core()

    # -- for people

    def event(self, obj: ObjectRef, type: str, reason: str, message: str, component: str = "kuryrctl") -> None:
        """Tell people of `obj` (``kubectl describe``). `type` is Normal or Warning. Never raises: see `events`."""
        self._events.record(obj, type, reason, message, component)

    def install(self) -> list[str]:
        """Apply our manifests; the names of what was applied. Raises Conflict on an object that is not ours."""
        return self._installer.install()

    def installed(self) -> list[Finding]:
        """What differs between our manifests and the cluster; empty: all is as it should be."""
        return self._installer.findings()

    def uninstall(self) -> list[str]:
        """Delete what `install` applied, all KuryrPorts and KuryrNodes with it; the names of what was deleted."""
        return self._installer.uninstall()

    # -- how

    def _list(self, kind: Kind, node: str | None) -> Listed:
        resource = RESOURCES[kind]
        doing = f"list {resource.plural}"
        found: list[KubeObject] = []
        query: dict[str, str | int] = {"limit": self._page_size}
        while True:
            response = self.api.call("GET", resource.list_path(node=node, **query), doing)
            page: wire.Page[Any] = decoded(response, doing, resource.page)
            found.extend(self._held[kind].one(item.metadata.uid, item.core()) for item in page.items or ())
            if not page.metadata.continue_:
                return Listed(kind, tuple(found), page.metadata.resource_version)
            query["continue"] = page.metadata.continue_


def _state(listed: Mapping[Kind, tuple[KubeObject, ...]]) -> ClusterState:
    objects = [item for items in listed.values() for item in items]
    policies = [item for item in objects if isinstance(item, NetworkPolicy)]
    services = [item for item in objects if isinstance(item, Service)]
    slices = [item for item in objects if isinstance(item, EndpointSlice)]
    namespaces = {item.name: item for item in objects if isinstance(item, Namespace)}
    return ClusterState(
        kube_system_uid=namespaces["kube-system"].uid if "kube-system" in namespaces else "",
        pods={item.uid: item for item in objects if isinstance(item, Pod)},
        nodes={item.name: item for item in objects if isinstance(item, Node)},
        namespaces=namespaces,
        kuryr_ports={f"{item.namespace}/{item.name}": item for item in objects if isinstance(item, KuryrPort)},
        kuryr_nodes={item.name: item for item in objects if isinstance(item, KuryrNode)},
        policies={item.full_name: item for item in policies},
        services={item.full_name: item for item in services},
        endpoint_slices={item.full_name: item for item in slices},
        complete=frozenset(listed),
    )
