"""What of a Service its load balancer cannot do, or is probably not meant: findings with stable codes.

Most are the notes that the plan itself makes (`service_desired`), so a manifest is told what its Service would be told.
Each can be accepted in the Service's annotation (`core.lint`). Does not know: files, formats of reports, the cloud.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from types import MappingProxyType

from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.cloud import Subnet
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.index import Own
from kuryrctl.core.lint import LINT_IGNORE, Check, Level, LintFinding, judged
from kuryrctl.core.ownership import Identity
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.service_annotations import asked
from kuryrctl.core.service_desired import service_specs, why_skipped
from kuryrctl.core.service_external import is_external
from kuryrctl.core.service_index import ServiceIndex
from kuryrctl.core.service_notes import Note, NoteCode
from kuryrctl.core.services import EndpointSlice, Service

LINT_SCHEMA = "kuryrctl.service-lint/1"
_OF_NOTES = {
    code: Check(code.value, level, title)
    for code, level, title in (
        (NoteCode.ADDRESS, Level.ERROR, "A ClusterIP is in none of the Service ranges"),
        (NoteCode.PROTOCOL, Level.ERROR, "The provider does not forward a protocol"),
        (NoteCode.RANGES, Level.ERROR, "Source ranges that cannot be enforced, so there is no external address"),
        (NoteCode.ALLOW, Level.ERROR, "A cloud object is named that the operator does not allow"),
        (NoteCode.FLOATING_IP, Level.ERROR, "The floating IP that is asked for cannot be used"),
        (NoteCode.PROVIDER, Level.ERROR, "No such provider is known"),
        (NoteCode.NETWORK, Level.WARNING, "There is no external address of an IP version"),
        (NoteCode.ENDPOINT, Level.WARNING, "An endpoint that nothing can be sent to"),
        (NoteCode.EXTERNAL_IPS, Level.WARNING, "External IPs are not served"),
        (NoteCode.AFFINITY, Level.WARNING, "Session affinity that the provider has not, or not so"),
        (NoteCode.ANNOTATION, Level.WARNING, "An annotation has no effect"),
        (NoteCode.MONITOR, Level.WARNING, "A health monitor that the provider has not, or that cannot work"),
        (NoteCode.TRAFFIC_POLICY, Level.NOTE, "A traffic policy Local has no effect"),
        (NoteCode.NODE_PORT, Level.NOTE, "Node ports are not served"),
        (NoteCode.CLASS, Level.NOTE, "Another controller serves the external part"),
    )
}
PORT_CLASH = Check("SVC-PORT-CLASH", Level.ERROR, "Two ports of the Service are the same")
ADDRESS_CLASH = Check("SVC-ADDRESS-CLASH", Level.ERROR, "Two Services ask for the same address")
NO_PORT = Check("SVC-NO-PORT", Level.WARNING, "No endpoint answers for a port of the Service")
NO_FAMILY = Check("SVC-NO-FAMILY", Level.WARNING, "A Service has an address of an IP version that no endpoint has")
SUPPRESSION = Check("SVC-IGNORE", Level.ERROR, "An acceptance has no reason, or names no known code")
CHECKS = (*_OF_NOTES.values(), PORT_CLASH, ADDRESS_CLASH, NO_PORT, NO_FAMILY, SUPPRESSION)


def lint(cluster: ClusterState, config: Config) -> tuple[LintFinding, ...]:
    """All findings of all Services by name, as if the cloud had what the configuration names, and nothing more."""
    own, balancers = _nothing_made_yet(config)
    index = ServiceIndex(cluster.services, cluster.endpoint_slices)
    policies = _guarding(cluster, config)
    clashes = _address_clashes(cluster.services.values(), config)
    found: list[LintFinding] = []
    for service in sorted(cluster.services.values(), key=lambda service: service.full_name):
        slices, unguarded = index.slices_of(service), policies.unguarded(service)
        notes = service_specs(service, slices, config, own, balancers, unguarded=unguarded).notes
        more = (*_port_clashes(service), *clashes.get(service.full_name, ()), *_unanswered(service, slices))
        found += findings(service, notes, more)
    return tuple(found)


def findings(service: Service, notes: Iterable[Note], more: Iterable[LintFinding] = ()) -> list[LintFinding]:
    """The notes of one Service (and `more`) as findings, those that its user accepts with the reason why."""
    told = [LintFinding(_OF_NOTES[note.code], service.full_name, note.message, note.field) for note in notes]
    return judged(service.full_name, service.annotations.get(LINT_IGNORE, ""), [*told, *more], CHECKS, SUPPRESSION)


def _port_clashes(service: Service) -> Iterator[LintFinding]:
    """The API server refuses them as well; a manifest has not met it yet."""
    numbers = Counter((port.port, port.protocol) for port in service.ports)
    for (number, protocol), count in numbers.items():
        if count > 1:
            yield LintFinding(
                PORT_CLASH, service.full_name, f"{number}/{protocol} is there {count} times", "spec.ports"
            )
    names = Counter(port.name for port in service.ports)
    for name, count in names.items():
        if count > 1:
            told = f'{count} ports are named "{name}"' if name else f"{count} ports have no name"
            yield LintFinding(PORT_CLASH, service.full_name, f"{told}: endpoints are matched by name", "spec.ports")


def _unanswered(service: Service, slices: Iterable[EndpointSlice]) -> Iterator[LintFinding]:
    """Ports and IP versions that nobody answers on, though somebody answers: nobody at all is no manifest's fault."""
    filled = [each for each in slices if each.endpoints]
    if not filled or why_skipped(service):
        return
    offered = {(port.name, port.protocol) for each in filled for port in each.ports}
    for number, port in enumerate(service.ports):
        if (port.name, port.protocol) not in offered:
            told = f"no endpoint answers for {port.port}/{port.protocol}: no EndpointSlice has this port"
            if isinstance(port.target_port, str):
                told = f'no endpoint has a container port named "{port.target_port}" ({port.protocol})'
            yield LintFinding(NO_PORT, service.full_name, told, f"spec.ports[{number}]")
    types = {each.address_type for each in filled}
    for vip in service.cluster_ips:
        family = f"IPv{ip_address(vip).version}"
        if family not in types:
            told = f"nobody answers at {vip}: its endpoints have addresses of {', '.join(sorted(types))} only"
            yield LintFinding(NO_FAMILY, service.full_name, told, "spec.clusterIPs")


