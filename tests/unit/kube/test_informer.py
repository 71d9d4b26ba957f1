"""An informer keeps its caller's picture of a kind right, whatever happens to the stream. Asserted on the picture."""

from __future__ import annotations

import gc
import queue
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from kuryrctl.core.cluster import Pod
from kuryrctl.core.errors import Owner
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Changed, Down, Informer, Kube, Listed, Message
from kuryrctl.kube.wire import KubeObject
from tests.fakes.kube import FakeKube


class Picture:
    """Pods by name, as an informer's caller would keep them; every message in `seen`."""

    def __init__(self, fake: FakeKube, node: str | None = None) -> None:
        self.out: queue.Queue[Message] = queue.Queue()
        self.informer = Informer(Kube(fake), Kind.POD, self.out, node=node)
        self.pods: dict[str, Pod] = {}
        self.seen: list[Message] = []

    def take(self) -> Message:
        """The next message, applied."""
        message = self.out.get(timeout=60)
        self.seen.append(message)
        match message:
            case Listed(items=items):
                self.pods = {pod.name: pod for pod in map(as_pod, items)}
            case Changed(object=Pod() as pod, deleted=True):
                self.pods.pop(pod.name, None)
            case Changed(object=Pod() as pod):
                self.pods[pod.name] = pod
        return message

    def until(self, condition: Callable[[], bool]) -> None:
        """Take messages until the picture is so."""
        while not condition():
            self.take()

    def count(self, kind: type) -> int:
        """How many messages of this type were seen."""
        return sum(isinstance(message, kind) for message in self.seen)


def as_pod(item: KubeObject) -> Pod:
    assert isinstance(item, Pod)
    return item


def lists_of(fake: FakeKube) -> int:
    return sum(method == "GET" for method, _ in fake.requests)


def watches_of(fake: FakeKube) -> list[str]:
    return [path for method, path in fake.requests if method == "WATCH"]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def fake() -> FakeKube:
    fake = FakeKube()
    fake.add_pod("default", "web-0", node="node1")
    return fake


@pytest.fixture
def picture(fake: FakeKube) -> Iterator[Picture]:
    """A running informer that has listed and watches."""
    made = Picture(fake)
    made.informer.start()
    made.take()
    wait_for(lambda: fake.open_watches() == 1)
    yield made
    made.informer.stop()
    made.informer.join(60)
    assert not made.informer.is_alive()


def test_a_list_then_every_change(fake: FakeKube, picture: Picture) -> None:
    assert set(picture.pods) == {"web-0"}

    fake.add_pod("default", "web-1")
    fake.finish_pod("default", "web-0")
    fake.delete_pod("default", "web-1")
    picture.until(lambda: picture.count(Changed) == 3)

    assert picture.pods.keys() == {"web-0"}
    assert picture.pods["web-0"].phase == "Succeeded"
    assert (lists_of(fake), picture.count(Listed), picture.count(Down)) == (1, 1, 0)


@pytest.mark.parametrize("cleanly", [True, False], ids=["after its time", "in the middle"])
def test_a_stream_that_ends_is_resumed_without_a_list(fake: FakeKube, picture: Picture, cleanly: bool) -> None:
    fake.cut_watches(cleanly=cleanly)
    fake.add_pod("default", "while-away")

    picture.until(lambda: "while-away" in picture.pods)

    assert (lists_of(fake), picture.count(Down)) == (1, 0)


def test_an_informer_keeps_nothing_of_its_list(picture: Picture) -> None:
    listed = weakref.ref(picture.pods["web-0"])
    picture.pods.clear()
    picture.seen.clear()
    gc.collect()

    assert listed() is None


def test_a_watch_resumes_after_the_last_bookmark(fake: FakeKube, picture: Picture) -> None:
    fake.add_namespace("unrelated")
    place = fake.version
    fake.send_bookmarks()
    fake.compact()  # what came before the bookmark is forgotten: only the bookmark's place can be resumed

    fake.cut_watches(cleanly=True)
    fake.add_pod("default", "web-1")
    picture.until(lambda: "web-1" in picture.pods)

    assert f"resourceVersion={place}&" in watches_of(fake)[-1]
    assert lists_of(fake) == 1


