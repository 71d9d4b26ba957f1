"""A Neutron in memory that speaks our Transport: routes, filters, pages, policy, and faults that tests inject.

What objects may be and do is in `neutron_rules`. Deterministic: ids, addresses and times come from counters.

    fake = FakeNeutron()                      # a project's session, with the role of the engine
    other = fake.session("other-project")     # another project's session with the same cloud
    fake.fail_next("POST", "/ports", Unavailable(...), after_effect=True)
"""

from __future__ import annotations

import ipaddress
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from msgspec import Struct

from kuryrctl.cloud.transport import Response
from tests.fakes.neutron_floating_ips import create_floating_ip, delete_floating_ip, update_floating_ip
from tests.fakes.neutron_rules import COLLECTIONS, Fault, Obj, Rules
from tests.fakes.neutron_trunks import check_delete, create_trunk, delete_trunk

ENGINE, MEMBER, ADMIN = "kuryr", "member", "admin"
_BINDING = ("binding:host_id", "binding:vif_type", "binding:vif_details")
_READ_ONLY = {
    "ports": {"id", "network_id", "status", "created_at", "updated_at", "revision_number", "tags", "project_id"},
    "networks": {"id", "status", "subnets", "revision_number", "tags", "project_id"},
    "subnets": {"id", "network_id", "cidr", "ip_version", "revision_number", "tags", "project_id"},
    "routers": {"id", "status", "revision_number", "tags", "project_id"},
    "security_groups": {"id", "security_group_rules", "revision_number", "tags", "project_id"},
    "floatingips": {
        "id", "floating_ip_address", "floating_network_id", "subnet_id", "status", "router_id", "revision_number",
        "tags", "project_id",
    },
}  # fmt: skip
_WRITABLE = {
    "ports": {
        "name", "description", "network_id", "mac_address", "fixed_ips", "security_groups", "device_owner", "device_id",
        "admin_state_up", "binding:host_id", "binding:vnic_type", "binding:profile", "allowed_address_pairs",
        "port_security_enabled", "tags", "project_id", "tenant_id",
    },
    "networks": {"name", "description", "mtu", "admin_state_up", "shared", "router:external", "project_id"},
    "subnets": {
        "name", "description", "network_id", "cidr", "ip_version", "gateway_ip", "enable_dhcp", "allocation_pools",
        "project_id", "ipv6_address_mode", "ipv6_ra_mode",
    },
    "routers": {"name", "description", "external_gateway_info", "admin_state_up", "project_id"},
    "security_groups": {"name", "description", "stateful", "project_id"},
    "trunks": {"name", "description", "port_id", "sub_ports", "admin_state_up", "project_id"},
    "floatingips": {
        "description", "floating_network_id", "floating_ip_address", "subnet_id", "port_id", "fixed_ip_address",
        "project_id",
    },
    "security_group_rules": {
        "security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max",
        "remote_ip_prefix", "remote_group_id", "remote_address_group_id", "description", "project_id",
    },
}  # fmt: skip
TAG_FILTERS: Mapping[str, Callable[[set[str], set[str]], bool]] = {
    "tags": lambda have, want: want <= have,
    "tags-any": lambda have, want: bool(want & have),
    "not-tags": lambda have, want: not want <= have,
    "not-tags-any": lambda have, want: not want & have,
}
_CONTROL = {"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"}
_IF_MATCH = re.compile(r"revision_number=(\d+)")


class Injected(Struct):
    """A fault to come: an exception to raise or an answer to give; after the effect, or instead of it."""

    method: str
    path_prefix: str
    outcome: Exception | Response
    after_effect: bool = False


class Cloud:
    """What all sessions share: the objects, the faults to come, the settings of the server.

    `beside` is what the other services of the same cloud keep.
    """

    def __init__(self) -> None:
        self.rules = Rules()
        self.lock = threading.RLock()
        self.injected: deque[Injected] = deque()
        self.page_limit = 0
        self.serial = 0
        self.beside: dict[str, Any] = {}


