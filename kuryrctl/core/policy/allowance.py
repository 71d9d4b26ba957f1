"""What a policy's rules allow, put together: no two parts of it say the same.

An *allowance* pairs peers with ports. Peers are anybody, addresses, or the ports that carry a group. Ports are
*spans*: numbers of a protocol. Does not know: policies, pods, which groups exist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.policy.ranges import WHOLE, Ranges, minus, union
from kuryrctl.core.specs import Key

PORT_MAX = 65535


class Span(Struct, frozen=True, order=True, gc=False):
    """Destination ports from `low` to `high` of a protocol (Neutron's word); 0 to 65535 is the whole protocol.

    An empty protocol is every protocol, also those without ports.
    """

    protocol: str
    low: int = 0
    high: int = PORT_MAX

    def covers(self, other: Span) -> bool:
        """Whether everything in `other` is in this span."""
        return not self.protocol or (
            self.protocol == other.protocol and self.low <= other.low <= other.high <= self.high
        )


EVERY_PORT = Span("")
Spans: TypeAlias = tuple[Span, ...]


class Allowance(Struct, frozen=True):
    """`spans` to every address of the IP versions `anybody`, to `addresses` by IP version, to who carries `groups`."""

    spans: Spans
    anybody: frozenset[int] = frozenset()
    addresses: Mapping[int, Ranges] = {}
    groups: frozenset[tuple[int, Key]] = frozenset()


class Allowed(Struct, frozen=True):
    """Allowances put together, without what others cover: everything that a group's rules say.

    `anybody`: spans by IP version; `groups`: spans by IP version and group; `addresses`: ranges by IP version and span.
    """

    anybody: Mapping[int, Spans]
    groups: Mapping[tuple[int, Key], Spans]
    addresses: Mapping[tuple[int, Span], Ranges]

    def to_anybody(self, version: int, span: Span) -> bool:
        """Whether all of `span` is allowed whatever the address."""
        return any(each.covers(span) for each in self.anybody.get(version, ()))


def put_together(allowances: Iterable[Allowance]) -> Allowed:
    """The union of the allowances. The same whatever their order and however they are cut."""
    anybody: dict[int, set[Span]] = defaultdict(set)
    groups: dict[tuple[int, Key], set[Span]] = defaultdict(set)
    by_ranges: dict[tuple[int, Ranges], set[Span]] = defaultdict(set)
    for allowance in allowances:
        for version in allowance.anybody:
            anybody[version].update(allowance.spans)
        for key in allowance.groups:
            groups[key].update(allowance.spans)
        for version, ranges in allowance.addresses.items():
            by_ranges[version, ranges].update(allowance.spans)
    by_span: dict[tuple[int, Span], list[Ranges]] = defaultdict(list)
    for (version, ranges), spans in by_ranges.items():
        for span in merged(spans):
            by_span[version, span].append(ranges)
    addresses: dict[tuple[int, Span], Ranges] = {}
    for (version, span), parts in by_span.items():
        ranges = union(piece for part in parts for piece in part)
        if ranges == WHOLE[version]:
            anybody[version].add(span)
        elif ranges:
            addresses[version, span] = ranges
    return Allowed(
        anybody={version: merged(spans) for version, spans in anybody.items() if spans},
        groups={key: merged(spans) for key, spans in groups.items() if spans},
        addresses=addresses,
    )


def merged(spans: Iterable[Span]) -> Spans:
    """The same ports in the fewest spans, sorted."""
    by_protocol: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for span in spans:
        if not span.protocol:
            return (EVERY_PORT,)
        by_protocol[span.protocol].append((span.low, span.high))
    return tuple(Span(name, *ports) for name in sorted(by_protocol) for ports in union(by_protocol[name]))


def without(allowed: Allowed, version: int, unwanted: Ranges, spans: Spans) -> Allowed:
    """`allowed`, but of `anybody` on these spans and of all `addresses` without the `unwanted` addresses."""
    addresses = {
        (each, span): minus(ranges, unwanted) if each == version else ranges
        for (each, span), ranges in allowed.addresses.items()
    }
    anybody = dict(allowed.anybody)
    for span in spans:
        had = addresses.get((version, span), ())
        addresses[version, span] = union((*had, *minus(WHOLE[version], unwanted)))
    anybody[version] = tuple(span for span in anybody.get(version, ()) if span not in spans)
    return Allowed(anybody, allowed.groups, {each: ranges for each, ranges in addresses.items() if ranges})
