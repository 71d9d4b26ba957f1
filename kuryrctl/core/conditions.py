"""Pods, ports, assignments and nodes joined into rows, each with one named condition.

The same words in ``port list``, ``port show``, ``status`` and the doctor. Does not know: how rows are filtered, sorted
for people or printed, what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec
from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.cloud import CloudState, Port
from kuryrctl.core.cluster import ClusterState, KuryrPort, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.desired import node_key, pod_key
from kuryrctl.core.index import Own, Ports, find_own
from kuryrctl.core.ownership import NODE, POD, Claim, Proof

LEGACY_OWNERS = ("kuryr", "trunk:subport")
LEGACY_NAMES = ("kuryr-pool-port", "available-port")


class Condition(StrEnum):
    """What is right or wrong with one row. Each word is documented; it never changes its meaning."""

    OK = "ok"
    PENDING = "pending"
    """On its way: the pod waits for its node, its port or its interface."""
    UNBOUND = "unbound"
    """The port has no host, Neutron could not bind it, or the node did not give the pod its interface."""
    NO_POD = "no pod"
    """The port serves nobody any more."""
    NO_PORT = "no port"
    """A pod that was told of a port lacks it."""
    WRONG_HOST = "wrong host"
    """The port is bound to a node on which its pod does not run."""
    IN_USE_ELSEWHERE = "in use elsewhere"
    """A node has plugged the port for another pod, or another node has plugged it."""
    DOWN = "down"
    """Neutron says that the port does not work, though its node says that it is plugged."""
    ADDRESS_TAKEN = "address taken"
    """The pod's port is gone, and another port has taken its address meanwhile."""
    FOREIGN = "foreign"
    """It carries marks of ours, but is not provably ours: nothing of it is changed."""
    LEGACY = "legacy"
    """It looks like one that kuryr-kubernetes left behind."""


class PortRow(Struct, frozen=True, kw_only=True):
    """One pod, or one port that has none. Empty strings: there is none.

    `role` is ``pod``, ``node`` or empty; `host` is Neutron's binding, `node` Kubernetes'. `security_groups` are names
    where they are known, else ids. `vlan` 0: no subport; `trunk` is the trunk's id. `created_at` is Neutron's time of
    the port's creation (RFC 3339), `detail` what the condition is about.
    """

    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    role: str = ""
    node: str = ""
    port_id: str = ""
    name: str = ""
    addresses: tuple[str, ...] = ()
    mac_address: str = ""
    status: str = ""
    host: str = ""
    vlan: int = 0
    trunk: str = ""
    security_groups: tuple[str, ...] = ()
    created_at: str = ""
    condition: Condition = Condition.OK
    detail: str = ""
    labels: Mapping[str, str] = MappingProxyType({})


def port_rows(cluster: ClusterState, cloud: CloudState, config: Config) -> list[PortRow]:
    """Every pod of the pod network and every port of ours, of kuryr-kubernetes, or that looks like ours.

    Pods first, by namespace and name; then node ports; then ports that serve nobody. An address that somebody else
    took is recognised where `cloud` holds all ports of the network, not only ours. Raises Invalid where the
    configuration names a pod network that is not there.
    """
    own = find_own(cloud, msgspec.structs.replace(config, external_network=None))
    join = _Join(cluster, cloud, own)
    return [*join.pods(), *join.nodes(), *join.others()]


