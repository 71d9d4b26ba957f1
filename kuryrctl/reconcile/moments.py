"""Which objects changed since an observation began, so that it cannot take them back.

A moment is a count of changes: no clock. Names are the caller's: ``pod/UID``, ``kuryr-port/NAMESPACE/NAME``, or a cloud
port's bare id. Does not know: where changes come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from kuryrctl.core.cloud import Port
from kuryrctl.core.cluster import KuryrNode, KuryrPort
from kuryrctl.core.index import Ports

_K = TypeVar("_K", KuryrPort, KuryrNode)


class Moments:
    """Owned by one thread."""

    def __init__(self) -> None:
        self._moment = 0
        self._touched: dict[str, int] = {}

    def mark(self) -> int:
        """The moment at which an observation begins."""
        return self._moment

    def touch(self, what: str) -> None:
        """It changed."""
        self._moment += 1
        self._touched[what] = self._moment

    def changed_since(self, what: str, mark: int) -> bool:
        """Whether it changed after `mark`."""
        return self._touched.get(what, 0) > mark

    def changed(self, kind: str, mark: int) -> tuple[str, ...]:
        """The names (without ``KIND/``) of those of this kind that changed after `mark`."""
        prefix = f"{kind}/"
        return tuple(w.removeprefix(prefix) for w, at in self._touched.items() if at > mark and w.startswith(prefix))

    def forget(self, mark: int) -> None:
        """No observation that began before `mark` will come any more."""
        self._touched = {what: moment for what, moment in self._touched.items() if moment > mark}

    def merged(self, kind: str, observed: Mapping[str, _K], known: Mapping[str, _K], mark: int) -> dict[str, _K]:
        """The observed ones, but where ours is newer or changed since the reading began."""
        merged = dict(observed)
        for name in {*observed, *known}:
            ours, theirs = known.get(name), observed.get(name)
            newer = ours is not None and theirs is not None and older(theirs.resource_version, ours.resource_version)
            if newer or self.changed_since(f"{kind}/{name}", mark):
                merged.pop(name, None)
                if ours is not None:
                    merged[name] = ours
        return merged

    def with_later_changes(self, observed: Mapping[str, Port], known: Ports, mark: int) -> dict[str, Port]:
        """The observed ports, but those that changed since as they are known."""
        ports = dict(observed)
        for id_, moment in self._touched.items():
            if moment <= mark or "/" in id_:
                continue
            ours = known.by_id(id_)
            if ours is None:
                ports.pop(id_, None)
            else:
                ports[id_] = ours
        return ports


def older(one: str, other: str) -> bool:
    """Whether a resource version is older: they are comparable numbers (Kubernetes 1.35, KEP-5504)."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)
