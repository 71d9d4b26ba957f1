"""What is probably not meant in a NetworkPolicy, or cannot be enforced here: findings with stable codes.

Each finding is about one policy and can be accepted in its annotation (`core.lint`). Does not know: files, formats of
reports, what the cloud holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from types import MappingProxyType

from kuryrctl.core.cluster import FINISHED_PHASES, ClusterState, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.lint import Check, Level, LintFinding, judged
from kuryrctl.core.policy.entries import block_ranges, is_block
from kuryrctl.core.policy.model import Direction, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.policy.ranges import Ranges, covers, network, union
from kuryrctl.core.selectors import Selector

LINT_SCHEMA = "kuryrctl.policy-lint/1"
MANY_RULES = 50
"""Half of the security group rules that Neutron's default quota grants a whole project."""
_EVERYWHERE = ("0.0.0.0/0", "::/0")


SELECTS_NOTHING = Check("POL-SELECTS-NOTHING", Level.WARNING, "The policy selects no pod")
DUPLICATE = Check("POL-DUPLICATE", Level.WARNING, "Another policy of the namespace says the same")
UNREACHABLE_RULE = Check("POL-UNREACHABLE-RULE", Level.WARNING, "A rule allows nothing that is not allowed already")
NAMED_PORT = Check("POL-NAMED-PORT", Level.ERROR, "No pod has a container port of that name and protocol")
UNKNOWN_PORT = Check("POL-NAMED-PORT-UNKNOWN", Level.NOTE, "No pod is known that could have a port of that name")
HOST_NETWORK = Check("POL-HOST-NETWORK", Level.WARNING, "A selected pod uses its node's network")
HOST_NETWORK_PEER = Check("POL-HOST-NETWORK-PEER", Level.WARNING, "A peer uses its node's network")
OPENS_ALL = Check("POL-OPENS-ALL", Level.WARNING, "A rule allows everything in its direction")
MANY = Check("POL-RULE-COUNT", Level.WARNING, "The policy needs many security group rules")
SERVICE_RANGE = Check("POL-SERVICE-RANGE", Level.NOTE, "An address block contains Service addresses")
NOT_ENFORCEABLE = Check("POL-NOT-ENFORCEABLE", Level.WARNING, "Security groups cannot do what the rule says here")
BAD_BLOCK = Check("POL-CIDR", Level.ERROR, "An address block is none, and allows nothing")
SUPPRESSION = Check("POL-IGNORE", Level.ERROR, "An acceptance has no reason, or names no known code")
CHECKS = (
    SELECTS_NOTHING, DUPLICATE, UNREACHABLE_RULE, NAMED_PORT, UNKNOWN_PORT, HOST_NETWORK, HOST_NETWORK_PEER, OPENS_ALL,
    MANY, SERVICE_RANGE, NOT_ENFORCEABLE, BAD_BLOCK, SUPPRESSION,
)  # fmt: skip


def lint(
    cluster: ClusterState, config: Config, rule_counts: Mapping[str, int] = MappingProxyType({})
) -> tuple[LintFinding, ...]:
    """All findings of all policies, in the order of their names.

    `rule_counts` tells how many security group rules a policy needs, by ``namespace/name``; where it does not, that is
    not judged.
    """
    pods = _pods_by_namespace(cluster)
    found: list[LintFinding] = []
    for policy in sorted(cluster.policies.values(), key=lambda policy: policy.full_name):
        told = [*_Linter(policy, cluster, config, pods).findings(), *_duplicates(policy, cluster)]
        if (count := rule_counts.get(policy.full_name, 0)) > MANY_RULES:
            told.append(LintFinding(MANY, policy.full_name, f"it needs {count} rules, more than {MANY_RULES}", "spec"))
        found += judged(policy.full_name, policy.lint_ignore, told, CHECKS, SUPPRESSION)
    return tuple(found)


