"""What the NetworkPolicies of a cluster say about one connection, straight from the objects.

Source: Kubernetes API reference, networking.k8s.io/v1 NetworkPolicy; what it leaves open is decided in DESIGN (ipBlocks
match pods, too; a Service is reached where all its endpoints are). It shares words with the compiler, and no line that
matches anything: so it can judge it. Does not know: security groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.policy.ends import Ends
from kuryrctl.core.policy.flows import (
    Block,
    End,
    EndKind,
    Flow,
    Link,
    LinkKind,
    Reason,
    Side,
    Verdict,
    block_of,
    cut,
)
from kuryrctl.core.policy.limits import Limits
from kuryrctl.core.policy.model import Direction, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Selector

INGRESS, EGRESS = Direction


class KubernetesJudge:
    """Judges connections of one cluster. A pod, and no other end, can be isolated by policies.

    The configuration says where pods without a known address may be, and who enforces the source ranges of Services.
    """

    def __init__(self, cluster: ClusterState, config: Config) -> None:
        self._cluster = cluster
        self._pod_blocks = list(map(block_of, config.pod_network.known_cidrs))
        self.limits = Limits(cluster, config.services)
        self._pods = cluster.pods
        self._labels = {name: namespace.labels for name, namespace in cluster.namespaces.items()}
        self._policies: dict[str, list[NetworkPolicy]] = defaultdict(list)
        for _, policy in sorted(cluster.policies.items()):
            self._policies[policy.namespace].append(policy)
        self._node_blocks: dict[str, set[Block]] = defaultdict(set)
        for node in cluster.nodes.values():
            self._node_blocks[node.name].update(map(block_of, node.addresses))
        self._node_ports: set[Block] = set()
        for known in cluster.kuryr_nodes.values():
            if known.node_port:
                found = {block_of(text.partition("/")[0]) for text in known.node_port.addresses}
                self._node_blocks[known.name] |= found
                self._node_ports |= found

    def verdict(self, flow: Flow) -> Verdict:
        """Whether the policies allow it, and by what."""
        if flow.target.kind is not EndKind.SERVICE:
            return Verdict((self.side(EGRESS, flow), self.side(INGRESS, flow)))
        front = flow.target.front(flow.family, flow.protocol, flow.port)
        if front is None or not front.backends:
            return Verdict((Side(EGRESS, flow.source, flow.target, flow.port, Reason.NO_ENDPOINT),))
        flows = [Flow(flow.source, end, flow.family, flow.protocol, port) for end, port in front.backends]
        return Verdict((*map(self._to_endpoint, flows), *(self.side(INGRESS, each) for each in flows)))

    def side(self, direction: Direction, flow: Flow) -> Side:
        """What the policies of the source (EGRESS) or of the target (INGRESS) say. The target is no Service."""
        end, other = (flow.source, flow.target) if direction is EGRESS else (flow.target, flow.source)
        pod = self._pod(end)
        if pod is None or pod.host_network:
            return Side(direction, end, other, flow.port, Reason.OUTSIDE)
        if not _is_there(pod):
            return Side(direction, end, other, flow.port, Reason.FINISHED)
        if other.id == end.id:
            return Side(direction, end, other, flow.port, Reason.ITSELF)
        if self._is_node_of(pod, other, flow.family):
            return Side(direction, end, other, flow.port, Reason.OWN_NODE)
        block = other.block(flow.family)
        if block is not None and block[1] != block[2]:
            return self._with_all(direction, pod, flow, block)
        return self._by_policies(direction, pod, flow, [block] if block else [])

    def isolating(self, pod: Pod, direction: Direction) -> list[NetworkPolicy]:
        """The policies that isolate a pod in this direction, by name."""
        of_namespace = self._policies.get(pod.namespace, ())
        return [
            each for each in of_namespace if direction in each.directions and _selects(each.pod_selector, pod.labels)
        ]

    def _to_endpoint(self, flow: Flow) -> Side:
        """A Service's client is let out by policies alone: the VIP is not its own node, whoever is behind it."""
        pod = self._pod(flow.source)
        if pod is None or flow.source.id == flow.target.id or not _is_there(pod) or pod.host_network:
            return self.side(EGRESS, flow)
        block = flow.target.block(flow.family)
        return self._by_policies(EGRESS, pod, flow, [block] if block else [])

    def _with_all(self, direction: Direction, pod: Pod, flow: Flow, block: Block) -> Side:
        """A range: each pod and node in it as such, and the addresses that nobody has. The first refusal decides."""
        known = self._ends.within(block)
        for one in known:
            source, target = (flow.source, one) if direction is EGRESS else (one, flow.target)
            side = self.side(direction, Flow(source, target, flow.family, flow.protocol, flow.port))
            if not side.allowed:
                return side
        rest = cut(block, [found for end in known if (found := end.block(flow.family))])
        return self._by_policies(direction, pod, flow, rest) if rest else side

    def _by_policies(self, direction: Direction, pod: Pod, flow: Flow, left: list[Block]) -> Side:
        """What is said of an end by itself, or of all addresses in `left`."""
        end, other = (flow.source, flow.target) if direction is EGRESS else (flow.target, flow.source)
        isolating = self.isolating(pod, direction)
        if not isolating:
            limited = direction is INGRESS and not self._within_limits(flow, left)
            return Side(direction, end, other, flow.port, Reason.RANGES if limited else Reason.OPEN)
        chain = tuple(Link(LinkKind.POLICY, policy.full_name, policy.uid) for policy in isolating)
        addresses = bool(left)
        for policy in isolating:
            for index, rule in enumerate(policy.rules(direction)):
                if not self._is_port(rule.ports, flow):
                    continue
                whole, blocks = self._peers(policy, rule, other, flow.family)
                if direction is EGRESS and not self._has_named_port(rule.ports, flow, blocks):
                    blocks = []
                left = [piece for part in left for piece in cut(part, blocks)]
                if whole or (addresses and not left):
                    rule_links = (
                        Link(LinkKind.POLICY, policy.full_name, policy.uid),
                        Link(LinkKind.RULE, f"{direction}[{index}]"),
                    )
                    return Side(direction, end, other, flow.port, Reason.RULE, chain + rule_links)
        return Side(direction, end, other, flow.port, Reason.ISOLATED, chain)

    def _within_limits(self, flow: Flow, left: list[Block]) -> bool:
        """Whether the source ranges of the Services that send to a pod let these addresses, or who has them, in."""
        own = flow.target.block(flow.family)
        limit = self.limits.on(own, flow.protocol, flow.port) if own else None
        if limit is None or self.is_inside(flow.source, flow.family):
            return True
        return bool(left) and not any(piece for part in left for piece in cut(part, limit))

    def is_inside(self, end: End, family: int) -> bool:
        """Whether this is a pod with a port of its own, or a node by its port on the pod network."""
        pod = self._pod(end)
        if pod is not None:
            return not pod.host_network and _is_there(pod)
        return end.kind is EndKind.NODE and end.block(family) in self._node_ports

    def _peers(self, policy: NetworkPolicy, rule: PolicyRule, other: End, family: int) -> tuple[bool, list[Block]]:
        """Whether a rule's peers have the end as a whole, and which addresses of this family they have."""
        if not rule.peers:
            return True, []
        pod = self._pod(other)
        if pod is not None and any(self.is_peer(policy.namespace, peer, pod) for peer in rule.peers):
            return True, []
        return False, [block for peer in rule.peers for block in addresses_of(peer, family)]

    def is_peer(self, namespace: str, peer: Peer, pod: Pod) -> bool:
        """Whether the peer's selectors have this pod: none selects who is on the host's network, or has finished."""
        if peer.ip_block is not None or pod.host_network or not _is_there(pod):
            return False
        if peer.namespace_selector is None:
            if pod.namespace != namespace:
                return False
        elif pod.namespace not in self._labels or not _selects(peer.namespace_selector, self._labels[pod.namespace]):
            return False
        return peer.pod_selector is None or _selects(peer.pod_selector, pod.labels)

    def _is_port(self, ports: Iterable[PolicyPort], flow: Flow) -> bool:
        target = self._pod(flow.target)
        return not ports or any(port.protocol == flow.protocol and flow.port in numbers(port, target) for port in ports)

    def _has_named_port(self, ports: Iterable[PolicyPort], flow: Flow, blocks: list[Block]) -> bool:
        """Whether address blocks may lead to the port: they find a name by the addresses that a pod has reported, or,
        where they hold all pods, before it has reported any."""
        target = self._pod(flow.target)
        of_protocol = [port for port in ports if port.protocol == flow.protocol]
        by_number = (port for port in of_protocol if not isinstance(port.port, str))
        if not ports or any(flow.port in numbers(port, target) for port in by_number):
            return True
        return target is not None and (bool(target.ips) or self.hold_all_pods(blocks, flow.family))

    def hold_all_pods(self, blocks: list[Block], family: int) -> bool:
        """Whether blocks hold every address of this family that a pod can have."""
        pods = [each for each in self._pod_blocks if each[0] == family]
        return bool(pods) and not any(cut(each, blocks) for each in pods)

    def _is_node_of(self, pod: Pod, other: End, family: int) -> bool:
        if other.kind is EndKind.NODE or other.host:
            return bool(pod.node) and other.node == pod.node
        block = other.block(family)
        return other.kind is not EndKind.POD and block is not None and block in self._node_blocks.get(pod.node, ())

    @cached_property
    def _ends(self) -> Ends:
        return Ends(self._cluster)

    def _pod(self, end: End) -> Pod | None:
        return self._pods.get(end.id) if end.kind is EndKind.POD else None


