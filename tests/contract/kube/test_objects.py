"""KuryrPorts and KuryrNodes: who loses a race, what is refused, what goes with its owner."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from kuryrctl.core.cluster import Interface, KuryrPort, Plugged, Route
from kuryrctl.core.errors import Conflict, Invalid, NotFound
from kuryrctl.core.kinds import Kind
from tests.contract.kube.world import INTERFACE, NODE_A, NODE_B, World, eventually, kuryr_port, refusal

OTHER_UID = "00000000-0000-0000-0000-000000000000"
OTHER_PORT = "ffffffff-8f0f-4a52-b1d5-5c1f3f3c7b10"


def listed(world: World, node: str | None = None) -> list[KuryrPort]:
    items = world.kube.list_kind(Kind.KURYR_PORT, node=node).items
    return [item for item in items if isinstance(item, KuryrPort) and item.namespace == world.namespace]


def test_a_written_port_is_read_back_as_it_was_written(world: World) -> None:
    pod_uid = world.add_pod("web-0")

    written = world.kube.write_kuryr_port(kuryr_port(world, "web-0", pod_uid))

    assert written.interfaces == (INTERFACE,)
    assert (written.pod_uid, written.node, written.bound) == (pod_uid, NODE_A, False)
    assert listed(world) == [written]


def test_creating_what_exists_is_a_conflict(world: World) -> None:
    port = kuryr_port(world, "web-0", world.add_pod("web-0"))
    world.kube.write_kuryr_port(port)

    assert isinstance(refusal(lambda: world.kube.write_kuryr_port(port)), Conflict)


def test_an_update_keeps_what_the_agent_reported_and_the_slower_writer_loses(world: World) -> None:
    first = world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))
    moved = replace(first, interfaces=(replace(INTERFACE, port_id=OTHER_PORT),))

    second = world.kube.write_kuryr_port(moved)

    assert second.interfaces[0].port_id == OTHER_PORT
    assert second.uid == first.uid
    assert isinstance(refusal(lambda: world.kube.write_kuryr_port(moved)), Conflict)


def test_an_update_meant_for_an_earlier_object_of_that_name_loses(world: World) -> None:
    pod_uid = world.add_pod("web-0")
    first = world.kube.write_kuryr_port(kuryr_port(world, "web-0", pod_uid))
    world.kube.delete_kuryr_port(world.namespace, "web-0", first.uid)
    second = world.kube.write_kuryr_port(kuryr_port(world, "web-0", pod_uid))

    assert isinstance(refusal(lambda: world.kube.write_kuryr_port(first)), Conflict)
    world.kube.delete_kuryr_port(world.namespace, "web-0", first.uid)
    assert listed(world) == [second]


def test_deleting_needs_the_right_uid_and_of_the_missing_is_success(world: World) -> None:
    port = world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))

    world.kube.delete_kuryr_port(world.namespace, "web-0", OTHER_UID)
    assert listed(world) == [port]
    world.kube.delete_kuryr_port(world.namespace, "web-0", port.uid)
    assert listed(world) == []
    world.kube.delete_kuryr_port(world.namespace, "web-0", port.uid)
    world.kube.delete_kuryr_port(world.namespace, "never-was", OTHER_UID)
    assert isinstance(refusal(lambda: world.kube.delete_kuryr_port(world.namespace, "web-0", "")), Invalid)


def test_an_agent_sees_the_ports_of_its_node_only(world: World) -> None:
    here = world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0"), NODE_A))
    world.kube.write_kuryr_port(kuryr_port(world, "web-1", world.add_pod("web-1"), NODE_B))

    assert listed(world, NODE_A) == [here]


def test_a_node_name_longer_than_a_label_still_selects(world: World) -> None:
    name = "node-" + "x" * 100
    here = world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0"), name))
    world.kube.write_kuryr_port(kuryr_port(world, "web-1", world.add_pod("web-1"), name + "y"))

    assert listed(world, name) == [here]


def test_a_port_goes_with_its_pod(world: World) -> None:
    kept = world.kube.write_kuryr_port(kuryr_port(world, "kept", world.add_pod("kept")))
    world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))

    world.delete_pod("web-0")

    def only_kept() -> bool:
        world.collect()
        return listed(world) == [kept]

    eventually(only_kept)


def test_a_port_of_an_earlier_pod_of_that_name_goes_too(world: World) -> None:
    """A StatefulSet's pod comes back under its name: the uid decides, not the name."""
    world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))
    world.delete_pod("web-0")
    world.add_pod("web-0")

    def none() -> bool:
        world.collect()
        return not listed(world)

    eventually(none)


