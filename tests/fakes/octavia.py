"""An Octavia in memory that speaks our Transport, beside a fake Neutron in which its VIP ports are.

What objects may be and do is in `octavia_rules`. Time is virtual: it passes with each request, and by `sleep`, so that
whoever waits by the fake's `clock` and `sleep` never waits.

    neutron = FakeNeutron()
    octavia = FakeOctavia(neutron)            # the same project and role; one cloud has one Octavia
    cloud = OpenStack(neutron, octavia, clock=octavia.clock, sleep=octavia.sleep)
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from kuryrctl.cloud.transport import Response
from tests.fakes.neutron import ADMIN, MEMBER, TAG_FILTERS, FakeNeutron, Injected, due
from tests.fakes.octavia_rules import COLLECTIONS, NAMES, Fault, Obj, Rules

TICK_S = 0.02
"""How long a request takes."""
_CONTROL = {"fields", "limit", "marker", "sort", "sort_key", "sort_dir", "page_reverse"}
_WRITABLE = {
    "loadbalancers": {
        "name", "description", "admin_state_up", "vip_address", "vip_port_id", "vip_subnet_id", "vip_network_id",
        "project_id", "listeners", "pools", "provider", "tags", "flavor_id", "additional_vips", "availability_zone",
    },
    "listeners": {
        "name", "description", "admin_state_up", "protocol", "protocol_port", "default_pool_id", "default_pool",
        "loadbalancer_id", "allowed_cidrs", "timeout_client_data", "timeout_member_data", "tags", "connection_limit",
    },
    "pools": {
        "name", "description", "admin_state_up", "protocol", "lb_algorithm", "session_persistence", "loadbalancer_id",
        "listener_id", "members", "healthmonitor", "tags",
    },
    "members": {"name", "admin_state_up", "address", "protocol_port", "weight", "backup", "subnet_id", "tags"},
    "healthmonitors": {
        "name", "admin_state_up", "type", "delay", "timeout", "max_retries", "max_retries_down", "pool_id", "tags",
        "http_method", "url_path", "expected_codes",
    },
}  # fmt: skip
_FIXED = {
    "loadbalancers": {"vip_address", "vip_port_id", "vip_subnet_id", "vip_network_id", "provider", "project_id"},
    "listeners": {"protocol", "protocol_port", "loadbalancer_id"},
    "pools": {"protocol", "loadbalancer_id", "listener_id"},
    "members": {"address", "protocol_port", "subnet_id"},
    "healthmonitors": {"type", "pool_id"},
}


class Cloud:
    """What all sessions share: the objects, the faults to come, the settings of the server."""

    def __init__(self, neutron: FakeNeutron) -> None:
        self.rules = Rules(neutron.cloud.rules)
        self.lock = threading.RLock()
        self.injected: deque[Injected] = deque()
        self.page_limit = 1000
        self.serial = 0


class FakeOctavia:
    """One project's session. `requests` are the calls made through it, as (method, path)."""

    def __init__(self, neutron: FakeNeutron) -> None:
        self.cloud: Cloud = neutron.cloud.beside.get("octavia") or Cloud(neutron)
        neutron.cloud.beside["octavia"] = self.cloud
        self.requests: list[tuple[str, str]] = []
        self._neutron = neutron

    @property
    def project_id(self) -> str:
        """The project of the session."""
        return self._neutron.project_id

    # --- for tests ---------------------------------------------------------------------------------------------

    def clock(self) -> float:
        """The virtual time, in seconds."""
        with self.cloud.lock:
            return self.cloud.rules.now_s

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        with self._neutron.cloud.lock, self.cloud.lock:
            self.cloud.rules.advance(seconds)

    def fail_next(
        self,
        method: str,
        path_prefix: str,
        outcome: int | Exception | Response,
        *,
        after_effect: bool = False,
        times: int = 1,
    ) -> None:
        """The next `times` calls that begin so fail: by a status, an exception or a whole answer."""
        if isinstance(outcome, int):
            outcome = Response(outcome, {}, _error(outcome, "injected by a test"))
        for _ in range(times):
            self.cloud.injected.append(Injected(method, path_prefix, outcome, after_effect))

    def end_in_error(self, times: int = 1) -> None:
        """The next changes are accepted, and end in ERROR."""
        self.cloud.rules.fail_changes += times

    def set_quota(self, resource: str, limit: int) -> None:
        """Limit a resource (``loadbalancer``) of the project."""
        self.cloud.rules.limits.setdefault(self.project_id, {})[resource] = limit

    def change(self, collection: str, id_: str, **changes: Any) -> None:
        """Change an object behind everybody's back."""
        self.cloud.rules.tables[collection][id_].update(changes)

    def objects(self, collection: str) -> list[Obj]:
        """All objects of a collection (``loadbalancers``), of every project, as the server holds them."""
        return list(self.cloud.rules.tables[collection].values())

    # --- Transport ---------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Response:
        """See `Transport.request`."""
        with self._neutron.cloud.lock, self.cloud.lock:
            self.requests.append((method, path))
            self.cloud.serial += 1
            self.cloud.rules.advance(TICK_S)
            return due(self.cloud.injected, method, path, lambda: self._answer(method, path, json.loads(body or b"{}")))

    def _answer(self, method: str, path: str, body: Obj) -> Response:
        where, _, query = path.partition("?")
        parts = [unquote(part) for part in where.strip("/").split("/")]
        request_id = {"x-openstack-request-id": f"req-{self.cloud.serial:08d}"}
        try:
            status, answer = self._route(method, parts, parse_qsl(query), body)
        except Fault as fault:
            return Response(fault.status, request_id, _error(fault.status, fault.message))
        return Response(status, request_id, b"" if answer is None else json.dumps(answer).encode())

    def _route(self, method: str, parts: list[str], query: list[tuple[str, str]], body: Obj) -> tuple[int, Obj | None]:
        match method, parts:
            case "GET", ["quotas", project]:
                return 200, {"quota": self.cloud.rules.quota(project)}
            case "GET", ["loadbalancers", id_, "status" | "statuses"]:
                balancer = self._get("loadbalancers", id_)
                return 200, {"statuses": {"loadbalancer": self._status_tree(balancer)}}
            case "PUT", ["loadbalancers", _, "failover"] if self._neutron.role == MEMBER:
                raise _forbidden()
            case "PUT", ["loadbalancers", id_, "failover"]:
                self.cloud.rules.failover(self._get("loadbalancers", id_))
                return 202, None
            case _, ["pools", pool_id, "members", *rest]:
                return self._members(method, self._get("pools", pool_id), rest, query, body)
            case _, [collection, *rest] if collection in COLLECTIONS and collection != "members":
                return self._collection(method, collection, rest, query, body)
        raise Fault(404, "The resource could not be found.")

    def _collection(
        self, method: str, collection: str, rest: list[str], query: list[tuple[str, str]], body: Obj
    ) -> tuple[int, Obj | None]:
        singular, rules = collection.removesuffix("s"), self.cloud.rules
        match method, rest:
            case "GET", []:
                return 200, self._list(collection, list(rules.tables[collection].values()), query)
            case "POST", []:
                made = self._create(collection, _given(collection, body))
                return 201, {singular: self._shown(made, whole=collection == "loadbalancers")}
            case "GET", [id_]:
                fields = [value for name, value in query if name == "fields"]
                return 200, {singular: _only(self._shown(self._get(collection, id_)), fields)}
            case "PUT", [id_]:
                thing = self._get(collection, id_)
                self._update(collection, thing, _given(collection, body, update=True))
                return 200, {singular: self._shown(thing)}
            case "DELETE", [id_]:
                self._delete(collection, self._get(collection, id_), dict(query))
                return 204, None
        raise Fault(404, "The resource could not be found.")

    def _members(
        self, method: str, pool: Obj, rest: list[str], query: list[tuple[str, str]], body: Obj
    ) -> tuple[int, Obj | None]:
        rules = self.cloud.rules
        match method, rest:
            case "GET", []:
                return 200, self._list("members", rules.members(pool), query)
            case "PUT", []:
                bodies = [_given("members", {"member": member}) for member in body.get("members", [])]
                rules.set_members(pool, bodies, additive=dict(query).get("additive_only", "").lower() == "true")
                return 202, None
            case "POST", []:
                return 201, {"member": self._shown(rules.create_member(pool, _given("members", body)))}
            case "GET", [id_]:
                return 200, {"member": self._shown(self._get("members", id_))}
            case "PUT", [id_]:
                member = self._get("members", id_)
                rules.update_member(member, _given("members", body, update=True))
                return 200, {"member": self._shown(member)}
            case "DELETE", [id_]:
                rules.delete_member(self._get("members", id_))
                return 204, None
        raise Fault(404, "The resource could not be found.")

    def _create(self, collection: str, body: Obj) -> Obj:
        rules = self.cloud.rules
        creators: dict[str, Callable[[str, Obj], Obj]] = {
            "loadbalancers": rules.create_balancer,
            "listeners": rules.create_listener,
            "pools": rules.create_pool,
            "healthmonitors": rules.create_monitor,
        }
        return creators[collection](self.project_id, body)

    def _update(self, collection: str, thing: Obj, body: Obj) -> None:
        rules = self.cloud.rules
        updaters: dict[str, Callable[[Obj, Obj], None]] = {
            "loadbalancers": rules.update_balancer,
            "listeners": rules.update_listener,
            "pools": rules.update_pool,
            "healthmonitors": rules.update_monitor,
        }
        updaters[collection](thing, body)

    def _delete(self, collection: str, thing: Obj, query: Mapping[str, str]) -> None:
        rules = self.cloud.rules
        match collection:
            case "loadbalancers":
                rules.delete_balancer(thing, cascade=query.get("cascade", "").lower() == "true")
            case "listeners":
                rules.delete_listener(thing)
            case "pools":
                rules.delete_pool(thing)
            case "healthmonitors":
                rules.delete_monitor(thing)

    # --- reading -----------------------------------------------------------------------------------------------

    def _get(self, collection: str, id_: str) -> Obj:
        thing = self.cloud.rules.tables[collection].get(id_)
        if thing is None:
            raise Fault(404, f"{NAMES[collection]} {id_} not found.")
        if not self._sees(thing):
            raise _forbidden()
        return thing

    def _sees(self, thing: Obj) -> bool:
        return self._neutron.role == ADMIN or bool(thing["project_id"] == self.project_id)

    def _list(self, collection: str, things: list[Obj], query: list[tuple[str, str]]) -> Obj:
        filters: dict[str, set[str]] = {}
        for name, value in query:
            filters.setdefault(name, set()).add(value)
        control = {name: filters.pop(name) for name in list(filters) if name in _CONTROL}
        shown = [self._shown(thing) for thing in things if self._sees(thing)]
        known = {"loadbalancer_id", "project_id", *_WRITABLE[collection], "id", *TAG_FILTERS, "provisioning_status"}
        if filters.keys() - known:
            raise Fault(400, "One or more arguments are either duplicate or invalid")
        found = sorted((item for item in shown if _matches(item, filters)), key=lambda item: item["id"])
        if "marker" in control:
            (marker,) = control["marker"]
            found = [item for item in found if item["id"] > marker]
        limit = min((int(value) for value in control.get("limit", ())), default=self.cloud.page_limit)
        page = found[: min(limit, self.cloud.page_limit)]
        answer: Obj = {collection: [_only(item, sorted(control.get("fields", ()))) for item in page]}
        if len(page) >= limit and page:
            # As Octavia's: neither filters nor fields are in it.
            href = (
                f"http://octavia.invalid/v2/lbaas/{collection}?{urlencode({'limit': limit, 'marker': page[-1]['id']})}"
            )
            answer[f"{collection}_links"] = [{"rel": "next", "href": href}]
        return answer

    def _shown(self, thing: Obj, *, whole: bool = False) -> Obj:
        """An object as Octavia shows it: parents and children by id; in the answer to a creation all of the tree."""
        rules = self.cloud.rules
        shown = {name: value for name, value in thing.items() if not name.startswith("_")}
        below: Callable[[Obj], Obj] = (lambda each: self._shown(each, whole=True)) if whole else _ref
        tables = rules.tables
        match thing["_collection"]:
            case "loadbalancers":
                for name in ("listeners", "pools"):
                    shown[name] = [below(each) for each in tables[name].values() if each["_lb"] == thing["id"]]
            case "listeners":
                shown["loadbalancers"] = [{"id": thing["_lb"]}]
            case "pools":
                monitor = next((m for m in tables["healthmonitors"].values() if m["_pool"] == thing["id"]), None)
                shown["members"] = [below(member) for member in rules.members(thing)]
                shown["listeners"] = [
                    _ref(each) for each in tables["listeners"].values() if each["default_pool_id"] == thing["id"]
                ]
                if whole:
                    shown["healthmonitor"] = below(monitor) if monitor else None
                else:
                    shown["loadbalancers"] = [{"id": thing["_lb"]}]
                    shown["healthmonitor_id"] = monitor["id"] if monitor else None
            case "healthmonitors":
                shown["pools"] = [{"id": thing["_pool"]}]
        return shown

    def _status_tree(self, balancer: Obj) -> Obj:
        """Pools that no listener uses are not in it, as in Octavia."""
        tables = self.cloud.rules.tables
        listeners = [each for each in tables["listeners"].values() if each["_lb"] == balancer["id"]]
        return _statuses(balancer) | {
            "listeners": [
                _statuses(listener)
                | {
                    "pools": [
                        self._pool_status(pool)
                        for pool in tables["pools"].values()
                        if pool["id"] == listener["default_pool_id"]
                    ]
                }
                for listener in listeners
            ]
        }

    def _pool_status(self, pool: Obj) -> Obj:
        rules = self.cloud.rules
        monitor = next((m for m in rules.tables["healthmonitors"].values() if m["_pool"] == pool["id"]), None)
        shown = _statuses(pool) | {
            "members": [
                _statuses(member) | {"address": member["address"], "protocol_port": member["protocol_port"]}
                for member in rules.members(pool)
            ]
        }
        return shown | ({"health_monitor": _statuses(monitor) | {"type": monitor["type"]}} if monitor else {})


