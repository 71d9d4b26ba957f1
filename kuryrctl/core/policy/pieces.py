"""The addresses that somebody's CIDRs tell apart: both IP versions, cut at every border.

Does not know: who names the CIDRs, what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise

from msgspec import Struct

from kuryrctl.core.policy.flows import FAMILIES, Block, block_of, cut, inside, text_of
from kuryrctl.core.policy.model import NetworkPolicy

EVERYTHING: tuple[Block, ...] = tuple(map(block_of, ("0.0.0.0/0", "::/0")))
_BITS = {4: 32, 6: 128}
_MOST_TOLD = 3


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


class Region(Struct, frozen=True):
    """Addresses that the same CIDRs hold: those of `block` that are in none of the CIDRs inside it.

    `first` is the first piece of it; `name` says which addresses these are.
    """

    block: Block
    first: Block
    name: str


def regions(blocks: Iterable[Block]) -> list[Region]:
    """All addresses of each IP version, by which of these CIDRs hold them. CIDRs never overlap but by nesting."""
    known = sorted({*blocks, *EVERYTHING}, key=lambda block: (block[0], block[1], -block[2]))
    within: dict[Block, list[Block]] = {block: [] for block in known}
    around: list[Block] = []
    for block in known:
        while around and not inside(block, around[-1]):
            around.pop()
        if around:
            within[around[-1]].append(block)
        around.append(block)
    pieces_of = {block: cut(block, inner) for block, inner in within.items()}
    return [Region(block, left[0], _name(block, within[block])) for block, left in pieces_of.items() if left]


def _name(block: Block, without: list[Block]) -> str:
    if not without:
        return cidr_of(block)
    told = ", ".join(map(cidr_of, without[:_MOST_TOLD]))
    more = f" and {len(without) - _MOST_TOLD} more" if len(without) > _MOST_TOLD else ""
    return f"{cidr_of(block)} without {told}{more}"


def cidr_of(block: Block) -> str:
    """The CIDR of a block that is one; an address alone without its prefix."""
    family, low, high = block
    text = text_of(family, low)
    return text if low == high else f"{text}/{_BITS[family] - (high - low).bit_length()}"
