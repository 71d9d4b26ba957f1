"""What the security groups in the cloud say about one connection, from what was observed alone.

Source: Neutron API reference v2.0, security groups: a group without a matching rule drops; a port with several groups
has the union of their rules; a remote group stands for the addresses of the ports that carry it; a port without port
security passes everything, one with it and no group nothing. Groups are stateful: who may send the first packet gets
the answers. Does not know: Kubernetes, what the groups were made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from kuryrctl.core import names
from kuryrctl.core.cloud import CloudState, Port, SecurityGroup, SecurityGroupRule
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
from kuryrctl.core.policy.model import Direction

INGRESS, EGRESS = Direction
_NUMBERS = {"TCP": "6", "UDP": "17", "SCTP": "132"}
_ANY = (None, "", "any", "0")


class GroupJudge:
    """Judges connections of one cloud. An address belongs to every port that has it, also as an allowed pair.

    `groups` by id; `carried`: the addresses that each group stands for as a remote.
    """

    def __init__(self, cloud: CloudState) -> None:
        self._ports = cloud.ports
        self.groups = cloud.security_groups
        self._by_block: dict[Block, list[Port]] = defaultdict(list)
        self._by_device: dict[str, list[Port]] = defaultdict(list)
        self.carried: dict[str, set[Block]] = defaultdict(set)
        self._wide: dict[str, set[Block]] = defaultdict(set)
        self._rules: dict[tuple[str, str, str], list[SecurityGroupRule]] = defaultdict(list)
        for known in cloud.security_groups.values():
            for rule in sorted(known.security_group_rules, key=lambda rule: rule.id):
                self._rules[known.id, rule.direction, rule.ethertype].append(rule)
        for _, port in sorted(cloud.ports.items()):
            if names.cluster_of(port.tags):
                self._by_device[port.device_id].append(port)
            for block in _blocks(port):
                self._by_block[block].append(port)
                for group in port.security_groups:
                    self.carried[group].add(block)
                    if block[1] != block[2]:
                        self._wide[group].add(block)

    def verdict(self, flow: Flow) -> Verdict:
        """Whether the groups of both ends' ports allow it, and by what."""
        if flow.target.kind is not EndKind.SERVICE:
            return Verdict((self.side(EGRESS, flow), self.side(INGRESS, flow)))
        front = flow.target.front(flow.family, flow.protocol, flow.port)
        if front is None or not front.backends:
            return Verdict((Side(EGRESS, flow.source, flow.target, flow.port, Reason.NO_ENDPOINT),))
        sides = [self.side(EGRESS, flow)]
        for end, port in front.backends:
            to_backend = Flow(flow.source, end, flow.family, flow.protocol, port)
            sides.append(self._side(EGRESS, to_backend, flow.source, end))
            seen = flow.target if end.id and end.id == flow.source.id else flow.source
            sides.append(self._side(INGRESS, to_backend, end, seen))
        return Verdict(tuple(sides))

    def side(self, direction: Direction, flow: Flow) -> Side:
        """What the groups of the source's port (EGRESS) or of the target's (INGRESS) say."""
        end, other = (flow.source, flow.target) if direction is EGRESS else (flow.target, flow.source)
        if end.id and end.id == other.id:
            return Side(direction, end, other, flow.port, Reason.ITSELF)
        return self._side(direction, flow, end, other)

    def port_of(self, end: End, family: int) -> Port | None:
        """The port by which an end is on the network; None: it has none in this cloud.

        A pod's is the one that is tagged for it, or has its address; a Service's VIP has a port, but no groups there.
        """
        if end.kind is EndKind.PORT:
            return self._ports.get(end.id)
        if end.kind is EndKind.SERVICE:
            return None
        block = end.block(family)
        with_address = self._by_block.get(block, []) if block else []
        if end.kind is EndKind.POD and not end.host:
            own = self._by_device.get(end.id, [])
            return next((port for port in with_address if port in own), None) or next(iter([*own, *with_address]), None)
        return next(iter(with_address), None)

    def matching(
        self, group: str, direction: Direction, family: int, protocol: str, port: int
    ) -> Iterator[SecurityGroupRule]:
        """The rules of a group (its id) that match but for the remote, by id."""
        for rule in self._rules.get((group, direction, f"IPv{family}"), ()):
            if rule.protocol not in _ANY:
                if str(rule.protocol).lower() not in (protocol.lower(), _NUMBERS[protocol]):
                    continue
                low, high = rule.port_range_min, rule.port_range_max
                if low is not None and high is not None and not low <= port <= high:
                    continue
            yield rule

    def _side(self, direction: Direction, flow: Flow, end: End, other: End) -> Side:
        """As `side`, but also where both ends are the same: a connection that comes back from a Service's VIP."""
        port = self.port_of(end, flow.family)
        if port is None:
            missing = end.kind is EndKind.POD and not end.host
            return Side(direction, end, other, flow.port, Reason.NO_PORT if missing else Reason.OUTSIDE)
        chain = [Link(LinkKind.PORT, port.name or port.id, port.id)]
        if not port.port_security_enabled:
            return Side(direction, end, other, flow.port, Reason.PORT_SECURITY, tuple(chain))
        groups = [self.groups[id_] for id_ in sorted(port.security_groups) if id_ in self.groups]
        chain += [_link(group) for group in groups]
        if not port.security_groups:
            return Side(direction, end, other, flow.port, Reason.NO_GROUPS, tuple(chain))
        block = other.block(flow.family)
        left = [block] if block else []
        if block and block[1] != block[2]:
            left = cut(block, _blocks(port))  # it always reaches itself
        for group in groups:
            for rule in self.matching(group.id, direction, flow.family, flow.protocol, flow.port):
                everyone, blocks = self._remote(rule, block)
                left = [piece for part in left for piece in cut(part, blocks)]
                if everyone or (block and not left):
                    chain += [_link(group), Link(LinkKind.GROUP_RULE, describe(rule), rule.id)]
                    return Side(direction, end, other, flow.port, Reason.RULE, tuple(chain))
        return Side(direction, end, other, flow.port, Reason.ISOLATED, tuple(chain))

    def _remote(self, rule: SecurityGroupRule, block: Block | None) -> tuple[bool, list[Block]]:
        """Whether a rule is for all of `block` as it is, and else for which addresses, of those that may concern it."""
        if rule.remote_group_id:
            carried = self.carried.get(rule.remote_group_id, set())
            if block is None or block in carried:
                return block is not None, []
            return False, list(self._wide.get(rule.remote_group_id, ()) if block[1] == block[2] else carried)
        if rule.remote_address_group_id:
            return False, []
        if not rule.remote_ip_prefix:
            return True, []
        return False, [block_of(rule.remote_ip_prefix)]


def describe(rule: SecurityGroupRule) -> str:
    """A rule as people read it: ``ingress IPv4 tcp 80-90 from 10.0.0.0/8``."""
    ports = "" if rule.port_range_min is None else f" {rule.port_range_min}"
    if ports and rule.port_range_max != rule.port_range_min:
        ports += f"-{rule.port_range_max}"
    group = f"group {rule.remote_group_id}" if rule.remote_group_id else ""
    remote = rule.remote_ip_prefix or group or "anywhere"
    way = "from" if rule.direction == INGRESS else "to"
    return f"{rule.direction} {rule.ethertype} {rule.protocol or 'any protocol'}{ports} {way} {remote}"


def _blocks(port: Port) -> set[Block]:
    pairs = {pair.ip_address for pair in port.allowed_address_pairs}
    return {block_of(text) for text in {fixed.ip_address for fixed in port.fixed_ips} | pairs}


def _link(group: SecurityGroup) -> Link:
    return Link(LinkKind.GROUP, group.name or group.id, group.id)
