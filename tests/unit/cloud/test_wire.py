"""Neutron's JSON: bodies of specs, answers as types, which fields are asked for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kuryrctl.cloud import wire
from kuryrctl.cloud.octavia_wire import ListenerRow
from kuryrctl.core import names
from kuryrctl.core.cloud import FixedIP, Port, SecurityGroupRule
from kuryrctl.core.errors import Conflict, Unavailable
from kuryrctl.core.specs import AddressSpec, NetworkSpec, PortSpec, RouterSpec, RuleSpec, SubnetSpec

IDS = {"network/pods": "net-1", "subnet/v4": "sub-4", "security-group/a": "sg-a", "security-group/b": "sg-b"}
TAGS = names.tags("c1", "pod", "u1")
PORT = PortSpec(
    key="port/pod/u1",
    name="shop/web-0",
    tags=TAGS,
    network="network/pods",
    mac_address="02:00:00:00:00:01",
    addresses=(AddressSpec("subnet/v4", "10.0.0.9"),),
    security_groups=("security-group/a", "security-group/b"),
    device_owner="compute:kuryr",
    device_id="u1",
    host="node1",
)


def test_a_port_body_has_ids_in_place_of_keys() -> None:
    assert wire.port_body(PORT, IDS) == {
        "name": "shop/web-0",
        "network_id": "net-1",
        "mac_address": "02:00:00:00:00:01",
        "fixed_ips": [{"subnet_id": "sub-4", "ip_address": "10.0.0.9"}],
        "security_groups": ["sg-a", "sg-b"],
        "device_owner": "compute:kuryr",
        "device_id": "u1",
        "binding:host_id": "node1",
        "description": "",
        "tags": list(TAGS),
    }


@pytest.mark.parametrize(
    ("spec", "body"),
    [
        (NetworkSpec("network/n", "n", TAGS), {"name": "n", "description": names.description(TAGS)}),
        (NetworkSpec("network/n", "n", TAGS, 1400), {"name": "n", "description": names.description(TAGS), "mtu": 1400}),
    ],
)
def test_a_network_body(spec: NetworkSpec, body: dict[str, Any]) -> None:
    assert wire.network_body(spec) == {"network": body}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"cidr": "10.0.0.0/24"}, {"ip_version": 4}),
        ({"cidr": "fd00::/64"}, {"ip_version": 6}),
        ({"cidr": "10.0.0.0/24", "gateway": "10.0.0.254"}, {"ip_version": 4, "gateway_ip": "10.0.0.254"}),
        (
            {"cidr": "10.0.0.0/24", "pool": ("10.0.0.5", "10.0.0.9")},
            {"ip_version": 4, "allocation_pools": [{"start": "10.0.0.5", "end": "10.0.0.9"}]},
        ),
    ],
)
def test_a_subnet_body(fields: dict[str, Any], body: dict[str, Any]) -> None:
    spec = SubnetSpec("subnet/s", "s", TAGS, "network/pods", **fields)

    made = wire.subnet_body(spec, IDS)["subnet"]

    common = {
        "name": "s",
        "description": names.description(TAGS),
        "network_id": "net-1",
        "cidr": fields["cidr"],
        "enable_dhcp": False,
    }
    assert made == common | body


def test_a_router_without_an_external_network_asks_for_no_gateway() -> None:
    assert "external_gateway_info" not in wire.router_body(RouterSpec("router/r", "r", TAGS))["router"]
    body = wire.router_body(RouterSpec("router/r", "r", TAGS, "ext-1"))["router"]
    assert body["external_gateway_info"] == {"network_id": "ext-1"}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, {}),
        ({"protocol": "icmp", "port_range_min": 0}, {"protocol": "icmp", "port_range_min": 0}),
        ({"remote_ip_prefix": "10.0.0.0/8"}, {"remote_ip_prefix": "10.0.0.0/8"}),
        ({"remote_group": "security-group/b"}, {"remote_group_id": "sg-b"}),
    ],
)
def test_a_rule_body_leaves_out_what_does_not_restrict(fields: dict[str, Any], body: dict[str, Any]) -> None:
    spec = RuleSpec("rule/r", "security-group/a", "ingress", "IPv4", **fields)

    common = {"security_group_id": "sg-a", "direction": "ingress", "ethertype": "IPv4", "description": ""}
    assert wire.rule_body(spec, IDS) == common | body


def test_a_key_without_an_id_is_named() -> None:
    with pytest.raises(Conflict) as fault:
        wire.port_body(msgspec.structs.replace(PORT, network="network/none"), IDS)
    assert fault.value.code == "NET-NEEDS" and "network/none" in fault.value.message


ACTUAL = Port(
    id="p",
    network_id="net-1",
    mac_address=PORT.mac_address,
    name=PORT.name,
    fixed_ips=(FixedIP("sub-4", "10.0.0.9"),),
    security_groups=("sg-b", "sg-a"),
    device_owner=PORT.device_owner,
    device_id=PORT.device_id,
    host="node1",
    description="of somebody",
)


@pytest.mark.parametrize(
    ("actual", "changes"),
    [
        ({}, {}),
        ({"host": "node2"}, {"binding:host_id": "node1"}),
        ({"name": "x"}, {"name": "shop/web-0"}),
        ({"device_id": "u0"}, {"device_id": "u1"}),
        ({"device_owner": ""}, {"device_owner": "compute:kuryr"}),
        ({"security_groups": ("sg-a",)}, {"security_groups": ["sg-a", "sg-b"]}),
        ({"security_groups": ("sg-a", "sg-b", "sg-c")}, {"security_groups": ["sg-a", "sg-b"]}),
        ({"fixed_ips": ()}, {}),
        ({"mac_address": "02:00:00:00:00:02"}, {}),
        ({"status": "ACTIVE", "revision_number": 9, "tags": ("x",)}, {}),
    ],
)
def test_only_managed_fields_that_differ_are_changed(actual: dict[str, Any], changes: dict[str, Any]) -> None:
    assert wire.port_changes(msgspec.structs.replace(ACTUAL, **actual), PORT, IDS) == changes


def test_null_texts_count_as_absent() -> None:
    rule = {"id": "r", "security_group_id": "g", "direction": "egress", "ethertype": "IPv4", "description": None}
    body = json.dumps({"security_group_rules": [rule | {"protocol": None, "normalized_cidr": None}]}).encode()

    rules, following = wire.decode_list(wire.RULES, body)

    assert rules == (SecurityGroupRule("r", "g", "egress", "IPv4"),)
    assert following == ""


def test_the_next_page_is_named() -> None:
    links = [{"rel": "previous", "href": "http://n/a"}, {"rel": "next", "href": "http://n/v2.0/ports?marker=x"}]
    body = json.dumps({"ports": [], "ports_links": links}).encode()

    assert wire.decode_list(wire.PORTS, body) == ((), "http://n/v2.0/ports?marker=x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"networks": []}',
        b'{"ports": [{"id": "x"}]}',
        b'{"ports": [{"id": 1}]}',
        b'{"ports": 1}',
    ],
)
def test_an_answer_that_is_not_neutrons_is_a_named_fault(body: bytes) -> None:
    with pytest.raises(Unavailable) as fault:
        wire.decode_list(wire.PORTS, body)
    assert fault.value.code == "NET-ANSWER"


def test_lists_ask_for_the_fields_that_types_have() -> None:
    assert "binding:host_id" in wire.PORTS.fields
    assert wire.TRUNKS.fields == ("id", "port_id", "sub_ports")
    assert "router:external" in wire.NETWORKS.fields
    assert (wire.GROUPS.path, wire.GROUPS.plural) == ("/security-groups", "security_groups")


@pytest.mark.parametrize(
    ("rule", "body", "same"),
    [
        ({}, {}, True),
        ({"protocol": "tcp"}, {"protocol": "tcp"}, True),
        ({"protocol": "tcp"}, {"protocol": "udp"}, False),
        ({"remote_ip_prefix": "10.0.0.0/8"}, {"remote_ip_prefix": "10.1.2.3/8"}, True),
        ({"remote_ip_prefix": "10.0.0.0/8"}, {}, False),
        ({"remote_group_id": "g"}, {"remote_group_id": "g"}, True),
        ({"remote_address_group_id": "a"}, {}, False),
        ({"port_range_min": 1, "port_range_max": 2}, {"port_range_min": 1, "port_range_max": 3}, False),
    ],
)
def test_the_same_rule_is_recognised(rule: dict[str, Any], body: dict[str, Any], same: bool) -> None:
    base = {"direction": "ingress", "ethertype": "IPv4"}

    assert wire.same_rule(SecurityGroupRule(id="r", security_group_id="g", **base, **rule), base | body) is same


def test_a_listener_whose_load_balancer_is_being_deleted_belongs_to_none() -> None:
    row = b'{"id": "l", "protocol": "TCP", "protocol_port": 80, "loadbalancers": [{}]}'
    assert [ref.id for ref in msgspec.json.decode(row, type=ListenerRow).loadbalancers] == [""]
