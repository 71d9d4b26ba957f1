"""Where each kind stands in the API, how one node's share of it is selected, and how it is decoded.

One record for each kind; `client` and `watch` know no kind by name.
"""

from __future__ import annotations

from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from msgspec import Struct

from kuryrctl.core.kinds import Kind
from kuryrctl.kube import policy_wire, probe_wire, service_wire, wire

Wire: TypeAlias = (
    wire.PodWire
    | wire.NodeWire
    | wire.NamespaceWire
    | wire.KuryrPortWire
    | wire.KuryrNodeWire
    | probe_wire.KuryrProbeWire
    | policy_wire.NetworkPolicyWire
    | service_wire.ServiceWire
    | service_wire.EndpointSliceWire
)


class Resource(Struct, frozen=True):
    """A kind's place: ``<base>/<plural>`` for all namespaces. `node_selector` is formatted with a node's name.

    `item` is the wire type of one object, `page` that of a list's page.
    """

    title: str
    base: str
    plural: str
    item: type[Wire]
    page: Any
    node_selector: tuple[str, str] = ("", "")

    def list_path(self, *, node: str | None = None, **query: str | int) -> str:
        """The path of a list or a watch over all namespaces, or of one node's share of it."""
        if node is not None:
            query |= self._selector(node)
        return f"{self.base}/{self.plural}" + (f"?{urlencode(query)}" if query else "")

    def path(self, name: str, namespace: str = "", subresource: str = "") -> str:
        """The path of one object; an empty name: of the namespace's collection."""
        parts = [self.base, *(("namespaces", quote(namespace)) if namespace else ()), self.plural]
        return "/".join([*parts, *(quote(part) for part in (name, subresource) if part)])

    def _selector(self, node: str) -> dict[str, str]:
        where, template = self.node_selector
        if not where:
            raise ValueError(f"{self.plural} belong to no node")
        return {where: template.format(node=node, label=wire.node_label(node))}


_CORE = "/api/v1"
_OURS = f"/apis/{wire.API_VERSION}"
_OWN_NAME = ("fieldSelector", "metadata.name={node}")
_LABELLED = ("labelSelector", wire.NODE_LABEL + "={label}")

RESOURCES: dict[Kind, Resource] = {
    Kind.POD: Resource(
        "Pod", _CORE, "pods", wire.PodWire, wire.Page[wire.PodWire], ("fieldSelector", "spec.nodeName={node}")
    ),
    Kind.NODE: Resource("Node", _CORE, "nodes", wire.NodeWire, wire.Page[wire.NodeWire], _OWN_NAME),
    Kind.NAMESPACE: Resource("Namespace", _CORE, "namespaces", wire.NamespaceWire, wire.Page[wire.NamespaceWire]),
    Kind.KURYR_PORT: Resource(
        "KuryrPort",
        _OURS,
        "kuryrports",
        wire.KuryrPortWire,
        wire.Page[wire.KuryrPortWire],
        _LABELLED,
    ),
    Kind.KURYR_NODE: Resource(
        "KuryrNode", _OURS, "kuryrnodes", wire.KuryrNodeWire, wire.Page[wire.KuryrNodeWire], _OWN_NAME
    ),
    Kind.NETWORK_POLICY: Resource(
        "NetworkPolicy",
        "/apis/networking.k8s.io/v1",
        "networkpolicies",
        policy_wire.NetworkPolicyWire,
        wire.Page[policy_wire.NetworkPolicyWire],
    ),
    Kind.SERVICE: Resource("Service", _CORE, "services", service_wire.ServiceWire, wire.Page[service_wire.ServiceWire]),
    Kind.ENDPOINT_SLICE: Resource(
        "EndpointSlice",
        "/apis/discovery.k8s.io/v1",
        "endpointslices",
        service_wire.EndpointSliceWire,
        wire.Page[service_wire.EndpointSliceWire],
    ),
    Kind.KURYR_PROBE: Resource(
        "KuryrProbe",
        _OURS,
        "kuryrprobes",
        probe_wire.KuryrProbeWire,
        wire.Page[probe_wire.KuryrProbeWire],
        _LABELLED,
    ),
}
"""Every kind that is read."""

OBSERVED: tuple[Kind, ...] = tuple(kind for kind in RESOURCES if kind is not Kind.KURYR_PROBE)
"""What an observation of the cluster consists of, in its order: nothing is desired because of a probe."""
