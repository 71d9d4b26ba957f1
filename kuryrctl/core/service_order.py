"""What of groups has to be in the cloud before a load balancer forwards: an order between two differences.

A packet that enters a load balancer is checked against the VIP once, and against the member from then on (OVN). So
while an old rule still lets a port of the VIP out, a new listener or member would get first packets that no policy
allows. Such rules go first. And nothing leads from outside to a Service with source ranges before the ports of its
members keep all others out. Decision: docs/decisions/060-how-policies-become-groups.md.
Does not know: how either difference is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from kuryrctl.core.cloud import SecurityGroupRule
from kuryrctl.core.desired import pod_key
from kuryrctl.core.diff_groups import Policed, rule_key
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key, ListenerSpec

_ETHERTYPE = {4: "IPv4", 6: "IPv6"}
_NUMBERS = {"6": "tcp", "17": "udp", "132": "sctp"}


def closing(policed: Policed, vip: str, listeners: Iterable[ListenerSpec]) -> tuple[Key, ...]:
    """The keys of the steps that delete rules which let packets out to these listeners at the VIP."""
    gates = {(each.protocol.lower(), each.port) for each in listeners}
    return tuple(
        rule_key(group, rule)
        for group, rule in policed.egress_deletes()
        if any(_lets_out(rule, vip, protocol, port) for protocol, port in gates)
    )


def guarding(policed: Policed, service: Service) -> tuple[Key, ...]:
    """The keys of the ports that are still to be given the groups by which a Service's source ranges are enforced."""
    if not service.source_ranges:
        return ()
    return tuple(map(pod_key, sorted(filter(policed.is_to_be_relisted, policed.policies.limited_by(service)))))


def _lets_out(rule: SecurityGroupRule, vip: str, protocol: str, port: int) -> bool:
    address = ip_address(vip)
    if rule.ethertype != _ETHERTYPE[address.version] or rule.remote_group_id or rule.remote_address_group_id:
        return False
    if rule.remote_ip_prefix and address not in ip_network(rule.remote_ip_prefix, strict=False):
        return False
    if rule.protocol and _NUMBERS.get(rule.protocol, rule.protocol) not in (protocol, "any"):
        return False
    low, high = rule.port_range_min, rule.port_range_max
    return low is None or low <= port <= (low if high is None else high)
