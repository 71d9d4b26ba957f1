"""The part of a run that is about Services: load balancers, floating IPs on them, and the addresses in their status.

Does not know: how steps are computed or executed.
"""

from __future__ import annotations

from collections.abc import Iterable

from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.diff_services import Remedy
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Step, chosen
from kuryrctl.core.subjects import subject_of_key
from kuryrctl.reconcile.balancing import BALANCING_KINDS
from kuryrctl.reconcile.policy_part import Part
from kuryrctl.reconcile.turn import Turn


def services(namespace: str = "", remedy: Remedy = Remedy.TELL) -> Part:
    """Only what Services ask for; with a `namespace` only what its Services do, those that are gone included.

    `remedy` is what is done about load balancers that Octavia gave up.
    """

    def narrow(turn: Turn) -> None:
        turn.remedy = remedy
        turn.choose = _Part(turn, namespace).choose
        turn.about = BALANCING_KINDS | {Kind.SERVICE}

    return narrow


class _Part:
    def __init__(self, turn: Turn, namespace: str) -> None:
        self._turn = turn
        self._namespace = namespace

    def choose(self, steps: Iterable[Step]) -> list[Step]:
        """See `Turn.choose`."""
        return chosen(steps, self._wanted)

    def _wanted(self, step: Step) -> bool:
        role, _, uid = subject_of_key(step.key).partition("/")
        return role == Kind.SERVICE and self._namespace in ("", self._home(uid))

    def _home(self, uid: str) -> str:
        """The namespace of a Service; where it is gone, the one that its load balancer is named after."""
        balancing = self._turn.state.balancing
        service = balancing.services.get(uid)
        if service is not None:
            return service.namespace
        found = [thing for there in balancing.index.of(uid).values() for thing in there]
        names = [each.name.split("/") for each in found if isinstance(each, LoadBalancer)]
        return next((parts[1] for parts in names if len(parts) > 1), "")
