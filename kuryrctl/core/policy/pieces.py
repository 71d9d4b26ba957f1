"""The addresses that somebody's CIDRs tell apart: both IP versions, cut at every border.

Does not know: who names the CIDRs, what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from kuryrctl.core.policy.flows import FAMILIES, Block, block_of
from kuryrctl.core.policy.model import NetworkPolicy

_BITS = {4: 32, 6: 128}


def pieces(blocks: Iterable[Block]) -> Iterator[Block]:
    """All addresses of each IP version in their order, cut wherever one of the blocks begins or ends."""
    known = tuple(blocks)
    for family in FAMILIES:
        end = 1 << _BITS[family]
        borders = {0, end} | {at for version, low, high in known if version == family for at in (low, high + 1)}
        yield from ((family, low, after - 1) for low, after in pairwise(sorted(borders)))


def blocks_of(policies: Iterable[NetworkPolicy]) -> set[Block]:
    """The CIDRs and exceptions that policies name."""
    rules = (rule for policy in policies for rule in (*policy.ingress, *policy.egress))
    named = (peer.ip_block for rule in rules for peer in rule.peers if peer.ip_block)
    found: set[Block] = set()
    for block in named:
        with suppress(ValueError):  # a malformed block has no addresses
            found |= {block_of(text) for text in (block.cidr, *block.except_)}
    return found


def text_of(family: int, number: int) -> str:
    """An address as people write it."""
    return str(IPv4Address(number) if family == 4 else IPv6Address(number))
