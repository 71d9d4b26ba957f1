"""The fewest security group rules that allow something: first as lines, which many groups may share, then as rules.

Does not know: policies, pods, which groups exist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import itemgetter

from msgspec import Struct

from kuryrctl.core.policy.allowance import PORT_MAX, Allowed, Span
from kuryrctl.core.policy.model import Direction
from kuryrctl.core.policy.ranges import Ranges, cidrs, covers
from kuryrctl.core.specs import Key, RuleSpec

ETHERTYPES = {4: "IPv4", 6: "IPv6"}


InOrder = Callable[[tuple[RuleSpec, ...]], tuple[RuleSpec, ...]]


class Line(Struct, frozen=True, gc=False):
    """What one rule says, in whatever group it is; `id` is the same for the same content."""

    id: str
    direction: str
    version: int
    span: Span
    prefix: str | None = None
    remote: Key | None = None

    def rule(self, group: Key) -> RuleSpec:
        """The rule of this group that says so."""
        span = self.span
        whole = (span.low, span.high) == (0, PORT_MAX)
        return RuleSpec(
            key=f"security-group-rule/{group.partition('/')[2]}/{self.id}",
            group=group,
            direction=self.direction,
            ethertype=ETHERTYPES[self.version],
            protocol=span.protocol or None,
            port_range_min=None if whole else span.low,
            port_range_max=None if whole else span.high,
            remote_ip_prefix=self.prefix,
            remote_group=self.remote,
        )


class Lines:
    """All lines of a group, in the order of their ids. Groups may share them; they are equal to themselves alone."""

    __slots__ = ("by_id",)

    def __init__(self, lines: Iterable[Line] = ()) -> None:
        by_id = {line.id: line for line in lines}
        self.by_id = {id_: by_id[id_] for id_ in sorted(by_id)}

    def rules(self, group: Key) -> tuple[RuleSpec, ...]:
        """The rules of this group, sorted by key."""
        return tuple([line.rule(group) for line in self.by_id.values()])

    def rules_after(self, before: Lines, rules: tuple[RuleSpec, ...], group: Key) -> tuple[RuleSpec, ...]:
        """The same, of a group that had these rules, by the lines `before`: what stays is the same object."""
        new, in_order = _step(before, self)
        return in_order((*rules, *[line.rule(group) for line in new]))


def allowing(allowed: Allowed, direction: Direction, versions: Iterable[int]) -> Iterator[Line]:
    """The lines that allow this, and nothing that a wider one of them allows anyway."""
    for version in versions:
        yield from _of_version(allowed, direction.value, version)


@lru_cache(maxsize=64)
def _step(before: Lines, now: Lines) -> tuple[tuple[Line, ...], InOrder]:
    """The lines that were not there before, and what picks the rules of `now` from those before and the new ones."""
    new = tuple(line for id_, line in now.by_id.items() if id_ not in before.by_id)
    places = {id_: place for place, id_ in enumerate((*before.by_id, *(line.id for line in new)))}
    wanted = [places[id_] for id_ in now.by_id]
    if len(wanted) < 2:  # of one place, itemgetter gives no tuple
        return new, lambda pool: tuple(pool[place] for place in wanted)
    return new, itemgetter(*wanted)


def _of_version(allowed: Allowed, direction: str, version: int) -> Iterator[Line]:
    for span in allowed.anybody.get(version, ()):
        yield _line(direction, version, span)
    for (each, key), spans in allowed.groups.items():
        for span in spans if each == version else ():
            if not allowed.to_anybody(version, span):
                yield _line(direction, version, span, remote=key)
    for (each, span), ranges in allowed.addresses.items():
        if each == version and not allowed.to_anybody(version, span):
            for first, last in _uncovered(allowed, version, span, ranges):
                yield from _range(direction, version, span, first, last)


def _uncovered(allowed: Allowed, version: int, span: Span, ranges: Ranges) -> Ranges:
    """The ranges that no wider span allows as a whole."""
    wider = [
        others
        for (each, other), others in allowed.addresses.items()
        if each == version and other != span and other.covers(span)
    ]
    return tuple(piece for piece in ranges if not any(covers(others, *piece) for others in wider))


@lru_cache(maxsize=16384)
def _range(direction: str, version: int, span: Span, first: int, last: int) -> tuple[Line, ...]:
    return tuple(_line(direction, version, span, prefix) for prefix in cidrs(version, ((first, last),)))


def _line(direction: str, version: int, span: Span, prefix: str | None = None, remote: Key | None = None) -> Line:
    content = (direction, ETHERTYPES[version], span.protocol, span.low, span.high, prefix or "", remote or "")
    digest = hashlib.sha256("|".join(map(str, content)).encode()).hexdigest()[:16]
    return Line(digest, direction, version, span, prefix, remote)
