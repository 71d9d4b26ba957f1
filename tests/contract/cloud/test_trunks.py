"""Trunks, on the fake and on a real Neutron: the parent is on another network than the subports that it carries."""

from __future__ import annotations

from typing import Any

from kuryrctl.core.cloud import SubPort
from tests.contract.cloud.world import NETWORK, World


def parent(world: World) -> dict[str, Any]:
    """The port of a VM, on a network of its own."""
    network = world.raw("POST", "/networks", {"network": {"name": f"{world.prefix}/vms"}}).json["network"]
    body = {"network_id": network["id"], "name": f"{world.prefix}/vm", "device_owner": "compute:nova"}
    made: dict[str, Any] = world.raw("POST", "/ports", {"port": body}).json["port"]
    return made


def trunk(world: World, port_id: str, **subports: int) -> Any:
    """The answer to the making of a trunk, with these subports and their VLAN ids."""
    body = {
        "name": f"{world.prefix}/trunk",
        "port_id": port_id,
        "sub_ports": [
            {"port_id": id_, "segmentation_type": "vlan", "segmentation_id": vlan} for id_, vlan in subports.items()
        ],
    }
    return world.raw("POST", "/trunks", {"trunk": body})


def subport(world: World) -> str:
    """The id of a port as kuryr-kubernetes makes one for nested pods: without a device, which Neutron would refuse."""
    body = {"network_id": world.ids[NETWORK], "device_owner": "compute:kuryr"}
    return str(world.raw("POST", "/ports", {"port": body}).json["port"]["id"])


def owner(world: World, id_: str) -> str:
    """The device owner of a port."""
    return str(world.raw("GET", f"/ports/{id_}").json["port"]["device_owner"])


def test_a_trunk_names_its_parent_and_its_subports_with_their_vlans(world: World) -> None:
    vm, first, second = parent(world), subport(world), subport(world)
    made = trunk(world, vm["id"], **{first: 101, second: 102})
    assert made.status == 201, made

    (seen,) = [each for each in world.neutron.trunks() if each.port_id == vm["id"]]

    assert seen.id == made.json["trunk"]["id"]
    assert {*seen.sub_ports} == {SubPort(first, 101), SubPort(second, 102)}
    assert vm["network_id"] != world.ids[NETWORK]


def test_a_subport_is_owned_by_its_trunk_and_by_nobody_after_it(world: World) -> None:
    id_ = subport(world)
    made = trunk(world, parent(world)["id"], **{id_: 101})
    assert made.status == 201, made

    assert owner(world, id_) == "trunk:subport"
    assert world.raw("DELETE", f"/ports/{id_}").type == "PortInUseAsSubPort"
    assert world.raw("DELETE", f"/trunks/{made.json['trunk']['id']}").status == 204
    assert owner(world, id_) == ""


def test_a_port_is_part_of_one_trunk_only(world: World) -> None:
    vm, id_ = parent(world), subport(world)
    assert trunk(world, vm["id"], **{id_: 101}).status == 201

    assert trunk(world, vm["id"]).type == "ParentPortInUse"
    assert trunk(world, parent(world)["id"], **{id_: 101}).type == "TrunkPortInUse"
    assert world.raw("DELETE", f"/ports/{vm['id']}", by=world.admin).type == "PortInUseAsTrunkParent"


def test_a_port_with_a_device_is_no_subport(world: World) -> None:
    pod = world.made(world.port("uid-1"))[0]

    assert trunk(world, parent(world)["id"], **{pod.id: 101}).type == "PortInUse"


def test_trunks_of_other_projects_are_not_seen(world: World) -> None:
    network = world.raw("POST", "/networks", {"network": {"name": f"{world.prefix}/theirs"}}, by=world.other)
    body = {"network_id": network.json["network"]["id"]}
    port = world.raw("POST", "/ports", {"port": body}, by=world.other).json["port"]
    body = {"port_id": port["id"], "name": f"{world.prefix}/theirs"}
    made = world.raw("POST", "/trunks", {"trunk": body}, by=world.other)
    assert made.status == 201, made

    assert made.json["trunk"]["id"] not in {each.id for each in world.neutron.trunks()}
