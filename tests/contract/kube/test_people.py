"""What people see and do: Events, and what is installed."""

from __future__ import annotations

from typing import Any

import msgspec

from kuryrctl.core.cluster import Pod
from kuryrctl.kube import ObjectRef
from tests.contract.kube.world import World


def events(world: World) -> list[dict[str, Any]]:
    path = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    found: list[dict[str, Any]] = msgspec.json.decode(world.transport.request("GET", path).body)["items"]
    return [event for event in found if event["reportingController"].startswith("kuryr.openstack.org/")]


def test_an_event_is_about_its_object_and_the_same_again_is_not_a_second_one(world: World) -> None:
    pod = Pod(world.namespace, "web-0", world.add_pod("web-0"))

    for _ in range(3):
        world.kube.event(ObjectRef.of(pod), "Warning", "PortMissing", "no port: quota used up", "engine")

    (event,) = events(world)
    assert event["regarding"]["uid"] == pod.uid
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "PortMissing", "no port: quota used up")
    assert event["reportingController"] == "kuryr.openstack.org/engine"


def test_a_long_message_is_cut_and_a_long_name_is_no_obstacle(world: World) -> None:
    pod = Pod(world.namespace, "w" * 253, "some-uid")

    world.kube.event(ObjectRef.of(pod), "Normal", "PortReady", "x" * 5000)

    (event,) = events(world)
    assert len(event["note"].encode()) == 1024


def test_an_event_that_cannot_be_written_is_no_error(world: World) -> None:
    world.kube.event(ObjectRef("v1", "Pod", world.namespace, "web-0", "uid"), "Bad", "", "neither type nor reason")
    world.kube.event(ObjectRef("v1", "Pod", "no-such-namespace", "web-0", "uid"), "Normal", "PortReady", "text")

    assert all(event["note"] != "text" for event in events(world))


def test_installing_again_changes_nothing(world: World) -> None:
    world.kube.install()
    assert world.kube.installed() == []

    applied = world.kube.install()

    assert "CustomResourceDefinition kuryrports.kuryr.openstack.org" in applied
    assert world.kube.installed() == []