class FakeNeutron:
    """One project's session. `requests` are the calls made through it, as (method, path)."""

    def __init__(self, project_id: str = "project-a", *, role: str = ENGINE, cloud: Cloud | None = None) -> None:
        self.cloud = cloud or Cloud()
        self.role = role
        self.requests: list[tuple[str, str]] = []
        self._project_id = project_id

    @property
    def project_id(self) -> str:
        """The project of the session."""
        return self._project_id

    def session(self, project_id: str, *, role: str = MEMBER) -> FakeNeutron:
        """Another session with the same cloud."""
        return FakeNeutron(project_id, role=role, cloud=self.cloud)

    # --- for tests ---------------------------------------------------------------------------------------------

    def fail_next(
        self,
        method: str,
        path_prefix: str,
        outcome: int | Exception | Response,
        *,
        after_effect: bool = False,
        times: int = 1,
        type_: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The next `times` calls that begin so fail: by a status, an exception or a whole answer."""
        if isinstance(outcome, int):
            outcome = Response(outcome, dict(headers or {}), _error(type_ or f"HTTP{outcome}", "injected by a test"))
        for _ in range(times):
            self.cloud.injected.append(Injected(method, path_prefix, outcome, after_effect))

    def set_quota(self, resource: str, limit: int, *, project_id: str | None = None) -> None:
        """Limit a resource (``port``) of the project."""
        self.cloud.rules.limits.setdefault(project_id or self._project_id, {})[resource] = limit

    def external_network(self, name: str = "public", cidr: str = "203.0.113.0/24") -> Obj:
        """An external network of nobody's project, with a subnet."""
        rules = self.cloud.rules
        network = rules.create_network("admin-project", {"name": name}, external=True)
        rules.create_subnet("admin-project", network, {"name": f"{name}-v4", "cidr": cidr, "ip_version": 4})
        return network

    def change(self, collection: str, id_: str, **changes: Any) -> None:
        """Change an object behind everybody's back; its revision grows."""
        self.cloud.rules.update(self.cloud.rules.tables[collection][id_], changes)

    def agents_on(self, *hosts: str) -> None:
        """Only these hosts have an agent that lives: on others no port is bound any more."""
        self.cloud.rules.hosts = frozenset(hosts)

    def objects(self, collection: str) -> list[Obj]:
        """All objects of a collection (``security_groups``), of every project."""
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
        with self.cloud.lock:
            self.requests.append((method, path))
            self.cloud.serial += 1
            return due(self.cloud.injected, method, path, lambda: self._answer(method, path, body, headers or {}))

    def _answer(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        where, _, query = path.partition("?")
        parts = [unquote(part) for part in where.strip("/").split("/")]
        request_id = {"x-openstack-request-id": f"req-{self.cloud.serial:08d}"}
        try:
            status, answer = self._route(method, parts, parse_qsl(query), json.loads(body or b"{}"), headers)
        except Fault as fault:
            return Response(fault.status, request_id, _error(fault.type, fault.message))
        return Response(status, request_id, b"" if answer is None else json.dumps(answer).encode())

    def _route(
        self, method: str, parts: list[str], query: list[tuple[str, str]], body: Obj, headers: Mapping[str, str]
    ) -> tuple[int, Obj | None]:
        if parts[0] == "quotas":
            return 200, self._quota(method, parts[1:], body)
        collection = parts[0].replace("-", "_")
        if collection not in COLLECTIONS:
            raise _no_such_path()
        match method, parts[1:]:
            case "DELETE" | "PUT", []:
                raise Fault(404, f"{_type(collection)}NotFound", f"{_type(collection)} None could not be found.")
            case "GET", []:
                return 200, self._list(collection, query)
            case "POST", []:
                return 201, self._create(collection, body)
            case "GET", [id_]:
                return 200, {_singular(collection): self._shown(collection, [self._get(collection, id_)], [])[0]}
            case "PUT" | "DELETE", [id_, "tags", *_] if not self._is_ours(collection, id_):
                raise self._no_tags(collection, id_)
            case "DELETE", [id_, *tag]:
                if tag:
                    self._untag(self._own(collection, id_), tag)
                else:
                    self._delete(collection, self._own(collection, id_, delete=True), headers)
                return 204, None
            case "PUT", [id_, *action]:
                return self._put(collection, self._own(collection, id_), action, body, headers)
        raise _no_such_path()

    def _put(
        self, collection: str, item: Obj, action: list[str], body: Obj, headers: Mapping[str, str]
    ) -> tuple[int, Obj | None]:
        match action:
            case []:
                return 200, self._update(collection, item, body, headers)
            case ["tags", *tag]:
                return self._tag(item, tag, body, headers)
            case ["add_router_interface"]:
                subnet = self._get("subnets", str(body.get("subnet_id")))
                return 200, self.cloud.rules.add_router_interface(self._project_id, item, subnet)
            case ["remove_router_interface"]:
                return 200, self.cloud.rules.remove_router_interface(item, body)
        raise _no_such_path()

    # --- reading -----------------------------------------------------------------------------------------------

    def _quota(self, method: str, parts: list[str], body: Obj) -> Obj:
        project = parts[0]
        if self.role != ADMIN and (method == "PUT" or project != self._project_id):
            raise Fault(403, "AdminRequired", "User does not have admin privileges.")
        if method == "PUT" and len(parts) == 1:
            self.cloud.rules.limits.setdefault(project, {}).update(body["quota"])
        elif method != "GET" or parts[1:] != ["details"]:
            raise _no_such_path()
        return {"quota": self.cloud.rules.quota(project)}

    def _list(self, collection: str, query: list[tuple[str, str]]) -> Obj:
        if collection in ("security_groups", "security_group_rules"):
            self.cloud.rules.default_group(self._project_id)
        filters: dict[str, set[str]] = {}
        for name, value in query:
            filters.setdefault(name, set()).add(value)
        control = {name: filters.pop(name) for name in list(filters) if name in _CONTROL}
        unknown = [name for name in filters if name not in TAG_FILTERS and name not in _filters(collection)]
        if unknown:
            raise Fault(400, "HTTPBadRequest", f"{unknown} is invalid attribute for filtering")
        found = [item for item in self._visible(collection) if _matches(item, filters)]
        following = ""
        limit = min((int(value) for value in control.get("limit", ())), default=0) or self.cloud.page_limit
        if self.cloud.page_limit:
            limit = min(limit, self.cloud.page_limit)
        if limit or "marker" in control:
            found, following = _page(found, limit, control.get("marker", set()), collection, query)
        answer: Obj = {collection: self._shown(collection, found, sorted(control.get("fields", ())))}
        if following:
            answer[f"{collection}_links"] = [{"rel": "next", "href": following}]
        return answer

    def _shown(self, collection: str, items: list[Obj], fields: list[str]) -> list[Obj]:
        """What the caller may see. As in Neutron 29, the first item decides which fields all of them show."""
        hidden: set[str] = set()
        if collection == "ports" and items and not self._engine_of(items[0]):
            hidden = set(_BINDING)
        if not fields and not hidden:
            return items
        return [{name: item[name] for name in fields or item if name in item and name not in hidden} for item in items]

    def _visible(self, collection: str) -> Iterable[Obj]:
        table = self.cloud.rules.tables[collection].values()
        return table if self.role == ADMIN else [item for item in table if self._sees(collection, item)]

    def _sees(self, collection: str, item: Obj) -> bool:
        if self.role == ADMIN or item["project_id"] == self._project_id:
            return True
        networks = self.cloud.rules.tables["networks"]
        if collection == "networks":
            return bool(item["shared"] or item["router:external"])
        if collection == "subnets":
            return bool(networks[item["network_id"]]["shared"])
        return collection == "ports" and networks[item["network_id"]]["project_id"] == self._project_id

    def _get(self, collection: str, id_: str) -> Obj:
        item = self.cloud.rules.tables[collection].get(id_)
        if item is None or not self._sees(collection, item):
            noun = _singular(collection).replace("_", " ").capitalize()
            raise Fault(404, f"{_type(collection)}NotFound", f"{noun} {id_} could not be found.")
        return item

    def _own(self, collection: str, id_: str, *, delete: bool = False) -> Obj:
        """An object that the caller may change: of its project (a port on its network it may delete as well)."""
        item = self._get(collection, id_)
        if self.role == ADMIN:
            return item
        mine = item["project_id"] == self._project_id
        if delete and collection == "ports":
            server = item["device_owner"].startswith(("compute:", "baremetal:", "manila:"))
            if server and not (mine and self.role == ENGINE and item["device_owner"].startswith("compute:kuryr")):
                raise _forbidden("delete_port")
        elif not mine:
            raise _forbidden(f"update_{_singular(collection)}")
        return item

    def _is_ours(self, collection: str, id_: str) -> bool:
        item = self.cloud.rules.tables[collection].get(id_)
        return item is not None and (self.role == ADMIN or item["project_id"] == self._project_id)

    def _no_tags(self, collection: str, id_: str) -> Fault:
        """Neutron 29: tags of what does not exist are an internal error, those of others are forbidden, seen or not."""
        if id_ in self.cloud.rules.tables[collection]:
            return _forbidden(f"update_{_singular(collection)}:tags")
        return Fault(500, "HTTPInternalServerError", "Request Failed: internal server error")

    def _engine_of(self, item: Obj) -> bool:
        return self.role == ADMIN or (self.role == ENGINE and item["project_id"] == self._project_id)

    # --- writing -----------------------------------------------------------------------------------------------

    def _create(self, collection: str, body: Obj) -> Obj:
        bulk = collection in body
        bodies: list[Any] = body[collection] if bulk else [body.get(_singular(collection))]
        if not bodies or not all(isinstance(item, dict) for item in bodies):
            raise Fault(400, "HTTPBadRequest", "Resource body required")
        for item in bodies:
            if "tags" in item and collection != "ports":
                raise Fault(400, "HTTPBadRequest", "Attribute 'tags' not allowed in POST")
            unknown = sorted(set(item) - _WRITABLE[collection])
            if unknown:
                raise Fault(400, "HTTPBadRequest", f"Unrecognized attribute(s) '{', '.join(unknown)}'")
        made = self._make(collection, bodies)
        return {collection: made} if bulk else {_singular(collection): made[0]}

    def _make(self, collection: str, bodies: list[Obj]) -> list[Obj]:
        rules, project = self.cloud.rules, self._project_id
        match collection:
            case "floatingips" if self.role == MEMBER and any("floating_ip_address" in body for body in bodies):
                raise _forbidden("create_floatingip:floating_ip_address")
            case "ports":
                for body in bodies:
                    self._may_create_port(body)
                visible = {network["id"] for network in self._visible("networks")}
                return self._shown("ports", rules.create_ports(project, bodies, visible), [])
            case "security_group_rules":
                return rules.create_rules(project, bodies)
            case "subnets":
                networks = [self._own("networks", str(body.get("network_id"))) for body in bodies]
                return [rules.create_subnet(project, *pair) for pair in zip(networks, bodies, strict=True)]
        creators: dict[str, Callable[[str, Obj], Obj]] = {
            "networks": rules.create_network,
            "routers": rules.create_router,
            "security_groups": rules.create_security_group,
            "trunks": partial(create_trunk, rules),
            "floatingips": partial(create_floating_ip, rules),
        }
        return [creators[collection](project, body) for body in bodies]

    def _may_create_port(self, body: Obj) -> None:
        """Policy: what beyond a plain port needs the engine's role (`policy_override`) or the network's owner."""
        network = self.cloud.rules.tables["networks"].get(str(body.get("network_id")))
        owner = network is not None and network["project_id"] == self._project_id
        if self.role in (ENGINE, ADMIN):
            return
        if "binding:host_id" in body:
            raise _forbidden("create_port:binding:host_id")
        chosen = "mac_address" in body or any("ip_address" in fixed for fixed in body.get("fixed_ips", ()))
        if chosen and not owner:
            raise _forbidden("create_port:mac_address")

    def _update(self, collection: str, item: Obj, body: Obj, headers: Mapping[str, str]) -> Obj:
        changes = body.get(_singular(collection))
        if not isinstance(changes, dict):
            raise Fault(400, "HTTPBadRequest", "Resource body required")
        fixed = sorted(set(changes) & _READ_ONLY.get(collection, set(changes)))
        if fixed:
            raise Fault(400, "HTTPBadRequest", f"Cannot update read-only attribute {fixed[0]}")
        if "binding:host_id" in changes and not self._engine_of(item):
            raise _forbidden("update_port:binding:host_id")
        if self.role != ADMIN and {"shared", "router:external"} & changes.keys():
            raise _forbidden("update_network:shared")
        _check_revision(item, headers)
        rules = self.cloud.rules
        match collection:
            case "ports":
                rules.update_port(item, changes)
            case "subnets":
                rules.update_subnet(item, changes)
            case "routers" if "external_gateway_info" in changes:
                rules.set_gateway(item, changes.pop("external_gateway_info"))
                rules.update(item, changes)
            case "security_groups":
                rules.update_security_group(item, changes)
            case "floatingips":
                update_floating_ip(rules, item, changes)
            case _:
                rules.update(item, changes)
        return {_singular(collection): self._shown(collection, [item], [])[0]}

    def _delete(self, collection: str, item: Obj, headers: Mapping[str, str]) -> None:
        _check_revision(item, headers)
        rules = self.cloud.rules
        if collection == "ports":
            check_delete(rules, item)
        deleters: dict[str, Callable[[Obj], None]] = {
            "ports": rules.delete_port,
            "networks": rules.delete_network,
            "subnets": rules.delete_subnet,
            "routers": rules.delete_router,
            "security_groups": rules.delete_security_group,
            "security_group_rules": rules.delete_rule,
            "trunks": lambda trunk: delete_trunk(rules, trunk),
            "floatingips": lambda floating_ip: delete_floating_ip(rules, floating_ip),
        }
        deleters[collection](item)

    def _untag(self, item: Obj, path: list[str]) -> None:
        if path[0] != "tags":
            raise _no_such_path()
        if path[1] not in item["tags"]:
            raise Fault(404, "TagNotFound", f"Tag {path[1]} could not be found.")
        self.cloud.rules.set_tags(item, [each for each in item["tags"] if each != path[1]])

    def _tag(self, item: Obj, tag: list[str], body: Obj, headers: Mapping[str, str]) -> tuple[int, Obj | None]:
        if "If-Match" in headers:
            raise Fault(500, "HTTPInternalServerError", "Request Failed: internal server error")
        if tag:
            self.cloud.rules.set_tags(item, sorted({*item["tags"], tag[0]}))
            return 201, None
        if "tags" not in body:
            raise Fault(400, "InvalidInput", "Invalid input for operation: Invalid tags body.")
        self.cloud.rules.set_tags(item, list(body["tags"]))
        return 200, {"tags": item["tags"]}


def _check_revision(item: Obj, headers: Mapping[str, str]) -> None:
    """``If-Match: revision_number=N``; a malformed one is ignored, as Neutron does."""
    wanted = _IF_MATCH.fullmatch(headers.get("If-Match", ""))
    if wanted and int(wanted[1]) != item["revision_number"]:
        raise Fault(
            412,
            "RevisionNumberConstraintFailed",
            f"Constrained to {wanted[1]}, but current is {item['revision_number']}",
        )


def _matches(item: Obj, filters: Mapping[str, set[str]]) -> bool:
    for name, wanted in filters.items():
        if name in TAG_FILTERS:
            tags = {tag for value in wanted for tag in value.split(",")}
            if not TAG_FILTERS[name](set(item["tags"]), tags):
                return False
        elif name == "fixed_ips":
            if not _has_address(item, wanted):
                return False
        elif name == "security_groups":
            if not wanted & set(item["security_groups"]):
                return False
        elif _text(item.get(name)) not in wanted:
            return False
    return True


def _has_address(port: Obj, wanted: set[str]) -> bool:
    addresses = {
        str(ipaddress.ip_address(value.removeprefix("ip_address=")))
        for value in wanted
        if value.startswith("ip_address=")
    }
    subnets = {value.removeprefix("subnet_id=") for value in wanted if value.startswith("subnet_id=")}
    return any(
        (not addresses or fixed["ip_address"] in addresses) and (not subnets or fixed["subnet_id"] in subnets)
        for fixed in port["fixed_ips"]
    )


def _page(
    items: list[Obj], limit: int, marker: set[str], collection: str, query: list[tuple[str, str]]
) -> tuple[list[Obj], str]:
    start = 0
    if marker:
        (after,) = marker
        start = 1 + next((index for index, item in enumerate(items) if item["id"] == after), len(items) - 1)
    page = items[start : start + limit] if limit else items[start:]
    if not page or start + len(page) >= len(items):
        return page, ""
    rest = [(name, value) for name, value in query if name != "marker"]
    path = collection.replace("_", "-")
    return page, f"http://neutron.invalid/v2.0/{path}?{urlencode([*rest, ('marker', page[-1]['id'])])}"


def _filters(collection: str) -> set[str]:
    common = {"id", "name", "description", "project_id", "tenant_id", "status", "revision_number"}
    return common | _WRITABLE[collection] | {"shared", "router:external"}


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _singular(collection: str) -> str:
    return collection.removesuffix("s")


def _type(collection: str) -> str:
    return "".join(word.capitalize() for word in _singular(collection).split("_"))


def _no_such_path() -> Fault:
    return Fault(404, "HTTPNotFound", "The resource could not be found.")


def _forbidden(rule: str) -> Fault:
    return Fault(403, "PolicyNotAuthorized", f"({rule}) is disallowed by policy")


def _error(type_: str, message: str) -> bytes:
    return json.dumps({"NeutronError": {"type": type_, "message": message, "detail": ""}}).encode()


def due(injected: deque[Injected], method: str, path: str, answer: Callable[[], Response]) -> Response:
    """The answer, or the first injected fault that this call is meant by, which is then over."""
    fault = next((each for each in injected if each.method == method and path.startswith(each.path_prefix)), None)
    if fault is None:
        return answer()
    injected.remove(fault)
    if fault.after_effect:
        answer()
    if isinstance(fault.outcome, Exception):
        raise fault.outcome
    return fault.outcome
