"""What the CNI specification says that a plugin prints, for each of its versions, strictly: nothing unknown, no null.

Source: containernetworking/cni, SPEC.md of tags spec-v0.3.1 to spec-v1.1.0 ("Result types", "Error codes").
"""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import msgspec
from msgspec import Struct

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
WELL_KNOWN_ERRORS = {1, 2, 3, 4, 5, 6, 7, 11, 50, 51}
RESERVED_ERRORS = range(100)
"""Plugins use others of their own (0.3.1: "Error codes 0-99 are reserved for well-known errors")."""


class _Strict(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An object of the specification."""


class OldInterface(_Strict):
    name: str
    mac: str | msgspec.UnsetType = msgspec.UNSET
    sandbox: str | msgspec.UnsetType = msgspec.UNSET


class Interface(OldInterface):
    mtu: int | msgspec.UnsetType = msgspec.UNSET
    socket_path: str | msgspec.UnsetType = msgspec.UNSET
    pci_id: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="pciID")


class Ip(_Strict):
    address: str
    gateway: str | msgspec.UnsetType = msgspec.UNSET
    interface: int | msgspec.UnsetType = msgspec.UNSET


class OldIp(Ip, kw_only=True):
    version: str


class OldRoute(_Strict):
    dst: str
    gw: str | msgspec.UnsetType = msgspec.UNSET


class Route(OldRoute):
    mtu: int | msgspec.UnsetType = msgspec.UNSET
    advmss: int | msgspec.UnsetType = msgspec.UNSET
    priority: int | msgspec.UnsetType = msgspec.UNSET
    table: int | msgspec.UnsetType = msgspec.UNSET
    scope: int | msgspec.UnsetType = msgspec.UNSET


class Dns(_Strict):
    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Result031(_Strict):
    """0.3.1 and 0.4.0: an address says its family."""

    cni_version: str
    interfaces: tuple[OldInterface, ...]
    ips: tuple[OldIp, ...]
    routes: tuple[OldRoute, ...] = ()
    dns: Dns = Dns()


class Result100(_Strict):
    """1.0.0: it does not any more."""

    cni_version: str
    interfaces: tuple[OldInterface, ...]
    ips: tuple[Ip, ...]
    routes: tuple[OldRoute, ...] = ()
    dns: Dns = Dns()


class Result110(_Strict):
    """1.1.0: interfaces and routes say more."""

    cni_version: str
    interfaces: tuple[Interface, ...]
    ips: tuple[Ip, ...]
    routes: tuple[Route, ...] = ()
    dns: Dns = Dns()


class Error(_Strict):
    """A failed call's."""

    cni_version: str
    code: int
    msg: str
    details: str = ""


class Versions(_Strict):
    """The answer to VERSION."""

    cni_version: str
    supported_versions: tuple[str, ...]


RESULTS = {"0.3.1": Result031, "0.4.0": Result031, "1.0.0": Result100, "1.1.0": Result110}


def check_result(answer: Any, version: str) -> None:
    """AssertionError or msgspec.ValidationError unless it is a result of ADD in that version."""
    found = msgspec.convert(answer, RESULTS[version])
    assert found.cni_version == version
    for ip in found.ips:
        family = ip_interface(ip.address).version
        assert "/" in ip.address
        assert ip.interface is not msgspec.UNSET
        assert isinstance(found.interfaces[ip.interface].sandbox, str), (
            "an address belongs to the container's interface"
        )
        assert ip.gateway is msgspec.UNSET or ip_address(ip.gateway).version == family
        assert not isinstance(ip, OldIp) or ip.version == str(family)
    for route in found.routes:
        ip_network(route.dst)
        assert route.gw is msgspec.UNSET or ip_address(route.gw).version == ip_network(route.dst).version


def check_error(answer: Any, version: str) -> int:
    """The code of an error object that is one of the specification's or a plugin's own."""
    found = msgspec.convert(answer, Error)
    assert found.cni_version == version
    assert found.msg, "an error says what is wrong"
    assert found.code in WELL_KNOWN_ERRORS or found.code not in RESERVED_ERRORS
    return found.code


def check_versions(answer: Any, version: str) -> None:
    """AssertionError or msgspec.ValidationError unless it answers VERSION."""
    assert msgspec.convert(answer, Versions) == Versions(version, VERSIONS)
