"""Load balancers as whole trees, on the fake and on the lab's Octavia."""

from __future__ import annotations

from kuryrctl.core import names
from kuryrctl.core.balancers import LoadBalancer
from tests.contract.cloud.services import SUBNET, Services, addresses, lasting, mutations, statuses
from tests.contract.cloud.world import codes

THREE = ("10.91.0.11", "10.91.0.12", "10.91.0.13")


def test_a_new_load_balancer_is_one_call_and_whole_when_it_is_told(services: Services) -> None:
    spec = services.balancer(services.listener(80, *THREE), services.listener(53, *THREE, protocol="UDP"))
    services.octavia_calls.clear()

    tree = services.done(services.create(spec))

    assert mutations(services.octavia_calls) == {("POST", "loadbalancers"): 1}
    assert statuses(tree) == {"ACTIVE"}
    assert (tree.vip_address, tree.vip_subnet_id) == ("10.92.0.10", services.world.ids[SUBNET])
    assert set(tree.tags) == set(spec.tags) and tree.description == names.description(spec.tags)
    assert {(each.protocol, each.protocol_port) for each in tree.listeners} == {("TCP", 80), ("UDP", 53)}
    assert {pool.name: addresses(pool) for pool in tree.pools} == {"tcp-80": list(THREE), "udp-53": list(THREE)}
    assert {each.default_pool_id for each in tree.listeners} == {pool.id for pool in tree.pools}
    assert lasting(services.observed()[tree.id]) == lasting(tree)
    vip = services.world.raw("GET", f"/ports/{tree.vip_port_id}").json["port"]
    assert (vip["device_owner"], vip["status"]) == ("ovn-lb:vip", "DOWN")


def test_a_load_balancer_goes_with_everything_below_it_and_going_again_is_success(services: Services) -> None:
    spec = services.balancer(services.listener(80, *THREE))
    tree = services.done(services.create(spec))

    assert codes(services.apply(services.delete(spec, tree.id))) == [""]
    assert services.observed() == {}
    assert services.world.raw("GET", f"/ports/{tree.vip_port_id}").status == 404
    assert codes(services.apply(services.delete(spec, tree.id))) == [""]


def test_members_change_by_one_call_and_those_that_stay_keep_their_ids(services: Services) -> None:
    tree = services.done(services.create(services.balancer(services.listener(80, *THREE))))
    before = {member.address: member.id for member in tree.pools[0].members}
    services.octavia_calls.clear()

    wanted = services.listener(80, *THREE[1:], "10.91.0.14").pool.members
    tree = services.done(services.update(wanted, tree.pools[0].id, "members"))

    after = {member.address: member.id for member in tree.pools[0].members}
    assert sorted(after) == [*THREE[1:], "10.91.0.14"]
    assert {address: after[address] for address in THREE[1:]} == {address: before[address] for address in THREE[1:]}
    assert mutations(services.octavia_calls) == {("PUT", "pools/members"): 1}
    assert statuses(tree) == {"ACTIVE"}


def test_a_creation_whose_answer_got_lost_is_found_again_and_never_doubled(services: Services) -> None:
    services.octavia.lose_next = "POST /loadbalancers"

    tree = services.done(services.create(services.balancer(services.listener(80, *THREE))))

    assert list(services.observed()) == [tree.id]
    assert statuses(tree) == {"ACTIVE"}


def test_a_load_balancer_that_exists_already_is_gone_on_with(services: Services) -> None:
    step = services.create(services.balancer(services.listener(80, *THREE)))
    first = services.done(step)

    again = services.done(step)

    assert isinstance(again, LoadBalancer) and again.id == first.id
    assert list(services.observed()) == [first.id]


def test_a_refused_creation_leaves_no_port_of_its_vip(services: Services) -> None:
    """Octavia leaves one: its address would be taken for ever."""
    refused = services.create(services.balancer(services.listener(80, *THREE, protocol="HTTP")))

    assert codes(services.apply(refused)) == ["OCT-UNSUPPORTED"]

    assert services.vip_ports() == []
    tree = services.done(services.create(services.balancer(services.listener(80, *THREE))))
    assert [port["id"] for port in services.vip_ports()] == [tree.vip_port_id]


def test_octavia_leaves_the_port_of_a_vip_that_it_refuses(services: Services) -> None:
    nameless = {
        "protocol": "TCP",
        "protocol_port": 80,
        "default_pool": {"protocol": "TCP", "lb_algorithm": "SOURCE_IP"},
    }
    vip = {"vip_subnet_id": services.world.ids[SUBNET], "vip_address": "10.92.0.10", "provider": "ovn"}

    assert services.raw("POST", "/loadbalancers", {"loadbalancer": {**vip, "listeners": [nameless]}}).status == 400

    (left,) = services.vip_ports()
    assert services.raw("GET", f"/loadbalancers/{left['name'].removeprefix('ovn-lb-vip-')}").status == 404
    assert (left["device_owner"], left["project_id"]) == ("ovn-lb:vip", services.world.neutron.project_id)