class _Linter:
    """The findings of one policy by itself."""

    def __init__(
        self, policy: NetworkPolicy, cluster: ClusterState, config: Config, pods: dict[str, list[Pod]]
    ) -> None:
        self._policy = policy
        self._cluster = cluster
        self._config = config
        self._pods = pods
        here = pods.get(policy.namespace, [])
        self._selected = [pod for pod in here if policy.pod_selector.matches(pod.labels)]

    def findings(self) -> Iterator[LintFinding]:
        """In the order of the manifest."""
        if not self._selected:
            where = f"no pod of namespace {self._policy.namespace} has these labels"
            yield self._found(SELECTS_NOTHING, where, "spec.podSelector")
        on_host = sorted(pod.name for pod in self._selected if pod.host_network)
        if on_host:
            told = f"{_listed(on_host)} use their node's network: this policy does not protect them"
            yield self._found(HOST_NETWORK, told, "spec.podSelector")
        for direction in Direction:
            rules = self._policy.ingress if direction is Direction.INGRESS else self._policy.egress
            for index, rule in enumerate(rules):
                yield from self._rule(direction, index, rule, rules)

    def _rule(
        self, direction: Direction, index: int, rule: PolicyRule, rules: tuple[PolicyRule, ...]
    ) -> Iterator[LintFinding]:
        at = f"spec.{direction}[{index}]"
        if direction not in self._policy.directions:
            yield self._found(UNREACHABLE_RULE, f"policyTypes does not contain {direction.capitalize()}", at)
            return
        others = [other for position, other in enumerate(rules) if position != index]
        covering = [other for other in others if _covers(other, rule)]
        if any(not _covers(rule, other) or rules.index(other) < index for other in covering):
            yield self._found(UNREACHABLE_RULE, "another rule of the policy allows at least as much", at)
        if not rule.ports and (not rule.peers or any(_is_everywhere(peer) for peer in rule.peers)):
            yield self._found(OPENS_ALL, f"it allows all {direction} traffic of the selected pods", at)
        word = "from" if direction is Direction.INGRESS else "to"
        for position, peer in enumerate(rule.peers):
            yield from self._peer(direction, peer, f"{at}.{word}[{position}]")
        for position, port in enumerate(rule.ports):
            if isinstance(port.port, str):
                yield from self._named(direction, rule, port, f"{at}.ports[{position}]")

    def _peer(self, direction: Direction, peer: Peer, at: str) -> Iterator[LintFinding]:
        block = peer.ip_block
        if block is not None and not is_block(block):
            texts = ", ".join((block.cidr, *block.except_))
            yield self._found(BAD_BLOCK, f"not all of this are CIDRs: {texts}; the block allows nothing", at)
            return
        if block is not None:
            cidr = ip_network(block.cidr, strict=False)
            _, whole = network(block.cidr)
            if covers(union(removed for _, removed in map(network, block.except_)), *whole):
                yield self._found(UNREACHABLE_RULE, f"except leaves nothing of {block.cidr}", at)
            families = {ip_network(each).version for each in self._config.pod_network.cidrs}
            if not self._config.pod_network.name and cidr.version not in families:
                yield self._found(NOT_ENFORCEABLE, f"the pod network has no IPv{cidr.version} addresses", at)
            services = [ip_network(each) for each in self._config.service_cidrs]
            inside = [str(each) for each in services if each.version == cidr.version and each.overlaps(cidr)]
            if direction is Direction.EGRESS and inside:
                told = f"{block.cidr} contains Service addresses ({', '.join(inside)}): they are allowed by their"
                yield self._found(SERVICE_RANGE, f"{told} endpoints, not by this block", at)
            return
        matched = list(self._peers(peer))
        if not any(not pod.host_network for pod in matched):
            if matched:
                told = f"only {_listed([pod.full_name for pod in matched])} match, which use their node's network"
                yield self._found(HOST_NETWORK_PEER, f"{told}: name their nodes by ipBlock", at)
            else:
                yield self._found(UNREACHABLE_RULE, "no pod matches this peer now", at)

    def _named(self, direction: Direction, rule: PolicyRule, port: PolicyPort, at: str) -> Iterator[LintFinding]:
        if direction is Direction.INGRESS:
            targets, whose = self._selected, "selected"
        elif rule.peers:
            targets, whose = [pod for peer in rule.peers for pod in self._peers(peer)], "allowed"
        else:
            targets, whose = [pod for pods in self._pods.values() for pod in pods], "other"
        if not any(self._pods.get(namespace) for namespace in self._named_in(direction, rule)):
            told = f'no pod is known that could have a container port named "{port.port}"'
            yield self._found(UNKNOWN_PORT, f"{told}: whether the rule allows anything cannot be told", at)
        elif not any(
            each.name == port.port and each.protocol == port.protocol for pod in targets for each in pod.ports
        ):
            told = f'no {whose} pod has a container port named "{port.port}" with protocol {port.protocol}'
            yield self._found(NAMED_PORT, f"{told}: the rule allows nothing", at)

    def _named_in(self, direction: Direction, rule: PolicyRule) -> Iterable[str]:
        """The namespaces whose pods say what a named port of a rule is."""
        if direction is Direction.INGRESS:
            return (self._policy.namespace,)
        if not rule.peers or any(peer.ip_block for peer in rule.peers):
            return self._pods
        return {each for peer in rule.peers for each in self._namespaces(peer)}

    def _namespaces(self, peer: Peer) -> list[str]:
        if peer.ip_block is not None:
            return []
        if peer.namespace_selector is None:
            return [self._policy.namespace]
        everywhere = self._cluster.namespaces.values()
        return [each.name for each in everywhere if peer.namespace_selector.matches(each.labels)]

    def _peers(self, peer: Peer) -> Iterator[Pod]:
        selector = peer.pod_selector or Selector()
        for namespace in self._namespaces(peer):
            yield from (pod for pod in self._pods.get(namespace, ()) if selector.matches(pod.labels))

    def _found(self, check: Check, message: str, field: str) -> LintFinding:
        return LintFinding(check, self._policy.full_name, message, field)


