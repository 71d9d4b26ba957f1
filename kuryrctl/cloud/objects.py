"""One call (or the few that belong together) for each step of a plan, except the making of ports and rules.

Networks, subnets, routers and groups take no tags at creation: they get a deterministic name and description, and their
tags at once afterwards; one that was left untagged is recognised by both and adopted.
Does not know: the order of plans, which steps travel together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused, vanished
from kuryrctl.cloud.ports import bring, describe
from kuryrctl.cloud.recording import Log
from kuryrctl.cloud.wire import GROUPS, NETWORKS, PORTS, ROUTERS, RULES, SUBNETS, Body, Resource
from kuryrctl.core import names
from kuryrctl.core.cloud import (
    CloudObject,
    Network,
    Port,
    Router,
    SecurityGroup,
    Subnet,
)
from kuryrctl.core.errors import Conflict, KuryrError, Owner
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import (
    Key,
    NetworkSpec,
    PortSpec,
    RouterInterfaceSpec,
    RouterSpec,
    SecurityGroupSpec,
    SubnetSpec,
)

R = TypeVar("R", Network, Subnet, Router, SecurityGroup)

INTERFACE_OWNERS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
_DELETE_ATTEMPTS = 3
_BY_KIND: dict[Kind, Resource[Any]] = {
    Kind.NETWORK: NETWORKS,
    Kind.SUBNET: SUBNETS,
    Kind.ROUTER: ROUTERS,
    Kind.SECURITY_GROUP: GROUPS,
    Kind.SECURITY_GROUP_RULE: RULES,
    Kind.PORT: PORTS,
}


class Executor:
    """Executes single steps. Raises Refused and KuryrError; every mutation is told to `log`."""

    def __init__(self, client: Client, ids: Mapping[Key, str], log: Log) -> None:
        self._client = client
        self._ids = ids
        self._log = log

    def execute(self, step: Step) -> CloudObject | None:
        """Do what the step says; the object afterwards, None after a delete."""
        match step.action:
            case Action.CREATE:
                return self._create(step)
            case Action.UPDATE | Action.ADOPT:
                return self._update(step)
            case Action.DELETE:
                self._delete(step)
                return None

    def _create(self, step: Step) -> CloudObject:
        match step.spec:
            case NetworkSpec() as spec:
                tags = (*spec.tags, spec.guard) if spec.guard else spec.tags
                return self._make(step, NETWORKS, wire.network_body(spec), tags)
            case SubnetSpec() as spec:
                return self._make(step, SUBNETS, wire.subnet_body(spec, self._ids), spec.tags)
            case RouterSpec() as spec:
                return self._make(step, ROUTERS, wire.router_body(spec), spec.tags)
            case SecurityGroupSpec() as spec:
                return self._make_group(step, spec)
            case RouterInterfaceSpec() as spec:
                return self._add_interface(step, spec)
        raise TypeError(f"{step.key} cannot be created by itself")

    def _make(self, step: Step, resource: Resource[R], body: Body, tags: Sequence[str]) -> R:
        made = self._post(step, resource, body)
        return self._tag(step, resource, made, tags)

    def _post(self, step: Step, resource: Resource[R], body: Body) -> R:
        """The object, also where its creation succeeded and the answer got lost."""
        call = f"POST {resource.path}"
        try:
            response = self._client.call("POST", resource.path, body)
        except (Refused, KuryrError) as fault:
            self._log(step, "", call, fault)
            if isinstance(fault, Refused) and not fault.effect_unknown:
                raise
            found = self._named(resource, body[resource.singular])
            if found is None:
                raise
            return found
        made = wire.decode_one(resource, response.body)
        self._log(step, made.id, call, response)
        return made

    def _named(self, resource: Resource[R], body: Body) -> R | None:
        """The one object of the project that has this body's name and description."""
        query = [("project_id", self._client.project_id), ("name", str(body["name"]))]
        found = [item for item in self._client.list(resource, query) if item.description == body["description"]]
        return found[0] if len(found) == 1 else None

    def _tag(self, step: Step, resource: Resource[R], made: R, tags: Sequence[str]) -> R:
        call = f"PUT {resource.path}/{made.id}/tags"
        try:
            response = self._client.add_tags(resource, made.id, made.tags, tags)
        except (Refused, KuryrError) as fault:
            self._log(step, made.id, call, fault)
            raise
        if response is None:
            return made
        self._log(step, made.id, call, response)
        return self._client.get(resource, made.id)

    def _make_group(self, step: Step, spec: SecurityGroupSpec) -> SecurityGroup:
        """A group without the rules that Neutron puts into a new one (they would let everything out)."""
        made = self._post(step, GROUPS, wire.group_body(spec))
        for rule in made.security_group_rules:
            self._call(step, rule.id, "DELETE", f"{RULES.path}/{rule.id}", gone_is_fine=True)
        made = msgspec.structs.replace(made, security_group_rules=())
        return self._tag(step, GROUPS, made, spec.tags)

    def _add_interface(self, step: Step, spec: RouterInterfaceSpec) -> Port:
        router, subnet = wire.resolve(self._ids, spec.router), wire.resolve(self._ids, spec.subnet)
        path = f"{ROUTERS.path}/{router}/add_router_interface"
        try:
            self._call(step, router, "PUT", path, {"subnet_id": subnet})
        except (Refused, KuryrError):
            existing = self._interface(router, subnet)
            if existing is None:
                raise
            return existing
        existing = self._interface(router, subnet)
        if existing is None:
            raise vanished(f"interface of router {router} on subnet {subnet}")
        return existing

    def _interface(self, router: str, subnet: str) -> Port | None:
        query = [("device_id", router), *(("device_owner", owner) for owner in INTERFACE_OWNERS)]
        ports = self._client.list(PORTS, query)
        return next((port for port in ports if any(ip.subnet_id == subnet for ip in port.fixed_ips)), None)

    def _update(self, step: Step) -> CloudObject:
        match step.spec:
            case PortSpec() as spec:
                return self._update_port(step, spec)
            case NetworkSpec() as spec:
                tags = (*spec.tags, spec.guard) if spec.guard else spec.tags
                return self._bring(step, NETWORKS, tags, {"mtu": spec.mtu})
            case SubnetSpec() as spec:
                return self._bring(step, SUBNETS, spec.tags, _subnet_fields(spec))
            case RouterSpec() as spec:
                return self._bring(step, ROUTERS, spec.tags, {"external_network": spec.external_network})
            case SecurityGroupSpec() as spec:
                fields = {"name": spec.name, "description": spec.description, "stateful": True}
                return self._bring(step, GROUPS, spec.tags, fields)
        raise TypeError(f"{step.key} cannot be updated: rules and interfaces are made anew")

    def _update_port(self, step: Step, spec: PortSpec) -> Port:
        port = self._client.get(PORTS, step.id)
        tags_ours = names.cluster_of(port.tags) == names.cluster_of(spec.tags)
        owner_ours = port.device_owner == names.DEVICE_OWNER and not names.cluster_of(port.tags)
        if not (tags_ours or owner_ours):
            raise _not_ours(f"{describe(port)} not updated")
        if step.revision and step.revision != port.revision_number:
            # Told apart from a 412 so that no call is spent; the update itself is conditional on what was read here.
            raise _changed(f"port {port.id} of {step.subject or step.key} not updated")
        brought = bring(self._client, self._log, step, port, self._ids)
        if isinstance(brought, KuryrError):
            raise brought
        return brought

    def _bring(self, step: Step, resource: Resource[R], tags: Sequence[str], fields: Body) -> R:
        """Give an existing object the tags it lacks, and those of the fields that the plan says differ.

        No others: an object that was adopted is somebody's, and may have its name or its DHCP for a reason.
        """
        existing = self._client.get(resource, step.id)
        if step.action is Action.UPDATE and step.revision and step.revision != existing.revision_number:
            raise _changed(f"{resource.kind} {existing.id} not updated")
        planned = {change.field for change in step.changes}
        current = msgspec.to_builtins(existing)
        wanted = dict(_attribute(name, value) for name, value in fields.items() if name in planned)
        changes = {name: value for name, value in wanted.items() if not _holds(current.get(name), value)}
        if changes:
            response = self._call(
                step,
                existing.id,
                "PUT",
                f"{resource.path}/{existing.id}",
                {resource.singular: changes},
                revision=existing.revision_number,
            )
            existing = wire.decode_one(resource, response)
        return self._tag(step, resource, existing, tags)

    def _delete(self, step: Step) -> None:
        if step.kind is Kind.ROUTER_INTERFACE:
            self._remove_interface(step)
            return
        resource = _BY_KIND[step.kind]
        path = f"{resource.path}/{step.id}"
        if step.revision or step.kind is Kind.SECURITY_GROUP_RULE:
            self._call(step, step.id, "DELETE", path, revision=step.revision, gone_is_fine=True)
            return
        for attempt in range(_DELETE_ATTEMPTS):
            revision = self._revision_of_ours(step, resource)
            if revision is None:
                return
            try:
                self._call(step, step.id, "DELETE", path, revision=revision, gone_is_fine=True)
            except Refused as refused:
                # Neutron itself moves revisions after a call was answered (a router's, when OVN has followed).
                if refused.status != 412 or attempt == _DELETE_ATTEMPTS - 1:
                    raise
            else:
                return

    def _revision_of_ours(self, step: Step, resource: Resource[Any]) -> int | None:
        """The revision of an object to delete, which must carry our mark; None: it is gone."""
        try:
            existing = self._client.get(resource, step.id)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        if not _marked(existing):
            raise _not_ours(f"{step.kind} {step.id} not deleted")
        return int(existing.revision_number)

    def _remove_interface(self, step: Step) -> None:
        try:
            port = self._client.get(PORTS, step.id)
        except Refused as refused:
            if refused.status == 404:
                return
            raise
        if port.device_owner not in INTERFACE_OWNERS:
            raise _not_ours(f"{describe(port)} not removed from a router: it is no router interface")
        path = f"{ROUTERS.path}/{port.device_id}/remove_router_interface"
        self._call(step, step.id, "PUT", path, {"port_id": port.id}, gone_is_fine=True)

    def _call(
        self,
        step: Step,
        id_: str,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        revision: int = 0,
        gone_is_fine: bool = False,
    ) -> bytes:
        """One mutation, told to the log. `gone_is_fine`: 404 counts as done."""
        call = f"{method} {path}"
        try:
            response = self._client.call(method, path, body, revision=revision)
        except Refused as refused:
            self._log(step, id_, call, refused)
            if gone_is_fine and refused.status == 404:
                return b""
            raise
        except KuryrError as error:
            self._log(step, id_, call, error)
            raise
        self._log(step, id_, call, response)
        return response.body


