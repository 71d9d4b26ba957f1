"""Services as a client's packets meet them: VIPs, their ports, and the ready endpoints behind each.

Source: OVN checks the first packet of a connection against the VIP and the rest against the endpoint, and a pod that
reaches itself through a VIP sees the VIP as the source. Does not know: policies, rules.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.policy.allowance import PORT_MAX, Span
from kuryrctl.core.policy.ranges import address
from kuryrctl.core.policy.sets import Few
from kuryrctl.core.services import Endpoint, EndpointSlice, Service, ServicePort

Address: TypeAlias = tuple[int, int]
"""IP version and number."""
Gate: TypeAlias = tuple[Address, Span]
"""A VIP and one of its ports."""
Translation: TypeAlias = tuple[int, Span, Span]
"""IP version, a Service's port, and the port of its endpoints that it stands for."""


class Front(Struct, frozen=True):
    """One port of one VIP, and the ready endpoints (their port, their address) that answer for it."""

    vip: Address
    span: Span
    backends: tuple[tuple[Span, Address], ...]

    @property
    def gate(self) -> Gate:
        """Where clients knock."""
        return self.vip, self.span


class View(Struct, frozen=True):
    """A Service: its fronts; `endpoints`: the addresses of all its endpoints, ready or not; `targets`: their ports."""

    fronts: tuple[Front, ...] = ()
    endpoints: frozenset[Address] = frozenset()
    targets: frozenset[tuple[Gate, Span]] = frozenset()

    def translations(self) -> set[Translation]:
        """What its VIPs' ports are turned into."""
        return {(vip[0], span, target) for (vip, span), target in self.targets}


def view(service: Service | None, slices: Iterable[EndpointSlice]) -> View:
    """The Service as clients meet it; without a Service nothing but its endpoints."""
    known = [each for each in slices if each.address_type in ("IPv4", "IPv6")]
    endpoints = frozenset(address(text) for each in known for one in each.endpoints for text in one.addresses)
    if service is None:
        return View(endpoints=endpoints)
    fronts: list[Front] = []
    targets: set[tuple[Gate, Span]] = set()
    for vip in sorted(address(text) for text in service.cluster_ips):
        for port in service.ports:
            behind = list(_behind(vip, port, known))
            ready = {(target, address(text)) for target, one in behind if one.ready for text in one.addresses}
            fronts.append(Front(vip, Span(port.protocol.lower(), port.port, port.port), tuple(sorted(ready))))
            targets.update((fronts[-1].gate, target) for target, _ in behind)
    return View(tuple(fronts), endpoints, frozenset(targets))


def _behind(vip: Address, port: ServicePort, slices: list[EndpointSlice]) -> Iterator[tuple[Span, Endpoint]]:
    for each in slices:
        for one in each.ports if each.address_type == f"IPv{vip[0]}" else ():
            if (one.name, one.protocol) == (port.name, port.protocol):
                low, high = (0, PORT_MAX) if one.port is None else (one.port, one.port)
                yield from ((Span(port.protocol.lower(), low, high), endpoint) for endpoint in each.endpoints)


class Services:
    """All Services with their endpoints, by ``namespace/name``, and by the addresses of the latter."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._slices: dict[str, dict[str, EndpointSlice]] = defaultdict(dict)
        self._service_of: dict[str, str] = {}
        self._views: dict[str, View] = {}
        self._at: Few[Address, str] = Few()
        self._translations: Counter[Translation] = Counter()

    def put(self, thing: Service | EndpointSlice) -> set[str]:
        """Take one in; the Services to look at again."""
        if isinstance(thing, Service):
            self._services[thing.full_name] = thing
            return {thing.full_name}
        moved = self.drop(thing)
        name = f"{thing.namespace}/{thing.service}"
        self._slices[name][thing.full_name] = thing
        self._service_of[thing.full_name] = name
        return {name, *moved}

    def drop(self, thing: Service | EndpointSlice) -> set[str]:
        """Forget one; the Services to look at again."""
        if isinstance(thing, Service):
            return {thing.full_name} if self._services.pop(thing.full_name, None) else set()
        name = self._service_of.pop(thing.full_name, "")
        if name:
            del self._slices[name][thing.full_name]
            if not self._slices[name]:
                del self._slices[name]
        return {name} if name else set()

    def look(self, name: str) -> tuple[View, View, set[Translation]]:
        """Look at a Service again: the view before, the view now, the translations that came or went with it."""
        before = self._views.get(name, View())
        now = view(self._services.get(name), self._slices.get(name, {}).values())
        for gone in before.endpoints - now.endpoints:
            self._at.take(gone, name)
        for come in now.endpoints - before.endpoints:
            self._at.put(come, name)
        old, new = before.translations(), now.translations()
        self._translations.subtract(old)
        self._translations.update(new)
        turned = {each for each in old - new if not self._translations[each]}
        turned |= {each for each in new - old if self._translations[each] == 1}
        for each in turned - new:
            del self._translations[each]
        self._views[name] = now
        if now == View():
            del self._views[name]
        return before, now, turned

    def at(self, where: Address) -> Iterable[str]:
        """The Services that have an endpoint at this address."""
        return self._at.of(where)

    def of(self, name: str) -> View:
        """A Service's view, as last looked at."""
        return self._views.get(name, View())

    def translations(self) -> Iterable[Translation]:
        """What any Service's VIP turns which port into."""
        return self._translations
