"""What of a Service its provider, or any load balancer of ours, does not do: notes for its owner.

Does not know: what is there, addresses, endpoints.
"""

from __future__ import annotations

from collections.abc import Iterator

from kuryrctl.core.providers import SOURCE_IP, Provider
from kuryrctl.core.service_annotations import Options
from kuryrctl.core.service_external import LOAD_BALANCER, OUR_CLASS, is_external
from kuryrctl.core.service_notes import Note, NoteCode
from kuryrctl.core.services import Service

DEFAULT_AFFINITY_S = 10800


def shortfalls(service: Service, options: Options, chosen: Provider) -> Iterator[Note]:
    """Everything, in the order in which a manifest is read."""
    yield from _unserved(service)
    yield from _of_ports(service, options, chosen)


def _unserved(service: Service) -> Iterator[Note]:
    """What of a Service no load balancer of ours does."""
    if service.type == "NodePort":
        told = "its node ports are not served; its ClusterIP is, also from nodes"
        yield Note(NoteCode.NODE_PORT, told, "spec.type")
    if service.type == LOAD_BALANCER and not is_external(service):
        told = (
            f"its external part is left to whoever serves the class {service.load_balancer_class}; ours is {OUR_CLASS}"
        )
        yield Note(NoteCode.CLASS, told, "spec.loadBalancerClass")
    if service.external_ips:
        told = f"its external IPs are not served: {', '.join(service.external_ips)}"
        yield Note(NoteCode.EXTERNAL_IPS, told, "spec.externalIPs")
    if service.internal_traffic_policy == "Local":
        told = "its members are used from every node, not only those of the client's own"
        yield Note(NoteCode.TRAFFIC_POLICY, told, "spec.internalTrafficPolicy")
    if service.external_traffic_policy == "Local" and service.type == LOAD_BALANCER:
        told = "externalTrafficPolicy Local has no effect: packets go straight to the members, over no other node"
        yield Note(NoteCode.TRAFFIC_POLICY, told, "spec.externalTrafficPolicy")


def _of_ports(service: Service, options: Options, chosen: Provider) -> Iterator[Note]:
    protocols = {port.protocol for port in service.ports}
    for protocol in sorted(protocols - chosen.protocols):
        yield Note(NoteCode.PROTOCOL, f"its {protocol} ports are not served: {chosen.name} forwards none")
    if service.session_affinity == "ClientIP":
        yield from _of_affinity(service, chosen, protocols & chosen.protocols)
    if options.monitor and options.monitor_timeout > options.monitor_delay:
        told = f"no health monitor: its time-out of {options.monitor_timeout} s is longer than its delay"
        yield Note(NoteCode.MONITOR, f"{told} of {options.monitor_delay} s")
    elif options.monitor:
        for protocol in sorted((protocols & chosen.protocols) - chosen.monitors.keys()):
            yield Note(NoteCode.MONITOR, f"no health monitor for {protocol}: {chosen.name} has none")
    timed = (options.timeout_client_data, options.timeout_member_data) != (None, None)
    if timed and not chosen.listener_timeouts:
        yield Note(NoteCode.ANNOTATION, f"its time-outs for data have no effect: {chosen.name} has none")


def _of_affinity(service: Service, chosen: Provider, protocols: set[str]) -> Iterator[Note]:
    field = "spec.sessionAffinity"
    if SOURCE_IP not in chosen.persistence:
        yield Note(NoteCode.AFFINITY, f"no session affinity: {chosen.name} has none", field)
        return
    untimed = ", ".join(sorted(protocols - chosen.persistence_timeouts))
    if untimed and service.affinity_timeout_s != DEFAULT_AFFINITY_S:
        told = f"its time-out of {service.affinity_timeout_s} s does not count for {untimed}"
        told += f": affinity lasts {chosen.affinity_lasts}"
        yield Note(NoteCode.AFFINITY, told, f"{field}Config.clientIP.timeoutSeconds")
