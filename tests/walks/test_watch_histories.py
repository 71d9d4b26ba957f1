"""Random histories as the watch hears of them: late, twice, never, out of date. It ends as the servers' truth says.

The informers are scripted, everything else is real: the turn, its workers, the fake servers. The promise of decision
021, and so what the script may do: events lie as they like, but of what the API server answers to lists at most one
answer is out of date between two full turns that were read as things are, and none that a watch begins with.
"""

from __future__ import annotations

import copy
import queue
import threading
import time
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.errors import Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Changed, Kube, KubeObject, Listed, Message
from kuryrctl.reconcile.leadership import Leading
from kuryrctl.reconcile.watch import WATCHED, Watch
from tests.unit.reconcile.site import eventually
from tests.walks.test_once_histories import CALLS, History, events, nodes, pods


class Held:
    """A lease that is ours as long as the script says so."""

    def __init__(self) -> None:
        self.ours = True

    def acquire(self, wait_s: float = 0.0, stop: threading.Event | None = None) -> None: ...

    def renew(self) -> None: ...

    def release(self) -> None: ...

    def valid(self) -> bool:
        return self.ours


class Feed:
    """What the informer of one kind would tell: the differences since it last looked, held back until delivered."""

    def __init__(self, kube: Kube, kind: Kind, out: queue.Queue[Message]) -> None:
        self.kube, self.kind, self.out = kube, kind, out
        self.known: dict[str, KubeObject] = {}
        self.past = self.known
        self.waiting: list[Changed] = []
        self.told: list[Changed] = []

    def start(self) -> None:
        self.known = self._now()
        self.waiting.clear()
        self.past = self.known
        self.out.put(Listed(self.kind, tuple(self.known.values()), ""))

    def stale(self) -> None:
        """A list as of the last one."""
        self.out.put(Listed(self.kind, tuple(self.past.values()), ""))

    def stop(self) -> None: ...

    def look(self) -> None:
        now = self._now()
        changed = [thing for uid, thing in now.items() if self.known.get(uid) != thing]
        gone = [thing for uid, thing in self.known.items() if uid not in now]
        self.waiting += [Changed(self.kind, thing, True) for thing in gone]
        self.waiting += [Changed(self.kind, thing) for thing in changed]
        self.known = now

    def deliver(self, times: int) -> None:
        for event in self.waiting:
            for _ in range(times):
                self.out.put(event)
        self.told += self.waiting
        self.waiting.clear()

    def repeat(self, which: int) -> None:
        """An old event once more."""
        if self.told:
            self.out.put(self.told[which % len(self.told)])

    def _now(self) -> dict[str, KubeObject]:
        return {thing.uid: thing for thing in self.kube.list_kind(self.kind).items}


