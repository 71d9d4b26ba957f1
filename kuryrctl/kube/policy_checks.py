"""What an API server refuses of a NetworkPolicy although its shape is right (networking.k8s.io/v1, validation).

For manifests that no API server has seen. Does not know: where they come from, what is only unwise (`policy lint`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from msgspec.inspect import ListType, StructType, Type, UnionType, type_info

from kuryrctl.core.selectors import Operator
from kuryrctl.kube.policy_wire import (
    IPBlockWire,
    NetworkPolicySpecWire,
    NetworkPolicyWire,
    PeerWire,
    PolicyPortWire,
    SelectorWire,
)
from kuryrctl.kube.resources import Wire

_PROTOCOLS = ("TCP", "UDP", "SCTP")
_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
_PORTS = range(1, 65536)


def problems(thing: Wire) -> Iterator[str]:
    """``field: what is wrong``, for each thing that is; of anything but a NetworkPolicy none."""
    if not isinstance(thing, NetworkPolicyWire):
        return
    spec = thing.spec
    if spec.pod_selector:
        yield from _selector("spec.podSelector", spec.pod_selector)
    for index, ingress in enumerate(spec.ingress or ()):
        at = f"spec.ingress[{index}]"
        yield from _peers(f"{at}.from", ingress.from_ or [])
        yield from _ports(f"{at}.ports", ingress.ports or [])
    for index, egress in enumerate(spec.egress or ()):
        at = f"spec.egress[{index}]"
        yield from _peers(f"{at}.to", egress.to or [])
        yield from _ports(f"{at}.ports", egress.ports or [])


def unknown_fields(body: Mapping[str, Any]) -> Iterator[str]:
    """``field: what is wrong``, for each field of a NetworkPolicy that has no meaning: probably misspelt."""
    for name in body:
        if name not in _FIELDS:
            yield f"{name}: a NetworkPolicy has no such field"
    yield from _unknown("spec", body.get("spec"), type_info(NetworkPolicySpecWire))


def _unknown(at: str, value: Any, expected: Type) -> Iterator[str]:
    match expected:
        case UnionType():
            for each in expected.types:
                yield from _unknown(at, value, each)
        case ListType() if isinstance(value, list):
            for index, each in enumerate(value):
                yield from _unknown(f"{at}[{index}]", each, expected.item_type)
        case StructType() if isinstance(value, Mapping):
            known = {each.encode_name: each.type for each in expected.fields}
            for name, each in value.items():
                if name in known:
                    yield from _unknown(f"{at}.{name}", each, known[name])
                else:
                    yield f"{at}.{name}: there is no such field, but {', '.join(known)}"


def _peers(at: str, peers: list[PeerWire]) -> Iterator[str]:
    for index, peer in enumerate(peers):
        here = f"{at}[{index}]"
        selectors = {"podSelector": peer.pod_selector, "namespaceSelector": peer.namespace_selector}
        given = {name: selector for name, selector in selectors.items() if selector is not None}
        if peer.ip_block and given:
            yield f"{here}: an ipBlock stands alone, without {' and '.join(given)}"
        if not peer.ip_block and not given:
            yield f"{here}: a peer needs a podSelector, a namespaceSelector or an ipBlock"
        for name, selector in given.items():
            yield from _selector(f"{here}.{name}", selector)
        if peer.ip_block:
            yield from _block(f"{here}.ipBlock", peer.ip_block)


def _ports(at: str, ports: list[PolicyPortWire]) -> Iterator[str]:
    for index, port in enumerate(ports):
        here = f"{at}[{index}]"
        if port.protocol is not None and port.protocol not in _PROTOCOLS:
            yield f'{here}.protocol: "{port.protocol}" is none of {", ".join(_PROTOCOLS)}'
        if isinstance(port.port, int) and port.port not in _PORTS:
            yield f"{here}.port: {port.port} is not between 1 and 65535"
        if port.end_port is None:
            continue
        if not isinstance(port.port, int):
            yield f"{here}.endPort: a range begins with a port number"
        elif port.end_port not in _PORTS or port.end_port < port.port:
            yield f"{here}.endPort: {port.end_port} is not between {port.port} and 65535"


def _selector(at: str, selector: SelectorWire) -> Iterator[str]:
    for index, each in enumerate(selector.match_expressions or ()):
        here = f"{at}.matchExpressions[{index}]"
        listing = each.operator in (Operator.IN, Operator.NOT_IN)
        if listing and not each.values:
            yield f"{here}.values: {each.operator} needs values"
        if not listing and each.values:
            yield f"{here}.values: {each.operator} takes none"


def _block(at: str, block: IPBlockWire) -> Iterator[str]:
    whole = _network(block.cidr)
    if whole is None:
        yield f'{at}.cidr: "{block.cidr}" is no CIDR'
        return
    for index, text in enumerate(block.except_ or ()):
        part = _network(text)
        if part is None:
            yield f'{at}.except[{index}]: "{text}" is no CIDR'
        elif part == whole or not _within(part, whole):
            yield f"{at}.except[{index}]: {text} is no part of {block.cidr}"


def _network(text: str) -> IPv4Network | IPv6Network | None:
    if "/" not in text:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _within(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    if isinstance(part, IPv4Network) and isinstance(whole, IPv4Network):
        return part.subnet_of(whole)
    return isinstance(part, IPv6Network) and isinstance(whole, IPv6Network) and part.subnet_of(whole)