def numbers(port: PolicyPort, target: Pod | None) -> range | set[int]:
    """The numbers that a port stands for: a name means what the target's own containers call so."""
    match port.port:
        case None:
            return range(1, 65536)
        case int(number):
            return range(number, (port.end_port or number) + 1)
        case name:
            known = () if target is None or target.host_network else target.ports
            return {each.port for each in known if (each.name, each.protocol) == (name, port.protocol)}


def _is_there(pod: Pod) -> bool:
    return pod.phase not in ("Succeeded", "Failed")


def addresses_of(peer: Peer, family: int) -> Iterator[Block]:
    """The addresses of an ipBlock without its exceptions, in pieces; of another peer, or a malformed block, none."""
    if peer.ip_block is None:
        return
    try:
        block, *exceptions = map(block_of, (peer.ip_block.cidr, *peer.ip_block.except_))
    except ValueError:
        return
    if block[0] == family:
        yield from cut(block, (each for each in exceptions if each[0] == family))


def _selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Kubernetes, Labels and Selectors: all requirements hold; a key that is absent meets NotIn and DoesNotExist."""
    for requirement in selector.requirements:
        present, value = requirement.key in labels, labels.get(requirement.key)
        holds = {
            Operator.EXISTS: present,
            Operator.DOES_NOT_EXIST: not present,
            Operator.IN: present and value in requirement.values,
            Operator.NOT_IN: not present or value not in requirement.values,
        }
        if not holds[requirement.operator]:
            return False
    return True