class Watched(History):
    """A site and the watch that hears of it what the script lets it hear."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = Held()
        self.feeds: dict[Kind, Feed] = {}
        self.deceived = False
        self.readings = 0
        self.past = copy.deepcopy(self.site.kube._objects)
        self.begin()

    def begin(self) -> None:
        self.feeds.clear()
        self.watch = Watch(self.site.parts(max_deletes=99, first_rest_s=0.001), self.lease, self.follow)
        self.take_relist = self.watch.turn.state.take_relist
        self.watch.turn.state.take_relist = self.counted  # type: ignore[method-assign]  # listens to the watch's thread
        self.watch.turn.inbox.put(Leading())
        self.pump()

    def counted(self, observed: ClusterState, mark: int) -> None:
        """How many full turns were read: a fault, or a lost lease, lets none of it reach the watch."""
        self.readings += 1
        self.take_relist(observed, mark)

    def follow(self, kind: Kind, out: queue.Queue[Message]) -> Feed:
        self.feeds[kind] = Feed(self.site.client, kind, out)
        return self.feeds[kind]

    def apply(self, event: tuple[Any, ...]) -> None:
        super().apply(event)
        for feed in self.feeds.values():
            feed.look()

    def hear(self, how: str) -> None:
        """What has happened since the last time is told now, unless it is to be told late."""
        if how != "late":
            for feed in self.feeds.values():
                feed.deliver({"never": 0, "once": 1, "twice": 2}[how])

    def do_repeat(self, kind: Kind, which: int) -> None:
        if kind in self.feeds:
            self.feeds[kind].repeat(which)

    def do_relist(self, kind: Kind) -> None:
        if kind in self.feeds:
            self.feeds[kind].start()

    def do_full(self) -> None:
        """An honest full turn, begun after all that was told before has been heard."""
        self.pump()
        before = self.readings
        self.watch.look_again()
        self.pump()
        if self.readings > before:
            self.deceived = False

    def do_stale_list(self, kind: Kind) -> None:
        """Once until the next honest full turn: two lies that agree are believed."""
        if not self.deceived and kind in self.feeds:
            self.deceived = True
            self.feeds[kind].stale()

    def do_stale_turn(self) -> None:
        """A full turn that reads how the cluster was at the beginning, or since `remember`."""
        if not self.deceived and self.feeds:
            self.deceived = True
            self.pump()
            self.site.kube._frozen = self.past
            self.watch.look_again()
            self.pump()
            self.site.kube.thaw_lists()

    def do_remember(self) -> None:
        """Stale turns are as of now."""
        self.past = copy.deepcopy(self.site.kube._objects)

    def do_fault(self, call: tuple[str, str], after: bool) -> None:
        error = Unavailable("injected", code="NET-UNAVAILABLE", after_s=0)
        self.site.cloud.fail_next(*call, error, after_effect=after)

    def do_lease(self, ours: bool) -> None:
        self.lease.ours = ours

    def do_crash(self) -> None:
        """The process ends with whatever calls are out; another one begins."""
        self.watch.turn.stop(10)
        self.begin()

    def pump(self, patience: int = 2) -> None:
        """Rounds until nothing is under way but what has failed `patience` times."""
        inbox, schedule = self.watch.turn.inbox, self.watch.turn.schedule
        until = time.monotonic() + 5
        while time.monotonic() < until:
            messages = [inbox.get()] if not inbox.empty() or self.watch.busy else []
            self.watch.round(messages)
            resting = schedule.next_s() is not None and any(fault.failures < patience for fault in schedule.faults)
            if not (messages or self.watch.busy or resting) and inbox.empty():
                return
            time.sleep(0 if messages else 0.001)

    def recover(self) -> None:
        """Faults end, informers are as good as real ones, and two full turns pass."""
        self.site.cloud.cloud.injected.clear()
        self.site.cloud.set_quota("port", -1)
        self.lease.ours = True
        self.watch.turn.inbox.put(Leading())
        self.turn(patience=3)
        eventually(lambda: {pod["metadata"]["uid"] for pod in self.robbed()} <= self.told())
        self.follow_advice()
        for _ in range(4):
            self.turn(patience=99)
        self.watch.turn.stop(10)

    def turn(self, patience: int) -> None:
        """Everything is heard of, and a full turn passes."""
        for feed in self.feeds.values():
            feed.look()
            feed.deliver(1)
        self.pump(patience)
        self.watch.look_again()
        self.pump(patience)


kinds = st.sampled_from(WATCHED)
noise = st.one_of(
    st.tuples(st.just("repeat"), kinds, st.integers(0, 9)),
    st.tuples(st.just("relist"), kinds),
    st.tuples(st.just("full")),
    st.tuples(st.just("stale list"), st.sampled_from([Kind.POD, Kind.POD, Kind.KURYR_PORT, Kind.NODE])),
    st.tuples(st.just("stale turn")),
    st.tuples(st.just("fault"), st.sampled_from(CALLS), st.booleans()),
    st.tuples(st.just("lease"), st.booleans()),
    st.tuples(st.just("crash")),
)
happening = st.one_of(
    st.tuples(st.just("create"), pods, nodes),
    st.tuples(st.sampled_from(["delete", "finish"]), pods),
    events,
)
hearing = st.sampled_from(["late", "never", "once", "once", "twice"])
steps = st.tuples(happening, hearing, st.none() | noise, st.booleans())


@given(st.lists(steps, min_size=3, max_size=12))
@settings(max_examples=60, phases=(Phase.explicit, Phase.generate))
def test_whatever_is_heard_of_it_any_history_converges(history: list[tuple[Any, ...]]) -> None:
    """Whatever events tell, and one stale answer at a time: nobody who exists loses a port, and all ends as it should.

    Two stale answers that agree are not covered (decision 021): no API server gives them to consistent reads.
    """
    play(history)


NODE_MADE_ANEW = [(("remove node", "node1"), "once", None, True), (("add node", "node1"), "once", None, True)]


def test_one_stale_reading_takes_no_port_from_a_node_that_was_made_anew() -> None:
    """It names the earlier node, whose absence nobody asked for any more: a proof that was dropped."""
    play([*NODE_MADE_ANEW, (("collect",), "once", ("full",), True), (("collect",), "once", ("stale turn",), True)])


def test_a_late_event_of_an_earlier_node_takes_no_port_from_the_one_with_its_name() -> None:
    full = (("collect",), "once", ("full",), True)
    late = (("collect",), "once", ("repeat", Kind.NODE, 1), True)
    play([*NODE_MADE_ANEW, *NODE_MADE_ANEW, full, full, late])


def test_two_readings_that_miss_two_nodes_of_one_name_prove_no_absence() -> None:
    """The first missed the earlier node rightly, the second is stale and misses the new one: each was missed once."""
    play(
        [
            (("remove node", "node1"), "late", ("full",), True),
            (("collect",), "late", ("remember",), True),
            (("add node", "node1"), "once", None, True),
            (("collect",), "once", ("stale turn",), True),
        ]
    )


def test_a_lost_address_that_somebody_was_given_meanwhile_is_told_and_a_new_pod_gets_another() -> None:
    """Nobody tells the watch that a port is gone: until the next full turn its address is a free one."""
    world = play(
        [
            (("create", "pod-0", "node2"), "once", None, True),
            (("lose port", "pod-0"), "once", None, True),
            (("create", "pod-1", "node2"), "once", None, True),
        ]
    )
    assert world.advised == ["pod-0"]


def play(history: list[tuple[Any, ...]]) -> Watched:
    """The history, then the recovery, then what must hold."""
    world = Watched()
    try:
        for event, heard, other, settle in history:
            world.apply(event)
            world.hear(heard)
            if other:
                world.apply(other)
            if settle:
                world.pump()
        world.recover()
        world.check()
    finally:
        world.watch.turn.stop(1)
    return world
