"""Whose absence is proven: uids that never come back. Decision: docs/decisions/021-absence-needs-two-sources.md.

Owned by the turn thread. Does not know: where anybody is listed, who asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from kuryrctl.core.cluster import FINISHED_PHASES, Pod


class Absences:
    """`gone` are those proven absent, `witnessed` those whose end was seen: no misunderstanding is possible there."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.witnessed: set[str] = set()
        self._known: set[str] = set()
        self._missing: dict[str, set[str]] = {}

    def went(self, uid: str) -> None:
        """Its end was seen."""
        self.gone.add(uid)
        self.witnessed.add(uid)

    def finished(self, pods: Iterable[Pod]) -> None:
        """A pod that says itself that it has finished is no absence that could be misread."""
        self.witnessed.update(pod.uid for pod in pods if pod.phase in FINISHED_PHASES)

    def prove(self, uids: Iterable[str]) -> None:
        """They are in nothing that began after what names them was seen."""
        self.gone.update(uids)

    def missed(self, role: str, missing: set[str]) -> set[str]:
        """A reading lacks these that events told of; those that the reading before lacked, too, are gone."""
        proven = missing & self._missing.get(role, set())
        self.gone |= proven
        self._missing[role] = missing
        return proven

    def forget(self, absent: AbstractSet[str], there: AbstractSet[str]) -> None:
        """Proofs that nothing has asked for since the observation before the last one are not kept for ever.

        `absent` are those that something names and nobody has, `there` those that exist.
        """
        self.gone -= self._known - absent
        self.witnessed &= self.gone | there
        self._known = set(self.gone)
