"""Who of outside may reach a pod that no policy isolates, where Services with source ranges send to it: for the judge.

Source: Kubernetes API reference, ServiceSpec.loadBalancerSourceRanges; DESIGN §8. A port of a pod is limited if every
Service from outside that sends to it has source ranges; then all of these may reach it, and the cluster.
Does not know: policies, security groups.
"""

from __future__ import annotations

from collections import defaultdict

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import ServiceOptions
from kuryrctl.core.policy.flows import Block, block_of
from kuryrctl.core.service_external import EVERYBODY, let_in
from kuryrctl.core.services import EndpointSlice, Service


class Limits:
    """See the module."""

    def __init__(self, cluster: ClusterState, settings: ServiceOptions) -> None:
        self._found: dict[Block, dict[tuple[str, int], list[str]]] = defaultdict(dict)
        slices: dict[str, list[EndpointSlice]] = defaultdict(list)
        for each in cluster.endpoint_slices.values():
            slices[f"{each.namespace}/{each.service}"].append(each)
        for service in cluster.services.values():
            for family, sources in let_in(service, settings).items():
                if any(block_of(vip)[0] == family for vip in service.cluster_ips):
                    of_family = [each for each in slices[service.full_name] if each.address_type == f"IPv{family}"]
                    self._add(service, of_family, sources)

    def on(self, address: Block, protocol: str, port: int) -> list[Block] | None:
        """The blocks of outside that may reach this port at a pod's address; None: everybody may."""
        cidrs = self._found.get(address, {}).get((protocol, port))
        if cidrs is None or EVERYBODY[address[0]][0] in cidrs:
            return None
        return list(map(block_of, cidrs))

    def at(self, address: Block) -> tuple[object, ...]:
        """All limits at an address, to tell pods apart."""
        return tuple(sorted((gate, tuple(sorted(cidrs))) for gate, cidrs in self._found.get(address, {}).items()))

    def _add(self, service: Service, slices: list[EndpointSlice], sources: tuple[str, ...]) -> None:
        wanted = {(port.name, port.protocol) for port in service.ports}
        offered = (one for each in slices for one in each.ports if (one.name, one.protocol) in wanted)
        gates = {(one.protocol, one.port) for one in offered if one.port is not None}
        for text in {text for each in slices for endpoint in each.endpoints for text in endpoint.addresses}:
            for gate in gates:
                self._found[block_of(text)].setdefault(gate, []).extend(sources)
