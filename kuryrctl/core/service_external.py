"""How a Service of type LoadBalancer is reached from outside: a floating IP, or VIPs on a provider network.

What cannot be had, is not allowed or could not be closed again (source ranges) is not made, and a note says why.
Does not know: listeners, members.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from types import MappingProxyType

from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.balancers import FloatingIP
from kuryrctl.core.cloud import Router
from kuryrctl.core.config import Config, ServiceOptions
from kuryrctl.core.index import Own
from kuryrctl.core.ownership import FOREIGN, Claim, service_tags
from kuryrctl.core.providers import PROVIDERS, Provider, provider
from kuryrctl.core.service_annotations import Options, asked
from kuryrctl.core.service_notes import Note, NoteCode
from kuryrctl.core.services import Service
from kuryrctl.core.specs import FloatingIPSpec, Key

OUR_CLASS = "kuryr.openstack.org/octavia"
"""The `loadBalancerClass` that asks for us by name; a Service without a class is ours as well."""
LOAD_BALANCER = "LoadBalancer"
_EVERYWHERE = ("0.0.0.0/0", "::/0")
EVERYBODY: Mapping[int, tuple[str, ...]] = MappingProxyType({4: _EVERYWHERE[:1], 6: _EVERYWHERE[1:]})
NOT_GUARDED = "the provider does not restrict who may connect, and nobody guards its members"


class Vip(Struct, frozen=True):
    """A VIP on a provider network: the IP version, the network's and the subnet's id, the address; empty: any."""

    version: int
    network: str
    subnet: str = ""
    address: str = ""


class Outside(Struct, frozen=True):
    """How a Service is reached from outside. `open`: a way is asked for, and nothing speaks against one."""

    floating_ips: tuple[FloatingIPSpec, ...] = ()
    vips: tuple[Vip, ...] = ()
    notes: tuple[Note, ...] = ()
    open: bool = False


def balancer_key(uid: str, part: str) -> Key:
    """The key of one of a Service's load balancers."""
    return f"load-balancer/service/{uid}/{part}"


def floating_key(uid: str, part: str) -> Key:
    """The key of a Service's floating IP."""
    return f"floating-ip/service/{uid}/{part}"


def is_external(service: Service) -> bool:
    """Whether the external part of the Service is ours to make."""
    return service.type == LOAD_BALANCER and service.load_balancer_class in ("", OUR_CLASS)


def external_network(own: Own) -> str:
    """The id of the network behind the pods' router; empty: there is none."""
    router = own.objects.get("router/pods")
    gateway = router.external_gateway_info if isinstance(router, Router) else None
    return own.external_network_id or (gateway.network_id if gateway else "")


def ranges_of(service: Service) -> dict[int, tuple[str, ...]]:
    """The source ranges by IP version, sorted; none where everybody is let in. Raises ValueError for what is none."""
    found: dict[int, set[str]] = {}
    for text in service.source_ranges:
        network = ip_network(text, strict=False)
        found.setdefault(network.version, set()).add(str(network))
    if not found or all(not ranges.isdisjoint(_EVERYWHERE) for ranges in found.values()):
        return {}
    return {version: tuple(sorted(ranges)) for version, ranges in found.items()}


def provider_of(options: Options, settings: ServiceOptions) -> Provider:
    """The provider of a Service: the one that it asks for, if that is known, else the configured one."""
    wanted = options.provider
    known = wanted and any(each.is_named(wanted) for each in PROVIDERS.values())
    return provider(wanted if known else settings.provider)


def let_in(service: Service, settings: ServiceOptions) -> Mapping[int, tuple[str, ...]]:
    """Who of outside the cluster a Service lets in to its members, as CIDRs by IP version; nothing: nobody.

    Where members do not see their clients' addresses, that is everybody: only the load balancer knows better.
    """
    options = asked(service, settings).options
    others = service.type == LOAD_BALANCER and not is_external(service)
    if others or not provider_of(options, settings).keeps_client_address:
        return EVERYBODY
    if not is_external(service) or options.internal:
        return {}
    try:
        return ranges_of(service) or EVERYBODY
    except ValueError:
        return {}


