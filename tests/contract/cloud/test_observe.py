"""One observation, on the fake and on a real Neutron: what is seen, what is not, what it costs."""

from __future__ import annotations

from kuryrctl.cloud.client import Client
from kuryrctl.cloud.wire import PORTS
from kuryrctl.core import names
from kuryrctl.core.kinds import Kind
from tests.contract.cloud.world import GROUP, NETWORK, V4, V6, World, rule

CLOUD_KINDS = {
    Kind.NETWORK,
    Kind.SUBNET,
    Kind.ROUTER,
    Kind.ROUTER_INTERFACE,
    Kind.SECURITY_GROUP,
    Kind.SECURITY_GROUP_RULE,
    Kind.PORT,
}


def test_everything_of_the_cluster_is_seen_whole(world: World) -> None:
    ports = world.made(world.port("uid-1"), world.port("uid-2"))
    rules = world.made(rule("tcp-80"))

    observed = world.neutron.observe(world.cluster_id)

    assert (observed.complete, observed.errors) == (CLOUD_KINDS, {})
    assert observed.project_id == world.neutron.project_id
    assert {port.id for port in ports} <= observed.ports.keys()
    assert world.ids[NETWORK] in observed.networks
    assert {world.ids[V4], world.ids[V6]} <= observed.subnets.keys()
    assert observed.security_groups[world.ids[GROUP]].security_group_rules == (rules[0],)


def test_it_costs_one_call_for_each_kind_and_two_for_ports(world: World) -> None:
    world.neutron.calls.clear()

    world.neutron.observe(world.cluster_id)

    assert world.neutron.calls == {
        ("GET", "ports"): 2,
        ("GET", "quotas/details"): 1,
        ("GET", "networks"): 1,
        ("GET", "subnets"): 1,
        ("GET", "routers"): 1,
        ("GET", "security-groups"): 1,
    }


def test_an_untagged_port_of_ours_is_seen_and_a_foreign_one_is_not(world: World) -> None:
    made = world.made(world.port("uid-1"))[0]
    world.raw("PUT", f"/ports/{made.id}/tags", {"tags": []})
    look_alike = {"network_id": world.ids[NETWORK], "name": made.name, "device_owner": "compute:nova"}
    foreign = world.raw("POST", "/ports", {"port": look_alike}).json["port"]

    observed = world.neutron.observe(world.cluster_id)

    assert observed.ports[made.id].tags == ()
    assert foreign["id"] not in observed.ports


def test_a_port_of_ours_whose_owner_somebody_changed_is_still_seen(world: World) -> None:
    made = world.made(world.port("uid-1"))[0]
    world.raw("PUT", f"/ports/{made.id}", {"port": {"device_owner": "compute:elsewhere"}})

    assert world.neutron.observe(world.cluster_id).ports[made.id].device_owner == "compute:elsewhere"


def test_a_network_of_another_project_is_seen_where_it_is_named(world: World) -> None:
    assert world.external not in world.neutron.observe(world.cluster_id).networks

    observed = world.neutron.observe(world.cluster_id, networks=[world.external])

    assert observed.networks[world.external].external
    by_name = world.neutron.observe(world.cluster_id, networks=[observed.networks[world.external].name])
    assert by_name.networks.keys() == observed.networks.keys()
    assert any(subnet.network_id == world.external for subnet in observed.subnets.values()) == any(
        subnet.network_id == world.external for subnet in by_name.subnets.values()
    )


def test_ports_for_people_are_all_of_the_project(world: World) -> None:
    body = {"network_id": world.ids[NETWORK], "name": f"{world.prefix}/vm", "device_owner": "compute:nova"}
    server = world.raw("POST", "/ports", {"port": body}).json["port"]
    pod = world.made(world.port("uid-1"))[0]

    listed = {port.id: port for port in world.neutron.ports([("network_id", world.ids[NETWORK])])}

    assert listed.keys() == {server["id"], pod.id}
    assert listed[pod.id] == pod


def test_pages_are_followed_to_the_end(world: World) -> None:
    made = world.made(*(world.port(f"uid-{number}") for number in range(5)))
    client = Client(world.transport)
    query = [("tags", names.cluster_tag(world.cluster_id)), ("limit", "2"), ("sort_key", "id"), ("sort_dir", "asc")]

    listed = client.list(PORTS, query)

    assert {port.id for port in listed} == {port.id for port in made}
    assert client.calls["GET", "ports"] in (3, 4)


def test_two_clusters_in_one_project_see_their_own_tagged_ports(world: World) -> None:
    mine = world.made(world.port("uid-1"))[0]
    client = Client(world.transport)

    theirs = client.list(PORTS, [("tags", names.cluster_tag("another"))])
    not_mine = client.list(PORTS, [("not-tags", names.cluster_tag(world.cluster_id))])

    assert mine.id not in {port.id for port in (*theirs, *not_mine)}
