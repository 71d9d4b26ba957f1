"""What a cluster has beside ports, on the fake and on a real Neutron: networks, routers, groups, rules."""

from __future__ import annotations

import msgspec

from kuryrctl.core import names
from kuryrctl.core.cloud import Network, Port, Router, SecurityGroup, Subnet
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import NetworkSpec, RouterInterfaceSpec, RouterSpec, SubnetSpec
from tests.contract.cloud.world import GROUP, NETWORK, V4, V6, World, codes, rule


def _network(world: World, name: str, **fields: object) -> NetworkSpec:
    values = {"key": f"network/{name}", "name": f"{world.prefix}/{name}", "tags": world.tags("net", name)}
    return NetworkSpec(**(values | fields))  # type: ignore[arg-type]  # a table of fields


def test_a_network_is_described_and_tagged_with_its_guard(world: World) -> None:
    guard = names.guard_tag(world.cluster_id, "uid-of-kube-system")
    network: Network = world.made(_network(world, "n", guard=guard, mtu=1400))[0]

    assert network.description == names.description(world.tags("net", "n"))
    assert set(network.tags) == {*world.tags("net", "n"), guard}
    assert network.mtu == 1400
    assert world.neutron.observe(world.cluster_id).networks[network.id] == network


def test_a_subnet_has_no_dhcp_and_the_gateway_and_pool_that_were_asked_for(world: World) -> None:
    tags = world.tags("net", "n")
    subnet: Subnet = world.made(
        _network(world, "n"),
        SubnetSpec(
            "subnet/s",
            f"{world.prefix}/s",
            tags,
            "network/n",
            "10.93.0.0/24",
            "10.93.0.254",
            ("10.93.0.8", "10.93.0.15"),
        ),
    )[1]

    assert (subnet.enable_dhcp, subnet.gateway_ip, subnet.cidr) == (False, "10.93.0.254", "10.93.0.0/24")
    assert [(pool.start, pool.end) for pool in subnet.allocation_pools] == [("10.93.0.8", "10.93.0.15")]


def test_a_creation_whose_answer_got_lost_is_found_again_by_name_and_description(world: World) -> None:
    world.transport.lose_next = "POST /networks"

    network = world.made(_network(world, "n"))[0]

    named = [n for n in world.neutron.observe(world.cluster_id).networks.values() if n.name == network.name]
    assert named == [network]
    assert set(network.tags) == set(world.tags("net", "n"))


def test_an_untagged_creation_is_adopted_by_tagging_it(world: World) -> None:
    spec = _network(world, "n")
    body = {"name": spec.name, "description": names.description(spec.tags)}
    made = world.raw("POST", "/networks", {"network": body}).json["network"]

    adopt = Step(action=Action.ADOPT, kind=Kind.NETWORK, key=spec.key, reason="untagged", spec=spec, id=made["id"])
    outcome = world.apply(adopt)[0]

    assert isinstance(outcome.object, Network) and set(outcome.object.tags) == set(spec.tags)
    world.neutron.calls.clear()
    assert codes(world.apply(adopt)) == [""]
    assert world.neutron.calls == {("GET", "networks"): 1}


def test_tags_of_others_survive_ours(world: World) -> None:
    spec = _network(world, "n")
    made = world.raw("POST", "/networks", {"network": {"name": spec.name}}).json["network"]
    world.raw("PUT", f"/networks/{made['id']}/tags", {"tags": ["of-somebody"]})

    adopt = Step(action=Action.ADOPT, kind=Kind.NETWORK, key=spec.key, reason="configured", spec=spec, id=made["id"])
    outcome = world.apply(adopt)[0]

    assert isinstance(outcome.object, Network) and set(outcome.object.tags) == {*spec.tags, "of-somebody"}


def test_a_network_with_ports_is_not_deleted(world: World) -> None:
    world.made(world.port("uid-1"))
    revision = world.neutron.observe(world.cluster_id).networks[world.ids[NETWORK]].revision_number

    assert codes(world.apply(world.delete(Kind.NETWORK, world.ids[NETWORK], revision))) == ["NET-IN-USE"]