def test_a_forgotten_place_costs_one_list_and_no_change_is_missed(fake: FakeKube, picture: Picture) -> None:
    with fake.changed:
        fake.cut_watches()
        fake.delete_pod("default", "web-0")
        fake.add_pod("default", "web-1")
        fake.compact()

    picture.until(lambda: picture.count(Listed) == 2)

    assert picture.pods.keys() == {"web-1"}
    assert picture.count(Down) == 0


def test_an_open_watch_that_is_overtaken_by_a_compaction_lists_again(fake: FakeKube, picture: Picture) -> None:
    with fake.changed:
        fake.delete_pod("default", "web-0")
        fake.compact()

    picture.until(lambda: picture.count(Listed) == 2)

    assert picture.pods == {}


def test_an_outage_is_told_and_ends_with_a_list(fake: FakeKube, picture: Picture) -> None:
    fake.fail(times=3)
    fake.cut_watches()
    fake.delete_pod("default", "web-0")

    picture.until(lambda: picture.count(Listed) == 2)

    assert picture.pods == {}
    downs = [message for message in picture.seen if isinstance(message, Down)]
    assert len(downs) == 3
    assert {down.error.code for down in downs} == {"KUBE-UNAVAILABLE"}
    assert all(isinstance(message, Down) for message in picture.seen[1:-1])


def test_a_server_that_is_down_at_the_start_is_waited_for(fake: FakeKube) -> None:
    fake.fail(500, times=2)
    picture = Picture(fake)
    picture.informer.start()

    picture.until(lambda: picture.count(Listed) == 1)
    picture.informer.stop()

    assert picture.count(Down) == 2
    assert picture.pods.keys() == {"web-0"}


@pytest.mark.parametrize("verb", ["GET", "WATCH"])
def test_a_bug_is_told_and_lived_through(fake: FakeKube, verb: str, caplog: pytest.LogCaptureFixture) -> None:
    fake.break_once(verb=verb)
    picture = Picture(fake)
    picture.informer.start()

    picture.until(lambda: picture.count(Down) == 1)
    picture.until(lambda: isinstance(picture.seen[-1], Listed))
    fake.add_pod("default", "web-1")
    picture.until(lambda: "web-1" in picture.pods)
    picture.informer.stop()

    (down,) = [message for message in picture.seen if isinstance(message, Down)]
    assert (down.error.code, down.error.owner) == ("INTERNAL", Owner.KURYRCTL)
    assert "RuntimeError: a bug of the transport" in caplog.text


def test_doubled_events_do_no_harm(fake: FakeKube, picture: Picture) -> None:
    fake.send_events(2)
    fake.add_pod("default", "web-1")
    fake.delete_pod("default", "web-0")

    picture.until(lambda: picture.count(Changed) == 4)

    assert picture.pods.keys() == {"web-1"}


def test_a_nodes_informer_sees_its_pods_come_by_scheduling(fake: FakeKube) -> None:
    picture = Picture(fake, node="node2")
    picture.informer.start()
    picture.take()
    assert picture.pods == {}

    fake.add_pod("default", "web-1")
    fake.schedule_pod("default", "web-1", "node2")
    fake.finish_pod("default", "web-0")
    fake.delete_pod("default", "web-1")
    picture.until(lambda: picture.count(Changed) == 2)
    picture.informer.stop()

    changes = [(m.object.name, m.deleted) for m in picture.seen if isinstance(m, Changed)]
    assert changes == [("web-1", False), ("web-1", True)]


def test_stopping_ends_a_thread_that_waits_for_events_and_nothing_comes_after(fake: FakeKube, picture: Picture) -> None:
    picture.informer.stop()
    picture.informer.join(60)

    assert not picture.informer.is_alive()
    fake.add_pod("default", "late")
    assert picture.out.empty()
    assert fake.open_watches() == 0


def test_stopping_ends_a_thread_that_waits_to_try_again(fake: FakeKube) -> None:
    fake.fail(503, times=1000)
    picture = Picture(fake)
    picture.informer.start()
    picture.until(lambda: picture.count(Down) == 4)

    picture.informer.stop()
    picture.informer.join(60)

    assert not picture.informer.is_alive()


def test_an_informer_that_never_started_can_be_stopped(fake: FakeKube) -> None:
    Picture(fake).informer.stop()
