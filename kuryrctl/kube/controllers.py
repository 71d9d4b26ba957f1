"""Manifests with what an API server and its controllers would add: addresses, second pods, the endpoints of Services.

Does not know: how files are read (`documents`), what the clusters are compared for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.difference import applied, placed, with_twins
from kuryrctl.core.policy.endpoints import with_endpoints
from kuryrctl.core.services import Service
from kuryrctl.kube.documents import (
    WORKLOADS,
    Document,
    cluster_of,
    documents,
    is_a,
    mapping,
    named_namespaces,
    place_of,
    refused,
)


class Manifests:
    """Files, and the clusters that they make. Raises Invalid (MANIFEST)."""

    def __init__(self, paths: Iterable[Path], config: Config) -> None:
        self._documents = list(documents(paths))
        self._cluster = cluster_of(self._documents)
        self._config = config

    def alone(self) -> ClusterState:
        """The cluster that holds them and nothing else."""
        return self._completed(self._cluster)

    def on(self, base: ClusterState) -> ClusterState:
        """This cluster after they were applied."""
        return self._completed(applied(base, self._cluster, named_namespaces(self._documents)))

    def _completed(self, cluster: ClusterState) -> ClusterState:
        every_pod = placed(with_twins(cluster, replicated(self._documents)), self._config)
        addressed = allocated(every_pod, self._documents, self._config.service_cidrs)
        return with_endpoints(addressed, selectors(self._documents), self._cluster.endpoint_slices)


def replicated(documents: Iterable[Document]) -> frozenset[str]:
    """The workloads (``namespace/name``, as `cluster_of` calls their pod) that have more than one pod."""
    metas = [place_of(each.body) for each in documents if _has_many(each.body)]
    return frozenset(f"{meta.get('namespace') or 'default'}/{meta.get('name')}" for meta in metas)


def allocated(cluster: ClusterState, documents: Iterable[Document], cidrs: Iterable[str]) -> ClusterState:
    """With an address of `cidrs` for each Service of these objects that an API server would give one.

    It is the same for the same name, if nobody has it: only whether there is one, and of which IP versions, is meant.
    Raises Invalid (MANIFEST) where a range has too few.
    """
    ranges: dict[int, IPv4Network | IPv6Network] = {each.version: each for each in map(ip_network, cidrs)}
    services = dict(cluster.services)
    taken = {text for service in services.values() for text in service.cluster_ips}
    for document in documents:
        spec = mapping(document.body.get("spec"))
        if not is_a(document, Kind.SERVICE) or not _is_allocated(spec):
            continue
        service = services[_full_name(document)]
        if not service.cluster_ips:
            addresses = tuple(_free(ranges[version], service, taken) for version in _versions(spec, ranges))
            taken.update(addresses)
            services[service.full_name] = msgspec.structs.replace(service, cluster_ips=addresses)
    return msgspec.structs.replace(cluster, services=services)


def selectors(documents: Iterable[Document]) -> Mapping[str, Mapping[str, str]]:
    """The selectors of the Services that have one, by ``namespace/name``."""
    services = (each for each in documents if is_a(each, Kind.SERVICE))
    found = {_full_name(each): mapping(mapping(each.body.get("spec")).get("selector")) for each in services}
    return {name: selector for name, selector in found.items() if selector}


def _has_many(workload: Mapping[str, Any]) -> bool:
    replicas = mapping(workload.get("spec")).get("replicas", 1)
    return bool(workload["kind"] == "DaemonSet" or (workload["kind"] in WORKLOADS and replicas != 1))


def _full_name(document: Document) -> str:
    meta = mapping(document.body.get("metadata"))
    return f"{meta.get('namespace') or 'default'}/{meta.get('name')}"


def _free(network: IPv4Network | IPv6Network, service: Service, taken: Collection[str]) -> str:
    """An address of a range for a Service; that of its name, or the next one that is not taken."""
    first = int.from_bytes(hashlib.sha256(service.full_name.encode()).digest()[:8]) % network.num_addresses
    numbers = chain(range(first, network.num_addresses), range(first))
    for text in (str(network[number]) for number in numbers):
        if text not in taken:
            return text
    raise refused(f"Service {service.full_name} finds no free address in {network}", "give service_cidrs larger ranges")


def _is_allocated(spec: Mapping[str, Any]) -> bool:
    """Whether the API server gives a Service its addresses: it names none, and is neither headless nor an alias."""
    return spec.get("type") != "ExternalName" and not spec.get("clusterIP") and not spec.get("clusterIPs")


def _versions(spec: Mapping[str, Any], known: Collection[int]) -> list[int]:
    """The IP versions of a Service's addresses, of those that the cluster has: one, unless it asks for both."""
    named = [int(str(each)[-1]) for each in spec.get("ipFamilies") or () if str(each) in ("IPv4", "IPv6")]
    found = [version for version in dict.fromkeys((*named, *sorted(known))) if version in known]
    dual = spec.get("ipFamilyPolicy") in ("PreferDualStack", "RequireDualStack") or len(named) > 1
    return found if dual else found[:1]
