"""Pod ports, on the fake and on a real Neutron: made in bulk, never twice, changed and deleted with care."""

from __future__ import annotations

import ipaddress

import msgspec

from kuryrctl.core import names
from kuryrctl.core.cloud import Port
from kuryrctl.core.kinds import Kind
from kuryrctl.core.specs import AddressSpec, NetworkSpec, SubnetSpec
from tests.contract.cloud.world import CIDR_V4, CIDR_V6, GROUP, NETWORK, NODE1, NODE2, V4, World, codes


def test_ports_of_a_batch_cost_one_call_and_carry_all_that_was_asked(world: World) -> None:
    specs = [world.port(f"uid-{number}") for number in range(4)]

    ports: list[Port] = world.made(*specs)

    assert world.neutron.calls == {("POST", "ports"): 1}
    assert [port.mac_address for port in ports] == [spec.mac_address for spec in specs]
    assert world.ports() == {port.device_id: port for port in ports}
    for port, spec in zip(ports, specs, strict=True):
        v4, v6 = sorted((ipaddress.ip_address(fixed.ip_address) for fixed in port.fixed_ips), key=lambda a: a.version)
        assert v4 in ipaddress.ip_network(CIDR_V4) and v6 in ipaddress.ip_network(CIDR_V6)
        assert (port.host, port.vif_type, port.status) == (NODE1, "ovs", "DOWN")
        assert sorted(port.tags) == sorted(spec.tags)
        assert port.security_groups == (world.ids[GROUP],)


def test_the_same_batch_again_makes_nothing_and_answers_with_the_same_ports(world: World) -> None:
    specs = [world.port(f"uid-{number}") for number in range(3)]
    first = world.made(*specs)

    again = world.made(*specs, world.port("uid-new"))

    assert [port.id for port in again[:3]] == [port.id for port in first]
    assert len(world.ports()) == 4


def test_a_batch_whose_answer_got_lost_is_found_again(world: World) -> None:
    world.transport.lose_next = "POST /ports"

    ports = world.made(world.port("uid-1"), world.port("uid-2"))

    assert world.neutron.calls["POST", "ports"] == 1
    assert {port.id for port in ports} == {port.id for port in world.ports().values()}


def test_a_port_made_earlier_is_brought_to_what_is_wanted_now(world: World) -> None:
    group = world.made(world.group("later"))[0]
    old = world.made(world.port("uid-1", host=NODE1))[0]

    wanted = world.port("uid-1", host=NODE2, security_groups=("security-group/later",))
    port = world.made(wanted)[0]

    assert (port.id, port.host, port.security_groups) == (old.id, NODE2, (group.id,))


def test_a_port_that_cannot_be_bound_is_a_fault_of_its_update_until_it_can(world: World) -> None:
    spec = world.port("uid-1", host="no-such-host")
    made = world.made(spec)[0]
    assert (made.host, made.vif_type) == ("no-such-host", "binding_failed")

    (outcome,) = world.apply(world.update(spec, made.id, fields=["vif_type"]))
    assert codes([outcome]) == ["NET-UNBOUND"]
    assert "no-such-host (binding_failed)" in str(outcome.error)

    (outcome,) = world.apply(world.update(msgspec.structs.replace(spec, host=NODE1), made.id))
    assert codes([outcome]) == [""]
    port = world.ports()["uid-1"]
    assert (port.id, port.host, port.vif_type) == (made.id, NODE1, "ovs")


def test_a_foreign_port_with_our_mac_address_is_named_and_left_alone(world: World) -> None:
    mac = names.mac_address(world.cluster_id, "uid-1")
    body = {"network_id": world.ids[NETWORK], "mac_address": mac, "name": f"{world.prefix}/foreign"}
    foreign = world.raw("POST", "/ports", {"port": body}).json["port"]

    outcomes = world.apply(world.create(world.port("uid-1")), world.create(world.port("uid-2")))

    assert codes(outcomes) == ["NET-MAC-TAKEN", ""]
    assert foreign["id"] in str(outcomes[0].error)
    assert world.raw("GET", f"/ports/{foreign['id']}").json["port"]["name"] == foreign["name"]


