"""What the engine's credential may do, and what it may not: with the policy that `policy_override` gives."""

from __future__ import annotations

from typing import Any

from kuryrctl.cloud import Neutron
from kuryrctl.core import names
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from tests.contract.cloud.world import NETWORK, NODE1, World, codes


def _foreign_port(world: World) -> dict[str, Any]:
    """A pod port (to all appearances) of another project, on that project's network."""
    network = world.raw("POST", "/networks", {"network": {"name": f"{world.prefix}/theirs"}}, by=world.other)
    id_ = network.json["network"]["id"]
    subnet = {"network_id": id_, "name": f"{world.prefix}/theirs", "ip_version": 4, "cidr": "10.96.0.0/24"}
    assert world.raw("POST", "/subnets", {"subnet": subnet}, by=world.other).status == 201
    body = {"network_id": id_, "name": f"{world.prefix}/theirs", "device_owner": names.DEVICE_OWNER}
    made = world.raw("POST", "/ports", {"port": body}, by=world.other)
    assert made.status == 201, made
    return dict(made.json["port"])


def test_a_port_of_another_project_cannot_be_seen_changed_or_deleted(world: World) -> None:
    theirs = _foreign_port(world)
    path = f"/ports/{theirs['id']}"

    assert world.raw("GET", path).status == 404
    assert world.raw("PUT", path, {"port": {"binding:host_id": NODE1}}).status == 404
    assert world.raw("PUT", path, {"port": {"name": "mine"}}).status == 404
    assert world.raw("PUT", f"{path}/tags", {"tags": list(world.tags("pod", "u"))}).status == 403
    assert world.raw("DELETE", path).status == 404
    assert theirs["id"] not in world.neutron.observe(world.cluster_id).ports
    now = world.raw("GET", path, by=world.other).json["port"]
    assert (now["name"], now["tags"]) == (theirs["name"], [])


def test_a_port_on_a_network_of_another_project_cannot_be_made(world: World) -> None:
    world.ids["network/theirs"] = _foreign_port(world)["network_id"]

    outcome = world.apply(world.create(world.port("uid-1", network="network/theirs", addresses=())))

    assert codes(outcome) == ["NET-NOT-FOUND"]


def test_the_engine_is_no_administrator(world: World) -> None:
    quota = world.raw("PUT", f"/quotas/{world.neutron.project_id}", {"quota": {"port": 1}})
    shared = world.raw("PUT", f"/networks/{world.ids[NETWORK]}", {"network": {"shared": True}})

    assert (quota.status, shared.status) == (403, 403)
    listed = world.raw("GET", "/ports?fields=project_id").json["ports"]
    assert {port["project_id"] for port in listed} <= {world.neutron.project_id}


def test_a_plain_member_can_neither_bind_a_port_nor_delete_a_pods(world: World) -> None:
    pod = world.made(world.port("uid-1"))[0]
    body = {"network_id": world.ids[NETWORK], "name": f"{world.prefix}/p", "binding:host_id": NODE1}

    assert world.raw("POST", "/ports", {"port": body}, by=world.member).status == 403
    assert world.raw("PUT", f"/ports/{pod.id}", {"port": {"binding:host_id": ""}}, by=world.member).status == 403
    assert world.raw("DELETE", f"/ports/{pod.id}", by=world.member).status == 403


def test_an_engine_without_the_role_is_told_so_instead_of_seeing_unbound_ports(world: World) -> None:
    world.made(world.port("uid-1"))
    neutron = Neutron(world.member)

    observed = neutron.observe(world.cluster_id)
    outcome = neutron.apply([world.create(world.port("uid-2"))], world.ids)[0]

    assert Kind.PORT not in observed.complete and Kind.NETWORK in observed.complete
    for error in (observed.errors[Kind.PORT], outcome.error):
        assert isinstance(error, KuryrError)
        assert error.code == "NET-FORBIDDEN" and "kuryrctl cluster credential" in error.hint


def test_a_server_port_is_not_deleted_by_the_engines_role(world: World) -> None:
    body = {"network_id": world.ids[NETWORK], "name": f"{world.prefix}/vm", "device_owner": "compute:nova"}
    server = world.raw("POST", "/ports", {"port": body}).json["port"]

    assert world.raw("DELETE", f"/ports/{server['id']}").status == 403
