"""The watch: informers make subjects dirty, and a full turn every so often finds what no event told.

    lease taken -> cloud observed -> informers started -> all kinds listed: the first turn
    event  -> dirty subjects -> (a moment later, together) steps -> calls -> outcomes
    full   -> cloud observed anew, then the cluster: what no event told, and proof of who is gone

One thread, `Watch.run`, owns all state; everything else only puts messages on its queue. Faults are told and retried;
none ends the process. Does not know: signals, command lines.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, Pod
from kuryrctl.core.diff import Scope
from kuryrctl.core.errors import KuryrError, NotFound, Retryable, internal
from kuryrctl.core.kinds import Kind
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.kube import Changed, Down, Listed, Message
from kuryrctl.reconcile.balancing import BALANCING_KINDS
from kuryrctl.reconcile.contracts import Lease
from kuryrctl.reconcile.leadership import Following, Keeper, Leading
from kuryrctl.reconcile.once import networks, unread
from kuryrctl.reconcile.schedule import STALE_CODES, Fault
from kuryrctl.reconcile.turn import Done, Parts, Turn

WATCHED = (
    Kind.NAMESPACE,
    Kind.NODE,
    Kind.KURYR_NODE,
    Kind.KURYR_PORT,
    Kind.NETWORK_POLICY,
    Kind.SERVICE,
    Kind.ENDPOINT_SLICE,
    Kind.POD,
)
SHARED = frozenset({Kind.NETWORK, Kind.SUBNET, Kind.ROUTER, Kind.ROUTER_INTERFACE, Kind.SECURITY_GROUP})
QUIET_S = 0.03
"""Events that come within this time after one another are answered together: their ports share a call."""
GATHER_S = 0.15
"""The longest that an event waits for others."""
SOON_S = 5.0
"""After a failed observation, or an outcome that shows that the observed state is stale."""
IDLE_S = 1.0
STOP_S = 1.5
_log = logging.getLogger(__name__)


class Follower(Protocol):
    """An informer."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


Follow = Callable[[Kind, "queue.Queue[Message]"], Follower]
"""Makes the informer of one kind; `kube.Informer` with its cluster."""


class Observed(Struct, frozen=True):
    """The cloud and then (None: not asked for) the cluster, as they were after `mark`."""

    cloud: CloudState
    cluster: ClusterState | None
    mark: int


class Unobserved(Struct, frozen=True):
    """An observation ended with an error that nobody expected."""

    error: KuryrError


class Stop(Struct, frozen=True):
    """End."""


