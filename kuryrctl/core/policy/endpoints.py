"""The endpoints that a cluster would give Services for their selectors: what manifests leave out.

Source: Kubernetes, Service: the pods of its namespace that the selector matches; a target port that is a name means the
container port that each pod calls so. Does not know: where selectors come from, policies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.policy.ends import is_there
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service

Selectors = Mapping[str, Mapping[str, str]]
"""The selectors of Services, by ``namespace/name``. None of them is empty."""


def with_endpoints(cluster: ClusterState, selectors: Selectors, given: Iterable[str]) -> ClusterState:
    """The cluster once every Service with a selector has the endpoints that it asks for.

    The slices `given` (``namespace/name``) stay, and are all that their Services have. Of the other slices one thing
    is kept: which address was not ready. What is new counts as ready.
    """
    kept = set(given)
    written = {f"{each.namespace}/{each.service}" for name in kept if (each := cluster.endpoint_slices.get(name))}
    chosen = [
        service
        for name, service in cluster.services.items()
        if name in selectors and name not in written and service.cluster_ips
    ]
    replaced = {service.full_name for service in chosen}
    slices = {
        name: each
        for name, each in cluster.endpoint_slices.items()
        if name in kept or f"{each.namespace}/{each.service}" not in replaced
    }
    unready = {
        text
        for each in cluster.endpoint_slices.values()
        for endpoint in each.endpoints
        for text in (() if endpoint.ready else endpoint.addresses)
    }
    for service in chosen:
        pods = _matching(cluster.pods.values(), service.namespace, selectors[service.full_name])
        slices |= {each.full_name: each for each in _slices(service, pods, unready)}
    return msgspec.structs.replace(cluster, endpoint_slices=slices)


def untold(cluster: ClusterState) -> Iterator[str]:
    """The Services (``namespace/name``) with an address of which nothing says who answers for it."""
    known = {f"{each.namespace}/{each.service}" for each in cluster.endpoint_slices.values() if each.endpoints}
    return (name for name, service in sorted(cluster.services.items()) if service.cluster_ips and name not in known)


def _matching(pods: Iterable[Pod], namespace: str, selector: Mapping[str, str]) -> list[Pod]:
    wanted = selector.items()
    found = (pod for pod in pods if pod.namespace == namespace and wanted <= pod.labels.items() and is_there(pod))
    return sorted(found, key=lambda pod: pod.name)


def _slices(service: Service, pods: Iterable[Pod], unready: set[str]) -> Iterator[EndpointSlice]:
    """One for each IP version and each meaning of the ports."""
    found: dict[tuple[int, tuple[EndpointPort, ...]], list[Endpoint]] = defaultdict(list)
    for pod in pods:
        ports = tuple(_ports(service, pod))
        for text in pod.ips:
            endpoint = Endpoint((text,), ready=text not in unready and not pod.deleting, pod_uid=pod.uid)
            found[6 if ":" in text else 4, ports].append(endpoint)
    for number, ((version, ports), endpoints) in enumerate(sorted(found.items(), key=lambda item: repr(item[0]))):
        name = f"{service.name}-{number}"
        yield EndpointSlice(
            service.namespace, name, f"{service.uid}-{number}", service.name, f"IPv{version}", tuple(endpoints), ports
        )


def _ports(service: Service, pod: Pod) -> Iterator[EndpointPort]:
    """What the Service's ports are on a pod; a name that it does not know is none."""
    named = {(port.name, port.protocol): port.port for port in pod.ports}
    for port in service.ports:
        target = port.target_port or port.port
        number = named.get((target, port.protocol)) if isinstance(target, str) else target
        if number is not None:
            yield EndpointPort(port.name, number, port.protocol)
