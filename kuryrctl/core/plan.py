"""A plan: the ordered, reasoned list of intended changes. Data only.

When each action is proposed:

    create   the spec's key matches nothing that exists
    update   it matches an object of ours, and a field we manage differs
    adopt    it matches an object that is provably ours but lacks our tags (see `ownership`)
    delete   an object of ours has no spec, and its owner is proven absent

Does not know: how a plan is computed (`diff`), rendered (`cli`) or executed (`reconcile`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from kuryrctl.core.cloud import CloudObject
from kuryrctl.core.cluster import KuryrNode, KuryrPort
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key, Spec

PLAN_SCHEMA = "kuryrctl.plan/1"


class FieldChange(Struct, frozen=True):
    """One field of a step, as people read it; `before` empty: not set."""

    field: str
    before: str
    after: str


class Step(Struct, frozen=True, kw_only=True):
    """One intended change of one object.

    `id` is the existing object's id (for KuryrPorts and KuryrNodes: its uid), empty for a create. `spec` is what should
    be, None for a delete. `needs` are keys of steps that must succeed first, `after` keys of those to be tried first.
    `subject` is whom it serves, in people's words.
    """

    action: Action
    kind: Kind
    key: Key
    reason: str
    subject: str = ""
    id: str = ""
    spec: Spec | None = None
    changes: tuple[FieldChange, ...] = ()
    needs: tuple[Key, ...] = ()
    after: tuple[Key, ...] = ()
    revision: int = 0

    @property
    def summary(self) -> str:
        """One line: ``create port/pod/6f1c…  (pod shop/web-0 has no port)``."""
        return f"{self.action} {self.key}  ({self.reason})"


class Plan(Struct, frozen=True):
    """Steps in an order in which they can be executed: additive ones first, deletions last. Empty: converged."""

    steps: tuple[Step, ...] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __bool__(self) -> bool:
        return bool(self.steps)

    def only(self, kinds: Iterable[Kind]) -> Plan:
        """The steps of these kinds, without those that first need one of another kind."""
        wanted = frozenset(kinds)
        return Plan(tuple(chosen(self.steps, lambda step: step.kind in wanted)))

    def of(self, kind: Kind) -> Plan:
        """The steps of one kind, whatever they need."""
        return Plan(tuple(step for step in self.steps if step.kind is kind))

    def count(self, action: Action) -> int:
        """How many steps have this action."""
        return sum(step.action is action for step in self.steps)


def chosen(steps: Iterable[Step], wanted: Callable[[Step], bool]) -> list[Step]:
    """The wanted steps, without those that need a step that is left out (a port goes after its KuryrPort, or stays)."""
    proposed = list(steps)
    kept = [step for step in proposed if wanted(step)]
    missing = {step.key for step in proposed} - {step.key for step in kept}
    while True:
        blocked = {step.key for step in kept if not missing.isdisjoint(step.needs)}
        if not blocked:
            return kept
        kept = [step for step in kept if step.key not in blocked]
        missing |= blocked


class Outcome(Struct, frozen=True):
    """What became of one step: the object as it is now (None after a delete), or the error."""

    step: Step
    object: CloudObject | KuryrPort | KuryrNode | Service | None = None
    error: KuryrError | None = None

    @property
    def ok(self) -> bool:
        """Whether the step succeeded."""
        return self.error is None
