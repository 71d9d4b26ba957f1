"""The egress rules in use, each kept once however many policies say the same, and how they find whom they allow.

Does not know: which pods they isolate, Services.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kuryrctl.core.policy.allowance import Span
from kuryrctl.core.policy.entries import ByAddress, Egress
from kuryrctl.core.policy.peers import PortName
from kuryrctl.core.policy.ranges import WHOLE, Ranges, covers
from kuryrctl.core.policy.sets import Sets
from kuryrctl.core.policy.vips import Address


class EgressInUse:
    """See the module. Sets hold ids of `Egress`, but `policies`: the names of those that say it, by its id.

    `naming`: what names a term (its id); `in_blocks`: what leads to a named port of pods that are in an address block.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Egress] = {}
        self.policies: Sets[str, str] = Sets()
        self.naming: Sets[str, str] = Sets()
        self.in_blocks: Sets[PortName, str] = Sets()
        self._by_address: Sets[ByAddress, str] = Sets()
        self._on_port: dict[tuple[Span, int], list[tuple[Ranges, set[str]]]] = {}

    def turn(self, policy: str, before: Egress | None, now: Egress | None) -> set[str]:
        """A policy says `now` instead of `before`; the ids that nobody said until now, or says any more."""
        if before is not None and now is not None and before.id == now.id:
            return set()
        turned = set()
        if now is not None and self.policies.put(now.id, policy):
            self.by_id[now.id] = now
            self._note(now, Sets.put)
            turned.add(now.id)
        if before is not None and self.policies.take(before.id, policy):
            del self.by_id[before.id]
            self._note(before, Sets.take)
            turned.add(before.id)
        return turned

    def opening(self, span: Span, where: Address) -> set[str]:
        """The ids of those that allow a port at an address whoever is there; those that name ports may."""
        version, number = where
        if self._by_address and (span, version) not in self._on_port:
            self._on_port[span, version] = [
                (WHOLE[version] if anybody else dict(addresses).get(version, ()), ids)
                for (anybody, addresses, spans, names), ids in self._by_address.items()
                if names or any(each.covers(span) for each in spans)
            ]
        ways = self._on_port.get((span, version), ())
        return {id_ for ranges, ids in ways if covers(ranges, number, number) for id_ in ids}

    def _note(self, egress: Egress, do: Callable[[Sets[Any, str], Any, str], bool]) -> None:
        self._on_port.clear()
        for entry in egress.entries:
            if entry.anybody or entry.addresses:
                do(self._by_address, entry.by_address, egress.id)
            for name in entry.names if entry.addresses.keys() - entry.named_in.keys() else ():
                do(self.in_blocks, name, egress.id)
            for term in (*entry.terms, *entry.named):
                do(self.naming, term.id, egress.id)
