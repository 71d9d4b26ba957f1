"""Addresses and CIDRs as an API server may hold them, in the one form that everything behind this layer reads.

API servers before 1.36 admit leading zeros (read as decimal, never as octal) and IPv4 addresses written as IPv6 ones,
and newer ones keep what is stored. Source: Kubernetes, k8s.io/utils/net, ParseIPSloppy and ParseCIDRSloppy.
Does not know: what the addresses are of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_LEADING_ZEROS = re.compile(r"(?<![0-9A-Fa-f])0+(?=[0-9A-Fa-f])")
_CIDR = re.compile(r"(?P<address>[0-9A-Fa-f.:]+)/(?P<bits>[0-9]{1,3})")
_MAPPED_BITS = 96


def addresses(texts: Iterable[str]) -> tuple[str, ...]:
    """Those that are addresses, in their canonical form: nothing can be sent to any other."""
    return tuple(found for text in texts if (found := _address(text)))


def address(text: str) -> str:
    """An address in its canonical form; what is none stays as it is."""
    return _address(text) or text


def cidr(text: str) -> str:
    """A CIDR in its canonical form, without the bits behind its prefix; what is none stays as it is."""
    found = parsed_cidr(text)
    return text if found is None else str(found)


def parsed_cidr(text: str) -> IPv4Network | IPv6Network | None:
    """What an API server takes this CIDR for; None: for none."""
    parts = _CIDR.fullmatch(_LEADING_ZEROS.sub("", text))
    if parts is None:
        return None
    address, bits = _address(parts["address"]), int(parts["bits"])
    if ":" in parts["address"] and address and ":" not in address:
        bits -= _MAPPED_BITS
    try:
        return ip_network(f"{address}/{bits}", strict=False)
    except ValueError:
        return None


def _address(text: str) -> str:
    """The canonical form; empty: it is no address."""
    try:
        found = ip_address(_LEADING_ZEROS.sub("", text))
    except ValueError:
        return ""
    if isinstance(found, IPv6Address):
        return "" if found.scope_id else str(found.ipv4_mapped or found)
    return str(found)