BAD_INTERFACES = {
    "no MAC": replace(INTERFACE, mac_address="none"),
    "capital MAC": replace(INTERFACE, mac_address="02:AA:22:33:44:55"),
    "address without a prefix": replace(INTERFACE, addresses=("10.65.0.5",)),
    "no address": replace(INTERFACE, addresses=()),
    "an address twice": replace(INTERFACE, addresses=("10.65.0.5/22", "10.65.0.5/22")),
    "no port id": replace(INTERFACE, port_id=""),
    "a port's name for its id": replace(INTERFACE, port_id="port of web-0"),
    "a name longer than an interface's": replace(INTERFACE, name="interface-longer"),
    "a name with a slash": replace(INTERFACE, name="a/b"),
    "three gateways": replace(INTERFACE, gateways=("10.65.0.1", "10.65.0.2", "fd00::1")),
    "a route to a name": replace(INTERFACE, routes=(Route("default", "10.65.0.1"),)),
    "an MTU below IPv4's least": replace(INTERFACE, mtu=100),
}


@pytest.mark.parametrize("interface", BAD_INTERFACES.values(), ids=BAD_INTERFACES.keys())
def test_a_bad_interface_is_refused(world: World, interface: Interface) -> None:
    port = replace(kuryr_port(world, "web-0", world.add_pod("web-0")), interfaces=(interface,))

    error = refusal(lambda: world.kube.write_kuryr_port(port))

    assert isinstance(error, Invalid)
    assert error.code == "KUBE-INVALID", error.message
    assert "spec.interfaces" in error.message
    assert listed(world) == []


def test_a_port_without_interfaces_or_with_one_twice_is_refused(world: World) -> None:
    port = kuryr_port(world, "web-0", world.add_pod("web-0"))

    assert isinstance(refusal(lambda: world.kube.write_kuryr_port(replace(port, interfaces=()))), Invalid)
    twice = replace(port, interfaces=(INTERFACE, INTERFACE))
    assert isinstance(refusal(lambda: world.kube.write_kuryr_port(twice)), Invalid)


def test_a_port_never_changes_its_pod_nor_its_node(world: World) -> None:
    port = world.kube.write_kuryr_port(kuryr_port(world, "web-0", world.add_pod("web-0")))

    for other in (replace(port, pod_uid=OTHER_UID), replace(port, node=NODE_B)):
        assert isinstance(refusal(partial(world.kube.write_kuryr_port, other)), Invalid)
    assert listed(world) == [port]


def test_no_port_in_a_namespace_that_does_not_exist(world: World) -> None:
    port = replace(kuryr_port(world, "web-0", OTHER_UID), namespace=world.namespace + "-not")

    assert isinstance(refusal(lambda: world.kube.write_kuryr_port(port)), NotFound)


def test_a_node_is_created_then_updated_then_deleted(world: World) -> None:
    uid = world.add_node(NODE_A)

    created = world.kube.write_kuryr_node(NODE_A, uid, None)
    same = world.kube.write_kuryr_node(NODE_A, uid, None)
    updated = world.kube.write_kuryr_node(NODE_A, uid, INTERFACE)

    assert created.node_port is None
    assert same == created
    assert updated.node_port == INTERFACE
    assert updated.uid == created.uid
    world.kube.delete_kuryr_node(NODE_A, OTHER_UID)
    assert world.kube.list_kind(Kind.KURYR_NODE, node=NODE_A).items == (updated,)
    world.kube.delete_kuryr_node(NODE_A, updated.uid)
    world.kube.delete_kuryr_node(NODE_A, updated.uid)
    assert world.kube.list_kind(Kind.KURYR_NODE, node=NODE_A).items == ()


def test_a_node_recreated_under_its_name_gets_a_new_object(world: World) -> None:
    old = world.kube.write_kuryr_node(NODE_A, world.add_node(NODE_A), INTERFACE)
    world.delete_node(NODE_A)

    new = world.kube.write_kuryr_node(NODE_A, world.add_node(NODE_A), None)

    assert new.uid != old.uid
    assert new.node_port is None


def test_plugged_is_a_core_type_of_the_wire() -> None:
    """`write_kuryr_node_status` sends core structs as they are: their field names are the schema's."""
    assert Plugged.__struct_encode_fields__ == ("portId", "podUid", "sandbox")
    assert Interface.__struct_encode_fields__[:3] == ("name", "portId", "macAddress")
