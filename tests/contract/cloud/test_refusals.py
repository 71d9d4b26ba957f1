"""What a Neutron refuses, with which status and type: the fake must refuse the same as the real one.

``{key}`` in a path or a body stands for the id behind a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from kuryrctl.core.specs import RouterInterfaceSpec, RouterSpec
from tests.contract.cloud.world import GROUP, NETWORK, V4, World, rule

NOBODY = "00000000-0000-0000-0000-00000000dead"
Body = dict[str, Any]


class Case(Struct, frozen=True):
    """A call that is refused; `given` makes what it needs to be there first."""

    title: str
    method: str
    path: str
    body: Body | None
    status: int
    type: str
    given: Callable[[World], object] = lambda _: None


def a_pod(world: World) -> None:
    world.made(world.port("uid-1"))


def a_group(world: World) -> None:
    world.made(world.group("other"))


def a_rule(world: World) -> None:
    world.made(rule("tcp-80"))


def a_router(world: World) -> None:
    spec = RouterSpec("router/r", f"{world.prefix}/r", world.tags("router"))
    world.made(spec, RouterInterfaceSpec("leg", "router/r", V4))


def port(**fields: Any) -> Body:
    return {"port": {"network_id": "{network/pods}"} | fields}


def at(address: str, subnet: str | None = "{subnet/v4}") -> Body:
    return {"ip_address": address} | ({"subnet_id": subnet} if subnet else {})


def subnet(**fields: Any) -> Body:
    return {"subnet": {"network_id": "{network/pods}", "ip_version": 4, "cidr": "10.94.0.0/24"} | fields}


def pools(start: str, end: str) -> list[Body]:
    return [{"start": start, "end": end}]


def a(**fields: Any) -> Body:
    return {"security_group_id": "{security-group/pods}", "direction": "ingress", "ethertype": "IPv4"} | fields


def one(**fields: Any) -> Body:
    return {"security_group_rule": a(**fields)}


def many(*rules: Body) -> Body:
    return {"security_group_rules": list(rules)}


def ports(low: int, high: int) -> Body:
    return {"port_range_min": low, "port_range_max": high}


RULES, TAGS = "/security-group-rules", "/networks/{network/pods}/tags"
OURS, POD = "{security-group/pods}", "/ports/{port/pod/uid-1}"
NO_SECURITY = "PortSecurityAndIPRequiredForSecurityGroups"
CASES = [
    Case("tags of a new network", "POST", "/networks", {"network": {"tags": ["a"]}}, 400, "HTTPBadRequest"),
    Case("an unknown attribute", "POST", "/ports", port(nonsense=1), 400, "HTTPBadRequest"),
    Case("a port on no network", "POST", "/ports", port(network_id=NOBODY), 404, "NetworkNotFound"),
    Case("a port in no group", "POST", "/ports", port(security_groups=[NOBODY]), 404, "SecurityGroupNotFound"),
    Case("a port on no subnet", "POST", "/ports", port(fixed_ips=[{"subnet_id": NOBODY}]), 404, "SubnetNotFound"),
    Case("an address of another", "POST", "/ports", port(fixed_ips=[at("10.99.0.1")]), 400, "InvalidIpForSubnet"),
    Case("an address of none", "POST", "/ports", port(fixed_ips=[at("10.99.0.1", None)]), 400, "InvalidIpForNetwork"),
    Case("the network's address", "POST", "/ports", port(fixed_ips=[at("10.91.0.0")]), 400, "InvalidIpForSubnet"),
    Case("no MAC address", "POST", "/ports", port(mac_address="zz"), 400, "HTTPBadRequest"),
    Case(
        "groups without security",
        "POST",
        "/ports",
        port(device_owner="network:x", security_groups=[OURS]),
        400,
        NO_SECURITY,
    ),
    Case("a port not there", "GET", f"/ports/{NOBODY}", None, 404, "PortNotFound"),
    Case("a delete of a port not there", "DELETE", f"/ports/{NOBODY}", None, 404, "PortNotFound"),
    Case("a network not there", "GET", f"/networks/{NOBODY}", None, 404, "NetworkNotFound"),
    Case("a group not there", "GET", f"/security-groups/{NOBODY}", None, 404, "SecurityGroupNotFound"),
    Case("a rule not there", "DELETE", f"{RULES}/{NOBODY}", None, 404, "SecurityGroupRuleNotFound"),
    Case("a router not there", "GET", f"/routers/{NOBODY}", None, 404, "RouterNotFound"),
    Case("an unknown filter", "GET", "/ports?nonsense=1", None, 400, "HTTPBadRequest"),
    Case("an unknown path", "GET", "/nonsense", None, 404, "HTTPNotFound"),
    Case("a bulk delete", "DELETE", "/ports", None, 404, "PortNotFound"),
    Case("another network", "PUT", POD, {"port": {"network_id": NOBODY}}, 400, "HTTPBadRequest", a_pod),
    Case("an overlap", "POST", "/subnets", subnet(cidr="10.91.0.128/25"), 400, "InvalidInput"),
    Case("no CIDR", "POST", "/subnets", subnet(cidr="nonsense"), 400, "InvalidInput"),
    Case("another family", "POST", "/subnets", subnet(ip_version=6), 400, "InvalidInput"),
    Case(
        "a gateway inside the pool",
        "POST",
        "/subnets",
        subnet(gateway_ip="10.94.0.9", allocation_pools=pools("10.94.0.5", "10.94.0.20")),
        409,
        "GatewayConflictWithAllocationPools",
    ),
    Case(
        "a pool outside the subnet",
        "POST",
        "/subnets",
        subnet(allocation_pools=pools("10.95.0.5", "10.95.0.20")),
        400,
        "OutOfBoundsAllocationPool",
    ),
    Case("a subnet of no network", "POST", "/subnets", subnet(network_id=NOBODY), 404, "NetworkNotFound"),
    Case(
        "rules of two groups",
        "POST",
        RULES,
        many(a(), a(security_group_id="{security-group/other}")),
        400,
        "SecurityGroupNotSingleGroupRules",
        a_group,
    ),
    Case(
        "a group in use that is to become stateless",
        "PUT",
        f"/security-groups/{OURS}",
        {"security_group": {"stateful": False}},
        409,
        "SecurityGroupInUse",
        a_pod,
    ),
    Case("a rule of no group", "POST", RULES, one(security_group_id=NOBODY), 404, "SecurityGroupNotFound"),
    Case("a rule from no group", "POST", RULES, one(remote_group_id=NOBODY), 404, "SecurityGroupNotFound"),
    Case("no protocol", "POST", RULES, one(**ports(1, 2)), 400, "SecurityGroupProtocolRequiredWithPorts"),
    Case("upside down", "POST", RULES, one(protocol="tcp", **ports(2, 1)), 400, "SecurityGroupInvalidPortRange"),
    Case(
        "two remotes",
        "POST",
        RULES,
        one(remote_group_id=OURS, remote_ip_prefix="10.0.0.0/8"),
        400,
        "SecurityGroupMultipleRemoteEntites",
    ),
    Case(
        "a prefix of the other family",
        "POST",
        RULES,
        one(remote_ip_prefix="fd00::/8"),
        400,
        "SecurityGroupRuleParameterConflict",
    ),
    Case("one rule twice", "POST", RULES, many(a(), a()), 409, "DuplicateSecurityGroupRuleInPost"),
    Case("a rule again", "POST", RULES, one(protocol="tcp", **ports(80, 80)), 409, "SecurityGroupRuleExists", a_rule),
    Case("a long tag", "PUT", TAGS, {"tags": ["x" * 256]}, 400, "InvalidInput"),
    Case("a tag twice", "PUT", TAGS, {"tags": ["x", "x"]}, 400, "InvalidInput"),
    Case("tags of nothing", "PUT", f"/networks/{NOBODY}/tags", {"tags": ["x"]}, 500, "HTTPInternalServerError"),
    Case(
        "a second default group",
        "POST",
        "/security-groups",
        {"security_group": {"name": "default"}},
        409,
        "SecurityGroupDefaultAlreadyExists",
    ),
    Case("a used subnet", "DELETE", "/subnets/{subnet/v4}", None, 409, "SubnetInUse", a_pod),
    Case("a used network", "DELETE", "/networks/{network/pods}", None, 409, "NetworkInUse", a_pod),
    Case("a used group", "DELETE", "/security-groups/{security-group/pods}", None, 409, "SecurityGroupInUse", a_pod),
    Case("a used router", "DELETE", "/routers/{router/r}", None, 409, "RouterInUse", a_router),
    Case("a router's leg", "DELETE", "/ports/{leg}", None, 409, "ServicePortInUse", a_router),
    Case(
        "a second leg on a subnet",
        "PUT",
        "/routers/{router/r}/add_router_interface",
        {"subnet_id": "{subnet/v4}"},
        400,
        "BadRequest",
        a_router,
    ),
    Case(
        "the removal of no leg",
        "PUT",
        "/routers/{router/r}/remove_router_interface",
        {"port_id": NOBODY},
        404,
        "RouterInterfaceNotFound",
        a_router,
    ),
    Case(
        "a gateway that is not external",
        "POST",
        "/routers",
        {"router": {"external_gateway_info": {"network_id": "{network/pods}"}}},
        400,
        "BadRequest",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_refused(world: World, case: Case) -> None:
    case.given(world)

    answer = world.raw(case.method, case.path.format_map(world.ids), resolved(case.body, world.ids))

    assert (answer.status, answer.type) == (case.status, case.type), answer


def test_a_stale_revision_is_refused_and_a_malformed_one_ignored(world: World) -> None:
    a_pod(world)
    path, body = POD.format_map(world.ids), {"port": {"name": f"{world.prefix}/q"}}

    assert world.raw("PUT", path, body, If_Match="revision_number=9999").type == "RevisionNumberConstraintFailed"
    assert world.raw("DELETE", path, If_Match="revision_number=9999").status == 412
    assert world.raw("PUT", path, body, If_Match="nonsense").status == 200
    assert world.raw("PUT", f"{path}/tags", {"tags": []}, If_Match="revision_number=1").status == 500


def test_a_revision_grows_with_fields_and_with_tags(world: World) -> None:
    a_pod(world)
    path = POD.format_map(world.ids)

    def revision() -> int:
        return int(world.raw("GET", path).json["port"]["revision_number"])

    first = revision()
    world.raw("PUT", path, {"port": {"name": f"{world.prefix}/q"}})
    second = revision()
    world.raw("PUT", f"{path}/tags/of-somebody")
    third = revision()
    assert first < second < third


def test_an_ipv6_subnet_without_a_gateway_gets_the_networks_own_address(world: World) -> None:
    network = world.raw("POST", "/networks", {"network": {"name": f"{world.prefix}/v6"}}).json["network"]["id"]
    body = {"network_id": network, "name": f"{world.prefix}/v6", "ip_version": 6, "cidr": "fd00:97::/64"}

    made = world.raw("POST", "/subnets", {"subnet": body}).json["subnet"]

    assert made["gateway_ip"] == "fd00:97::"
    assert made["allocation_pools"] == pools("fd00:97::1", "fd00:97::ffff:ffff:ffff:ffff")


def resolved(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format_map(ids)
    if isinstance(value, dict):
        return {key: resolved(item, ids) for key, item in value.items()}
    return [resolved(item, ids) for item in value] if isinstance(value, list) else value


assert {NETWORK, V4, GROUP} == {"network/pods", "subnet/v4", "security-group/pods"}, "the keys that the table names"
