"""Peers that are addresses: an ipBlock means pods, too, and one IP version says nothing about the other."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest

from tests.functional.policy.site import TCP80, Allows, Site

FAMILIES = (4, 6)


def blocks(*pairs: tuple[str, list[str]]) -> str:
    return ", ".join(f"{{ipBlock: {{cidr: '{cidr}', except: {excluded}}}}}" for cidr, excluded in pairs)


def whole(site: Site, family: int) -> str:
    """All addresses of the pod network."""
    return next(text for text in site.networks if (":" in text) == (family == 6))


def around(site: Site, name: str, family: int) -> str:
    """The eight addresses among which this pod's is."""
    return str(ip_network(f"{site.address(name, family)}/{29 if family == 4 else 125}", strict=False))


def one(site: Site) -> tuple[str, Allows]:
    return blocks(*((site.cidr("y/a", family), []) for family in FAMILIES)), lambda f: f.target == "y/a"


def all_but_one(site: Site) -> tuple[str, Allows]:
    peers = blocks(*((whole(site, family), [site.cidr("y/a", family)]) for family in FAMILIES))
    return peers, lambda f: f.target != "y/a"


def excepted_by_one_and_given_by_another(site: Site) -> tuple[str, Allows]:
    pairs = [(whole(site, family), [around(site, "y/a", family)]) for family in FAMILIES]
    pairs += [(site.cidr("y/a", family), []) for family in FAMILIES]
    hidden = {
        (name, family)
        for name in site.pods
        for family in FAMILIES
        if around(site, name, family) == around(site, "y/a", family)
    } - {("y/a", 4), ("y/a", 6)}
    return blocks(*pairs), lambda f: (f.target, f.family) not in hidden


def one_version_only(site: Site) -> tuple[str, Allows]:
    return blocks((whole(site, 4), [site.cidr("z/b", 4)])), lambda f: f.family == 4 and f.target != "z/b"


def nobody_here(site: Site) -> tuple[str, Allows]:
    return blocks(("198.51.100.0/24", []), ("2001:db8::/32", [])), lambda _: False


@pytest.mark.parametrize(
    "peers_of", [one, all_but_one, excepted_by_one_and_given_by_another, one_version_only, nobody_here]
)
def test_egress_to_addresses(site: Site, peers_of: Callable[[Site], tuple[str, Allows]]) -> None:
    peers, among = peers_of(site)
    specs = {
        "x/out": f"{{podSelector: {{matchLabels: {{pod: a}}}}, policyTypes: [Egress], egress: [{{to: [{peers}]}}]}}"
    }
    site.check(specs, lambda f: f.source != "x/a" or among(f), TCP80)


@pytest.mark.parametrize("peers_of", [one, all_but_one, one_version_only])
def test_ingress_from_addresses(site: Site, peers_of: Callable[[Site], tuple[str, Allows]]) -> None:
    peers, among = peers_of(site)
    specs = {
        "x/in": f"{{podSelector: {{matchLabels: {{pod: a}}}}, ingress: [{{from: [{peers}], ports: [{{port: 80}}]}}]}}"
    }
    site.check(specs, lambda f: f.target != "x/a" or (f.port == 80 and among(f.back())))