class _Join:
    def __init__(self, cluster: ClusterState, cloud: CloudState, own: Own) -> None:
        self.cluster = cluster
        self.cloud = cloud
        self.own = own
        self.ports = Ports(own.identity, cloud.ports.values())
        self.held = {held.pod_uid: held for held in cluster.kuryr_ports.values()}
        self.nodes_by_uid = {node.uid: node for node in cluster.nodes.values()}
        self.plugged = {
            plugged.port_id: (node.name, plugged.pod_uid)
            for node in cluster.kuryr_nodes.values()
            for plugged in node.plugged
        }
        self.subports = {
            sub.port_id: (trunk.id, sub.segmentation_id) for trunk in cloud.trunks.values() for sub in trunk.sub_ports
        }

    # -- rows

    def pods(self) -> Iterator[PortRow]:
        for pod in sorted(self.cluster.pods.values(), key=lambda pod: (pod.namespace, pod.name, pod.uid)):
            found = self.ports.of(pod_key(pod.uid))
            port = found[0] if found else None
            if pod.host_network or (port is None and pod.node and not pod.wants_port):
                continue
            condition, detail = self._of_pod(pod, port)
            row = PortRow(
                namespace=pod.namespace,
                pod=pod.name,
                pod_uid=pod.uid,
                role=POD,
                node=pod.node,
                condition=condition,
                detail=detail,
                labels=pod.labels,
            )
            yield self._with_port(row, port) if port else row

    def nodes(self) -> Iterator[PortRow]:
        for node in sorted(self.cluster.nodes.values(), key=lambda node: node.name):
            found = self.ports.of(node_key(node.uid))
            port = found[0] if found else None
            condition, detail = self._of_node(node, port)
            row = PortRow(role=NODE, node=node.name, condition=condition, detail=detail)
            yield self._with_port(row, port) if port else row

    def others(self) -> Iterator[PortRow]:
        """Ports without pod or node, and those that are not ours but concern us."""
        for port, claim in sorted(self.ports, key=lambda pair: pair[0].id):
            row = self._orphan(port, claim)
            if row:
                yield self._with_port(row, port)

    # -- conditions

    def _of_pod(self, pod: Pod, port: Port | None) -> tuple[Condition, str]:
        held = self.held.get(pod.uid)
        if not pod.node:
            return Condition.PENDING, "it has no node yet"
        if port is None:
            return self._without_port(pod, held)
        return next(self._troubles(pod, port, held), _up(port))

    def _troubles(self, pod: Pod, port: Port, held: KuryrPort | None) -> Iterator[tuple[Condition, str]]:
        """What is wrong with a pod's port, the cause before its consequences."""
        if not pod.wants_port:
            yield Condition.NO_POD, "its pod has finished; its port is about to be deleted"
        if port.host != pod.node:
            yield Condition.WRONG_HOST, f"its pod runs on {pod.node}, the port is bound to {port.host or 'no host'}"
        where, whose = self.plugged.get(port.id, (pod.node, pod.uid))
        if (where, whose) != (pod.node, pod.uid):
            yield Condition.IN_USE_ELSEWHERE, f"node {where} has plugged it for pod {whose}"
        if port.unbound:
            yield Condition.UNBOUND, f"Neutron's binding to {port.host}: {port.vif_type}"
        if held is None:
            yield Condition.PENDING, f"node {pod.node} is not told of it yet"
        elif not held.bound:
            waiting = pod.phase == "Pending" and not held.error
            detail = held.error or f"node {pod.node} has not plugged it"
            yield (Condition.PENDING if waiting else Condition.UNBOUND), detail

    def _without_port(self, pod: Pod, held: KuryrPort | None) -> tuple[Condition, str]:
        if held is None and pod.phase == "Pending":
            return Condition.PENDING, "its port is not made yet"
        pinned = held.interfaces[0].addresses if held and held.interfaces else pod.ips
        for address in (each.partition("/")[0] for each in pinned):
            taker = self._holder(address)
            if taker:
                return Condition.ADDRESS_TAKEN, f"{address} is held by port {taker.id} ({taker.name or 'no name'})"
        return Condition.NO_PORT, "the port that it was given does not exist"

    def _of_node(self, node: Node, port: Port | None) -> tuple[Condition, str]:
        told = self.cluster.kuryr_nodes.get(node.name)
        if port is None:
            known = told is not None and told.node_port is not None
            return (Condition.NO_PORT, "its port is gone") if known else (Condition.PENDING, "its port is not made yet")
        if port.host != node.name:
            return Condition.WRONG_HOST, f"the port of node {node.name} is bound to {port.host or 'no host'}"
        if port.unbound:
            return Condition.UNBOUND, f"Neutron's binding to {port.host}: {port.vif_type}"
        if told is None or told.node_port is None or told.node_port.port_id != port.id:
            return Condition.PENDING, "the node is not told of it yet"
        if told.error:
            return Condition.UNBOUND, told.error
        return _up(port)

    def _orphan(self, port: Port, claim: Claim) -> PortRow | None:
        if claim.proof is Proof.SUSPICIOUS:
            return PortRow(condition=Condition.FOREIGN, detail=f"it carries our tags, but {claim.why}")
        if claim.ours:
            if claim.uid in self.cluster.pods or claim.uid in self.nodes_by_uid:
                return None
            held = self.held.get(claim.uid)
            role = claim.key.split("/")[1]
            return PortRow(
                namespace=held.namespace if held else "",
                pod=held.name if held else "",
                pod_uid=claim.uid,
                role=role,
                condition=Condition.NO_POD,
                detail=f"it served a {role} that does not exist any more",
            )
        if is_legacy(port):
            owner = f'owner "{port.device_owner}"' if port.device_owner else "no owner (as a detached subport)"
            return PortRow(condition=Condition.LEGACY, detail=f"looks like kuryr-kubernetes': {owner}")
        return None

    # -- details

    def _holder(self, address: str) -> Port | None:
        network = self.own.identity.network_id
        return next((p for p in self._on(network) if any(ip.ip_address == address for ip in p.fixed_ips)), None)

    def _on(self, network_id: str) -> Iterable[Port]:
        return (port for port in self.cloud.ports.values() if port.network_id == network_id)

    def _with_port(self, row: PortRow, port: Port) -> PortRow:
        groups = self.cloud.security_groups
        trunk, vlan = self.subports.get(port.id, ("", 0))
        return msgspec.structs.replace(
            row,
            port_id=port.id,
            name=port.name,
            addresses=tuple(fixed.ip_address for fixed in port.fixed_ips),
            mac_address=port.mac_address,
            status=port.status,
            host=port.host,
            vlan=vlan,
            trunk=trunk,
            security_groups=tuple(groups[id_].name if id_ in groups else id_ for id_ in port.security_groups),
            created_at=port.created_at,
        )


def is_legacy(port: Port) -> bool:
    """Whether this port looks like kuryr-kubernetes': it marked by owner; a detached subport keeps names and tags.

    Of a port without owner that is the name of its pools, or no name and the site's tags: its ports were named with
    ``port_debug`` only. A tagged port with another name is somebody else's.
    Source: kuryr-kubernetes ``constants.py`` and Neutron's trunk drivers, which empty the owner of a detached subport.
    """
    if names.cluster_of(port.tags):
        return False
    owner = port.device_owner
    if owner.startswith(names.DEVICE_OWNER) or owner in LEGACY_OWNERS:
        return True
    return not owner and (port.name in LEGACY_NAMES or (not port.name and bool(port.tags)))


def _up(port: Port) -> tuple[Condition, str]:
    if not port.admin_state_up:
        return Condition.DOWN, "somebody has set its administrative state to down"
    if port.status == "DOWN":
        return Condition.DOWN, "Neutron has not seen it come up"
    return Condition.OK, ""
