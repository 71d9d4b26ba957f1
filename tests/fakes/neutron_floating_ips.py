"""Floating IPs of the fake: an address of an external network that leads to one port behind a router.

Source: Neutron 29, ``neutron/db/l3_db.py`` (rules, exceptions).
"""

from __future__ import annotations

from ipaddress import ip_address

from tests.fakes.neutron_rules import ROUTER_INTERFACE, Fault, Obj, Rules

OWNER = "network:floatingip"


def create_floating_ip(rules: Rules, project: str, body: Obj) -> Obj:
    """POST /floatingips."""
    network = rules.tables["networks"].get(str(body.get("floating_network_id")))
    if network is None:
        raise Fault(404, "NetworkNotFound", f"Network {body.get('floating_network_id')} could not be found.")
    if not network["router:external"]:
        message = f"Bad floatingip request: Network {network['id']} is not a valid external network."
        raise Fault(400, "BadRequest", message)
    rules.check_quota(project, "floatingip")
    made = rules.made(project, body) | {
        "floating_network_id": network["id"],
        "floating_ip_address": None,
        "port_id": None,
        "fixed_ip_address": None,
        "router_id": None,
        "status": "DOWN",
    }
    del made["name"]
    fixed = {"subnet_id": body.get("subnet_id"), "ip_address": body.get("floating_ip_address")}
    chosen = {name: value for name, value in fixed.items() if value}
    outside = {"device_owner": OWNER, "device_id": made["id"], "security_groups": []}
    port = rules.new_port("", network, outside | ({"fixed_ips": [chosen]} if chosen else {}))
    made["floating_ip_address"] = port["fixed_ips"][0]["ip_address"]
    try:
        _associate(rules, made, body.get("port_id"))
    except Fault:
        rules.drop_port(port)
        raise
    return rules.put("floatingips", made)


def update_floating_ip(rules: Rules, floating_ip: Obj, body: Obj) -> None:
    """PUT /floatingips/ID."""
    if "port_id" in body:
        _associate(rules, floating_ip, body["port_id"])
    rules.update(floating_ip, {name: value for name, value in body.items() if name != "port_id"})


def delete_floating_ip(rules: Rules, floating_ip: Obj) -> None:
    """DELETE /floatingips/ID: its address is free again."""
    for port in list(rules.tables["ports"].values()):
        if port["device_id"] == floating_ip["id"]:
            rules.drop_port(port)
    del rules.tables["floatingips"][floating_ip["id"]]


def _associate(rules: Rules, floating_ip: Obj, port_id: str | None) -> None:
    if port_id is None:
        floating_ip.update({"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"})
        return
    port = rules.tables["ports"].get(port_id)
    if port is None or port["project_id"] != floating_ip["project_id"]:
        raise Fault(404, "PortNotFound", f"Port {port_id} could not be found.")
    fixed = [each for each in port["fixed_ips"] if ip_address(each["ip_address"]).version == 4]
    if len(fixed) != 1:
        message = f"Bad floatingip request: Cannot add floating IP to port {port_id} that has no fixed IPv4 addresses."
        raise Fault(400, "BadRequest", message)
    router = _router(rules, fixed[0]["subnet_id"], floating_ip["floating_network_id"])
    if router is None:
        raise Fault(
            404,
            "ExternalGatewayForFloatingIPNotFound",
            f"External network {floating_ip['floating_network_id']} is not reachable from subnet"
            f" {fixed[0]['subnet_id']}.  Therefore, cannot associate Port {port_id} with a Floating IP.",
        )
    for other in rules.tables["floatingips"].values():
        if other["port_id"] == port_id and other["id"] != floating_ip["id"]:
            raise Fault(
                409,
                "FloatingIPPortAlreadyAssociated",
                f"Cannot associate floating IP {floating_ip['floating_ip_address']} ({floating_ip['id']}) with port"
                f" {port_id} using fixed IP {fixed[0]['ip_address']}, as that fixed IP already has a floating IP on"
                f" external network {floating_ip['floating_network_id']}.",
            )
    floating_ip.update({"port_id": port_id, "fixed_ip_address": fixed[0]["ip_address"], "router_id": router})


def _router(rules: Rules, subnet: str, external: str) -> str | None:
    """The router between a subnet and an external network."""
    for port in rules.tables["ports"].values():
        if port["device_owner"] != ROUTER_INTERFACE or subnet not in {each["subnet_id"] for each in port["fixed_ips"]}:
            continue
        router = rules.tables["routers"][port["device_id"]]
        gateway = router["external_gateway_info"] or {}
        if gateway.get("network_id") == external:
            return str(router["id"])
    return None
