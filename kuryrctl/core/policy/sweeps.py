"""Both judges over a whole cluster at once: with whom an end may speak on a port, as bits of one number.

A judge's single verdict explains; a sweep counts. Each sweep asks its own judge what matches, and does only the
arithmetic here: 10,000 ends are 1,250 bytes, and a union of them is one operation. Does not know: what is compared.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache

from kuryrctl.core.cloud import SecurityGroupRule
from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.policy.flows import Block, End, EndKind, block_of
from kuryrctl.core.policy.groups import GroupJudge
from kuryrctl.core.policy.kubernetes import KubernetesJudge, addresses_of, numbers
from kuryrctl.core.policy.model import Direction, NetworkPolicy, Peer, PolicyRule

Mask = int
"""A set of ends: bit N is the Nth end of the crowd."""


class Crowd:
    """The ends that have an address of one family, in the order of these: a CIDR is a run of bits."""

    def __init__(self, ends: Iterable[End], family: int) -> None:
        self.family = family
        found = {
            (block[1], str(end), end.id): end for end in ends if (block := end.block(family)) and block[1] == block[2]
        }
        self.ends = tuple(found[key] for key in sorted(found))
        self._numbers = [key[0] for key in sorted(found)]
        self.everyone: Mask = (1 << len(self.ends)) - 1
        self._of: dict[tuple[EndKind, str, int], Mask] = defaultdict(int)
        self._on: dict[str, Mask] = defaultdict(int)
        for place, end in enumerate(self.ends):
            self._of[end.kind, end.id or end.name, self._numbers[place]] |= 1 << place
            if end.kind is EndKind.NODE or end.host:
                self._on[end.node] |= 1 << place

    def within(self, block: Block) -> Mask:
        """Who has an address in this block."""
        if block[0] != self.family:
            return 0
        low, high = bisect_left(self._numbers, block[1]), bisect_right(self._numbers, block[2])
        return (1 << high) - (1 << low)

    def one(self, end: End) -> Mask:
        """This end alone; nobody, where it is not in the crowd."""
        block = end.block(self.family)
        return self._of.get((end.kind, end.id or end.name, block[1]), 0) if block else 0

    def node(self, name: str) -> Mask:
        """The node of this name, and who is on its network."""
        return self._on.get(name, 0) if name else 0

    def named(self, mask: Mask) -> Iterator[End]:
        """The ends in a mask."""
        while mask:
            lowest = mask & -mask
            yield self.ends[lowest.bit_length() - 1]
            mask ^= lowest


class KubernetesSweep:
    """With whom pods may speak by the policies of a cluster."""

    def __init__(self, judge: KubernetesJudge, cluster: ClusterState, crowd: Crowd) -> None:
        self._judge = judge
        self._crowd = crowd
        self._classes: dict[tuple[object, ...], Mask] = defaultdict(int)
        self._examples: dict[tuple[object, ...], Pod] = {}
        self._named: dict[tuple[str, str, int], Mask] = defaultdict(int)
        self._reported: Mask = 0
        self._inside: Mask = 0
        self._address_of: dict[str, Block] = {}
        for end in crowd.ends:
            block = end.block(crowd.family)
            if end.kind is EndKind.POD and block:
                self._address_of[end.id] = block
            if judge.is_inside(end, crowd.family):
                self._inside |= crowd.one(end)
            pod = cluster.pods.get(end.id) if end.kind is EndKind.POD else None
            if pod is not None and not pod.host_network:
                key = (pod.namespace, tuple(sorted(pod.labels.items())))
                self._examples.setdefault(key, pod)
                self._classes[key] |= crowd.one(end)
                self._reported |= crowd.one(end) if pod.ips else 0
                for port in pod.ports:
                    self._named[port.name, port.protocol, port.port] |= crowd.one(end)
        self._peers = lru_cache(maxsize=None)(self._find_peers)
        self._found: dict[tuple[object, ...], Mask] = {}
        self._of_rule: dict[tuple[str, Direction, int], tuple[Mask, Mask, Mask]] = {}

    def by_policies(
        self, pod: Pod, isolating: tuple[NetworkPolicy, ...], direction: Direction, protocol: str, port: int
    ) -> Mask:
        """Whom the policies that isolate a pod let it speak with; the pod itself and its node are not looked at."""
        if not isolating:
            limited = direction is Direction.INGRESS
            return self._within_limits(pod, protocol, port) if limited else self._crowd.everyone
        mask = 0
        for policy in isolating:
            ports = pod.ports if direction is Direction.INGRESS and _has_names(policy) else ()
            key = (policy.full_name, direction, protocol, port, ports)
            if key not in self._found:
                self._found[key] = self._by_policy(policy, direction, protocol, port, pod)
            mask |= self._found[key]
        return mask

    def _within_limits(self, pod: Pod, protocol: str, port: int) -> Mask:
        """Whom the source ranges of Services let in to a pod that no policy isolates."""
        address = self._address_of.get(pod.uid)
        limit = self._judge.limits.on(address, protocol, port) if address else None
        if limit is None:
            return self._crowd.everyone
        mask = self._inside
        for block in limit:
            mask |= self._crowd.within(block)
        return mask

    def _by_policy(self, policy: NetworkPolicy, direction: Direction, protocol: str, port: int, target: Pod) -> Mask:
        mask = 0
        for index, rule in enumerate(policy.rules(direction)):
            by_number, by_name = self._at_port(rule, direction, protocol, port, target)
            if by_number or by_name:
                key = (policy.full_name, direction, index)
                if key not in self._of_rule:
                    self._of_rule[key] = self._by_rule(policy.namespace, rule)
                selected, within, found = self._of_rule[key]
                mask |= (by_number | by_name) & selected | by_number & within | by_name & found
        return mask

    def _at_port(
        self, rule: PolicyRule, direction: Direction, protocol: str, port: int, target: Pod
    ) -> tuple[Mask, Mask]:
        """Of which ends the port is one of the rule's, by its number (all or none) and, in egress, by its name."""
        by_number, by_name = 0 if rule.ports else self._crowd.everyone, 0
        for each in rule.ports:
            if each.protocol == protocol:
                if direction is Direction.EGRESS and isinstance(each.port, str):
                    by_name |= self._named.get((each.port, protocol, port), 0)
                elif port in numbers(each, target):
                    by_number = self._crowd.everyone
        return by_number, by_name

    def _by_rule(self, namespace: str, rule: PolicyRule) -> tuple[Mask, Mask, Mask]:
        """Whom a rule's peers select, who is within their blocks, and whose named ports the blocks find."""
        selected, within = 0 if rule.peers else self._crowd.everyone, 0
        for peer in rule.peers:
            if peer.ip_block is None:
                selected |= self._peers(namespace, peer)
            else:
                within |= self._peers(namespace, peer)
        blocks = [block for peer in rule.peers for block in addresses_of(peer, self._crowd.family)]
        all_pods = self._judge.hold_all_pods(blocks, self._crowd.family)
        return selected, within, within if all_pods else within & self._reported

    def _find_peers(self, namespace: str, peer: Peer) -> Mask:
        mask = 0
        for block in addresses_of(peer, self._crowd.family):
            mask |= self._crowd.within(block)
        if peer.ip_block is None:
            for key, members in self._classes.items():
                if self._judge.is_peer(namespace, peer, self._examples[key]):
                    mask |= members
        return mask


