"""What a Neutron allows and what follows from it: the rules of the fake, resource by resource.

Objects are Neutron's JSON (plain dicts), because that is what a server keeps and sends. A request that a real Neutron
refuses is refused here with the same status and error type; the contract tests hold both to the same cases.
Does not know: HTTP, filters, faults injected by tests.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

Obj = dict[str, Any]

ROUTER_INTERFACE = "network:router_interface"
ROUTER_GATEWAY = "network:router_gateway"
COLLECTIONS = (
    "networks",
    "subnets",
    "routers",
    "security_groups",
    "security_group_rules",
    "ports",
    "trunks",
    "floatingips",
)
_QUOTA_NAMES = ("network", "subnet", "router", "security_group", "security_group_rule", "port", "floatingip", "trunk")
_PORTS_OF_PROTOCOLS = {"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "132"}


_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")


class Fault(Exception):
    """A refusal: HTTP status, type and message of ``NeutronError``."""

    def __init__(self, status: int, type_: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type = type_
        self.message = message


class Rules:
    """One Neutron's objects. `tables` maps collection → id → object; nothing else holds state that a caller sees."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Obj]] = {name: {} for name in COLLECTIONS}
        self.limits: dict[str, dict[str, int]] = {}
        self.keep_post_tags = True
        self.hosts: frozenset[str] | None = None
        self._serial = itertools.count(1)
        self._second = itertools.count()
        self._macs: dict[tuple[str, str], str] = {}
        self._taken: dict[str, dict[str, str]] = {}
        self._next_free: dict[str, int] = {}

    # --- quota -------------------------------------------------------------------------------------------------

    def use(self, project: str, resource: str) -> int:
        """How many objects of a resource the project has."""
        table = self.tables.get(f"{resource}s", {})
        return sum(item["project_id"] == project for item in table.values())

    def quota(self, project: str) -> dict[str, dict[str, int]]:
        """Limit and use of every resource."""
        limits = self.limits.get(project, {})
        return {
            name: {"used": self.use(project, name), "limit": limits.get(name, -1), "reserved": 0}
            for name in _QUOTA_NAMES
        }

    def check_quota(self, project: str, resource: str, more: int = 1) -> None:
        """Raises OverQuota where so many more of a resource are too many."""
        limit = self.limits.get(project, {}).get(resource, -1)
        if limit >= 0 and self.use(project, resource) + more > limit:
            raise Fault(409, "OverQuota", f"Quota exceeded for resources: ['{resource}'].")

    # --- networks, subnets -------------------------------------------------------------------------------------

    def create_network(self, project: str, body: Obj, *, external: bool = False, shared: bool = False) -> Obj:
        self.check_quota(project, "network")
        made = self.made(project, body) | {
            "mtu": body.get("mtu") or 1442,
            "router:external": external,
            "shared": shared,
            "status": "ACTIVE",
            "subnets": [],
        }
        return self.put("networks", made)

    def delete_network(self, network: Obj) -> None:
        held = [port for port in self._ports_on(network["id"]) if port["device_owner"] != "network:dhcp"]
        if held:
            raise Fault(
                409,
                "NetworkInUse",
                f"Unable to complete operation on network {network['id']}. There are one or more ports still in use"
                f" on the network, id for these ports is: {', '.join(port['id'] for port in held[:3])}.",
            )
        for subnet in [item for item in self.tables["subnets"].values() if item["network_id"] == network["id"]]:
            del self.tables["subnets"][subnet["id"]]
        del self.tables["networks"][network["id"]]

    def create_subnet(self, project: str, network: Obj, body: Obj) -> Obj:
        self.check_quota(project, "subnet")
        cidr = _cidr(body.get("cidr"))
        if cidr.version != body.get("ip_version"):
            raise Fault(400, "InvalidInput", f"Invalid input for operation: cidr '{cidr}' does not match ip_version.")
        for other in self._subnets_of(network["id"]):
            if other["ip_version"] == cidr.version and _cidr(other["cidr"]).overlaps(cidr):
                raise Fault(
                    400,
                    "InvalidInput",
                    f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network['id']}"
                    " overlaps with another subnet.",
                )
        # Neutron's default: the first address, which of an IPv6 subnet is the network's own.
        gateway = body["gateway_ip"] if "gateway_ip" in body else str(cidr[1 if cidr.version == 4 else 0])
        pools: list[Obj] = body.get("allocation_pools") or _default_pools(cidr, gateway)
        _check_pools(cidr, gateway, pools)
        made = self.made(project, body) | {
            "network_id": network["id"],
            "cidr": str(cidr),
            "ip_version": cidr.version,
            "gateway_ip": gateway,
            "enable_dhcp": body.get("enable_dhcp", True),
            "allocation_pools": pools,
        }
        network["subnets"].append(made["id"])
        self._taken[made["id"]] = {}
        return self.put("subnets", made)

    def update_subnet(self, subnet: Obj, body: Obj) -> None:
        pools: list[Obj] = body.get("allocation_pools", subnet["allocation_pools"])
        _check_pools(_cidr(subnet["cidr"]), body.get("gateway_ip", subnet["gateway_ip"]), pools)
        self._next_free.pop(subnet["id"], None)
        self.update(subnet, body)

    def delete_subnet(self, subnet: Obj) -> None:
        held = [port for port in self.tables["ports"].values() if subnet["id"] in _subnet_ids(port)]
        if held:
            raise Fault(
                409,
                "SubnetInUse",
                f"Unable to complete operation on subnet {subnet['id']}: One or more ports have an IP allocation from"
                " this subnet.",
            )
        self.tables["networks"][subnet["network_id"]]["subnets"].remove(subnet["id"])
        del self.tables["subnets"][subnet["id"]]

    # --- routers -----------------------------------------------------------------------------------------------

    def create_router(self, project: str, body: Obj) -> Obj:
        self.check_quota(project, "router")
        made = self.made(project, body) | {"external_gateway_info": None, "status": "ACTIVE", "admin_state_up": True}
        self.put("routers", made)
        try:
            self.set_gateway(made, body.get("external_gateway_info"))
        except Fault:
            del self.tables["routers"][made["id"]]
            raise
        return made

    def set_gateway(self, router: Obj, info: Obj | None) -> None:
        """Connect a router to an external network, or disconnect it."""
        for port in self._interfaces(router["id"], ROUTER_GATEWAY):
            self.drop_port(port)
        router["external_gateway_info"] = None
        if not info:
            return
        network = self.tables["networks"].get(info["network_id"])
        if network is None:
            raise Fault(404, "NetworkNotFound", f"Network {info['network_id']} could not be found.")
        if not network["router:external"]:
            raise Fault(400, "BadRequest", f"Bad router request: Network {network['id']} is not an external network.")
        body = {"device_owner": ROUTER_GATEWAY, "device_id": router["id"], "security_groups": []}
        port = self.new_port("", network, body)
        router["external_gateway_info"] = {
            "network_id": network["id"],
            "enable_snat": True,
            "external_fixed_ips": port["fixed_ips"],
        }

    def delete_router(self, router: Obj) -> None:
        if self._interfaces(router["id"], ROUTER_INTERFACE):
            raise Fault(409, "RouterInUse", f"Router {router['id']} still has ports")
        self.set_gateway(router, None)
        del self.tables["routers"][router["id"]]

    def add_router_interface(self, project: str, router: Obj, subnet: Obj) -> Obj:
        mine = self._interfaces(router["id"], ROUTER_INTERFACE)
        if any(subnet["id"] in _subnet_ids(port) for port in mine):
            raise Fault(400, "BadRequest", f"Bad router request: Router already has a port on subnet {subnet['id']}.")
        if not subnet["gateway_ip"]:
            raise Fault(400, "BadRequest", "Bad router request: Subnet for router interface must have a gateway IP.")
        cidr = ipaddress.ip_network(subnet["cidr"])
        for port in mine:
            for id_ in _subnet_ids(port):
                other = self.tables["subnets"][id_]
                if cidr.version == other["ip_version"] and cidr.overlaps(ipaddress.ip_network(other["cidr"])):
                    raise Fault(
                        400,
                        "BadRequest",
                        f"Bad router request: Cidr {subnet['cidr']} of subnet {subnet['id']} overlaps with cidr"
                        f" {other['cidr']} of subnet {id_}.",
                    )
        fixed = [{"subnet_id": subnet["id"], "ip_address": subnet["gateway_ip"]}]
        body = {"device_owner": ROUTER_INTERFACE, "device_id": router["id"], "fixed_ips": fixed, "security_groups": []}
        port = self.new_port(project, self.tables["networks"][subnet["network_id"]], body)
        router["revision_number"] += 1
        return {"id": router["id"], "port_id": port["id"], "subnet_id": subnet["id"], "subnet_ids": [subnet["id"]]}

    def remove_router_interface(self, router: Obj, body: Obj) -> Obj:
        port_id, subnet_id = body.get("port_id"), body.get("subnet_id")
        for port in self._interfaces(router["id"], ROUTER_INTERFACE):
            if port["id"] == port_id or subnet_id in _subnet_ids(port):
                self._check_leg(router, port)
                self.drop_port(port)
                router["revision_number"] += 1
                return {"id": router["id"], "port_id": port["id"], "subnet_id": next(iter(_subnet_ids(port)))}
        raise Fault(
            404,
            "RouterInterfaceNotFound",
            f"Router {router['id']} does not have an interface with id {port_id or subnet_id}",
        )

    def _check_leg(self, router: Obj, leg: Obj) -> None:
        """A leg goes only when no floating IP needs it."""
        for floating_ip in self.tables["floatingips"].values():
            port = self.tables["ports"].get(floating_ip["port_id"] or "")
            if port is not None and floating_ip["router_id"] == router["id"] and _subnet_ids(port) & _subnet_ids(leg):
                raise Fault(
                    409,
                    "RouterInterfaceInUseByFloatingIP",
                    f"Router interface for subnet {next(iter(_subnet_ids(leg)))} on router {router['id']} cannot be"
                    " deleted, as it is required by one or more floating IPs.",
                )

    # --- security groups ---------------------------------------------------------------------------------------

    def default_group(self, project: str) -> Obj:
        """The group that every project has; made when it is first needed."""
        for group in self.tables["security_groups"].values():
            if group["project_id"] == project and group["name"] == "default":
                return group
        group = self._new_group(project, {"name": "default", "description": "Default security group"})
        for ethertype in ("IPv4", "IPv6"):
            self._new_rule(group, {"direction": "ingress", "ethertype": ethertype, "remote_group_id": group["id"]})
        return group

    def create_security_group(self, project: str, body: Obj) -> Obj:
        self.default_group(project)
        if body.get("name") == "default":
            raise Fault(409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
        self.check_quota(project, "security_group")
        return self._new_group(project, body)

    def update_security_group(self, group: Obj, changes: Obj) -> None:
        """Whether it is stateful changes only while no port carries it."""
        carried = any(group["id"] in port["security_groups"] for port in self.tables["ports"].values())
        if carried and changes.get("stateful", group["stateful"]) != group["stateful"]:
            raise Fault(409, "SecurityGroupInUse", f"Security Group {group['id']} in use.")
        self.update(group, changes)

    def delete_security_group(self, group: Obj) -> None:
        if group["name"] == "default":
            raise Fault(
                409, "SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group."
            )
        if any(group["id"] in port["security_groups"] for port in self.tables["ports"].values()):
            raise Fault(409, "SecurityGroupInUse", f"Security Group {group['id']} in use.")
        for rule in list(self.tables["security_group_rules"].values()):
            if group["id"] in (rule["security_group_id"], rule["remote_group_id"]):
                self.delete_rule(rule)
        del self.tables["security_groups"][group["id"]]

    def create_rules(self, project: str, bodies: list[Obj]) -> list[Obj]:
        """All or none; all of one group."""
        groups = {body.get("security_group_id") for body in bodies}
        for id_ in groups:
            self._group_of(project, id_)
        if len(groups) > 1:
            raise Fault(
                400,
                "SecurityGroupNotSingleGroupRules",
                "Only allowed to update rules for one security profile at a time",
            )
        group = self._group_of(project, groups.pop())
        self.check_quota(project, "security_group_rule", len(bodies))
        for body in bodies:
            self._check_rule(body)
        self._check_duplicates(group, bodies)
        return [self._new_rule(group, body) for body in bodies]

    def delete_rule(self, rule: Obj) -> None:
        group = self.tables["security_groups"][rule["security_group_id"]]
        group["security_group_rules"].remove(rule)
        group["revision_number"] += 1
        del self.tables["security_group_rules"][rule["id"]]

    def _new_group(self, project: str, body: Obj) -> Obj:
        made = self.made(project, body) | {
            "stateful": body.get("stateful", True),
            "security_group_rules": [],
            "shared": False,
        }
        self.put("security_groups", made)
        for ethertype in ("IPv4", "IPv6"):
            self._new_rule(made, {"direction": "egress", "ethertype": ethertype})
        made["revision_number"] = 1
        return made

    def _new_rule(self, group: Obj, body: Obj) -> Obj:
        made = self.made(group["project_id"], body) | {
            "security_group_id": group["id"],
            "direction": body["direction"],
            "ethertype": body.get("ethertype", "IPv4"),
            "description": body.get("description"),
        }
        del made["name"], made["tags"]
        made |= {name: body.get(name) for name in _RULE_OPTIONS}
        made["protocol"] = None if made["protocol"] is None else str(made["protocol"]).lower()
        group["security_group_rules"].append(made)
        group["revision_number"] += 1
        return self.put("security_group_rules", made)

    def _check_rule(self, body: Obj) -> None:
        if body.get("direction") not in ("ingress", "egress"):
            raise Fault(400, "HTTPBadRequest", f"Invalid input for direction. Reason: '{body.get('direction')}'.")
        if body.get("ethertype", "IPv4") not in ("IPv4", "IPv6"):
            raise Fault(400, "SecurityGroupRuleInvalidEtherType", "Security group rule for ethertype not supported.")
        protocol = body.get("protocol")
        low, high = body.get("port_range_min"), body.get("port_range_max")
        if protocol is None and (low is not None or high is not None):
            raise Fault(
                400, "SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given."
            )
        if str(protocol).lower() in _PORTS_OF_PROTOCOLS and (low is None) != (high is None):
            raise Fault(400, "SecurityGroupInvalidPortRange", "port_range_min must be <= port_range_max")
        if low is not None and high is not None and low > high:
            raise Fault(
                400,
                "SecurityGroupInvalidPortRange",
                "For TCP/UDP protocols, port_range_min must be <= port_range_max",
            )
        prefix, remote = body.get("remote_ip_prefix"), body.get("remote_group_id")
        if prefix and remote:
            raise Fault(
                400,
                "SecurityGroupMultipleRemoteEntites",
                "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            )
        if prefix and f"IPv{_cidr(prefix).version}" != body.get("ethertype", "IPv4"):
            raise Fault(400, "SecurityGroupRuleParameterConflict", f"Conflicting value ethertype for CIDR {prefix}")
        if remote and remote not in self.tables["security_groups"]:
            raise Fault(404, "SecurityGroupNotFound", f"Security group {remote} does not exist")

    def _check_duplicates(self, group: Obj, bodies: list[Obj]) -> None:
        wanted = [_rule_identity(body) for body in bodies]
        if len(set(wanted)) < len(wanted):
            raise Fault(409, "DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.")
        existing = {_rule_identity(rule): rule["id"] for rule in group["security_group_rules"]}
        for identity in wanted:
            if identity in existing:
                raise Fault(
                    409,
                    "SecurityGroupRuleExists",
                    f"Security group rule already exists. Rule id is {existing[identity]}.",
                )

    def _group_of(self, project: str, id_: object) -> Obj:
        group = self.tables["security_groups"].get(str(id_))
        if group is None or group["project_id"] != project:
            raise Fault(404, "SecurityGroupNotFound", f"Security group {id_} does not exist")
        return group

    # --- ports -------------------------------------------------------------------------------------------------

    def create_ports(self, project: str, bodies: list[Obj], visible: Iterable[str]) -> list[Obj]:
        """All or none. `visible` are the ids of the networks that the caller may use."""
        self.check_quota(project, "port", len(bodies))
        made: list[Obj] = []
        try:
            for body in bodies:
                network = self.tables["networks"].get(str(body.get("network_id")))
                if network is None or network["id"] not in visible:
                    raise Fault(404, "NetworkNotFound", f"Network {body.get('network_id')} could not be found.")
                self._check_groups(project, body)
                made.append(self.new_port(project, network, body))
        except Fault:
            for port in made:
                self.drop_port(port)
            raise
        return made

    def update_port(self, port: Obj, body: Obj) -> None:
        self._check_groups(port["project_id"], body)
        if "fixed_ips" in body:
            self._release(port)
            port["fixed_ips"] = self._addresses(port, self.tables["networks"][port["network_id"]], body["fixed_ips"])
        changes = {name: value for name, value in body.items() if name not in ("fixed_ips", "mac_address")}
        if "mac_address" in body:
            self._claim_mac(port, body["mac_address"])
        moved = changes.get("binding:host_id", port["binding:host_id"]) != port["binding:host_id"]
        self.update(port, changes)
        if moved or port["binding:vif_type"] != "ovs":
            self._bind(port)

    def delete_port(self, port: Obj) -> None:
        if port["device_owner"] in (ROUTER_INTERFACE, ROUTER_GATEWAY):
            raise Fault(
                409,
                "ServicePortInUse",
                f"Port {port['id']} cannot be deleted directly via the port API: has device owner"
                f" {port['device_owner']}.",
            )
        self.drop_port(port)

    def new_port(self, project: str, network: Obj, body: Obj) -> Obj:
        """One port, for the project or (empty) for Neutron itself."""
        owner = body.get("device_owner", "")
        guarded = not owner.startswith("network:")
        groups = body.get("security_groups")
        if groups is None:
            groups = [self.default_group(project)["id"]] if guarded else []
        port = self.made(project, body) | {
            "network_id": network["id"],
            "mac_address": "",
            "device_owner": owner,
            "device_id": body.get("device_id", ""),
            "admin_state_up": body.get("admin_state_up", True),
            "port_security_enabled": guarded,
            "security_groups": list(groups),
            "binding:host_id": body.get("binding:host_id", ""),
            "binding:vnic_type": body.get("binding:vnic_type", "normal"),
            "binding:vif_type": "unbound",
            "status": "DOWN",
            "fixed_ips": [],
            "tags": list(body.get("tags", [])) if self.keep_post_tags else [],
        }
        if groups and not guarded:
            raise Fault(
                400,
                "PortSecurityAndIPRequiredForSecurityGroups",
                "Port security must be enabled and port must have an IP address in order to use security groups.",
            )
        self._claim_mac(port, body.get("mac_address"))
        try:
            port["fixed_ips"] = self._addresses(port, network, body.get("fixed_ips"))
        except Fault:
            self._macs.pop((port["network_id"], port["mac_address"]), None)
            raise
        self._bind(port)
        return self.put("ports", port)

    def drop_port(self, port: Obj) -> None:
        """Without it: its addresses are free, what led to it leads nowhere."""
        self._macs.pop((port["network_id"], port["mac_address"]), None)
        self._release(port)
        self.tables["ports"].pop(port["id"], None)
        for floating_ip in self.tables["floatingips"].values():
            if floating_ip["port_id"] == port["id"]:
                self.update(floating_ip, {"port_id": None, "fixed_ip_address": None, "router_id": None})

    def _bind(self, port: Obj) -> None:
        host = port["binding:host_id"]
        if not host:
            port["binding:vif_type"] = "unbound"
        else:
            known = self.hosts is None or host in self.hosts
            port["binding:vif_type"] = "ovs" if known else "binding_failed"

    def _claim_mac(self, port: Obj, wanted: str | None) -> None:
        if wanted and not _MAC.fullmatch(wanted):
            message = f"Invalid input for mac_address. Reason: '{wanted}' is not a valid MAC address."
            raise Fault(400, "HTTPBadRequest", message)
        mac = (wanted or f"fa:16:3e:{_mac_tail(next(self._serial))}").lower()
        holder = self._macs.get((port["network_id"], mac))
        if holder is not None and holder != port["id"]:
            raise Fault(
                409,
                "MacAddressInUse",
                f"Unable to complete operation for network {port['network_id']}. The mac address {mac} is in use.",
            )
        self._macs.pop((port["network_id"], port["mac_address"]), None)
        self._macs[port["network_id"], mac] = port["id"]
        port["mac_address"] = mac

    def _addresses(self, port: Obj, network: Obj, wanted: list[Obj] | None) -> list[Obj]:
        """Addresses for a port: those asked for, else one of each family that the network has."""
        subnets = self._subnets_of(network["id"])
        if wanted is None:
            first = {subnet["ip_version"]: subnet for subnet in reversed(subnets)}
            wanted = [{"subnet_id": first[version]["id"]} for version in sorted(first)]
        by_id = {subnet["id"]: subnet for subnet in subnets}
        got: list[Obj] = []
        # Requested addresses first, as Neutron does, so that "any" never takes what the same port asks for.
        for fixed in sorted(wanted, key=lambda item: "ip_address" not in item):
            try:
                got.append(self._address(port, network, by_id, fixed))
            except Fault:
                for made in got:
                    self._taken[made["subnet_id"]].pop(made["ip_address"], None)
                raise
        return got

    def _address(self, port: Obj, network: Obj, subnets: dict[str, Obj], fixed: Obj) -> Obj:
        address = fixed.get("ip_address")
        subnet = subnets.get(fixed["subnet_id"]) if "subnet_id" in fixed else _holding(subnets, str(address))
        if subnet is None:
            if "subnet_id" not in fixed:
                raise Fault(
                    400,
                    "InvalidIpForNetwork",
                    f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
                )
            if fixed["subnet_id"] not in self.tables["subnets"]:
                raise Fault(404, "SubnetNotFound", f"Subnet {fixed['subnet_id']} could not be found.")
            raise Fault(
                400,
                "InvalidInput",
                f"Invalid input for operation: Failed to create port on network {network['id']}, because fixed_ips"
                f" included invalid subnet {fixed['subnet_id']}.",
            )
        chosen = self._free_address(subnet) if address is None else _checked(subnet, str(address))
        if chosen in self._taken[subnet["id"]]:
            raise Fault(
                409,
                "IpAddressAlreadyAllocated",
                f"IP address {chosen} already allocated in subnet {subnet['id']}",
            )
        self._taken[subnet["id"]][chosen] = port["id"]
        return {"subnet_id": subnet["id"], "ip_address": chosen}

    def _free_address(self, subnet: Obj) -> str:
        """The lowest free address of the pools; remembers where it stopped, so that 10,000 ports stay cheap."""
        taken = self._taken[subnet["id"]]
        start = self._next_free.get(subnet["id"], 0)
        for number in _pool_numbers(subnet["allocation_pools"], start):
            address = str(ipaddress.ip_address(number))
            if address not in taken:
                self._next_free[subnet["id"]] = number
                return address
        network = subnet["network_id"]
        raise Fault(409, "IpAddressGenerationFailure", f"No more IP addresses available on network {network}.")

    def _release(self, port: Obj) -> None:
        for fixed in port["fixed_ips"]:
            self._taken.get(fixed["subnet_id"], {}).pop(fixed["ip_address"], None)
            self._next_free.pop(fixed["subnet_id"], None)

    def _check_groups(self, project: str, body: Obj) -> None:
        for id_ in body.get("security_groups") or ():
            group = self.tables["security_groups"].get(id_)
            if group is None or group["project_id"] != project:
                raise Fault(404, "SecurityGroupNotFound", f"Security group {id_} does not exist")

    # --- all ---------------------------------------------------------------------------------------------------

    def update(self, item: Obj, changes: Obj) -> None:
        """Change fields; the revision grows with every update."""
        item.update(changes)
        item["revision_number"] += 1
        item["updated_at"] = self._now()

    def set_tags(self, item: Obj, tags: list[str]) -> None:
        """Replace all tags."""
        too_long = [tag for tag in tags if len(tag) > 255]
        if too_long:
            raise Fault(
                400,
                "InvalidInput",
                f"Invalid input for operation: '{too_long[0]}' exceeds maximum length of 255.",
            )
        if len(tags) != len(set(tags)):
            raise Fault(400, "InvalidInput", "Invalid input for operation: Duplicate items in the list.")
        if len(tags) > 50:
            raise Fault(400, "BadRequest", "The number of tags exceed the per-resource limit of 50")
        self.update(item, {"tags": sorted(tags)})

    def made(self, project: str, body: Obj) -> Obj:
        """What every new object has."""
        now = self._now()
        return {
            "id": f"{next(self._serial):08x}-0000-4000-8000-000000000000",
            "name": body.get("name", ""),
            "project_id": project,
            "tenant_id": project,
            "description": body.get("description", ""),
            "tags": [],
            "revision_number": 1,
            "created_at": now,
            "updated_at": now,
        }

    def put(self, collection: str, item: Obj) -> Obj:
        """Keep a new object."""
        self.tables[collection][item["id"]] = item
        return item

    def _now(self) -> str:
        minutes, seconds = divmod(next(self._second) // 100, 60)
        return f"2026-01-01T{minutes // 60 % 24:02d}:{minutes % 60:02d}:{seconds:02d}Z"

    def _ports_on(self, network_id: str) -> list[Obj]:
        return [port for port in self.tables["ports"].values() if port["network_id"] == network_id]

    def _subnets_of(self, network_id: str) -> list[Obj]:
        return [self.tables["subnets"][id_] for id_ in self.tables["networks"][network_id]["subnets"]]

    def _interfaces(self, router_id: str, owner: str) -> list[Obj]:
        ports = self.tables["ports"].values()
        return [port for port in ports if port["device_id"] == router_id and port["device_owner"] == owner]


_RULE_OPTIONS = (
    "protocol",
    "port_range_min",
    "port_range_max",
    "remote_ip_prefix",
    "remote_group_id",
    "remote_address_group_id",
)


def _rule_identity(rule: Obj) -> tuple[object, ...]:
    protocol = rule.get("protocol")
    prefix = rule.get("remote_ip_prefix")
    return (
        rule["direction"],
        rule.get("ethertype", "IPv4"),
        None if protocol is None else str(protocol).lower(),
        rule.get("port_range_min"),
        rule.get("port_range_max"),
        None if prefix is None else str(_cidr(prefix)),
        rule.get("remote_group_id"),
        rule.get("remote_address_group_id"),
    )


def _cidr(text: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        message = f"Invalid input for operation: {text} is not in a CIDR format."
        raise Fault(400, "InvalidInput", message) from None


def _default_pools(cidr: ipaddress.IPv4Network | ipaddress.IPv6Network, gateway: str | None) -> list[Obj]:
    first = int(cidr.network_address) + 1
    last = int(cidr.broadcast_address) - (cidr.version == 4)
    if gateway is None:
        ranges = [(first, last)]
    else:
        hole = int(ipaddress.ip_address(gateway))
        ranges = [(first, hole - 1), (hole + 1, last)]
    return [
        {"start": str(ipaddress.ip_address(low)), "end": str(ipaddress.ip_address(high))}
        for low, high in ranges
        if low <= high
    ]


def _check_pools(cidr: ipaddress.IPv4Network | ipaddress.IPv6Network, gateway: str | None, pools: list[Obj]) -> None:
    for pool in pools:
        start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        if start not in cidr or end not in cidr:
            raise Fault(
                400,
                "OutOfBoundsAllocationPool",
                f"The allocation pool {start}-{end} spans beyond the subnet cidr {cidr}.",
            )
        if int(start) > int(end):
            raise Fault(400, "InvalidAllocationPool", f"The allocation pool {start}-{end} is not valid.")
        if gateway is not None and int(start) <= int(ipaddress.ip_address(gateway)) <= int(end):
            raise Fault(
                409,
                "GatewayConflictWithAllocationPools",
                f"Gateway ip {gateway} conflicts with allocation pool {start}-{end}.",
            )


def _holding(subnets: dict[str, Obj], address: str) -> Obj | None:
    wanted = ipaddress.ip_address(address)
    return next((subnet for subnet in subnets.values() if wanted in ipaddress.ip_network(subnet["cidr"])), None)


def _checked(subnet: Obj, address: str) -> str:
    cidr = ipaddress.ip_network(subnet["cidr"])
    wanted = ipaddress.ip_address(address)
    edge = cidr.version == 4 and wanted in (cidr.network_address, cidr.broadcast_address)
    if wanted not in cidr or edge:
        raise Fault(
            400,
            "InvalidIpForSubnet",
            f"IP address {address} is not a valid IP for the specified subnet.",
        )
    return str(wanted)


def _pool_numbers(pools: list[Obj], start: int) -> Iterator[int]:
    for pool in pools:
        low, high = int(ipaddress.ip_address(pool["start"])), int(ipaddress.ip_address(pool["end"]))
        yield from range(max(low, start), high + 1)


def _subnet_ids(port: Obj) -> set[str]:
    return {fixed["subnet_id"] for fixed in port["fixed_ips"]}


def _mac_tail(number: int) -> str:
    return ":".join(f"{octet:02x}" for octet in number.to_bytes(3, "big"))
