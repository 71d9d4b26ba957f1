"""What a security group rule says, to compare one that exists with one that should: ids and descriptions do not count.

Does not know: which rules should exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from kuryrctl.core.cloud import SecurityGroupRule
from kuryrctl.core.specs import Key, RuleSpec

Content: TypeAlias = tuple[str, str, str, int | None, int | None, str, str]
"""Direction, ethertype, protocol, first and last port, remote CIDR, remote group's id; empty: not restricted."""

_EVERYWHERE = (None, "0.0.0.0/0", "::/0")


def content(rule: SecurityGroupRule) -> Content:
    """What an existing rule says."""
    remote = "" if rule.remote_ip_prefix in _EVERYWHERE else str(rule.remote_ip_prefix)
    group = rule.remote_group_id or rule.remote_address_group_id or ""
    return (
        rule.direction,
        rule.ethertype,
        rule.protocol or "",
        rule.port_range_min,
        rule.port_range_max,
        remote,
        group,
    )


def content_of_spec(rule: RuleSpec, id_of: Callable[[Key], str]) -> Content:
    """What a rule should say. A remote group that does not exist yet stands there by its key: no rule can say that."""
    remote = "" if rule.remote_ip_prefix in _EVERYWHERE else str(rule.remote_ip_prefix)
    group = (id_of(rule.remote_group) or rule.remote_group) if rule.remote_group else ""
    return (
        rule.direction,
        rule.ethertype,
        rule.protocol or "",
        rule.port_range_min,
        rule.port_range_max,
        remote,
        group,
    )


def text(said: Content) -> str:
    """For people: ``ingress IPv4 tcp 80-80 10.0.0.0/8``."""
    direction, ethertype, protocol, low, high, remote, group = said
    ports = "" if low is None else f" {low}-{high}"
    return f"{direction} {ethertype} {protocol or 'any'}{ports} {remote or group or 'everywhere'}"
