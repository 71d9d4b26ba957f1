"""Whom a connection can join: the pods, nodes and Services of a cluster, ports of the cloud, addresses.

Does not know: policies, security groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import itemgetter

from kuryrctl.core.cloud import CloudState, Port
from kuryrctl.core.cluster import FINISHED_PHASES, ClusterState, Node, Pod
from kuryrctl.core.policy.flows import FAMILIES, Block, End, EndKind, Front, block_of, inside, text_of
from kuryrctl.core.services import EndpointSlice, Service, ServicePort


class Ends:
    """The ends of one world. `at` says who has an address: a pod before a node, a node before any other port."""

    def __init__(self, cluster: ClusterState, cloud: CloudState | None = None) -> None:
        self._cluster = cluster
        self._cloud = cloud or CloudState()
        self._slices: dict[str, list[EndpointSlice]] = {}
        for each in cluster.endpoint_slices.values():
            self._slices.setdefault(f"{each.namespace}/{each.service}", []).append(each)
        ports = (self.port(port) for port in self._cloud.ports.values())
        nodes = (end for node in cluster.nodes.values() for end in self.nodes(node))
        pods = (self.pod(pod) for pod in cluster.pods.values() if is_there(pod))
        self._at: dict[Block, End] = {}
        for end in (*ports, *nodes, *(pod for pod in pods if not pod.host)):
            self._at.update(dict.fromkeys(map(block_of, end.addresses), end))
        for service in cluster.services.values():
            if service.cluster_ips:
                self._at.update(dict.fromkeys(map(block_of, service.cluster_ips), self.service(service)))

    def pod(self, pod: Pod) -> End:
        """A pod, by the addresses it reported, else by those it was given."""
        given = self._cluster.kuryr_ports.get(pod.full_name)
        addresses = pod.ips
        if not addresses and given is not None and given.pod_uid == pod.uid and given.interfaces:
            addresses = tuple(text.partition("/")[0] for text in given.interfaces[0].addresses)
        return End(EndKind.POD, pod.full_name, pod.uid, _one_of_each(addresses), pod.node, pod.host_network)

    def nodes(self, node: Node) -> Iterator[End]:
        """A node: once by its port on the pod network, once by its own addresses, where it has them."""
        known = self._cluster.kuryr_nodes.get(node.name)
        given = known.node_port.addresses if known and known.node_port else ()
        for addresses in (given, node.addresses):
            if addresses:
                texts = tuple(text.partition("/")[0] for text in addresses)
                yield End(EndKind.NODE, node.name, node.uid, _one_of_each(texts), node.name, True)

    def service(self, service: Service) -> End:
        """A Service, with the ready endpoints behind each port of its VIPs."""
        fronts = tuple(
            Front(family, port.protocol, port.port, tuple(self._backends(service, port, family)))
            for family in FAMILIES
            for port in service.ports
        )
        return End(EndKind.SERVICE, service.full_name, service.uid, _one_of_each(service.cluster_ips), fronts=fronts)

    def port(self, port: Port) -> End:
        """A port of the cloud: a VM's, as a rule."""
        addresses = tuple(fixed.ip_address for fixed in port.fixed_ips)
        return End(EndKind.PORT, port.name or port.id, port.id, _one_of_each(addresses))

    def at(self, text: str) -> End:
        """Who has this address; nobody that we know, or a CIDR: the addresses. Raises ValueError for neither."""
        block_of(text)
        known = None if "/" in text else self._at.get(block_of(text))
        return known or End(EndKind.ADDRESS, text, addresses=(text,))

    def stranger(self, block: Block) -> End | None:
        """An address of a block that nobody has, not the block's first if it has more; None: all are taken."""
        family, low, high = block
        texts = (text_of(family, number) for number in chain(range(low + 1, high + 1), (low,)))
        return next((end for end in map(self.at, texts) if end.kind is EndKind.ADDRESS), None)

    def within(self, block: Block) -> list[End]:
        """The pods and nodes that have an address in a block, by these addresses."""
        kinds = (EndKind.POD, EndKind.NODE)
        return [
            end for one, end in sorted(self._at.items(), key=itemgetter(0)) if end.kind in kinds and inside(one, block)
        ]

    def all(self) -> Iterator[End]:
        """Every pod that is there, node and Service with a VIP, sorted by kind and name; of ports, those of others."""
        pods = sorted(self._cluster.pods.values(), key=lambda pod: pod.full_name)
        yield from (self.pod(pod) for pod in pods if is_there(pod))
        for _, node in sorted(self._cluster.nodes.items()):
            yield from self.nodes(node)
        for _, service in sorted(self._cluster.services.items()):
            if service.cluster_ips:
                yield self.service(service)
        for _, port in sorted(self._cloud.ports.items()):
            addresses = [block_of(fixed.ip_address) for fixed in port.fixed_ips]
            if addresses and all(self._at[text].kind is EndKind.PORT for text in addresses):
                yield self.port(port)

    def _backends(self, service: Service, port: ServicePort, family: int) -> Iterator[tuple[End, int]]:
        for each in self._slices.get(service.full_name, ()):
            for one in each.ports if each.address_type == f"IPv{family}" else ():
                if (one.name, one.protocol) != (port.name, port.protocol):
                    continue
                for endpoint in each.endpoints:
                    if endpoint.ready:
                        yield from ((self.at(text), one.port or port.port) for text in endpoint.addresses)


def is_there(pod: Pod) -> bool:
    """Whether a pod can speak: scheduled, and not finished. One that terminates still does."""
    return bool(pod.node) and pod.phase not in FINISHED_PHASES


def _one_of_each(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The first address of each family: by it the end is seen."""
    first = {block_of(text)[0]: text for text in reversed(addresses)}
    return tuple(first[family] for family in FAMILIES if family in first)