def _address_clashes(services: Iterable[Service], config: Config) -> dict[str, list[LintFinding]]:
    """Told of the later name only: the first one may stay."""
    holders: dict[str, str] = {}
    found: dict[str, list[LintFinding]] = {}
    for service in sorted(services, key=lambda service: service.full_name):
        for address, field in _addresses(service, config):
            holder = holders.setdefault(address, service.full_name)
            if holder != service.full_name:
                told = f"{address} is asked for by {holder}, too: only one of them can have it"
                found.setdefault(service.full_name, []).append(
                    LintFinding(ADDRESS_CLASH, service.full_name, told, field)
                )
    return found


def _addresses(service: Service, config: Config) -> Iterator[tuple[str, str]]:
    if not is_external(service):
        return
    if service.load_balancer_ip:
        yield service.load_balancer_ip, "spec.loadBalancerIP"
    elif address := asked(service, config.services).options.address:
        yield address, "metadata.annotations"


def _guarding(cluster: ClusterState, config: Config) -> Policies:
    """Who enforces source ranges at the ports of pods; nothing is compiled where no Service has any."""
    policies = Policies(config)
    if any(service.source_ranges for service in cluster.services.values()):
        policies.replace(cluster)
    return policies


def _nothing_made_yet(config: Config) -> tuple[Own, Balancers]:
    """A cloud that has the pods' subnets and the external network of the configuration, and no load balancer."""
    identity = Identity(config.cluster_id, "", "")
    networks = sorted(map(ip_network, config.pod_network.cidrs), key=lambda network: network.version)
    subnets = {str(each): Subnet(str(each), "", str(each), each.version) for each in networks}
    external = config.external_network or config.router or ""
    own = Own(identity, MappingProxyType({}), external_network_id=external, pod_subnets=MappingProxyType(subnets))
    return own, Balancers(identity)