def test_a_requested_address_is_given_exactly(world: World) -> None:
    port = world.made(world.port("uid-1", v4="10.91.0.77"))[0]

    assert "10.91.0.77" in {fixed.ip_address for fixed in port.fixed_ips}


def test_a_requested_address_that_is_taken_names_its_holder_and_fails_alone(world: World) -> None:
    holder = world.made(world.port("uid-1", v4="10.91.0.77"))[0]

    outcomes = world.apply(
        world.create(world.port("uid-2")),
        world.create(world.port("uid-3", v4="10.91.0.77")),
        world.create(world.port("uid-4")),
    )

    assert codes(outcomes) == ["", "NET-ADDRESS-TAKEN", ""]
    assert "10.91.0.77" in str(outcomes[1].error) and holder.id in str(outcomes[1].error)
    assert set(world.ports()) == {"uid-1", "uid-2", "uid-4"}


def test_a_full_subnet_is_named_and_what_fits_is_made(world: World) -> None:
    tags = world.tags("tiny")
    world.made(
        NetworkSpec("network/tiny", f"{world.prefix}/tiny", tags),
        SubnetSpec("subnet/tiny", f"{world.prefix}/tiny", tags, "network/tiny", "10.92.0.0/30"),
    )
    specs = [
        world.port(f"uid-{number}", network="network/tiny", addresses=(AddressSpec("subnet/tiny"),))
        for number in range(3)
    ]

    outcomes = world.apply(*(world.create(spec) for spec in specs), world.create(world.port("uid-elsewhere")))

    assert sorted(codes(outcomes)) == ["", "", "NET-NO-ADDRESS", "NET-NO-ADDRESS"]
    assert codes(outcomes)[3] == ""
    fault = next(str(outcome.error) for outcome in outcomes if outcome.error)
    assert f"no free address in subnet/tiny (10.92.0.0/30, {world.ids['subnet/tiny']})" in fault


def test_a_used_up_quota_is_filled_to_its_limit_and_named_with_it(world: World) -> None:
    before = next(quota for quota in world.neutron.quota() if quota.resource == "port")
    limit = before.used + 2
    path = f"/quotas/{world.neutron.project_id}"
    world.raw("PUT", path, {"quota": {"port": limit}}, by=world.admin)
    try:
        outcomes = world.apply(*(world.create(world.port(f"uid-{number}")) for number in range(5)))
    finally:
        world.raw("PUT", path, {"quota": {"port": before.limit}}, by=world.admin)

    assert codes(outcomes) == ["", "", "NET-QUOTA", "NET-QUOTA", "NET-QUOTA"]
    assert f'quota "port" of project {world.neutron.project_id} is used up ({limit} of {limit})' in str(
        outcomes[2].error
    )
    assert len(world.ports()) == 2


def test_a_port_that_can_never_be_made_fails_alone(world: World) -> None:
    world.ids["security-group/gone"] = "00000000-0000-0000-0000-00000000dead"
    bad = world.port("uid-bad", security_groups=("security-group/gone",))

    outcomes = world.apply(*(world.create(spec) for spec in (world.port("uid-1"), bad, world.port("uid-2"))))

    assert codes(outcomes) == ["", "NET-NOT-FOUND", ""]
    assert world.ids["security-group/gone"] in str(outcomes[1].error)


def test_an_empty_group_list_drops_everything_and_is_not_the_projects_default(world: World) -> None:
    port = world.made(world.port("uid-1", security_groups=()))[0]

    assert port.security_groups == ()
    assert port.port_security_enabled


