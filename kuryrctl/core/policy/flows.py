"""What both judges of policies share: the ends of a connection, the connection, and the verdict with its reasons.

Only words and the arithmetic of addresses. Does not know: policies, security groups, who matches what.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network

from msgspec import Struct

from kuryrctl.core.policy.model import Direction

FAMILIES = (4, 6)
PROTOCOLS = ("TCP", "UDP", "SCTP")


class EndKind(StrEnum):
    """What may be at an end of a connection; its value is the noun people read."""

    POD = "pod"
    PORT = "port"
    NODE = "node"
    SERVICE = "service"
    ADDRESS = "address"


class Front(Struct, frozen=True):
    """One port of a Service's VIP of one family, and its ready endpoints with the port that each answers on.

    Endpoints that answer on every port have the Service's own one.
    """

    family: int
    protocol: str
    port: int
    backends: tuple[tuple[End, int], ...] = ()


class End(Struct, frozen=True):
    """An end of a connection. `id` is Kubernetes' uid, or Neutron's for a port; empty where there is none.

    `addresses`: as the other end sees it, at most one of each family; for an ADDRESS also one CIDR, which stands for
    every address in it. `node` is the node's name that a pod runs on, or that a node has. `host`: in its node's
    network namespace. `fronts` are a Service's only.
    """

    kind: EndKind
    name: str
    id: str = ""
    addresses: tuple[str, ...] = ()
    node: str = ""
    host: bool = False
    fronts: tuple[Front, ...] = ()

    def __str__(self) -> str:
        return self.name if self.kind is EndKind.ADDRESS else f"{self.kind} {self.name}"

    def block(self, family: int) -> Block | None:
        """Its addresses of this family; None: it has none."""
        for text in self.addresses:
            block = block_of(text)
            if block[0] == family:
                return block
        return None

    def front(self, family: int, protocol: str, port: int) -> Front | None:
        """What answers at this port of a Service; None: nothing."""
        wanted = (family, protocol, port)
        return next((front for front in self.fronts if (front.family, front.protocol, front.port) == wanted), None)


class Flow(Struct, frozen=True):
    """A connection: its first packet goes from `source` to port `port` (1 to 65535) of `target`.

    `family` is 4 or 6, `protocol` TCP, UDP or SCTP.
    """

    source: End
    target: End
    family: int
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.source} to {self.target}, port {self.port}/{self.protocol}, IPv{self.family}"


class Reason(StrEnum):
    """Why one end lets a connection pass, or does not."""

    RULE = "a rule allows it"
    OPEN = "no policy isolates it"
    ITSELF = "a pod always reaches itself"
    OWN_NODE = "a pod and its own node always reach each other"
    OUTSIDE = "nothing of ours restricts it"
    PORT_SECURITY = "its port has no port security"
    ISOLATED = "no rule allows it"
    RANGES = "the source ranges of the Services that send to it leave it out"
    NO_GROUPS = "its port has no security group, so nothing passes"
    NO_PORT = "no port in the cloud has its address"
    NO_ENDPOINT = "no endpoint of the Service is ready there"
    FINISHED = "the pod has finished"


ALLOWING = frozenset({Reason.RULE, Reason.OPEN, Reason.ITSELF, Reason.OWN_NODE, Reason.OUTSIDE, Reason.PORT_SECURITY})


class LinkKind(StrEnum):
    """What a link of the chain names."""

    POLICY = "policy"
    RULE = "rule"
    PORT = "port"
    GROUP = "security-group"
    GROUP_RULE = "security-group-rule"


class Link(Struct, frozen=True):
    """One thing that a verdict rests on.

    `name` is what people read (a policy's ``namespace/name``, ``ingress[0]``, a group's name), `id` its uid or the
    cloud's id. A rule comes right behind the policy or group that has it.
    """

    kind: LinkKind
    name: str
    id: str = ""


class Side(Struct, frozen=True):
    """What one end says of a connection: `end` lets it out (EGRESS) or in (INGRESS), or not.

    `chain`: first all policies that isolate the end, or its port with all groups; behind them, where a rule allows it,
    whose rule that is, and the rule. `other` is whom it speaks with: a Service's client speaks with its endpoints, too.
    """

    direction: Direction
    end: End
    other: End
    port: int
    reason: Reason
    chain: tuple[Link, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the end lets it pass."""
        return self.reason in ALLOWING

    def __str__(self) -> str:
        verb = "lets it out to" if self.direction is Direction.EGRESS else "lets it in from"
        because = f": {', '.join(f'{link.kind} {link.name}' for link in self.chain)}" if self.chain else ""
        refusal = "" if self.allowed else "not: "
        return f"{self.end} {verb} {self.other} port {self.port}: {refusal}{self.reason}{because}"


class Verdict(Struct, frozen=True):
    """Whether a connection is allowed: every side must let it pass. Only the first packet counts: answers always may.

    The client's sides come first. A Service's clients need every ready endpoint: see DESIGN, egress to a Service.
    """

    sides: tuple[Side, ...]

    @property
    def allowed(self) -> bool:
        """Whether it is allowed."""
        return all(side.allowed for side in self.sides)

    def side(self, direction: Direction) -> tuple[Side, ...]:
        """What was said in this direction."""
        return tuple(side for side in self.sides if side.direction is direction)


# Addresses ------------------------------------------------------------------------------------------------------------

Block = tuple[int, int, int]
"""Family, first and last address as numbers."""


@lru_cache(maxsize=65536)
def block_of(text: str) -> Block:
    """The block of an address or a CIDR (host bits do not count). Raises ValueError for anything else."""
    network = ip_network(text, strict=False)
    return network.version, int(network.network_address), int(network.broadcast_address)


def text_of(family: int, number: int) -> str:
    """An address as people write it."""
    return str(IPv4Address(number) if family == 4 else IPv6Address(number))


def inside(block: Block, other: Block) -> bool:
    """Whether all of `block` is in `other`."""
    return block[0] == other[0] and other[1] <= block[1] and block[2] <= other[2]


def cut(block: Block, away: Iterable[Block]) -> list[Block]:
    """What is left of `block` without all of `away`; pieces in order."""
    family, low, high = block
    left: list[Block] = []
    for other, first, last in sorted(away):
        if other != family or last < low or first > high:
            continue
        if first > low:
            left.append((family, low, first - 1))
        low = max(low, last + 1)
    if low <= high:
        left.append((family, low, high))
    return left
