"""Which calls get which fault: rules as data, and the record of what came and what was injected.

Does not know: how a fault is done (`proxy` between processes, `transport` inside one).
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from tests.faults.faults import Fault, Hook

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Rule(Struct, frozen=True):
    """The calls whose kind matches `kind` and whose path and query contain `target` (both regular expressions).

    The first `skip` of them pass, the next `times` (0: all) get the fault.
    """

    fault: Fault
    kind: str = ".*"
    target: str = ""
    skip: int = 0
    times: int = 1


class Call(Struct, frozen=True):
    """One call that came. `target` is path and query."""

    method: str
    target: str

    @property
    def kind(self) -> str:
        """``POST ports``, ``PUT ports/tags``, ``WATCH pods``, ``PATCH kuryrports/status``, ``POST auth/tokens``."""
        return kind_of(self.method, self.target)

    @property
    def mutates(self) -> bool:
        """Whether its method is one that changes something."""
        return self.method in MUTATING


def kind_of(method: str, target: str) -> str:
    """The method (``WATCH`` for a watch) and the resource of a call, without names and ids."""
    url = urlsplit(target)
    parts = [part for part in url.path.split("/") if part]
    if "true" in parse_qs(url.query).get("watch", []) or "1" in parse_qs(url.query).get("watch", []):
        method = "WATCH"
    match parts:
        case ["v3", *rest]:
            return f"{method} {'/'.join(rest)}"
        case ["v2.0", *rest] | ["v2", "lbaas", *rest] | ["api", _, *rest] | ["apis", _, _, *rest]:
            pass
        case rest:
            pass
    if len(rest) > 2 and rest[0] == "namespaces" and parts[0] in ("api", "apis"):
        rest = rest[2:]
    return f"{method} {'/'.join((*rest[:1], *rest[2:3]))}"


class Rules:
    """The rules of one API. `calls` are those that came, `injected` is what was done, as (fault, kind of call)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._seen: Counter[int] = Counter()
        self.calls: list[Call] = []
        self.injected: list[tuple[str, str]] = []

    def add(self, *rules: Rule) -> None:
        """More rules; of those that match a call, the oldest that is not used up acts."""
        with self._lock:
            self._rules += rules

    def clear(self) -> None:
        """No more faults; what was recorded stays."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()

    def waiting(self) -> list[Rule]:
        """The rules that have not done all they were added for."""
        with self._lock:
            return [rule for n, rule in enumerate(self._rules) if self._seen[n] < rule.skip + max(rule.times, 1)]

    def count(self, kind: str = ".*") -> int:
        """How many calls of these kinds (a regular expression) came."""
        with self._lock:
            return sum(bool(re.fullmatch(kind, call.kind)) for call in self.calls)

    def take(self, call: Call) -> Fault | None:
        """Record a call; the fault that it gets."""
        with self._lock:
            self.calls.append(call)
            for n, rule in enumerate(self._rules):
                if not re.fullmatch(rule.kind, call.kind) or not re.search(rule.target, call.target):
                    continue
                if rule.times and self._seen[n] >= rule.skip + rule.times:
                    continue
                self._seen[n] += 1
                if self._seen[n] > rule.skip:
                    if not isinstance(rule.fault, Hook):
                        self.injected.append((rule.fault.name, call.kind))
                    return rule.fault
        return None

    def record(self, fault: str, call: Call) -> None:
        """Count a fault that was done without a rule."""
        with self._lock:
            self.injected.append((fault, call.kind))
