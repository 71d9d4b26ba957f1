"""What should exist for one Service: load balancers, one for each ClusterIP, floating IPs, and its status.

A pure function of the Service, its EndpointSlices, the configuration and what the cloud gave us to start from. Which
load balancers answer already is looked at for the status alone. What the provider cannot do is said in notes.
Decision: docs/decisions/070-services-as-balancer-trees.md. Does not know: what differs, how anything is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.balancers import ACTIVE, LoadBalancer
from kuryrctl.core.cloud import Subnet
from kuryrctl.core.config import Config
from kuryrctl.core.endpoints import Backend, backends, slice_notes
from kuryrctl.core.index import Own
from kuryrctl.core.ownership import service_tags
from kuryrctl.core.policy.ranges import address, network
from kuryrctl.core.providers import PROVIDERS, SOURCE_IP, Provider
from kuryrctl.core.service_annotations import Options, asked
from kuryrctl.core.service_external import (
    LOAD_BALANCER,
    NOT_GUARDED,
    External,
    Outside,
    Vip,
    balancer_key,
    is_external,
    provider_of,
    ranges_of,
)
from kuryrctl.core.service_notes import Note, NoteCode
from kuryrctl.core.service_shortfalls import shortfalls
from kuryrctl.core.services import EndpointSlice, Service, ServicePort
from kuryrctl.core.specs import (
    FloatingIPSpec,
    HealthMonitorSpec,
    Key,
    ListenerSpec,
    LoadBalancerSpec,
    MemberSpec,
    MembersSpec,
    PoolSpec,
    ServiceStatusSpec,
)


class Wanted(Struct, frozen=True):
    """What one Service needs. `status` None: its status is none of ours. `skipped` says why it has no load balancer."""

    balancers: tuple[LoadBalancerSpec, ...] = ()
    floating_ips: tuple[FloatingIPSpec, ...] = ()
    status: ServiceStatusSpec | None = None
    notes: tuple[Note, ...] = ()
    skipped: str = ""

    @property
    def specs(self) -> Mapping[Key, LoadBalancerSpec | FloatingIPSpec | ServiceStatusSpec]:
        """Everything by key."""
        status = (self.status,) if self.status else ()
        return {spec.key: spec for spec in (*self.balancers, *self.floating_ips, *status)}


def service_specs(
    service: Service,
    slices: Iterable[EndpointSlice],
    config: Config,
    own: Own,
    balancers: Balancers,
    *,
    unguarded: str = NOT_GUARDED,
) -> Wanted:
    """What should exist for a Service that is not being deleted.

    `unguarded` says why its source ranges are not enforced at its members' ports (`Policies.unguarded`); empty: they
    are.
    """
    skipped = why_skipped(service)
    if skipped:
        return Wanted(status=_status(service, ()), skipped=skipped)
    return _Builder(service, tuple(slices), config, own, balancers).wanted(unguarded)


def why_skipped(service: Service) -> str:
    """Why a Service has no load balancer; empty: it has one."""
    if service.type == "ExternalName":
        return "an ExternalName is an alias in the DNS"
    if not service.cluster_ips:
        return "it is headless: the DNS gives the addresses of its endpoints"
    return ""


class _Builder:
    def __init__(
        self, service: Service, slices: tuple[EndpointSlice, ...], config: Config, own: Own, balancers: Balancers
    ) -> None:
        self._service = service
        self._slices = slices
        self._config = config
        self._own = own
        self._balancers = balancers
        said = asked(service, config.services)
        self._notes: list[Note] = list(said.notes)
        self._options = said.options
        self._provider = self._chosen_provider()
        self._subnets = [(*network(subnet.cidr), f"subnet/pods-{subnet.ip_version}") for subnet in _pods(own)]

    def wanted(self, unguarded: str) -> Wanted:
        vips = {address(each)[0]: each for each in self._service.cluster_ips if self._fits(each)}
        external = External(
            self._service,
            self._options,
            sorted(vips),
            config=self._config,
            own=self._own,
            provider=self._provider,
            balancers=self._balancers,
            unguarded=unguarded,
        )
        outside = external.outside()
        specs = [self._internal(version, vip, outside) for version, vip in sorted(vips.items())]
        specs += [self._external(vip) for vip in outside.vips]
        self._notes += [
            *outside.notes,
            *shortfalls(self._service, self._options, self._provider),
            *slice_notes(self._slices, self._config.service_cidrs),
        ]
        return Wanted(
            balancers=tuple(specs),
            floating_ips=outside.floating_ips,
            status=_status(self._service, self._ingress(specs, outside)),
            notes=tuple(dict.fromkeys(self._notes)),
        )

    # -- load balancers

    def _internal(self, version: int, vip: str, outside: Outside) -> LoadBalancerSpec:
        ranges = self._allowed(version) if outside.floating_ips and outside.open else ()
        within = tuple(sorted(subnet.cidr for subnet in _pods(self._own) if subnet.ip_version == version))
        return self._balancer(str(version), version, vip, allowed=(*ranges, *within) if ranges else ())

    def _external(self, vip: Vip) -> LoadBalancerSpec:
        spec = self._balancer(f"external-{vip.version}", vip.version, vip.address, allowed=self._allowed(vip.version))
        network = "" if vip.subnet else vip.network
        return replace(spec, vip_subnet="", vip_subnet_id=vip.subnet, vip_network_id=network)

    def _balancer(self, part: str, version: int, vip: str, *, allowed: tuple[str, ...]) -> LoadBalancerSpec:
        service = self._service
        tags = service_tags(self._config.cluster_id, service.uid, part)
        key = balancer_key(service.uid, part)
        served = (port for port in service.ports if port.protocol in self._provider.protocols)
        ordered = sorted(served, key=lambda port: (port.port, port.protocol))
        return LoadBalancerSpec(
            key=key,
            name=names.shortened(f"{self._config.cluster_id}/{service.full_name}"),
            description=names.description(tags),
            tags=tags,
            provider=self._provider.name,
            vip_subnet=f"subnet/services-{version}",
            vip_address=vip or None,
            listeners=tuple(self._listener(key, port, version, allowed) for port in ordered),
        )

    def _listener(self, balancer: Key, port: ServicePort, version: int, allowed: tuple[str, ...]) -> ListenerSpec:
        name = f"{port.protocol.lower()}-{port.port}"
        timeouts = self._options if self._provider.listener_timeouts else Options()
        return ListenerSpec(
            key=_below("listener", balancer, name),
            balancer=balancer,
            name=name,
            protocol=port.protocol,
            port=port.port,
            pool=self._pool(balancer, name, port, version),
            allowed_cidrs=allowed,
            timeout_client_data=timeouts.timeout_client_data,
            timeout_member_data=timeouts.timeout_member_data,
        )

    def _pool(self, balancer: Key, name: str, port: ServicePort, version: int) -> PoolSpec:
        key = _below("pool", balancer, name)
        found = backends(self._service, port, version, self._slices, self._config.service_cidrs)
        members = tuple(map(self._member, found))
        return PoolSpec(
            key=key,
            balancer=balancer,
            name=name,
            protocol=port.protocol,
            algorithm=self._algorithm(),
            members=MembersSpec(_below("member", balancer, name), balancer, key, members),
            persistence=self._persistence(port.protocol),
            monitor=self._monitor(balancer, name, key, port.protocol),
        )

    def _member(self, backend: Backend) -> MemberSpec:
        version, number = address(backend[0])
        at = (key for each, (low, high), key in self._subnets if each == version and low <= number <= high)
        return MemberSpec(*backend, next(at, None))

    def _algorithm(self) -> str:
        sticky = self._service.session_affinity == "ClientIP"
        return (sticky and self._provider.affinity_algorithm) or self._provider.algorithm

    def _persistence(self, protocol: str) -> tuple[str, int | None] | None:
        if self._service.session_affinity != "ClientIP" or SOURCE_IP not in self._provider.persistence:
            return None
        timed = protocol in self._provider.persistence_timeouts
        timeout_s = min(self._service.affinity_timeout_s, self._provider.persistence_most_s)
        return SOURCE_IP, timeout_s if timed else None

    def _monitor(self, balancer: Key, name: str, pool: Key, protocol: str) -> HealthMonitorSpec | None:
        method = self._provider.monitors.get(protocol)
        options = self._options
        if not options.monitor or method is None or options.monitor_timeout > options.monitor_delay:
            return None
        return HealthMonitorSpec(
            key=_below("health-monitor", balancer, name),
            balancer=balancer,
            pool=pool,
            name=name,
            method=method,
            delay=options.monitor_delay,
            timeout=options.monitor_timeout,
            max_retries=options.monitor_retries,
        )

    def _allowed(self, version: int) -> tuple[str, ...]:
        """The source ranges, where the load balancer itself enforces them."""
        ours = is_external(self._service) and self._provider.allowed_cidrs
        return ranges_of(self._service).get(version, ()) if ours else ()

    # -- status

    def _ingress(self, specs: list[LoadBalancerSpec], outside: Outside) -> tuple[str, ...]:
        """The addresses that lead to a load balancer which is ACTIVE, or was when they were told."""
        answering = {spec.key: found for spec in specs for found in self._balancers.balancers(spec.key)[:1]}
        if self._options.internal:
            return tuple(sorted(each.vip_address for each in answering.values() if self._works(each, each.vip_address)))
        found = []
        for vip in outside.vips:
            there = answering.get(balancer_key(self._service.uid, f"external-{vip.version}"))
            if there is not None and self._works(there, there.vip_address):
                found.append(there.vip_address)
        for spec in outside.floating_ips:
            there = answering.get(spec.balancer)
            for each in self._balancers.floating_ips_on(there.vip_port_id) if there else ():
                told = each.floating_ip_address
                if there and spec.address in (None, told) and self._works(there, told):
                    found.append(told)
        return tuple(sorted(set(found)))

    def _works(self, balancer: LoadBalancer, address: str) -> bool:
        return balancer.provisioning_status == ACTIVE or address in self._service.ingress

    # -- notes

    def _chosen_provider(self) -> Provider:
        chosen, wanted = provider_of(self._options, self._config.services), self._options.provider
        if wanted and not chosen.is_named(wanted):
            told = f'no provider "{wanted}" is known ({", ".join(PROVIDERS)}); {chosen.name} is used'
            self._notes.append(Note(NoteCode.PROVIDER, told))
        return chosen

    def _fits(self, vip: str) -> bool:
        """Whether a ClusterIP is in a range that we have a subnet for."""
        version, number = address(vip)
        ranges = (network(cidr) for cidr in self._config.service_cidrs)
        if any(each == version and low <= number <= high for each, (low, high) in ranges):
            return True
        told = (
            f"ClusterIP {vip} is not served: it is in none of service_cidrs ({', '.join(self._config.service_cidrs)})"
        )
        self._notes.append(Note(NoteCode.ADDRESS, told, "spec.clusterIPs"))
        return False


def _below(kind: str, balancer: Key, name: str) -> Key:
    """The key of what is below a load balancer."""
    return f"{kind}/{balancer.partition('/')[2]}/{name}"


def _pods(own: Own) -> tuple[Subnet, ...]:
    return tuple(own.pod_subnets.values())


def _status(service: Service, ingress: tuple[str, ...]) -> ServiceStatusSpec | None:
    """The status of a Service whose external part is ours, or was until its type changed."""
    ours = is_external(service) or (service.type != LOAD_BALANCER and service.ingress)
    if not ours:
        return None
    return ServiceStatusSpec(f"service/{service.uid}", service.namespace, service.name, service.uid, ingress)
