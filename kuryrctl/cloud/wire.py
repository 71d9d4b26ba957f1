"""JSON of the services: which fields are asked for, how answers become core types; Neutron's bodies out of specs.

Source: Networking API v2.0; Octavia's are in `octavia_wire`. Does not know: when calls are made, what errors mean.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from kuryrctl.cloud.meanings import NEUTRON, Service
from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP
from kuryrctl.core.cloud import Network, Port, Router, SecurityGroup, SecurityGroupRule, Subnet, Trunk
from kuryrctl.core.decoding import convert, decode
from kuryrctl.core.errors import Conflict, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.core.sharing import Held, one, share_texts
from kuryrctl.core.specs import (
    Key,
    NetworkSpec,
    PortSpec,
    RouterSpec,
    RuleSpec,
    SecurityGroupSpec,
    SubnetSpec,
)

T = TypeVar("T", bound=Struct)
Body = dict[str, Any]


class Resource(Struct, Generic[T], frozen=True):
    """A collection of a service's API: its noun, path, names in JSON, the type of its items, the fields to ask for."""

    kind: str
    path: str
    plural: str
    singular: str
    type: type[T]
    fields: tuple[str, ...]
    service: Service = NEUTRON


def resource_of(kind: str, singular: str, type_: type[T], service: Service = NEUTRON) -> Resource[T]:
    """The collection of these objects, where every field of the type is one of the API."""
    fields = tuple(f.encode_name for f in msgspec.structs.fields(type_))
    return Resource(kind, "/" + f"{singular}s".replace("_", "-"), f"{singular}s", singular, type_, fields, service)


NETWORKS: Final = resource_of(Kind.NETWORK, "network", Network)
SUBNETS: Final = resource_of(Kind.SUBNET, "subnet", Subnet)
ROUTERS: Final = resource_of(Kind.ROUTER, "router", Router)
GROUPS: Final = resource_of(Kind.SECURITY_GROUP, "security_group", SecurityGroup)
RULES: Final = resource_of(Kind.SECURITY_GROUP_RULE, "security_group_rule", SecurityGroupRule)
PORTS: Final = resource_of(Kind.PORT, "port", Port)
TRUNKS: Final = resource_of("trunk", "trunk", Trunk)
FLOATING_IPS: Final = resource_of(Kind.FLOATING_IP, "floatingip", FloatingIP)

_ENVELOPE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PORT_TEXTS: Final = (
    "network_id",
    "project_id",
    "device_owner",
    "device_id",
    "status",
    "host",
    "vif_type",
    "vnic_type",
)
_RULE_TEXTS: Final = ("security_group_id", "direction", "ethertype", "protocol", "remote_group_id", "description")
"""What many have in common. A port's device id is its pod's uid, which the cluster's objects have, too."""


class Link(Struct, frozen=True):
    """One of ``ports_links``: where the next page is."""

    rel: str = ""
    href: str = ""


def decode_list(resource: Resource[T], body: bytes, held: Held[T] | None = None) -> tuple[tuple[T, ...], str]:
    """The items of a list answer, and the address of the next page (empty: there is none).

    An item that equals the one that is `held` is that one. Decoded one by one, so that two worlds never exist at once.
    """
    service = resource.service
    envelope = _envelope(body, service)
    raws = _decode(_member(envelope, resource.plural, service), list[msgspec.Raw], service)
    items = tuple(_item(resource, raw, held) for raw in raws)
    raw_links = envelope.get(f"{resource.plural}_links")
    links: tuple[Link, ...] = _decode(raw_links, tuple[Link, ...], service) if raw_links is not None else ()
    return items, next((link.href for link in links if link.rel == "next"), "")


def decode_one(resource: Resource[T], body: bytes) -> T:
    """The object of an answer about one object."""
    return decode_member(body, resource.singular, resource.type, resource.service)


def decode_member(body: bytes, member: str, type_: type[T], service: Service = NEUTRON) -> T:
    """One named member of an answer."""
    return cast("T", _decode(_member(_envelope(body, service), member, service), type_, service))


def decode_plain(body: bytes, member: str, service: Service = NEUTRON) -> Any:
    """One named member of an answer, as plain JSON types."""
    return msgspec.json.decode(_member(_envelope(body, service), member, service))


def members_of(body: bytes, service: Service = NEUTRON) -> tuple[str, ...]:
    """The names of an answer's members: that of the one object that it is about, as a rule."""
    return tuple(_envelope(body, service))


def has_field(body: bytes, field: str) -> bool:
    """Whether any object of the answer has this field at all (policy strips fields silently)."""
    return f'"{field}"'.encode() in body


def network_body(spec: NetworkSpec) -> Body:
    """POST /networks, without tags: only ports take them at creation."""
    body: Body = {"name": spec.name, "description": names.description(spec.tags)}
    if spec.mtu:
        body["mtu"] = spec.mtu
    return {"network": body}


def subnet_body(spec: SubnetSpec, ids: Mapping[Key, str]) -> Body:
    """POST /subnets. No DHCP: OVN answers none where it is off, and nodes configure addresses."""
    body: Body = {
        "name": spec.name,
        "description": names.description(spec.tags),
        "network_id": resolve(ids, spec.network),
        "cidr": spec.cidr,
        "ip_version": ipaddress.ip_network(spec.cidr).version,
        "enable_dhcp": False,
    }
    if spec.gateway is not None:
        body["gateway_ip"] = spec.gateway
    if spec.pool is not None:
        body["allocation_pools"] = [{"start": spec.pool[0], "end": spec.pool[1]}]
    return {"subnet": body}


def router_body(spec: RouterSpec) -> Body:
    """POST /routers."""
    body: Body = {"name": spec.name, "description": names.description(spec.tags)}
    if spec.external_network:
        body["external_gateway_info"] = {"network_id": spec.external_network}
    return {"router": body}