def _duplicates(policy: NetworkPolicy, cluster: ClusterState) -> Iterator[LintFinding]:
    """Told of the later name only: the first one may stay."""
    for other in cluster.policies.values():
        if (other.namespace, _meaning(other)) == (policy.namespace, _meaning(policy)) and other.name < policy.name:
            yield LintFinding(DUPLICATE, policy.full_name, f"it says what {other.full_name} says", "spec")
            return


def _meaning(policy: NetworkPolicy) -> tuple[object, ...]:
    """The same for policies that differ in the order and the spelling of their parts alone."""
    rules = [
        frozenset((not rule.peers, frozenset(map(_peer, rule.peers)), frozenset(rule.ports)) for rule in each)
        for each in map(policy.rules, Direction)
    ]
    return _labels(policy.pod_selector), policy.directions, *rules


def _peer(peer: Peer) -> tuple[object, ...]:
    if peer.ip_block is not None:
        return block_ranges(peer.ip_block) if is_block(peer.ip_block) else (peer.ip_block,)
    if peer.namespace_selector is None:
        return _labels(peer.pod_selector), None
    return _labels(peer.pod_selector or Selector()), _labels(peer.namespace_selector)


def _labels(selector: Selector | None) -> frozenset[object] | None:
    if selector is None:
        return None
    return frozenset((each.key, each.operator, frozenset(each.values)) for each in selector.requirements)


def _covers(wide: PolicyRule, narrow: PolicyRule) -> bool:
    """Whether one rule allows all that another one does, as far as their text tells."""
    known = set(map(_peer, wide.peers))
    blocks = [block_ranges(peer.ip_block) for peer in wide.peers if peer.ip_block and is_block(peer.ip_block)]
    peers = not wide.peers or (
        bool(narrow.peers) and all(_peer(each) in known or _within(each, blocks) for each in narrow.peers)
    )
    ports = not wide.ports or (bool(narrow.ports) and all(any(_spans(w, n) for w in wide.ports) for n in narrow.ports))
    return peers and ports


def _within(peer: Peer, blocks: list[tuple[int, Ranges]]) -> bool:
    """Whether all addresses of a peer that is a block are in these."""
    if peer.ip_block is None or not is_block(peer.ip_block):
        return False
    version, ranges = block_ranges(peer.ip_block)
    together = union(piece for other, others in blocks for piece in others if other == version)
    return all(covers(together, *piece) for piece in ranges)


def _spans(wide: PolicyPort, narrow: PolicyPort) -> bool:
    if wide == narrow:
        return True
    if wide.protocol != narrow.protocol or isinstance(wide.port, str):
        return False
    if wide.port is None:
        return True
    if not isinstance(narrow.port, int):
        return False
    return wide.port <= narrow.port and (narrow.end_port or narrow.port) <= (wide.end_port or wide.port)


def _is_everywhere(peer: Peer) -> bool:
    return peer.ip_block is not None and peer.ip_block.cidr in _EVERYWHERE and not peer.ip_block.except_


def _pods_by_namespace(cluster: ClusterState) -> dict[str, list[Pod]]:
    found: dict[str, list[Pod]] = {}
    for pod in cluster.pods.values():
        if pod.phase not in FINISHED_PHASES:
            found.setdefault(pod.namespace, []).append(pod)
    return found


def _listed(names: list[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
