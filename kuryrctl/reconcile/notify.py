"""Telling users why a pod has no network, a policy no effect, a Service no load balancer: Events with stable reasons.

Does not know: when a step is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import TypeAlias

from kuryrctl.core.cluster import Pod
from kuryrctl.core.errors import KuryrError, Retryable
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.service_desired import why_skipped
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key
from kuryrctl.core.subjects import CLUSTER, Subject, subject_of_key, uid_of_key
from kuryrctl.kube import ObjectRef
from kuryrctl.reconcile.contracts import Cluster
from kuryrctl.reconcile.schedule import STALE_CODES, Fault
from kuryrctl.reconcile.state import State

Whom: TypeAlias = Pod | NetworkPolicy | Service
REASONS = {
    "NET-QUOTA": "KuryrQuotaExceeded",
    "QUOTA-SHORT": "KuryrQuotaExceeded",
    "NET-NO-ADDRESS": "KuryrNoFreeAddress",
    "NET-ADDRESS-TAKEN": "KuryrAddressTaken",
    "NET-UNBOUND": "KuryrPortUnbound",
    "OCT-QUOTA": "KuryrQuotaExceeded",
    "OCT-NO-ADDRESS": "KuryrNoFreeAddress",
    "OCT-ADDRESS-TAKEN": "KuryrAddressTaken",
}
POD_REASON = "KuryrPortFailed"
POLICY_REASON = "KuryrPolicyFailed"
SERVICE_REASON = "KuryrLoadBalancerFailed"
NOTE_REASONS = {FindingCode.BROKEN: "KuryrLoadBalancerBroken", FindingCode.REFUSED: "KuryrServiceRefused"}
"""Of what is found out about a Service, and no step of a plan changes: the reasons of what its owner is told."""
LEASE_LOST = "LEASE-LOST"
PATIENCE = 3
"""How often something that may pass by itself has to fail before people are told."""

ALIKE_S = 60.0
"""So long after one fault nothing is told of others with the same code that concern the same user's object."""


class Teller:
    """Writes Events on users' objects; `submit` runs a job beside the steps. Owned by the turn thread."""

    def __init__(self, cluster: Cluster, state: State, submit: Callable[[Callable[[], None]], None]) -> None:
        self._cluster = cluster
        self._state = state
        self._submit = submit
        self._told: dict[tuple[str, str], tuple[Key, float]] = {}
        self._short: set[str] = set()
        self._noted: dict[str, frozenset[str]] = {}
        self._silences = 0
        self._waiting: set[str] = set()

    def faults(self, faults: Iterable[Fault], now: float) -> None:
        """Tell of what failed at `now` (monotonic seconds): of many rules of a policy that fail alike, of one."""
        self._tell_of(filter(worth_telling, faults), now)

    def left(self, faults: Iterable[Fault], now: float) -> None:
        """Tell also of what seemed to pass by itself, and has not when a run ends."""
        self._tell_of((each for each in faults if not worth_telling(each) and each.error.code != LEASE_LOST), now)

    def _tell_of(self, faults: Iterable[Fault], now: float) -> None:
        for fault in faults:
            for whom in self._concerned(fault.step):
                alike = whom.uid, fault.error.code
                key, at_s = self._told.get(alike, ("", now - ALIKE_S))
                if fault.step.key == key or now - at_s >= ALIKE_S:
                    self._told[alike] = fault.step.key, now
                    self._tell(whom, fault.error)
        self._told = {alike: last for alike, last in self._told.items() if now - last[1] < ALIKE_S}

    def shortage(self, error: KuryrError | None, withheld: Iterable[Step]) -> None:
        """Tell those whose groups are not even tried, each once while it lasts. None: it is over."""
        if error is None:
            self._short.clear()
            return
        for step in withheld:
            subject = subject_of_key(step.key)
            if subject in self._short:
                continue
            self._short.add(subject)
            for whom in self._concerned(step):
                if whom.uid not in self._short:
                    self._short.add(whom.uid)
                    self._tell(whom, error)

    def unobserved(self, errors: Collection[KuryrError]) -> None:
        """Tell who waits for a load balancer why nothing is known of any, each once while that lasts.

        `errors` are those of one observation; none: all was observed.
        """
        self._silences = self._silences + 1 if errors else 0
        if not errors:
            self._waiting.clear()
        balancing = self._state.balancing
        for error in errors:
            if isinstance(error, Retryable) and self._silences < PATIENCE:
                continue
            for uid, service in balancing.services.items():
                served = why_skipped(service) or service.deleting or balancing.index.of(uid)
                if not served and uid not in self._waiting:
                    self._waiting.add(uid)
                    self._tell(service, error)

    def notes(self, subject: Subject, found: Iterable[Finding]) -> None:
        """Tell a Service's owner what it asks for and does not get: each thing once while it lasts."""
        role, _, uid = subject.partition("/")
        if role != Kind.SERVICE:
            return
        service = self._state.balancing.services.get(uid)
        told = self._noted.pop(uid, frozenset())
        notes = {each.message: each for each in found if each.code in NOTE_REASONS}
        if service is None or not notes:
            return
        self._noted[uid] = frozenset(notes)
        for message, note in notes.items():
            if message not in told:
                args = ObjectRef.of(service), "Warning", NOTE_REASONS[note.code], message
                self._submit(partial(self._cluster.event, *args))

    def _concerned(self, step: Step) -> Iterator[Whom]:
        """The pod whose port or KuryrPort it is, the Service whose load balancer, floating IP or status.

        Of a group the policies whose group it is, or whose rules name it.
        """
        subject = subject_of_key(step.key)
        if step.kind in (Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE) and subject != CLUSTER:
            yield from self._state.policing.policies_with(subject)
            return
        uid = uid_of_key(step.key)
        whom = self._state.pods.get(uid) or self._state.balancing.services.get(uid)
        if whom is not None:
            yield whom

    def _tell(self, whom: Whom, error: KuryrError) -> None:
        args = ObjectRef.of(whom), "Warning", reason(error, whom), text(error)
        self._submit(partial(self._cluster.event, *args))


def reason(error: KuryrError, whom: Whom) -> str:
    """The reason of the Event about an error."""
    match whom:
        case Pod():
            usual = POD_REASON
        case Service():
            usual = SERVICE_REASON
        case NetworkPolicy():
            usual = POLICY_REASON
    return REASONS.get(error.code, usual)


def worth_telling(fault: Fault) -> bool:
    """Whether people should know: at once what waits for them, otherwise what did not pass by itself."""
    passing = isinstance(fault.error, Retryable) or fault.error.code in STALE_CODES or fault.error.code == LEASE_LOST
    return not passing or fault.failures >= PATIENCE


def text(error: KuryrError) -> str:
    """The Event's message: what happened, and what to do next."""
    return f"{error.message} ({error.code}){f'; next: {error.hint}' if error.hint else ''}"