class External:
    """The external part of one Service. `versions` are the IP versions of its load balancers.

    `unguarded` says why source ranges are not enforced at its members' ports; empty: they are.
    """

    def __init__(
        self,
        service: Service,
        options: Options,
        versions: Iterable[int],
        *,
        config: Config,
        own: Own,
        provider: Provider,
        balancers: Balancers,
        unguarded: str,
    ) -> None:
        self._unguarded = unguarded
        self._service = service
        self._options = options
        self._versions = tuple(versions)
        self._config = config
        self._provider = provider
        self._balancers = balancers
        self._network = options.floating_network or external_network(own)
        self._notes: list[Note] = []

    def outside(self) -> Outside:
        """What should be there. A floating IP that we may use no more is kept for its Service, and leads nowhere."""
        if not is_external(self._service) or self._options.internal:
            return Outside()
        if not self._enforceable():
            return Outside(self._kept(), notes=tuple(self._notes))
        if not self._network:
            self._note(NoteCode.NETWORK, "no external address: there is no network behind the pods' router")
            return Outside(self._kept(), notes=tuple(self._notes))
        if self._config.services.external == "floating-ip" and not self._options.vip_subnet:
            floating = self._floating_ips()
            return Outside(floating, notes=tuple(self._notes), open=any(each.balancer for each in floating))
        vips = tuple(self._vips())
        return Outside(vips=vips, notes=tuple(self._notes), open=bool(vips))

    # -- ranges

    def _enforceable(self) -> bool:
        """Whether the source ranges can be enforced; else the Service stays closed."""
        try:
            ranges = ranges_of(self._service)
        except ValueError as error:
            self._closed(f"{error}")
            return False
        if ranges and not self._provider.allowed_cidrs and self._unguarded:
            self._closed(self._unguarded)
            return False
        return True

    def _closed(self, why: str) -> None:
        self._note(
            NoteCode.RANGES,
            f"no external address, because its source ranges cannot be enforced: {why}",
            "spec.loadBalancerSourceRanges",
        )

    def _reaches(self, version: int) -> bool:
        """Whether source ranges leave anybody of this IP version."""
        ranges = ranges_of(self._service)
        if ranges and version not in ranges:
            told = f"no external IPv{version} address: its source ranges name none"
            self._note(NoteCode.RANGES, told, "spec.loadBalancerSourceRanges")
            return False
        return True

    # -- floating IPs

    def _floating_ips(self) -> tuple[FloatingIPSpec, ...]:
        if 4 not in self._versions:
            self._note(NoteCode.NETWORK, "no external address: floating IPs are IPv4 only, and it has no IPv4 address")
            return self._kept()
        if 6 in self._versions:
            self._note(NoteCode.NETWORK, "no external IPv6 address: floating IPs are IPv4 only")
        address, refused = self._address(4)
        if refused or not self._reaches(4):
            return self._kept()
        found = self._balancers.floating_ip_at(address) if address else None
        claim = self._balancers.claim(found.id) if found else FOREIGN
        taken = self._taken(found, claim) if found else ""
        if taken:
            self._note(NoteCode.FLOATING_IP, f"floating IP {address} {taken}")
            return self._kept()
        return (self._floating_ip(address or None, ours=found is None or claim.ours),)

    def _taken(self, found: FloatingIP, claim: Claim) -> str:
        """Why a floating IP that is asked for cannot be used; empty: it can."""
        if claim.ours and claim.key != floating_key(self._service.uid, "4"):
            return "is another Service's"
        own = {each.vip_port_id for there in self._balancers.of(self._service.uid).values() for each in there}
        in_use = found.port_id and not claim.ours and found.port_id not in own
        return f"is in use: it leads to port {found.port_id}" if in_use else ""

    def _floating_ip(self, address: str | None, *, ours: bool) -> FloatingIPSpec:
        tags = service_tags(self._config.cluster_id, self._service.uid, "4")
        kept = (names.KEEP,) if self._options.keep_floating_ip and ours else ()
        return FloatingIPSpec(
            key=floating_key(self._service.uid, "4"),
            description=names.description(tags),
            tags=(*kept, *tags),
            network=self._network,
            balancer=balancer_key(self._service.uid, "4"),
            address=address,
            ours=ours,
            subnet=self._options.floating_subnet,
        )

    def _kept(self) -> tuple[FloatingIPSpec, ...]:
        """Our floating IPs of this Service as they are, but leading nowhere: closing must not lose an address."""
        found = self._balancers.floating_ips_of(self._service.uid)
        return tuple(
            FloatingIPSpec(
                key=key,
                description=there[0].description,
                tags=service_tags(self._config.cluster_id, self._service.uid, key.rpartition("/")[2]),
                network=there[0].floating_network_id,
                balancer="",
                address=there[0].floating_ip_address,
            )
            for key, there in found.items()
        )

    # -- VIPs on a provider network

    def _vips(self) -> Iterable[Vip]:
        for version in self._versions:
            address, refused = self._address(version)
            if refused or not self._reaches(version):
                continue
            if version == 6 and not address and not self._options.vip_subnet:
                told = "no external IPv6 address: Octavia chooses an IPv4 one unless an address or a subnet is named"
                self._note(NoteCode.NETWORK, told)
                continue
            yield Vip(version, self._network, self._options.vip_subnet, address)

    # -- addresses

    def _address(self, version: int) -> tuple[str, bool]:
        """The address of this IP version that is asked for (empty: any), and whether it is refused."""
        service = self._service
        wanted = service.load_balancer_ip or self._options.address
        if wanted and not _is_address(wanted):
            self._note(NoteCode.FLOATING_IP, f'no external address: "{wanted}" is no address')
            return "", True
        if not wanted or ip_address(wanted).version != version:
            return "", False
        if wanted == service.load_balancer_ip and not self._config.services.allows(service.namespace, wanted):
            told = (
                f"no external address: namespace {service.namespace} may not name {wanted}; its operator may allow it:"
                f" services.allow.{service.namespace}"
            )
            self._note(NoteCode.ALLOW, told, "spec.loadBalancerIP")
            return "", True
        return wanted, False

    def _note(self, code: NoteCode, message: str, field: str = "") -> None:
        self._notes.append(Note(code, message, field))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