class Watch:
    """One run of the watch."""

    def __init__(self, parts: Parts, lease: Lease, follow: Follow) -> None:
        self.turn = Turn(parts, Scope.PODS, lease.valid)
        self.turn.keep_done = False
        self._lease = lease
        self._follow = follow
        self._inbox = self.turn.inbox
        self._informers: list[Follower] = []
        self._observing = False
        self._begun = False
        self._next_full_s = float("inf")
        self._patience_s = SOON_S
        self._refusal = ""
        self._told = ""

    def run(self, stop: threading.Event) -> None:
        """Reconcile until `stop` is set; then end within 5 seconds and give the lease back."""
        duration_s = self.turn.parts.config.lease.duration_s
        keeper = Keeper(self._lease, duration_s, self._inbox.put)
        keeper.start()
        waiter = threading.Thread(target=self._wake_on, args=(stop,), name="stop", daemon=True)
        waiter.start()
        try:
            while not stop.is_set():
                self.round(self._gather())
        finally:
            self._end(keeper)

    def round(self, messages: list[object]) -> None:
        """Take messages in, plan what they touched, hand out what is ready."""
        for message in messages:
            self._take(message)
        if self._settled:
            self._work()
        if self.turn.clock() >= self._next_full_s:
            self._observe()

    def look_again(self) -> None:
        """Make the next round begin a full turn."""
        self._full_by(0.0)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._observing or self.turn.running

    # -- messages

    def _gather(self) -> list[object]:
        """The next messages: all that come within a moment of each other, so that their ports share calls."""
        turn = self.turn
        now = turn.clock()
        waits = [IDLE_S, self._next_full_s - now]
        rest = turn.schedule.next_s()
        if rest is not None:
            waits.append(rest - now)
        try:
            gathered = [self._inbox.get(timeout=max(0.0, min(waits)))]
        except queue.Empty:
            return []
        until = turn.clock() + GATHER_S
        while (left := until - turn.clock()) > 0:
            lacking = lack_endpoints(gathered, turn.state.policing.services)
            wait = left if lacking else min(QUIET_S, left) if may_have_company(gathered[-1]) else 0.0
            try:
                gathered.append(self._inbox.get(timeout=wait) if wait else self._inbox.get_nowait())
            except queue.Empty:
                break
        return gathered

    def _take(self, message: object) -> None:
        state, schedule = self.turn.state, self.turn.schedule
        match message:
            case Done():
                faults = self.turn.take(message)
                for fault in faults:
                    _log.warning("%s %s: %s", fault.step.action, fault.step.key, _named(fault.error))
                if any(map(_shows_a_stale_state, faults)):
                    self._full_by(SOON_S)
            case Listed():
                schedule.touch(state.take_list(message.kind, message.items))
                if self._settled:
                    self._begin()
            case Changed():
                schedule.touch(state.take_change(message.object, deleted=message.deleted))
            case Down():
                _log.warning("%s: not followed at the moment: %s", message.kind, _named(message.error))
            case Observed():
                self._take_cloud(message)
            case Unobserved():
                _log.error("%s (%s); next: %s", message.error.message, message.error.code, message.error.hint)
                self._observing = False
                self._full_by(SOON_S, only_later=True)
            case Leading():
                _log.info("leading")
                schedule.rest_no_more()
                self._observe()
            case Following():
                _log.warning("not leading: %s", message.error.message)

    def _take_cloud(self, message: Observed) -> None:
        self._observing = False
        errors: Mapping[Kind, KuryrError] = getattr(message.cloud, "errors", {})
        for error in dict.fromkeys(errors.values()):
            kinds = ", ".join(sorted(kind for kind, why in errors.items() if why is error))
            _log.warning("%s not observed: %s", kinds, _named(error))
        try:
            self.turn.state.take_cloud(message.cloud, message.mark)
        except KuryrError as error:
            self._refuse(error)
            return
        finally:
            self._full_by(self._next_look_s(errors), only_later=True)
        self.turn.unread = unread(errors, self.turn.about)
        self.turn.tell_unread()
        if not self.turn.state.ports_complete:
            return
        if not self._informers:
            self._start_informers()
        self.turn.clean_up()
        if message.cluster is not None and Kind.PORT in message.cloud.complete:
            self.turn.state.take_relist(message.cluster, message.mark)
        self.turn.schedule.observed_anew()
        if self._settled:
            self._begin()

    # -- turns

    @property
    def _settled(self) -> bool:
        """Whether every kind was listed and the cloud was observed: before that nothing can be told."""
        state = self.turn.state
        return state.complete.issuperset(WATCHED) and state.ports_complete

    def _begin(self) -> None:
        """Look at everybody. The first lists began after the cloud was seen; who is absent later is to be confirmed."""
        state = self.turn.state
        if not self._begun:
            self._begun = True
            state.prove_absent(state.absent_owners())
        elif state.absent_owners() - state.absences.gone:
            self._full_by(SOON_S)
        self.turn.touch_all()

    def _work(self) -> None:
        turn = self.turn
        if not turn.state.cloud.complete >= SHARED:  # told already; what was not listed is unknown, not missing
            return
        try:
            turn.check()
        except KuryrError as error:
            self._refuse(error)
            return
        self._refusal = ""
        turn.plan()
        turn.limit()
        for fault in (turn.withheld, turn.short):
            if fault:
                self._say(fault.message)
        turn.dispatch()

    def _refuse(self, error: KuryrError) -> None:
        """Nothing can be done until somebody changes something: say it once, look again at the next full turn."""
        if self._refusal != error.message:
            _log.error("%s (%s); next: %s", error.message, error.code, error.hint)
        self._refusal = error.message

    def _say(self, text: str) -> None:
        if self._told != text:
            _log.error("%s", text)
        self._told = text

    # -- observations

    def _observe(self) -> None:
        starting = bool(self._informers) and not self._settled  # the first lists must not be older than the ports
        if self._observing or starting or not self._lease.valid():
            self._full_by(SOON_S, only_later=True)
            return
        self._observing = True
        self._next_full_s = float("inf")
        mark, parts, again = self.turn.state.mark(), self.turn.parts, self._begun

        def observe() -> Observed | Unobserved:
            try:
                cloud = parts.cloud.observe(parts.config.cluster_id, networks=networks(parts.config))
                return Observed(cloud, parts.cluster.observe()[0] if again else None, mark)
            except Exception as bug:  # noqa: BLE001  # a job's boundary: unanswered, it ended all full turns
                _log.exception("an observation failed")
                return Unobserved(internal("an observation failed", bug))

        self.turn.submit(observe)

    def _next_look_s(self, errors: Mapping[Kind, KuryrError]) -> float:
        """When to observe again. While Octavia is silent or at work: later each time, up to the usual."""
        if not errors.keys() <= BALANCING_KINDS:
            return SOON_S
        usual_s = float(self.turn.parts.config.full_turn_s)
        passing = any(isinstance(error, Retryable) for error in errors.values())
        if not passing and not self.turn.state.balancing.pending:
            self._patience_s = SOON_S
            return usual_s
        wait_s, self._patience_s = self._patience_s, 2 * self._patience_s
        return min(usual_s, wait_s)

    def _full_by(self, delay_s: float, *, only_later: bool = False) -> None:
        due = self.turn.clock() + delay_s
        self._next_full_s = due if only_later else min(self._next_full_s, due)

    def _start_informers(self) -> None:
        followed: queue.Queue[Message] = self._inbox  # type: ignore[assignment]  # a queue of more than Messages
        self._informers = [self._follow(kind, followed) for kind in WATCHED]
        for informer in self._informers:
            informer.start()

    # -- the end

    def _wake_on(self, stop: threading.Event) -> None:
        stop.wait()
        self._inbox.put(Stop())

    def _end(self, keeper: Keeper) -> None:
        """All at once: each part may need its time, all together have five seconds."""
        enders = [threading.Thread(target=informer.stop, daemon=True) for informer in self._informers]
        for ender in enders:
            ender.start()
        if not self.turn.stop(STOP_S):
            _log.warning("some calls were still out at the end; the next run finds what became of them")
        keeper.stop(STOP_S)
        for ender in enders:
            ender.join(STOP_S)