def _marked(existing: Port | Network | Subnet | Router | SecurityGroup) -> bool:
    """Whether it carries a mark of ours; what takes no tags at its creation, at least in its description."""
    if names.cluster_of(existing.tags):
        return True
    if isinstance(existing, Port):
        return existing.device_owner == names.DEVICE_OWNER
    return bool(names.cluster_of(names.described(existing.description)))


def _subnet_fields(spec: SubnetSpec) -> Body:
    fields: Body = {"enable_dhcp": False}
    if spec.gateway is not None:
        fields["gateway_ip"] = spec.gateway
    if spec.pool is not None:
        fields["allocation_pools"] = [{"start": spec.pool[0], "end": spec.pool[1]}]
    return fields


def _attribute(field: str, value: object) -> tuple[str, object]:
    """A field of a spec as Neutron's attribute."""
    if field == "external_network":
        return "external_gateway_info", {"network_id": value} if value else None
    return field, value


def _holds(current: object, wanted: object) -> bool:
    """Whether a field has the wanted value; of an object only the wanted members count (a gateway has more)."""
    if isinstance(current, dict) and isinstance(wanted, dict):
        return all(current.get(key) == value for key, value in wanted.items())
    return current == wanted


def _not_ours(what: str) -> Conflict:
    return Conflict(
        f"{what}: it carries no mark of this cluster",
        code="NET-NOT-OURS",
        owner=Owner.USER,
        hint="it was changed by somebody; the next turn looks again",
    )


def _changed(what: str) -> Conflict:
    return Conflict(f"{what}: it was changed after it was read", code="NET-CHANGED", owner=Owner.NEUTRON)