def test_networks_and_subnets_go_and_going_again_is_success(world: World) -> None:
    tags = world.tags("net", "n")
    network, subnet = world.made(
        _network(world, "n"), SubnetSpec("subnet/s", f"{world.prefix}/s", tags, "network/n", "10.93.0.0/24")
    )
    steps = [world.delete(Kind.SUBNET, subnet.id, subnet.revision_number), world.delete(Kind.NETWORK, network.id)]

    assert codes(world.apply(*steps)) == ["", ""]
    assert codes(world.apply(*steps)) == ["", ""]
    assert network.id not in world.neutron.observe(world.cluster_id).networks


def test_a_router_has_a_gateway_and_a_leg_on_each_subnet_once(world: World) -> None:
    tags = world.tags("router")
    specs = (
        RouterSpec("router/pods", f"{world.prefix}/router", tags, world.external),
        RouterInterfaceSpec("router-interface/v4", "router/pods", V4),
        RouterInterfaceSpec("router-interface/v6", "router/pods", V6),
    )

    router, v4, v6 = world.made(*specs)
    again = world.made(*specs[1:])

    assert router.external_gateway_info.network_id == world.external
    assert [leg.id for leg in again] == [v4.id, v6.id]
    assert {fixed.ip_address for leg in (v4, v6) for fixed in leg.fixed_ips} >= {"10.91.0.1", "fd00:91::1"}
    observed = world.neutron.observe(world.cluster_id)
    assert observed.ports[v4.id].device_id == router.id
    assert codes(world.apply(world.delete(Kind.ROUTER, router.id))) == ["NET-IN-USE"]
    legs = [world.delete(Kind.ROUTER_INTERFACE, id_) for id_ in dict.fromkeys((v4.id, v6.id))]
    assert set(codes(world.apply(*legs))) == {""}
    assert set(codes(world.apply(*legs, world.delete(Kind.ROUTER, router.id)))) == {""}


def test_a_pods_port_is_never_taken_for_a_router_interface(world: World) -> None:
    port: Port = world.made(world.port("uid-1"))[0]

    assert codes(world.apply(world.delete(Kind.ROUTER_INTERFACE, port.id))) == ["NET-NOT-OURS"]
    assert "uid-1" in world.ports()


def test_a_new_group_lets_nothing_out(world: World) -> None:
    group: SecurityGroup = world.made(world.group("closed"))[0]

    observed = world.neutron.observe(world.cluster_id).security_groups[group.id]
    assert observed == group
    assert (group.security_group_rules, set(group.tags)) == ((), set(world.tags("group", "closed")))


def test_rules_of_a_group_cost_one_call_and_are_not_made_twice(world: World) -> None:
    specs = [
        rule("tcp-80"),
        rule("tcp-81-90", port_range_min=81, port_range_max=90),
        rule("from-cidr", remote_ip_prefix="10.0.0.0/8"),
        rule("from-group", remote_group=GROUP),
        rule("v6", ethertype="IPv6", remote_ip_prefix="fd00::/8"),
        rule("icmp", protocol="icmp", port_range_min=None, port_range_max=None),
        rule("all-out", direction="egress", protocol=None, port_range_min=None, port_range_max=None),
    ]

    first = world.made(*specs)
    calls = dict(world.neutron.calls)
    again = world.made(*specs, rule("udp", protocol="udp"))

    assert calls == {("POST", "security-group-rules"): 1}
    assert [made.id for made in again[:-1]] == [made.id for made in first]
    observed = world.neutron.observe(world.cluster_id).security_groups[world.ids[GROUP]]
    assert {made.id for made in observed.security_group_rules} == {made.id for made in again}
    assert set(observed.security_group_rules) == set(again)


