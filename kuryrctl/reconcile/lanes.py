"""Where steps run: one lane for each other side, with workers of its own, so that none waits for another one's.

    neutron   ports, groups, rules, networks
    octavia   load balancers and floating IPs on them: each waits for seconds until it is effective
    cluster   KuryrPorts, KuryrNodes, the status of Services

Does not know: what a call does, in which order steps are ready.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import RuleSpec
from kuryrctl.core.subjects import BALANCER_KINDS
from kuryrctl.reconcile.pool import Pool

CLUSTER_WORKERS = 4
OCTAVIA_WORKERS = 8
"""They wait more than they work: so many load balancers are brought up side by side."""
RULE_BATCH = 200
"""Rules of one call: they cost about 30 ms each, and a call may take a minute."""


class Where(StrEnum):
    """The lanes."""

    NEUTRON = "neutron"
    OCTAVIA = "octavia"
    CLUSTER = "cluster"


_PLACES = {
    **dict.fromkeys((*BALANCER_KINDS, Kind.FLOATING_IP), Where.OCTAVIA),
    **dict.fromkeys((Kind.KURYR_PORT, Kind.KURYR_NODE, Kind.SERVICE), Where.CLUSTER),
}


def where(step: Step) -> Where:
    """The lane of a step."""
    return _PLACES.get(step.kind, Where.NEUTRON)


class Lane:
    """A bounded number of workers. Owned by the turn thread."""

    def __init__(self, name: str, workers: int) -> None:
        self._workers = workers
        self._running = 0
        self._pool = Pool(name, workers)

    @property
    def room(self) -> int:
        """How many more jobs can begin at once."""
        return self._workers - self._running

    @property
    def running(self) -> bool:
        """Whether a job is still to answer."""
        return self._running > 0

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job; `ended` is to be called once for it."""
        self._running += 1
        self._pool.submit(job)

    def ended(self) -> None:
        """A job has answered."""
        self._running -= 1

    def stop(self, timeout_s: float) -> bool:
        """See `Pool.stop`."""
        return self._pool.stop(timeout_s)


class Batcher:
    """Fills at most `slots` batches: port creations travel together, the rules of one group too, the rest alone."""

    def __init__(self, slots: int, size: int = 1) -> None:
        self._slots = slots
        self._size = size
        self.batches: list[list[Step]] = []
        self._open: dict[str, tuple[list[Step], int]] = {}

    @property
    def full(self) -> bool:
        """Whether nothing more can be taken."""
        return len(self.batches) >= self._slots and all(len(batch) >= size for batch, size in self._open.values())

    def offer(self, step: Step) -> None:
        """Take the step, if there is room."""
        fellows, size = self._fellows(step)
        batch, _ = self._open.get(fellows, (None, 0))
        if batch is not None and len(batch) < size:
            batch.append(step)
        elif len(self.batches) < self._slots:
            self.batches.append([step])
            if fellows:
                self._open[fellows] = (self.batches[-1], size)

    def _fellows(self, step: Step) -> tuple[str, int]:
        """With which steps this one shares a call, and how many of them do."""
        if step.action is Action.CREATE and isinstance(step.spec, RuleSpec):
            return step.spec.group, RULE_BATCH
        if step.action is Action.CREATE and step.kind is Kind.PORT:
            return step.kind, self._size
        return "", 1
