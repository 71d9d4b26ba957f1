"""Who answers for a port of a Service: what EndpointSlices say, as addresses and ports.

Source: Kubernetes API reference (discovery.k8s.io/v1) and kube-proxy's rules: ready endpoints; where none is, those
that end and still serve; of an endpoint its first address. Does not know: pods, pools, who may reach them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TypeAlias

from kuryrctl.core.policy import ranges
from kuryrctl.core.service_notes import Note, NoteCode
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort

Backend: TypeAlias = tuple[str, int]
"""An address and a port."""


def backends(
    service: Service,
    port: ServicePort,
    version: int,
    slices: Iterable[EndpointSlice],
    service_cidrs: tuple[str, ...] = (),
) -> tuple[Backend, ...]:
    """Where packets for a port of the Service go, sorted; each address and port once, whichever slices name it.

    A named target port may be another number in each slice: slices carry the Service port's name and the number.
    """
    found = [
        (endpoint, number)
        for each in slices
        if each.address_type == f"IPv{version}"
        for number in _numbers(port, each.ports)
        for endpoint in each.endpoints
        if endpoint.addresses and not refusal(endpoint.addresses[0], service_cidrs)
    ]
    wanted = [pair for pair in found if service.publish_not_ready or pair[0].ready] or [
        pair for pair in found if pair[0].serving and pair[0].terminating
    ]
    return tuple(sorted({(endpoint.addresses[0], number) for endpoint, number in wanted}, key=_in_order))


@lru_cache(maxsize=65536)  # a full turn asks for every endpoint of the cluster
def refusal(address: str, service_cidrs: tuple[str, ...] = ()) -> str:
    """Why nothing may be sent to an endpoint's address; empty: it may.

    Whoever may write an EndpointSlice could name any address: these ones mean something else on every host.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return "is no address"
    for is_so, what in (
        (found.is_unspecified, "the unspecified address"),
        (found.is_loopback, "a loopback address"),
        (found.is_link_local, "a link-local address"),
        (found.is_multicast, "a multicast address"),
        (str(found) == "255.255.255.255", "the broadcast address"),
        (any(found in ip_network(each) for each in service_cidrs), "an address of a Service"),
    ):
        if is_so:
            return f"is {what}"
    return ""


def slice_notes(slices: Iterable[EndpointSlice], service_cidrs: tuple[str, ...]) -> list[Note]:
    """What the slices of one Service say that nobody can follow, each thing once."""
    notes: dict[Note, None] = {}
    for each in slices:
        where = f"EndpointSlice {each.full_name}"
        if each.address_type not in ("IPv4", "IPv6"):
            notes[Note(NoteCode.ENDPOINT, f"{where} holds {each.address_type} names, not addresses: not used")] = None
            continue
        for port in each.ports:
            if port.port is None:
                message = f"{where} gives no number for port {port.name or port.protocol}: not used"
                notes[Note(NoteCode.ENDPOINT, message)] = None
        for endpoint in each.endpoints:
            notes |= dict.fromkeys(_refused(endpoint, where, service_cidrs))
    return list(notes)


def _refused(endpoint: Endpoint, where: str, service_cidrs: tuple[str, ...]) -> list[Note]:
    why = refusal(endpoint.addresses[0], service_cidrs) if endpoint.addresses else ""
    return [Note(NoteCode.ENDPOINT, f"{where}: {endpoint.addresses[0]} {why}: nothing is sent there")] if why else []


def _numbers(port: ServicePort, offered: Iterable[EndpointPort]) -> list[int]:
    return [
        one.port for one in offered if (one.name, one.protocol) == (port.name, port.protocol) and one.port is not None
    ]


def _in_order(backend: Backend) -> tuple[tuple[int, int], int]:
    return ranges.address(backend[0]), backend[1]