def group_body(spec: SecurityGroupSpec) -> Body:
    """POST /security-groups."""
    return {"security_group": {"name": spec.name, "description": spec.description}}


def rule_body(spec: RuleSpec, ids: Mapping[Key, str]) -> Body:
    """One item of POST /security-group-rules; fields that do not restrict are left out."""
    body: Body = {
        "security_group_id": resolve(ids, spec.group),
        "direction": spec.direction,
        "ethertype": spec.ethertype,
        "description": spec.description,
    }
    optional = {
        "protocol": spec.protocol,
        "port_range_min": spec.port_range_min,
        "port_range_max": spec.port_range_max,
        "remote_ip_prefix": spec.remote_ip_prefix,
        "remote_group_id": resolve(ids, spec.remote_group) if spec.remote_group else None,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def port_body(spec: PortSpec, ids: Mapping[Key, str]) -> Body:
    """One item of POST /ports. An empty group list is sent as it is: drop everything, not the project's default."""
    return {
        "name": spec.name,
        "network_id": resolve(ids, spec.network),
        "mac_address": spec.mac_address,
        "fixed_ips": [
            {"subnet_id": resolve(ids, address.subnet)} | ({"ip_address": address.address} if address.address else {})
            for address in spec.addresses
        ],
        "security_groups": [resolve(ids, group) for group in spec.security_groups],
        "device_owner": spec.device_owner,
        "device_id": spec.device_id,
        "binding:host_id": spec.host,
        "description": spec.description,
        "tags": list(spec.tags),
    }


def port_changes(port: Port, spec: PortSpec, ids: Mapping[Key, str]) -> Body:
    """The managed fields of a port that differ from its spec, for PUT. MAC and addresses are never changed.

    A port without a binding is told its host once more: any update makes Neutron try to bind it.
    """
    wanted: Body = {
        "name": (port.name, spec.name),
        "binding:host_id": (port.host, spec.host),
        "device_owner": (port.device_owner, spec.device_owner),
        "device_id": (port.device_id, spec.device_id),
        "description": (port.description, spec.description or port.description),
    }
    changes = {field: after for field, (before, after) in wanted.items() if before != after}
    if port.unbound:
        changes["binding:host_id"] = spec.host
    groups = [resolve(ids, group) for group in spec.security_groups]
    if sorted(groups) != sorted(port.security_groups):
        changes["security_groups"] = groups
    return changes


def same_rule(rule: SecurityGroupRule, body: Body) -> bool:
    """Whether an existing rule is what this body asks for (Neutron calls the second one SecurityGroupRuleExists)."""
    return (
        rule.direction == body["direction"]
        and rule.ethertype == body["ethertype"]
        and rule.protocol == body.get("protocol")
        and rule.port_range_min == body.get("port_range_min")
        and rule.port_range_max == body.get("port_range_max")
        and rule.remote_group_id == body.get("remote_group_id")
        and rule.remote_address_group_id is None
        and _prefix(rule.remote_ip_prefix) == _prefix(body.get("remote_ip_prefix"))
    )


def resolve(ids: Mapping[Key, str], key: Key) -> str:
    """The id behind a key. Raises Conflict where the object does not exist yet."""
    try:
        return ids[key]
    except KeyError:
        raise Conflict(
            f"needs {key}, which does not exist yet",
            code="NET-NEEDS",
            hint=f"see why {key} was not made; the next turn tries again",
        ) from None


def missing_tags(have: Iterable[str], want: Iterable[str]) -> tuple[str, ...]:
    """The tags of `want` that are not there, sorted."""
    return tuple(sorted(set(want) - set(have)))


def _prefix(value: str | None) -> str | None:
    return str(ipaddress.ip_network(value, strict=False)) if value else None


def _envelope(body: bytes, service: Service) -> dict[str, msgspec.Raw]:
    try:
        return _ENVELOPE.decode(body)
    except msgspec.MsgspecError as error:
        raise _bad_answer(service, f"is no JSON object ({error})") from None


def _member(envelope: dict[str, msgspec.Raw], member: str, service: Service) -> msgspec.Raw:
    try:
        return envelope[member]
    except KeyError:
        raise _bad_answer(service, f'has no "{member}"') from None


def _item(resource: Resource[T], raw: msgspec.Raw, held: Held[T] | None) -> T:
    item = cast("T", _decode(raw, resource.type, resource.service))
    match item:
        case Port():
            share_texts(item, _PORT_TEXTS)
            for address in item.fixed_ips:
                share_texts(address, ("subnet_id",))
            force_setattr(item, "tags", tuple(map(one, item.tags)))
            force_setattr(item, "security_groups", one(item.security_groups))
        case SecurityGroup():
            for rule in item.security_group_rules:
                share_texts(rule, _RULE_TEXTS)
    return held.one(item.id, item) if held else item  # type: ignore[attr-defined]  # every resource has an id


def _decode(raw: msgspec.Raw, type_: Any, service: Service) -> Any:
    """Straight into the type; where Neutron says null for a text (a rule's description), null counts as absent."""
    try:
        return decode(raw, type_)
    except msgspec.ValidationError:
        plain = _without_nulls(msgspec.json.decode(raw))
    try:
        return convert(plain, type_)
    except msgspec.ValidationError as error:
        raise _bad_answer(service, f"is not what the API promises ({error})") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _bad_answer(service: Service, what: str) -> Unavailable:
    return Unavailable(
        f"{service.name}'s answer {what}",
        code=f"{service.prefix}-ANSWER",
        owner=service.owner,
        hint=f"see whether the endpoint of its service in the catalogue is {service.name}'s",
        after_s=5.0,
    )
