"""What depends on clocks: counted Events, and whether a lease is judged ours or free. Clocks are the tests'."""

from __future__ import annotations

import pytest

from kuryrctl.core.cluster import KuryrNode, KuryrPort, Node, Pod
from kuryrctl.core.errors import Conflict, Unavailable
from kuryrctl.kube import Kube, Lease, ObjectRef
from kuryrctl.kube.api import Api
from kuryrctl.kube.events import EventRecorder
from tests.contract.kube.world import refusal
from tests.fakes.kube import FakeKube


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


POD = ObjectRef("v1", "Pod", "default", "web-0", "uid-0")


def record(recorder: EventRecorder, message: str = "quota used up") -> None:
    recorder.record(POD, "Warning", "PortMissing", message, "engine")


def test_a_repeated_event_is_counted_at_most_once_a_minute() -> None:
    fake, clock = FakeKube(), Clock()
    recorder = EventRecorder(Api(fake), clock)
    for _ in range(121):
        record(recorder)
        clock.now += 1

    (event,) = fake.objects("events").values()
    assert event["series"]["count"] == 121
    assert [method for method, _ in fake.requests] == ["POST", "PATCH", "PATCH"]


def test_other_words_and_a_pause_are_new_events() -> None:
    fake, clock = FakeKube(), Clock()
    recorder = EventRecorder(Api(fake), clock)
    record(recorder)
    clock.now += 1
    record(recorder, "no address left")
    clock.now += 3600
    record(recorder)

    assert [event["note"] for event in fake.objects("events").values()].count("quota used up") == 2
    assert len(fake.objects("events")) == 3


def test_an_event_that_expired_meanwhile_is_written_again() -> None:
    fake, clock = FakeKube(), Clock()
    recorder = EventRecorder(Api(fake), clock)
    record(recorder)
    (name,) = fake.objects("events")
    Api(fake).call("DELETE", f"/apis/events.k8s.io/v1/namespaces/default/events/{name.partition('/')[2]}", "expire")
    clock.now += 120

    record(recorder)

    assert len(fake.objects("events")) == 1


def test_a_server_that_does_not_answer_is_logged_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeKube()
    fake.fail(verb="POST")

    record(EventRecorder(Api(fake)))

    assert "quota used up" in caplog.text


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (Pod("default", "web-0", "uid"), ObjectRef("v1", "Pod", "default", "web-0", "uid")),
        (Node("node1", "uid"), ObjectRef("v1", "Node", "", "node1", "node1")),
        (
            KuryrPort("default", "web-0", "pod", "node1", (), "uid"),
            ObjectRef("kuryr.openstack.org/v1", "KuryrPort", "default", "web-0", "uid"),
        ),
        (KuryrNode("node1", None, "uid"), ObjectRef("kuryr.openstack.org/v1", "KuryrNode", "", "node1", "uid")),
    ],
)
def test_events_refer_as_kubectl_looks_them_up(obj: Pod | Node | KuryrPort | KuryrNode, expected: ObjectRef) -> None:
    assert ObjectRef.of(obj) == expected


def lease(fake: FakeKube, identity: str, monotonic: Clock, wall: Clock) -> Lease:
    return Lease(Kube(fake), namespace="kube-system", name="k", identity=identity, clock=monotonic, wall_clock=wall)


def test_a_lease_whose_writer_wrote_long_ago_is_taken_at_first_sight() -> None:
    fake, monotonic, wall = FakeKube(), Clock(), Clock()
    lease(fake, "crashed", monotonic, wall).acquire()
    wall.now += 3600

    lease(fake, "next", monotonic, wall).acquire()


def test_a_holder_with_a_slow_clock_is_not_robbed() -> None:
    """It renewed a moment ago, but by its clock that was 20 s before: only silence that we saw ourselves counts."""
    fake, monotonic, slow, wall = FakeKube(), Clock(), Clock(), Clock()
    slow.now -= 20
    holder = lease(fake, "slow", monotonic, slow)
    holder.acquire()
    other = lease(fake, "other", monotonic, wall)

    assert isinstance(refusal(other.acquire), Conflict)
    monotonic.now += 14
    slow.now += 14
    wall.now += 14
    holder.renew()
    assert isinstance(refusal(other.acquire), Conflict)
    monotonic.now += 14
    assert isinstance(refusal(other.acquire), Conflict)
    monotonic.now += 2
    other.acquire()
    assert other.valid()


def test_validity_counts_from_before_the_call() -> None:
    fake, monotonic, wall = FakeKube(), Clock(), Clock()
    one = lease(fake, "one", monotonic, wall)
    started = monotonic.now
    one.acquire()

    assert one.valid(started + 14.9)
    assert not one.valid(started + 15)


def test_a_renewal_whose_answer_was_lost_is_still_ours() -> None:
    fake, monotonic, wall = FakeKube(), Clock(), Clock()
    one = lease(fake, "one", monotonic, wall)
    one.acquire()
    fake.fail(verb="PUT", effect=True)
    wall.now += 5
    assert isinstance(refusal(one.renew), Unavailable)
    assert one.valid()
    wall.now += 5
    monotonic.now += 5

    one.renew()

    assert one.valid(monotonic.now + 14)


def test_a_lease_whose_creation_was_not_answered_is_recognised() -> None:
    fake, monotonic, wall = FakeKube(), Clock(), Clock()
    one = lease(fake, "one", monotonic, wall)
    fake.fail(verb="POST", effect=True)
    assert isinstance(refusal(one.acquire), Unavailable)

    one.acquire()

    assert one.valid()


def test_a_release_whose_answer_was_lost_leaves_nobody_believing() -> None:
    fake, monotonic, wall = FakeKube(), Clock(), Clock()
    one = lease(fake, "one", monotonic, wall)
    one.acquire()
    fake.fail(verb="PUT", effect=True)

    assert isinstance(refusal(one.release), Unavailable)

    assert not one.valid()
    assert one.holder() is None
