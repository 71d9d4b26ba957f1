"""The CNI's words: what a call carries, what a result looks like in each version of the specification, error codes.

Source: containernetworking/cni SPEC.md 1.1.0 and the older versions' conversions. Pure.
"""

from __future__ import annotations

import re
from enum import IntEnum, StrEnum
from ipaddress import ip_interface
from typing import Any

import msgspec
from msgspec import Struct, field

from kuryrctl.core.decoding import decode
from kuryrctl.core.errors import Invalid, KuryrError, Owner, Retryable
from kuryrctl.node.binder import Bound, routes_of
from kuryrctl.node.cni import VERSIONS

_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_IFNAME = re.compile(r"[^/:\s]{1,15}")


class Verb(StrEnum):
    """CNI_COMMAND."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"


class Code(IntEnum):
    """Error codes: the specification's, and from 100 on our own."""

    INCOMPATIBLE_VERSION = 1
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN_LATER = 11
    PLUGIN_NOT_AVAILABLE = 50
    BIND_FAILED = 100
    NOT_AS_ADDED = 101


class CniError(KuryrError):
    """A call that is answered with an error object; `cni_code` is its code."""

    def __init__(self, cni_code: Code, message: str, *, code: str = "CNI", hint: str = "") -> None:
        super().__init__(message, code=code, owner=Owner.NODE, hint=hint)
        self.cni_code = cni_code


class ValidAttachment(Struct, frozen=True):
    """An attachment that GC must leave alone."""

    container_id: str = field(name="containerID")
    ifname: str


class NetworkConfig(Struct, frozen=True, rename="camel"):
    """What we read of a plugin's network configuration.

    `pod_namespace` is ours (``podNamespace``): a runtime that knows no Kubernetes names its containers after the pods
    of this namespace. It never tells a uid, so the pod that has the name now is meant.
    """

    cni_version: str = "0.1.0"
    name: str = ""
    pod_namespace: str = ""
    valid_attachments: tuple[ValidAttachment, ...] | None = field(default=None, name="cni.dev/valid-attachments")


class _Versioned(Struct, frozen=True, rename="camel"):
    cni_version: str = ""


class CniCall(Struct, frozen=True):
    """One call of a runtime. `pod` is ``namespace/name``; `pod_uid` its uid, where a kubelet asks."""

    verb: Verb
    config: NetworkConfig
    sandbox: str = ""
    ifname: str = ""
    netns: str = ""
    pod: str = ""
    pod_uid: str = ""

    @property
    def names_its_pod(self) -> bool:
        """Whether it says which pod it is for: by uid, or by name where the network's configuration allows that."""
        by_name = self.config.pod_namespace and self.pod.startswith(f"{self.config.pod_namespace}/")
        return bool(self.pod and (self.pod_uid or by_name))


def parse_call(environment: dict[str, str], config: str) -> CniCall:
    """The typed call, or CniError."""
    try:
        parsed = decode(config, NetworkConfig)
    except msgspec.DecodeError as error:
        raise CniError(Code.DECODING_FAILURE, f"the network configuration is not understood: {error}") from None
    verb = _verb(environment.get("CNI_COMMAND", ""), parsed.cni_version)
    if not parsed.name and verb is not Verb.STATUS:
        raise CniError(Code.INVALID_CONFIG, "the network configuration has no name")
    sandbox, ifname = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if sandbox and not _NAME.fullmatch(sandbox):
        raise CniError(Code.INVALID_ENVIRONMENT, f'CNI_CONTAINERID "{sandbox}" is no container id')
    if ifname and (not _IFNAME.fullmatch(ifname) or ifname in (".", "..")):
        raise CniError(Code.INVALID_ENVIRONMENT, f'CNI_IFNAME "{ifname}" is no interface name')
    arguments = dict(pair.split("=", 1) for pair in environment.get("CNI_ARGS", "").split(";") if "=" in pair)
    namespace, name = arguments.get("K8S_POD_NAMESPACE") or parsed.pod_namespace, arguments.get("K8S_POD_NAME", "")
    return CniCall(
        verb=verb,
        config=parsed,
        sandbox=sandbox,
        ifname=ifname,
        netns=environment.get("CNI_NETNS", ""),
        pod=f"{namespace}/{name}" if namespace and name else "",
        pod_uid=arguments.get("K8S_POD_UID", ""),
    )


def result(bound: Bound, version: str) -> dict[str, Any]:
    """The success result of ADD in the form of that version."""
    wanted, modern = bound.request.interface, version >= "1.0.0"
    host: dict[str, Any] = {"name": bound.host_link}
    pod: dict[str, Any] = {"name": wanted.name, "mac": wanted.mac_address, "sandbox": bound.request.netns}
    if version >= "1.1.0":
        host["mtu"] = pod["mtu"] = wanted.mtu
    gateways = {ip_interface(gateway).version: gateway for gateway in wanted.gateways}
    ips = []
    for address in wanted.addresses:
        family = ip_interface(address).version
        ip: dict[str, Any] = {"address": address, "interface": 1}
        if family in gateways:
            ip["gateway"] = gateways[family]
        if not modern:
            ip["version"] = str(family)
        ips.append(ip)
    routes = [{"dst": route.destination, "gw": route.gateway} for route in routes_of(wanted)]
    return {"cniVersion": version, "interfaces": [host, pod], "ips": ips, "routes": routes, "dns": {}}


def version_of(config: str) -> str:
    """The version in which a network configuration wants its answer, as far as it can be read; else empty."""
    try:
        return decode(config, _Versioned).cni_version
    except msgspec.DecodeError:
        return ""


def error_object(error: KuryrError, version: str) -> dict[str, Any]:
    """The error object of a failed call."""
    supported = version if version in VERSIONS else VERSIONS[-1]
    details = f"{error.owner}, {error.code}" + (f"; next: {error.hint}" if error.hint else "")
    return {"cniVersion": supported, "code": int(code_of(error)), "msg": error.message, "details": details}


def code_of(error: KuryrError) -> Code:
    """The CNI code that an error of ours is told with."""
    if isinstance(error, CniError):
        return error.cni_code
    if isinstance(error, Retryable):
        return Code.TRY_AGAIN_LATER
    if error.code.startswith("NODE-NETNS"):
        return Code.INVALID_ENVIRONMENT
    if isinstance(error, Invalid):
        return Code.INVALID_CONFIG
    return Code.BIND_FAILED


def _verb(text: str, version: str) -> Verb:
    if version not in VERSIONS:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f'cniVersion "{version}" is not supported',
            hint=f"supported: {', '.join(VERSIONS)}",
        )
    try:
        verb = Verb(text)
    except ValueError:
        raise CniError(Code.INVALID_ENVIRONMENT, f'CNI_COMMAND "{text}" is not known') from None
    if version < _SINCE.get(verb, VERSIONS[0]):
        raise CniError(Code.INCOMPATIBLE_VERSION, f"CNI {version} has no {verb}")
    return verb
