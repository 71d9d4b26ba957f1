"""Lists in pages, watches that resume, and what happens to a place that the server has forgotten."""

from __future__ import annotations

import threading

import pytest

from kuryrctl.core.cluster import KuryrPort, Pod
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import EventType, Gone, Kube, WatchEvent
from kuryrctl.kube.resources import OBSERVED
from tests.contract.kube.world import NODE_A, NODE_B, World, kuryr_port


def follow(world: World, kind: Kind, version: str, count: int, node: str | None = None) -> list[WatchEvent]:
    """The next events of the cases' namespace."""
    found: list[WatchEvent] = []
    watch = world.kube.watch(kind, version, node=node, stop=threading.Event())
    for event in watch:
        if isinstance(event.object, Pod | KuryrPort) and event.object.namespace == world.namespace:
            found.append(event)
        if len(found) == count:
            watch.close()
    return found


def names(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [(event.type.value, event.object.name) for event in events if event.object]


def test_pages_make_one_list(world: World) -> None:
    uids = {world.add_pod(f"web-{number}") for number in range(7)}
    small = Kube(world.transport, page_size=3)

    listed = small.list_kind(Kind.POD)

    ours = [item for item in listed.items if isinstance(item, Pod) and item.namespace == world.namespace]
    assert {pod.uid for pod in ours} == uids
    assert len(ours) == len(uids)
    assert int(listed.resource_version) > 0


def test_an_observation_is_complete_and_says_which_cluster_it_is(world: World) -> None:
    uid = world.add_pod("web-0")

    state, errors = world.kube.observe()

    assert errors == {}
    assert state.complete == set(OBSERVED)
    assert state.kube_system_uid == state.namespaces["kube-system"].uid != ""
    assert state.pods[uid].full_name == f"{world.namespace}/web-0"
    assert not state.pods[uid].wants_port


def test_a_watch_tells_every_change_after_its_version_once(world: World) -> None:
    world.add_pod("before")
    version = world.kube.list_kind(Kind.POD).resource_version
    world.add_pod("web-0")
    world.delete_pod("web-0")

    events = follow(world, Kind.POD, version, 2)

    assert names(events)[0] == ("added", "web-0")
    rest = follow(world, Kind.POD, events[0].resource_version, 1)
    assert names(rest)[0][1] == "web-0"
    assert names(rest)[0][0] in ("modified", "deleted")


def test_a_nodes_watch_tells_of_its_own_ports_only(world: World) -> None:
    version = world.kube.list_kind(Kind.KURYR_PORT, node=NODE_A).resource_version
    world.kube.write_kuryr_port(kuryr_port(world, "there", world.add_pod("there"), NODE_B))
    here = world.kube.write_kuryr_port(kuryr_port(world, "here", world.add_pod("here"), NODE_A))
    world.kube.delete_kuryr_port(world.namespace, "here", here.uid)

    events = follow(world, Kind.KURYR_PORT, version, 2, node=NODE_A)

    assert names(events) == [("added", "here"), ("deleted", "here")]
    assert events[0].object == here
    assert int(events[1].resource_version) > int(here.resource_version)


def test_a_watch_from_a_version_long_past_is_gone(world: World) -> None:
    world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))

    with pytest.raises(Gone):
        list(world.kube.watch(Kind.KURYR_PORT, "1", stop=threading.Event()))


def test_closing_a_watch_from_another_thread_ends_its_reader(world: World) -> None:
    version = world.kube.list_kind(Kind.KURYR_PROBE).resource_version  # nobody writes them: agents report each 10 s
    watch = world.kube.watch(Kind.KURYR_PROBE, version, stop=threading.Event())
    seen: list[WatchEvent] = []
    reader = threading.Thread(target=lambda: seen.extend(e for e in watch if e.type is not EventType.BOOKMARK))
    reader.start()

    watch.close()
    reader.join(60)

    assert not reader.is_alive()
    assert seen == []
    watch.close()


def test_a_set_stop_ends_a_watch_at_its_next_line(world: World) -> None:
    version = world.kube.list_kind(Kind.POD).resource_version
    stop = threading.Event()
    watch = world.kube.watch(Kind.POD, version, stop=stop)
    stop.set()
    world.add_pod("web-0")

    assert list(watch) == []