def test_an_update_changes_what_differs_and_keeps_the_tags_of_others(world: World) -> None:
    spec = world.port("uid-1")
    port = world.made(spec)[0]
    world.raw("PUT", f"/ports/{port.id}/tags", {"tags": ["of-somebody", spec.tags[0]]})
    world.neutron.calls.clear()

    wanted = msgspec.structs.replace(spec, host=NODE2, name=f"{world.prefix}/renamed")
    outcome = world.apply(world.update(wanted, port.id))[0]

    assert isinstance(outcome.object, Port)
    after = outcome.object
    assert (after.host, after.name) == (NODE2, wanted.name)
    assert set(after.tags) == {"of-somebody", *spec.tags}
    assert (after.mac_address, after.fixed_ips) == (port.mac_address, port.fixed_ips)
    world.neutron.calls.clear()
    assert codes(world.apply(world.update(wanted, port.id))) == [""]
    assert world.neutron.calls == {("GET", "ports"): 1}


def test_an_update_of_what_somebody_changed_meanwhile_is_refused(world: World) -> None:
    spec = world.port("uid-1")
    port = world.made(spec)[0]
    world.raw("PUT", f"/ports/{port.id}", {"port": {"name": f"{world.prefix}/theirs"}})

    outcome = world.apply(world.update(spec, port.id, revision=port.revision_number))[0]

    assert codes([outcome]) == ["NET-CHANGED"]
    assert world.ports()["uid-1"].name == f"{world.prefix}/theirs"


def test_a_port_that_is_no_longer_ours_is_not_updated(world: World) -> None:
    body = {"network_id": world.ids[NETWORK], "name": f"{world.prefix}/foreign"}
    foreign = world.raw("POST", "/ports", {"port": body}).json["port"]

    outcomes = world.apply(world.update(world.port("uid-1"), foreign["id"]), world.delete(Kind.PORT, foreign["id"]))

    assert codes(outcomes) == ["NET-NOT-OURS", "NET-NOT-OURS"]
    assert world.raw("GET", f"/ports/{foreign['id']}").json["port"]["name"] == foreign["name"]


def test_a_delete_is_conditional_on_what_was_seen_and_repeatable(world: World) -> None:
    port = world.made(world.port("uid-1"))[0]
    world.raw("PUT", f"/ports/{port.id}", {"port": {"name": f"{world.prefix}/theirs"}})

    assert codes(world.apply(world.delete(Kind.PORT, port.id, port.revision_number))) == ["NET-CHANGED"]
    now = world.ports()["uid-1"].revision_number
    assert codes(world.apply(world.delete(Kind.PORT, port.id, now))) == [""]
    assert codes(world.apply(world.delete(Kind.PORT, port.id, now))) == [""]
    assert codes(world.apply(world.delete(Kind.PORT, port.id))) == [""]
    assert world.ports() == {}


def test_a_spec_whose_network_does_not_exist_yet_says_what_it_needs(world: World) -> None:
    outcomes = world.apply(world.create(world.port("uid-1", network="network/nowhere")), world.create(world.port("u2")))

    assert codes(outcomes) == ["NET-NEEDS", ""]
    assert "network/nowhere" in str(outcomes[0].error)


def test_every_mutation_is_told_to_the_audit_with_its_request_id(world: World) -> None:
    port = world.made(world.port("uid-1"))[0]
    world.apply(world.delete(Kind.PORT, port.id))

    created, deleted = world.audit
    assert (created.call, created.status, created.id, created.error) == ("POST /ports", 201, port.id, "")
    assert created.after["host"] == NODE1
    assert (deleted.call, deleted.status, deleted.id) == (f"DELETE /ports/{port.id}", 204, port.id)
    assert created.request_id.startswith("req-") and deleted.request_id != created.request_id


def test_addresses_are_asked_of_the_subnet_by_its_key(world: World) -> None:
    port = world.made(world.port("uid-1", addresses=(AddressSpec(V4),)))[0]

    assert [fixed.subnet_id for fixed in port.fixed_ips] == [world.ids[V4]]