def _given(collection: str, body: Obj, *, update: bool = False) -> Obj:
    """The object of a body, whose attributes are all known and may be given."""
    singular = collection.removesuffix("s")
    given = body.get(singular)
    if not isinstance(given, dict):
        raise Fault(400, f"Invalid input for field/attribute {singular}. Mandatory field missing.")
    allowed = _WRITABLE[collection] - (_FIXED[collection] if update else set())
    unknown = sorted(given.keys() - allowed)
    if unknown:
        raise Fault(400, f"Unknown attribute: {unknown[0]}.")
    return given


def _statuses(thing: Obj) -> Obj:
    return {name: thing[name] for name in ("id", "name", "provisioning_status", "operating_status")}


def _ref(thing: Obj) -> Obj:
    return {"id": thing["id"]}


def _only(shown: Obj, fields: list[str]) -> Obj:
    return {name: shown[name] for name in fields if name in shown} if fields else shown


def _matches(shown: Obj, filters: Mapping[str, set[str]]) -> bool:
    for name, wanted in filters.items():
        if name in TAG_FILTERS:
            tags = {tag for value in wanted for tag in value.split(",")}
            if not TAG_FILTERS[name](set(shown["tags"]), tags):
                return False
        elif name == "loadbalancer_id":
            if not wanted & {each["id"] for each in shown["loadbalancers"]}:
                return False
        elif str(shown.get(name)) not in wanted:
            return False
    return True


def _forbidden() -> Fault:
    return Fault(403, "Policy does not allow this request to be performed.")


def _error(status: int, message: str) -> bytes:
    code = "Server" if status >= 500 else "Client"
    return json.dumps({"faultcode": code, "faultstring": message, "debuginfo": None}).encode()
