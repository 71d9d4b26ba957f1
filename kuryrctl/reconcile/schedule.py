"""Which steps may run now: subjects that are dirty, steps that wait, keys in flight, keys that must rest after a fault.

Different keys run in parallel, one key never twice at once. Additions go before deletions. Owned by the turn thread;
`now` is always passed in. Does not know: how steps are computed or executed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import repeat

from msgspec import Struct

from kuryrctl.core.errors import Conflict, KuryrError, Retryable
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key, LoadBalancerSpec, PortSpec
from kuryrctl.core.subjects import Subject, subject_of_key

FIRST_REST_S = 0.5
LONGEST_REST_S = 60.0
STALE_REST_S = 0.1
STALE_CODES = frozenset({"KUBE-CONFLICT", "NET-CHANGED", "NET-NEEDS", "OCT-ADDRESS-TAKEN"})
"""Conflicts that a newer observation resolves: they say nothing about the object being wrong."""

REPEATABLE = frozenset(
    {
        *(Kind.PORT, Kind.KURYR_PORT, Kind.KURYR_NODE, Kind.SECURITY_GROUP_RULE, Kind.ROUTER_INTERFACE),
        *(Kind.LISTENER, Kind.POOL, Kind.HEALTH_MONITOR),
    }
)
"""What the other side refuses to make twice. The creation of anything else is repeated after a new observation only."""


class Fault(Struct, frozen=True):
    """The last failure of a step, and when it may be tried again (monotonic seconds)."""

    step: Step
    error: KuryrError
    failures: int
    until_s: float

    @property
    def needs_observation(self) -> bool:
        """Whether the step may be tried again only after the world was observed anew."""
        return self.step.action is Action.CREATE and not _repeatable(self.step)


class Schedule:
    """See the module. `first_rest_s` is a key's rest after its first failure, `jitter` gives a number of [0, 1)."""

    def __init__(self, first_rest_s: float = FIRST_REST_S, jitter: Callable[[], float] = random.random) -> None:
        self._first_rest_s = first_rest_s
        self._jitter = jitter
        self._dirty: dict[Subject, None] = {}
        self._pending: dict[Subject, dict[Key, Step]] = {}
        self._pending_keys: dict[Key, set[Subject]] = {}
        self._needed_by: dict[Key, set[Subject]] = {}
        self._in_flight: dict[Key, Step] = {}
        self._faults: dict[tuple[Key, Action], Fault] = {}
        self._resting: list[tuple[float, Subject]] = []
        self._observed: set[tuple[Key, Action]] = set()

    # -- dirty subjects

    def touch(self, subjects: Iterable[Subject]) -> None:
        """These subjects may differ from what they should be."""
        self._dirty.update(dict.fromkeys(subjects))

    def take_dirty(self, now: float) -> list[Subject]:
        """The subjects to compute anew, those among them whose rest is over; they are clean afterwards."""
        while self._resting and self._resting[0][0] <= now:
            self._dirty[heapq.heappop(self._resting)[1]] = None
        dirty, self._dirty = list(self._dirty), {}
        return dirty

    def replan(self, subject: Subject, steps: Iterable[Step]) -> None:
        """These are the subject's steps now; what waited for it before is dropped."""
        for key in self._pending.pop(subject, {}):
            self._pending_keys[key].discard(subject)
            if not self._pending_keys[key]:
                del self._pending_keys[key]
        planned = {step.key: step for step in steps}
        if planned:
            self._pending[subject] = planned
            for step in planned.values():
                self._pending_keys.setdefault(step.key, set()).add(subject)
                for key in step.needs:
                    self._needed_by.setdefault(key, set()).add(subject)
        for known in [known for known in self._faults if subject_of_key(known[0]) == subject]:
            if not self._wanted(*known):
                del self._faults[known]

    # -- steps

    def ready(self, now: float, may: Callable[[Step], bool]) -> Iterator[Step]:
        """The steps that may run, additions first.

        A port that comes back with its old addresses goes before all that take any free one: they might take these.
        """
        tried = {key for key, _ in self._faults}
        allowed = [step for planned in self._pending.values() for step in planned.values() if may(step)]
        runnable = [
            step
            for step in allowed
            if self._may_run(step, now) and not any(map(self._waits, step.after, repeat(tried)))
        ]
        yield from filter(_pinned, runnable)
        hold = any(map(_pinned, self._in_flight.values()))
        hold = hold or any(_pinned(step) and self._comes(step, now, tried) for step in allowed)
        deletions: dict[Key, Step] = {}
        for step in runnable:
            if step.action is Action.DELETE:
                deletions[step.key] = step
            elif not _pinned(step) and not (hold and _takes_addresses(step)):
                yield step
        yield from deletions.values()

    def start(self, steps: Iterable[Step]) -> None:
        """These steps are being executed."""
        self._in_flight.update({step.key: step for step in steps})

    def finish(self, outcome: Outcome, now: float) -> Fault | None:
        """A step ended. Its subject, and those who waited for it, are dirty; after a failure its key rests."""
        step, error = outcome.step, outcome.error
        self._in_flight.pop(step.key, None)
        subjects = {subject_of_key(step.key)} | self._needed_by.pop(step.key, set())
        subjects |= self._pending_keys.get(step.key, set())
        self.touch(subjects)
        if error is None:
            self._faults.pop((step.key, step.action), None)
            return None
        known = self._faults.get((step.key, step.action))
        failures = known.failures + 1 if known else 1
        fault = Fault(step, error, failures, now + self._rest_s(error, failures))
        self._faults[step.key, step.action] = fault
        self._observed.discard((step.key, step.action))
        for subject in subjects:
            heapq.heappush(self._resting, (fault.until_s, subject))
        return fault

    # -- questions

    @property
    def busy(self) -> bool:
        """Whether a step is being executed."""
        return bool(self._in_flight)

    @property
    def faults(self) -> list[Fault]:
        """The steps that failed last time and are still wanted."""
        return list(self._faults.values())

    def pending(self) -> list[Step]:
        """All steps that wait, each key once."""
        return list({step.key: step for planned in self._pending.values() for step in planned.values()}.values())

    def next_s(self) -> float | None:
        """When the first rest is over; None: nobody rests."""
        return self._resting[0][0] if self._resting else None

    def in_flight(self, kinds: AbstractSet[Kind]) -> int:
        """How many steps of these kinds are being executed."""
        return sum(step.kind in kinds for step in self._in_flight.values())

    def rest_no_more(self) -> None:
        """Forget all faults: a person started anew, or the world was observed anew."""
        self._faults.clear()
        self._resting.clear()

    def observed_anew(self) -> None:
        """The world was observed after all faults so far: what waited for that may be tried again."""
        self._observed = set(self._faults)

    def _wanted(self, key: Key, action: Action) -> bool:
        """Whether it waits, for whatever subject: of a KuryrNode it is not the one that its key names."""
        return any(self._pending[subject][key].action is action for subject in self._pending_keys.get(key, ()))

    def _may_run(self, step: Step, now: float) -> bool:
        met = not any(key in self._in_flight or key in self._pending_keys for key in step.needs)
        return met and self._rested(step, now)

    def _comes(self, step: Step, now: float, tried: AbstractSet[Key]) -> bool:
        """Whether it runs now, or soon: nothing that it waits for has failed, nor it itself."""
        return self._rested(step, now) and not any(key in tried and key in self._pending_keys for key in step.needs)

    def _rested(self, step: Step, now: float) -> bool:
        if step.key in self._in_flight:
            return False
        identity = step.key, step.action
        fault = self._faults.get(identity)
        return not (fault and (fault.until_s > now or (fault.needs_observation and identity not in self._observed)))

    def _waits(self, key: Key, tried: AbstractSet[Key]) -> bool:
        """Whether a step with this key is still to be tried, or being tried."""
        return key in self._in_flight or (key in self._pending_keys and key not in tried)

    def _rest_s(self, error: KuryrError, failures: int) -> float:
        """Exponential with full jitter above a half, never less than the other side asked for."""
        stale = isinstance(error, Conflict) and error.code in STALE_CODES
        first = min(STALE_REST_S, self._first_rest_s) if stale else self._first_rest_s
        bound = min(LONGEST_REST_S, first * float(2 ** min(failures - 1, 16)))
        least = error.after_s if isinstance(error, Retryable) else 0.0
        return max(least, bound / 2) + self._jitter() * bound / 2


def _repeatable(step: Step) -> bool:
    """Whether its creation cannot make a second one: nobody gets an address that somebody has."""
    pinned = isinstance(step.spec, LoadBalancerSpec) and step.spec.vip_address is not None
    return pinned or step.kind in REPEATABLE


def _takes_addresses(step: Step) -> bool:
    return step.action is Action.CREATE and isinstance(step.spec, PortSpec)


def _pinned(step: Step) -> bool:
    """Whether the step makes a port with addresses that it must have."""
    return (
        step.action is Action.CREATE and isinstance(step.spec, PortSpec) and any(a.address for a in step.spec.addresses)
    )
