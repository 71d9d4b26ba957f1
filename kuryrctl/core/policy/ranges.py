"""Sets of whole numbers as sorted, disjoint ranges: what addresses and port numbers are computed with.

A range includes both ends. Does not know: what the numbers mean, except for the CIDRs of the last few functions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
Ranges: TypeAlias = tuple[Range, ...]

BITS = {4: 32, 6: 128}
WHOLE: dict[int, Ranges] = {version: ((0, (1 << bits) - 1),) for version, bits in BITS.items()}
"""All addresses of an IP version."""


def union(ranges: Iterable[Range]) -> Ranges:
    """All numbers of any of the ranges; adjacent ones become one. A range that ends before it begins is empty."""
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if low > high:
            continue
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def minus(ranges: Ranges, others: Ranges) -> Ranges:
    """The numbers of `ranges` that are in none of `others`."""
    left = list(ranges)
    for low, high in others:
        left = [piece for one in left for piece in ((one[0], min(one[1], low - 1)), (max(one[0], high + 1), one[1]))]
        left = [piece for piece in left if piece[0] <= piece[1]]
    return tuple(left)


def covers(ranges: Ranges, low: int, high: int) -> bool:
    """Whether every number from `low` to `high` is in `ranges`."""
    place = bisect_left(ranges, (low + 1, 0))
    return place > 0 and high <= ranges[place - 1][1]


@lru_cache(maxsize=4096)
def address(text: str) -> tuple[int, int]:
    """The IP version and the number of an address. Raises ValueError where it is none."""
    version, family = (6, AF_INET6) if ":" in text else (4, AF_INET)
    try:
        return version, int.from_bytes(inet_pton(family, text))  # a fifth of the time that `ipaddress` takes
    except OSError:
        raise ValueError(f'"{text}" is no IP address') from None


@lru_cache(maxsize=65536)
def network(cidr: str) -> tuple[int, Range]:
    """The IP version and the range of a CIDR; bits behind its prefix do not count. Raises ValueError."""
    parsed = ip_network(cidr, strict=False)
    return parsed.version, (int(parsed.network_address), int(parsed.broadcast_address))


def cidrs(version: int, ranges: Ranges) -> Iterator[str]:
    """The fewest CIDRs that hold exactly these addresses, in their order."""
    for first, last in ranges:
        at = first
        while at <= last:
            aligned = (at & -at).bit_length() - 1 if at else BITS[version]
            bits = min(aligned, (last - at + 1).bit_length() - 1)
            text = inet_ntop(AF_INET, at.to_bytes(4)) if version == 4 else str(IPv6Address(at))
            yield f"{text}/{BITS[version] - bits}"
            at += 1 << bits
