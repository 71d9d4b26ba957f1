"""What an Octavia with the OVN provider allows and what follows from it: the rules of the fake, resource by resource.

Objects are plain dicts with Octavia's fields; those that begin with ``_`` are the server's own. Time is virtual: what a
change leads to happens when `now_s` has come so far. What a real Octavia refuses is refused here with the same status
and words; the contract tests hold both to the same cases. Does not know: HTTP, filters, injected faults.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from ipaddress import ip_address, ip_network
from typing import Any

from tests.fakes.neutron_rules import Fault as NeutronFault
from tests.fakes.neutron_rules import Rules as NeutronRules

Obj = dict[str, Any]

OVN, AMPHORA = "ovn", "amphora"
ACTIVE, ERROR = "ACTIVE", "ERROR"
VIP_OWNER = "ovn-lb:vip"
COLLECTIONS = ("loadbalancers", "listeners", "pools", "members", "healthmonitors")
NAMES = {
    "loadbalancers": "Load Balancer",
    "listeners": "Listener",
    "pools": "Pool",
    "members": "Member",
    "healthmonitors": "Health Monitor",
}
_L4 = {"TCP": "TCP", "HTTP": "TCP", "HTTPS": "TCP", "UDP": "UDP", "SCTP": "SCTP"}
_MONITORS = {OVN: {"TCP", "UDP-CONNECT"}, AMPHORA: {"TCP", "UDP-CONNECT", "SCTP", "HTTP", "HTTPS", "PING", "TLS-HELLO"}}
_ALGORITHMS = {
    OVN: {"SOURCE_IP_PORT", "SOURCE_IP"},
    AMPHORA: {"ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"},
}


class Fault(Exception):
    """A refusal: HTTP status and ``faultstring``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Rules:
    """One Octavia's objects. `active_s`: how long a load balancer is PENDING; `lag_s`: what is below it, after that."""

    def __init__(self, neutron: NeutronRules) -> None:
        self.neutron = neutron
        self.tables: dict[str, dict[str, Obj]] = {name: {} for name in COLLECTIONS}
        self.limits: dict[str, dict[str, int]] = {}
        self.now_s = 0.0
        self.active_s = 1.0
        self.lag_s = 0.5
        self.fail_changes = 0
        self.keep_post_tags = True
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._serial = itertools.count(1)

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass, and happen what was to happen by then."""
        self.now_s += seconds
        while self._due and min(due for due, _ in self._due) <= self.now_s:
            self._due.sort(key=lambda each: each[0])
            self._due.pop(0)[1]()

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        self._due.append((self.now_s + seconds, event))

    def _stamp(self) -> str:
        seconds = int(self.now_s)
        return f"2026-01-01T{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    # --- load balancers ----------------------------------------------------------------------------------------

    def create_balancer(self, project: str, body: Obj) -> Obj:
        """POST /loadbalancers, with everything below it or nothing."""
        subnet, address = self._vip(body)
        provider = self._provider(body)
        self._check_quota(project, "loadbalancers")
        balancer = self._made("loadbalancers", project, body) | {
            "provider": provider,
            "vip_subnet_id": subnet["id"],
            "vip_network_id": subnet["network_id"],
            "vip_address": "",
            "vip_port_id": "",
            "additional_vips": [],
            "flavor_id": None,
            "availability_zone": None,
        }
        if not self.keep_post_tags:
            balancer["tags"] = []
        before = {name: dict(table) for name, table in self.tables.items()}
        self.tables["loadbalancers"][balancer["id"]] = balancer
        try:
            port = self._vip_port(balancer, subnet, address)
            self._graph(balancer, body)  # where this is refused, the port stays
        except Fault:
            self.tables = before
            raise
        balancer["vip_port_id"], balancer["vip_address"] = port["id"], port["fixed_ips"][0]["ip_address"]
        self._work(balancer, list(self._below(balancer)))
        return balancer

    def update_balancer(self, balancer: Obj, body: Obj) -> None:
        if balancer["provisioning_status"] != ACTIVE:
            raise _pending(balancer)
        self._change(balancer, body)
        self._work(balancer, [])

    def delete_balancer(self, balancer: Obj, *, cascade: bool) -> None:
        below = list(self._below(balancer))
        if below and not cascade:
            raise Fault(400, f"Validation failure: Cannot delete Load Balancer {balancer['id']} - it has children")
        if balancer["provisioning_status"].startswith("PENDING_"):
            raise _pending(balancer)
        self._status(balancer, "PENDING_DELETE")

        def gone() -> None:
            for thing in (balancer, *below):
                self._table_of(thing).pop(thing["id"], None)
            port = self.neutron.tables["ports"].get(balancer["vip_port_id"])
            if port is not None:
                self.neutron.delete_port(port)

        if self._fails():
            self._after(self.active_s, lambda: self._status(balancer, ERROR))
        else:
            self._after(self.active_s, gone)

    def failover(self, balancer: Obj) -> None:
        if balancer["provider"] == OVN:
            raise _unsupported(OVN, "OVN provider does not support loadbalancer failover")
        if balancer["provisioning_status"].startswith("PENDING_"):
            raise _pending(balancer)
        self._work(balancer, [])

    def _vip(self, body: Obj) -> tuple[Obj, str | None]:
        address = body.get("vip_address")
        if body.get("vip_subnet_id"):
            subnet = self.neutron.tables["subnets"].get(body["vip_subnet_id"])
            if subnet is None:
                raise Fault(400, f"Subnet {body['vip_subnet_id']} not found.")
            return subnet, address
        if not body.get("vip_network_id"):
            raise Fault(400, "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.")
        network = self.neutron.tables["networks"].get(body["vip_network_id"])
        if network is None:
            raise Fault(400, f"Network {body['vip_network_id']} not found.")
        subnets = [self.neutron.tables["subnets"][id_] for id_ in network["subnets"]]
        holding = [s for s in subnets if address is None or ip_address(address) in ip_network(s["cidr"])]
        if not holding:
            raise Fault(
                400, "Validation failure: Supplied network does not contain a subnet for VIP address specified."
            )
        return min(holding, key=lambda subnet: int(subnet["ip_version"])), address

    def _vip_port(self, balancer: Obj, subnet: Obj, address: str | None) -> Obj:
        fixed = {"subnet_id": subnet["id"]} | ({"ip_address": address} if address else {})
        body = {
            "name": f"ovn-lb-vip-{balancer['id']}",
            "network_id": subnet["network_id"],
            "fixed_ips": [fixed],
            "device_owner": VIP_OWNER if balancer["provider"] == OVN else "Octavia",
            "device_id": f"lb-{balancer['id']}",
        }
        try:
            return self.neutron.create_ports(balancer["project_id"], [body], {subnet["network_id"]})[0]
        except NeutronFault as fault:
            if fault.status == 409:
                raise Fault(409, f"The VIP IP address is already in use: {fault.message}") from None
            raise Fault(500, f"Provider '{balancer['provider']}' reports error: {fault.message}") from None

    def _provider(self, body: Obj) -> str:
        provider = body.get("provider") or OVN
        if provider not in (OVN, AMPHORA):
            raise Fault(400, f"Provider '{provider}' is not enabled.")
        return str(provider)

    def _graph(self, balancer: Obj, body: Obj) -> None:
        """The pools and listeners of a fully populated creation. Pools need names, by which they are told apart."""
        listeners = body.get("listeners") or []
        pools = [*(body.get("pools") or [])]
        for listener in listeners:
            pool = listener.get("default_pool")
            if pool and not pool.get("name"):
                raise Fault(
                    400, "Validation failure: Pools must be named when creating a fully populated loadbalancer."
                )
            if pool and len(pool) > 1:
                pools.append(pool)
        named = [pool.get("name") for pool in pools]
        if len(set(named)) < len(named):
            raise Fault(
                400, "Validation failure: Pool names must be unique when creating a fully populated loadbalancer."
            )
        self._check_quota(balancer["project_id"], "pools", len(pools))
        ids: dict[str, str] = {}
        for pool in pools:
            made = self._new_pool(balancer, pool)
            ids[made["name"]] = made["id"]
            if pool.get("healthmonitor"):
                self._new_monitor(balancer, made, pool["healthmonitor"])
            for member in pool.get("members") or []:
                self._new_member(balancer, made, {"subnet_id": balancer["vip_subnet_id"]} | member)
            self._check_quota(balancer["project_id"], "members", 0)
            self._check_quota(balancer["project_id"], "healthmonitors", 0)
        self._check_quota(balancer["project_id"], "listeners", len(listeners))
        for listener in listeners:
            pool = listener.get("default_pool")
            default = {"default_pool_id": ids[pool["name"]]} if pool else {}
            self._new_listener(balancer, {key: val for key, val in listener.items() if key != "default_pool"} | default)

    # --- listeners ---------------------------------------------------------------------------------------------

    def create_listener(self, project: str, body: Obj) -> Obj:
        balancer = self._of_project("loadbalancers", project, body.get("loadbalancer_id"))
        self._check_quota(project, "listeners")
        self._check_lock(balancer)
        made = self._new_listener(balancer, {key: value for key, value in body.items() if key != "loadbalancer_id"})
        self._work(balancer, [made])
        return made

    def update_listener(self, listener: Obj, body: Obj) -> None:
        balancer = self._balancer(listener)
        self._check_listener(balancer, {"protocol": listener["protocol"]} | body)
        self._check_lock(balancer)
        self._change(listener, body)
        self._work(balancer, [listener])

    def delete_listener(self, listener: Obj) -> None:
        self._remove(listener, [listener])

    def _new_listener(self, balancer: Obj, body: Obj) -> Obj:
        self._check_listener(balancer, body)
        for other in self._children("listeners", balancer["id"]):
            same = _L4[other["protocol"]] == _L4[body["protocol"]]
            if same and other["protocol_port"] == body["protocol_port"]:
                raise Fault(
                    409,
                    "Another Listener on this Load Balancer is already using protocol"
                    f" {other['protocol']} and protocol_port {body['protocol_port']}",
                )
        made = self._made("listeners", balancer["project_id"], body) | {
            "_lb": balancer["id"],
            "protocol": body["protocol"],
            "protocol_port": body["protocol_port"],
            "default_pool_id": body.get("default_pool_id"),
            "allowed_cidrs": body.get("allowed_cidrs"),
            "timeout_client_data": body.get("timeout_client_data", 50000),
            "timeout_member_data": body.get("timeout_member_data", 50000),
            "connection_limit": -1,
        }
        return self._put("listeners", made)

    def _check_listener(self, balancer: Obj, body: Obj) -> None:
        provider = balancer["provider"]
        if body.get("protocol") not in _L4 or (provider == OVN and body["protocol"] in ("HTTP", "HTTPS")):
            raise _unsupported(provider, f"OVN provider does not support {body.get('protocol')} protocol")
        if provider == OVN and body.get("allowed_cidrs"):
            raise _unsupported(provider, "OVN provider does not support allowed_cidrs option")
        pool = body.get("default_pool_id")
        if pool and (pool not in self.tables["pools"] or self.tables["pools"][pool]["_lb"] != balancer["id"]):
            raise Fault(404, f"Pool {pool} not found.")

    # --- pools -------------------------------------------------------------------------------------------------

    def create_pool(self, project: str, body: Obj) -> Obj:
        listener = self.tables["listeners"].get(str(body.get("listener_id")))
        balancer_id = listener["_lb"] if listener else body.get("loadbalancer_id")
        if not balancer_id:
            raise Fault(400, "Validation failure: Must provide at least one of: loadbalancer_id, listener_id")
        balancer = self._of_project("loadbalancers", project, balancer_id)
        self._check_quota(project, "pools")
        if listener and listener["default_pool_id"]:
            raise Fault(409, "This listener already has a default pool")
        self._check_lock(balancer)
        made = self._new_pool(
            balancer, {key: value for key, value in body.items() if key not in ("loadbalancer_id", "listener_id")}
        )
        if listener:
            listener["default_pool_id"] = made["id"]
        self._work(balancer, [made, *([listener] if listener else [])])
        return made

    def update_pool(self, pool: Obj, body: Obj) -> None:
        balancer = self._balancer(pool)
        self._check_pool(balancer, {"protocol": pool["protocol"], "lb_algorithm": pool["lb_algorithm"]} | body)
        self._check_lock(balancer)
        if body.get("session_persistence"):
            body = body | {"session_persistence": _persistence(body["session_persistence"])}
        self._change(pool, body)
        self._work(balancer, [pool, *self._users(pool)])
        if balancer["provider"] == OVN and "session_persistence" in body and "admin_state_up" not in body:
            self._after(self.active_s + self.lag_s, lambda: self._status(pool, ERROR))  # pool_update: KeyError

    def delete_pool(self, pool: Obj) -> None:
        self._remove(pool, [pool, *self.members(pool), *self._monitors(pool)])

    def _new_pool(self, balancer: Obj, body: Obj) -> Obj:
        for name in ("protocol", "lb_algorithm"):
            if name not in body:
                raise Fault(400, f"Invalid input for field/attribute {name}. Mandatory field missing.")
        self._check_pool(balancer, body)
        persistence = body.get("session_persistence")
        made = self._made("pools", balancer["project_id"], body) | {
            "_lb": balancer["id"],
            "protocol": body["protocol"],
            "lb_algorithm": body["lb_algorithm"],
            "session_persistence": _persistence(persistence) if persistence else None,
            "tls_enabled": False,
        }
        return self._put("pools", made)

    def _check_pool(self, balancer: Obj, body: Obj) -> None:
        provider, persistence = balancer["provider"], body.get("session_persistence") or {}
        if body["protocol"] not in ("UDP", "SCTP") and persistence.get("persistence_timeout"):
            raise Fault(
                400,
                "Validation failure: persistence_timeout and persistence_granularity is only for UDP and SCTP"
                " protocol pools.",
            )
        if provider == OVN and body["protocol"] in ("HTTP", "HTTPS", "PROXY"):
            raise _unsupported(provider, f"OVN provider does not support {body['protocol']} protocol")
        if body["lb_algorithm"] not in _ALGORITHMS[provider]:
            raise _unsupported(provider, f"OVN provider does not support {body['lb_algorithm']} algorithm")
        if provider == OVN and persistence and persistence["type"] != "SOURCE_IP":
            raise _unsupported(provider, f"OVN provider does not support {persistence['type']} session persistence.")

    # --- members -----------------------------------------------------------------------------------------------

    def create_member(self, pool: Obj, body: Obj) -> Obj:
        balancer = self._balancer(pool)
        self._check_quota(pool["project_id"], "members")
        self._check_pool_lock(pool)
        made = self._new_member(balancer, pool, body)
        self._work(balancer, [made, pool, *self._users(pool)])
        return made

    def update_member(self, member: Obj, body: Obj) -> None:
        pool = self.tables["pools"][member["_pool"]]
        self._check_pool_lock(pool)
        self._change(member, body)
        self._work(self._balancer(pool), [member, pool, *self._users(pool)])

    def delete_member(self, member: Obj) -> None:
        pool = self.tables["pools"][member["_pool"]]
        self._check_pool_lock(pool)
        self._work(self._balancer(pool), [pool, *self._users(pool)])
        self._leave([member])

    def set_members(self, pool: Obj, bodies: list[Obj], *, additive: bool) -> None:
        """PUT /pools/ID/members: who is in the list and was there keeps its id; who is not goes, unless `additive`."""
        balancer = self._balancer(pool)
        self._check_pool_lock(pool)
        old = {(member["address"], member["protocol_port"]): member for member in self.members(pool)}
        wanted = [(_address(body), body["protocol_port"]) for body in bodies]
        if len(set(wanted) & old.keys()) < sum(key in old for key in wanted):
            raise Fault(400, "Validation failure: Member must be updated only once in the same request.")
        fresh = [body for key, body in zip(wanted, bodies, strict=True) if key not in old]
        going = [] if additive else [member for key, member in old.items() if key not in wanted]
        if not fresh and not going and not bodies:
            return
        self._check_quota(pool["project_id"], "members", max(0, len(fresh) - len(going)))
        before = dict(self.tables["members"])
        try:
            made = [self._new_member(balancer, pool, body, batch=True) for body in fresh]
        except Fault:
            self.tables["members"] = before
            raise
        staying = [old[key] for key in wanted if key in old]
        for key, body in zip(wanted, bodies, strict=True):
            if key in old:
                self._change(old[key], {name: body[name] for name in ("name", "weight", "tags") if name in body})
        self._work(balancer, [*made, *staying, pool, *self._users(pool)])
        self._leave(going)

    def members(self, pool: Obj) -> list[Obj]:
        """The members of a pool."""
        return [member for member in self.tables["members"].values() if member["_pool"] == pool["id"]]

    def _new_member(self, balancer: Obj, pool: Obj, body: Obj, *, batch: bool = False) -> Obj:
        address = _address(body)
        vip_subnet = self.neutron.tables["subnets"][balancer["vip_subnet_id"]]
        if balancer["provider"] == OVN:
            if ip_address(address).version != ip_network(vip_subnet["cidr"]).version:
                raise _unsupported(
                    OVN, "OVN provider does not support mixing IPv4/IPv6 configuration within the same Load Balancer."
                )
            inside = ip_address(address) in ip_network(vip_subnet["cidr"])
            if not body.get("subnet_id") and not inside:
                where = "Member batch update" if batch else "Member creation"
                raise _unsupported(
                    OVN,
                    f"Subnet is required, or Loadbalancer associated with Pool must have a subnet, for {where} with OVN"
                    " Provider Driver if it is not the same as LB VIP subnet",
                )
        if body.get("subnet_id") and body["subnet_id"] not in self.neutron.tables["subnets"]:
            raise Fault(400, f"Subnet {body['subnet_id']} not found.")
        for other in self.members(pool):
            if (other["address"], other["protocol_port"]) == (address, body["protocol_port"]):
                raise Fault(
                    409,
                    f"Another member on this pool is already using ip {address} on protocol_port"
                    f" {body['protocol_port']}",
                )
        made = self._made("members", pool["project_id"], body) | {
            "_pool": pool["id"],
            "address": address,
            "protocol_port": body["protocol_port"],
            "weight": body.get("weight", 1),
            "backup": False,
            "subnet_id": body.get("subnet_id"),
            "monitor_address": None,
            "monitor_port": None,
        }
        made["operating_status"] = "NO_MONITOR"
        return self._put("members", made)

    # --- health monitors ---------------------------------------------------------------------------------------

    def create_monitor(self, project: str, body: Obj) -> Obj:
        pool = self._of_project("pools", project, body.get("pool_id"))
        balancer = self._balancer(pool)
        self._check_quota(project, "healthmonitors")
        self._check_pool_lock(pool)
        made = self._new_monitor(balancer, pool, {key: value for key, value in body.items() if key != "pool_id"})
        self._work(balancer, [made, pool, *self._users(pool)])
        return made

    def update_monitor(self, monitor: Obj, body: Obj) -> None:
        pool = self.tables["pools"][monitor["_pool"]]
        self._check_pool_lock(pool)
        self._change(monitor, body)
        self._work(self._balancer(pool), [monitor, pool, *self._users(pool)])

    def delete_monitor(self, monitor: Obj) -> None:
        pool = self.tables["pools"][monitor["_pool"]]
        self._check_pool_lock(pool)
        self._work(self._balancer(pool), [pool, *self._users(pool)])
        self._leave([monitor])

    def _new_monitor(self, balancer: Obj, pool: Obj, body: Obj) -> Obj:
        if self._monitors(pool):
            raise Fault(409, "This pool already has a health monitor")
        datagrams = pool["protocol"] in ("UDP", "SCTP")
        if not datagrams and body["type"] in ("UDP-CONNECT", "SCTP"):
            raise Fault(
                400,
                f"Validation failure: The {body['type']} type is only supported for pools of type UDP/SCTP.",
            )
        if body["type"] not in _MONITORS[balancer["provider"]]:
            raise _unsupported(
                balancer["provider"], f"OVN provider does not support {body['type']} health monitor type. "
            )
        made = self._made("healthmonitors", pool["project_id"], body) | {
            "_pool": pool["id"],
            "type": body["type"],
            "delay": body["delay"],
            "timeout": body["timeout"],
            "max_retries": body["max_retries"],
            "max_retries_down": body.get("max_retries_down", 3),
        }
        return self._put("healthmonitors", made)

    def _monitors(self, pool: Obj) -> list[Obj]:
        return [each for each in self.tables["healthmonitors"].values() if each["_pool"] == pool["id"]]

    # --- locks and work ----------------------------------------------------------------------------------------

    def _check_lock(self, balancer: Obj) -> None:
        if balancer["provisioning_status"] != ACTIVE:
            raise Fault(409, f"Load Balancer {balancer['id']} is immutable and cannot be updated.")

    def _check_pool_lock(self, pool: Obj) -> None:
        if pool["provisioning_status"] != ACTIVE:
            raise Fault(409, f"Pool {pool['id']} is immutable and cannot be updated.")
        self._check_lock(self._balancer(pool))

    def _work(self, balancer: Obj, below: Iterable[Obj]) -> None:
        """Everything is PENDING, then the load balancer ACTIVE, then its listeners, then pools, then what is below."""
        things = list(below)
        outcome = ERROR if self._fails() else ACTIVE
        for thing in (balancer, *things):
            self._status(thing, "PENDING_UPDATE" if thing["_made"] else "PENDING_CREATE")
            thing["_made"] = True

        def settle(*collections: str) -> None:
            for thing in (balancer, *things):
                if thing["_collection"] in collections and thing["provisioning_status"] != "PENDING_DELETE":
                    self._status(thing, outcome)
                    if thing["operating_status"] == "OFFLINE":
                        thing["operating_status"] = "ONLINE"

        for n, collections in enumerate(
            (("loadbalancers",), ("listeners",), ("pools",), ("members", "healthmonitors"))
        ):
            self._after(self.active_s + n * self.lag_s / 3, partial(settle, *collections))
        self.advance(0)

    def _remove(self, thing: Obj, going: list[Obj]) -> None:
        balancer = self._balancer(thing)
        self._check_lock(balancer)
        self._work(balancer, [])
        self._leave(going)

    def _leave(self, going: list[Obj]) -> None:
        """They are PENDING_DELETE, then ACTIVE for a moment (OVN does a change in parts), then gone."""
        for thing in going:
            self._status(thing, "PENDING_DELETE")

        def masked() -> None:
            for thing in going:
                self._status(thing, ACTIVE)

        def gone() -> None:
            for thing in going:
                self._table_of(thing).pop(thing["id"], None)
                for listener in self.tables["listeners"].values():
                    if listener["default_pool_id"] == thing["id"]:
                        listener["default_pool_id"] = None

        self._after(self.active_s + self.lag_s, masked)
        self._after(self.active_s + 2 * self.lag_s, gone)
        self.advance(0)

    def _fails(self) -> bool:
        """Whether this is a change that a test has told to end in ERROR."""
        if not self.fail_changes:
            return False
        self.fail_changes -= 1
        return True

    # --- all ---------------------------------------------------------------------------------------------------

    def quota(self, project: str) -> dict[str, int]:
        """The limits; -1: none."""
        limits = self.limits.get(project, {})
        return {name.removesuffix("s"): limits.get(name.removesuffix("s"), -1) for name in COLLECTIONS}

    def _check_quota(self, project: str, collection: str, more: int = 1) -> None:
        limit = self.limits.get(project, {}).get(collection.removesuffix("s"), -1)
        used = sum(each["project_id"] == project for each in self.tables[collection].values())
        if limit >= 0 and used + more > limit:
            raise Fault(403, f"Quota has been met for resources: {NAMES[collection]}")

    def _made(self, collection: str, project: str, body: Obj) -> Obj:
        return {
            "_collection": collection,
            "_made": False,
            "id": f"{next(self._serial):08x}-0c7a-4000-8000-000000000000",
            "name": body.get("name") or "",
            "description": body.get("description") or "",
            "project_id": project,
            "admin_state_up": body.get("admin_state_up", True),
            "provisioning_status": "PENDING_CREATE",
            "operating_status": "OFFLINE",
            "tags": list(body.get("tags") or []),
            "created_at": self._stamp(),
            "updated_at": None,
        }

    def _put(self, collection: str, thing: Obj) -> Obj:
        self.tables[collection][thing["id"]] = thing
        return thing

    def _change(self, thing: Obj, body: Obj) -> None:
        thing.update(body)
        thing["updated_at"] = self._stamp()

    def _status(self, thing: Obj, status: str) -> None:
        thing["provisioning_status"] = status
        thing["updated_at"] = self._stamp()

    def _table_of(self, thing: Obj) -> dict[str, Obj]:
        return self.tables[thing["_collection"]]

    def _of_project(self, collection: str, project: str, id_: object) -> Obj:
        thing = self.tables[collection].get(str(id_))
        if thing is None:
            raise Fault(404, f"{NAMES[collection]} {id_} not found.")
        if thing["project_id"] != project:
            raise Fault(403, "Policy does not allow this request to be performed.")
        return thing

    def _balancer(self, thing: Obj) -> Obj:
        return self.tables["loadbalancers"][thing["_lb"]]

    def _children(self, collection: str, balancer_id: str) -> list[Obj]:
        return [each for each in self.tables[collection].values() if each.get("_lb") == balancer_id]

    def _users(self, pool: Obj) -> list[Obj]:
        return [each for each in self.tables["listeners"].values() if each["default_pool_id"] == pool["id"]]

    def _below(self, balancer: Obj) -> Iterator[Obj]:
        yield from self._children("listeners", balancer["id"])
        for pool in self._children("pools", balancer["id"]):
            yield pool
            yield from self.members(pool)
            yield from self._monitors(pool)


def _persistence(body: Obj) -> Obj:
    return {"type": body["type"], "cookie_name": None, "persistence_timeout": body.get("persistence_timeout")} | {
        "persistence_granularity": None
    }


def _address(body: Obj) -> str:
    return str(ip_address(body["address"]))


def _pending(balancer: Obj) -> Fault:
    return Fault(409, f"Invalid state {balancer['provisioning_status']} of loadbalancer resource {balancer['id']}")


def _unsupported(provider: str, why: str) -> Fault:
    return Fault(501, f"Provider '{provider}' does not support a requested option: {why}")