def test_rules_whose_answer_got_lost_are_found_again(world: World) -> None:
    world.transport.lose_next = "POST /security-group-rules"

    made = world.made(rule("tcp-80"), rule("udp", protocol="udp"))

    observed = world.neutron.observe(world.cluster_id).security_groups[world.ids[GROUP]]
    assert {item.id for item in made} == {item.id for item in observed.security_group_rules}


def test_a_bad_rule_fails_alone(world: World) -> None:
    bad = rule("bad", remote_ip_prefix="fd00::/8")

    outcomes = world.apply(*(world.create(spec) for spec in (rule("tcp-80"), bad, rule("udp", protocol="udp"))))

    assert codes(outcomes) == ["", "NET-INVALID", ""]


def test_rules_of_several_groups_cost_one_call_for_each_group(world: World) -> None:
    world.made(world.group("a"), world.group("b"))
    world.neutron.calls.clear()

    world.made(
        rule("a1", "security-group/a"),
        rule("b1", "security-group/b"),
        rule("a2", "security-group/a", protocol="udp"),
        rule("b2", "security-group/b", protocol="udp"),
    )

    assert world.neutron.calls == {("POST", "security-group-rules"): 2}


def test_a_rule_goes_and_going_again_is_success(world: World) -> None:
    made = world.made(rule("tcp-80"))[0]
    step = world.delete(Kind.SECURITY_GROUP_RULE, made.id)

    assert codes(world.apply(step, step)) == ["", ""]


def test_a_group_in_use_is_not_deleted(world: World) -> None:
    spec = world.group("used")
    group = world.made(spec)[0]
    world.made(world.port("uid-1", security_groups=(spec.key,)))

    assert codes(world.apply(world.delete(Kind.SECURITY_GROUP, group.id))) == ["NET-IN-USE"]


def test_an_update_changes_the_fields_that_the_plan_names_and_no_others(world: World) -> None:
    tags = world.tags("net", "n")
    spec = SubnetSpec("subnet/s", f"{world.prefix}/s", tags, "network/n", "10.93.0.0/24")
    subnet = world.made(_network(world, "n"), spec)[1]
    theirs = {"enable_dhcp": True, "name": f"{world.prefix}/theirs"}
    world.raw("PUT", f"/subnets/{subnet.id}", {"subnet": theirs})

    kept = world.apply(world.update(spec, subnet.id))[0].object
    changed = world.apply(world.update(spec, subnet.id, fields=["enable_dhcp"]))[0].object

    assert isinstance(kept, Subnet) and isinstance(changed, Subnet)
    assert (kept.enable_dhcp, kept.name) == (True, theirs["name"])
    assert (changed.enable_dhcp, changed.name) == (False, theirs["name"])


def test_a_router_gets_the_gateway_that_the_plan_names(world: World) -> None:
    spec = RouterSpec("router/r", f"{world.prefix}/r", world.tags("router"))
    router = world.made(spec)[0]
    wanted = msgspec.structs.replace(spec, external_network=world.external)

    after = world.apply(world.update(wanted, router.id, fields=["external_network"]))[0].object

    assert isinstance(after, Router) and after.external_gateway_info is not None
    assert (router.external_gateway_info, after.external_gateway_info.network_id) == (None, world.external)


def test_a_group_is_found_by_name_or_id_and_an_ambiguous_name_is_refused(world: World) -> None:
    group = world.made(world.group("one"))[0]
    assert world.neutron.find_security_group(group.name) == group
    assert world.neutron.find_security_group(group.id) == group

    world.made(msgspec.structs.replace(world.group("one"), key="security-group/two"))

    found = codes_of(lambda: world.neutron.find_security_group(group.name))
    missing = codes_of(lambda: world.neutron.find_network(f"{world.prefix}/none"))
    assert (found, missing) == ("NET-AMBIGUOUS", "NET-NOT-FOUND")


def codes_of(call: object) -> str:
    """The code of the error that a call raises; empty: none."""
    from kuryrctl.core.errors import KuryrError

    try:
        call()  # type: ignore[operator]  # any look-up
    except KuryrError as error:
        return error.code
    return ""