class GroupSweep:
    """With whom the ports of a cloud may speak by their groups."""

    def __init__(self, judge: GroupJudge, crowd: Crowd) -> None:
        self._judge = judge
        self._crowd = crowd
        self._groups = lru_cache(maxsize=None)(self._find_group)
        self._carriers = lru_cache(maxsize=None)(self._find_carriers)

    def allowed(self, groups: tuple[str, ...], direction: Direction, protocol: str, port: int) -> Mask:
        """Whom these groups (ids) let a port speak with."""
        mask = 0
        for group in groups:
            mask |= self._groups(group, direction, protocol, port)
        return mask

    def ever_allowed(self, group: str, direction: Direction) -> Mask:
        """Whom a group lets a port speak with, on any port."""
        found = self._judge.groups.get(group)
        mask = 0
        for rule in found.security_group_rules if found else ():
            if rule.direction == direction and rule.ethertype == f"IPv{self._crowd.family}":
                mask |= self._remote(rule)
        return mask

    def _find_group(self, id_: str, direction: Direction, protocol: str, port: int) -> Mask:
        mask = 0
        for rule in self._judge.matching(id_, direction, self._crowd.family, protocol, port):
            mask |= self._remote(rule)
        return mask

    def _remote(self, rule: SecurityGroupRule) -> Mask:
        if rule.remote_group_id:
            return self._carriers(rule.remote_group_id)
        if rule.remote_ip_prefix:
            return self._crowd.within(block_of(rule.remote_ip_prefix))
        return 0 if rule.remote_address_group_id else self._crowd.everyone

    def _find_carriers(self, group: str) -> Mask:
        mask = 0
        for block in self._judge.carried.get(group, ()):
            mask |= self._crowd.within(block)
        return mask


def _has_names(policy: NetworkPolicy) -> bool:
    return any(isinstance(port.port, str) for rule in policy.ingress for port in rule.ports)