def _shows_a_stale_state(fault: Fault) -> bool:
    """Whether the world is another one than was observed: what is to be changed is not there, or was changed."""
    again = fault.failures > 1 and fault.error.code in STALE_CODES
    return again or fault.needs_observation or isinstance(fault.error, NotFound)


def _named(error: KuryrError) -> str:
    return f"{error.message} ({error.code}){f'; next: {error.hint}' if error.hint else ''}"


def lack_endpoints(messages: Iterable[object], known: Container[str]) -> bool:
    """Whether the first slice of a new Service is still to come, which is made a moment later (0 to 50 ms on the lab).

    With its members a load balancer is one call, without them it is two.
    """
    found = [each.object for each in messages if isinstance(each, Changed) and not each.deleted]
    selecting = {each.full_name for each in found if isinstance(each, Service) and each.selects}
    told = {f"{each.namespace}/{each.service}" for each in found if isinstance(each, EndpointSlice)}
    return any(name not in known for name in selecting - told)


def may_have_company(message: object) -> bool:
    """Whether more like it are likely to come at once: pods are created in droves and their ports share a call, a
    Service has a slice for each IP version.

    A pod that has its addresses has its port, and no call changes several ports.
    """
    match message:
        case Changed(object=Pod() as pod):
            return not pod.ips
        case Changed(object=EndpointSlice()):
            return True
        case _:
            return False
