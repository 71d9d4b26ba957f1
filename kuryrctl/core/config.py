"""The configuration of one cluster: its options, their defaults, and what a valid value is.

Knows: every option, by its path (``pod_network.cidrs``). Does not know: where values come from (a file, the
environment, a command line: `cli/settings.py`), nor credentials, which stay in clouds.yaml and kubeconfig.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, Literal, TypeAlias, get_type_hints

import msgspec
from msgspec import Meta, Struct

from kuryrctl.core.errors import Invalid, Owner

LEASE_NAMESPACE: Final = "kube-system"
LEASE_DURATION_S: Final = 15
"""Seconds without a renewal after which another holder may take the cluster's Lease (Kubernetes' own default)."""

_HINT = "docs/configuration.md describes every option; kuryrctl config validate FILE checks a file"
_CLUSTER_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_OVSDB = re.compile(r"unix:/.+|(tcp|ssl):.+:\d+")
_UNIX_PATH_MAX = 107
_INTERFACE_NAME_MAX = 15

_Network: TypeAlias = IPv4Network | IPv6Network
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=1000)]
_Seconds: TypeAlias = Annotated[int, Meta(ge=1, le=86400)]


class BadOption(Invalid):
    """A configuration that can never work; `path` is the bad value's, for example ``pod_network.cidrs[1]``."""

    def __init__(self, path: str, message: str, *, hint: str = _HINT) -> None:
        super().__init__(f"{path}: {message}" if path else message, code="CFG-INVALID", owner=Owner.USER, hint=hint)
        self.path = path


class PodNetwork(Struct, frozen=True, forbid_unknown_fields=True):
    """The network of the pods. `name` (or id) of an existing network to adopt; None: `cluster init` makes one."""

    name: str | None = None
    cidrs: tuple[str, ...] = ("10.65.0.0/22", "fd00:10:65::/64")

    @property
    def known_cidrs(self) -> tuple[str, ...]:
        """Where all pods' addresses are; empty for an adopted network, of which only the cloud knows it."""
        return () if self.name else self.cidrs


class NodeOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What differs between nodes: the agent's socket, the OVSDB address of Open vSwitch, its integration bridge."""

    socket: str = "/run/kuryrctl/agent.sock"
    ovsdb: str = "unix:/var/run/openvswitch/db.sock"
    bridge: str = "br-int"


class ServiceOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How Services become load balancers.

    `allow` gives for each namespace (``*``: every one) the cloud objects that its Services may name: names, ids,
    addresses, networks (an address is allowed by one that contains it), or ``*``.
    """

    provider: Literal["ovn", "amphora"] = "ovn"
    external: Literal["floating-ip", "provider-network"] = "floating-ip"
    allow: dict[str, tuple[str, ...]] = {}

    def allows(self, namespace: str, *wanted: str) -> bool:
        """Whether Services of a namespace may use an object that has (one of) these names."""
        entries = (*self.allow.get(namespace, ()), *self.allow.get("*", ()))
        return any(entry in ("*", each) or _contains(entry, each) for entry in entries for each in wanted)


class Lease(Struct, frozen=True):
    """The Lease that one writer holds at a time."""

    namespace: str
    name: str
    duration_s: int


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Every option, with a default that works in the lab. Docs: ``docs/configuration.md``.

    `router` and `external_network` are names or ids; a None `router` is made by `cluster init`, a None
    `external_network` leaves it without a gateway. `max_deletes` None: the larger of 10 and 5 %. `audit_log` None:
    audit lines go to the process' log (stderr).
    """

    cluster_id: str = "kuryr"
    pod_network: PodNetwork = PodNetwork()
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16", "fd00:10:96::/112")
    router: str | None = None
    external_network: str | None = "public"
    port_batch: _Count = 10
    workers: _Count = 2
    full_turn_s: _Seconds = 60
    max_deletes: Annotated[int, Meta(ge=0)] | None = None
    audit_log: str | None = None
    node: NodeOptions = NodeOptions()
    services: ServiceOptions = ServiceOptions()

    @property
    def lease(self) -> Lease:
        """The cluster's Lease: one for each cluster id, so two ids in one cluster do not wait for each other."""
        return Lease(LEASE_NAMESPACE, f"kuryrctl-{self.cluster_id}", LEASE_DURATION_S)


def parse_config(values: Mapping[str, Any]) -> Config:
    """A valid Config of nested plain values (as YAML gives them); what is absent has its default.

    Raises BadOption, naming the path of the first bad value. Unknown keys are bad, with the nearest known one named.
    """
    _refuse_unknown(values, Config, "")
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise _bad_option(error) from None
    _check(config)
    return config


def options() -> dict[str, Any]:
    """The type of each option, by its path, in the order of the documentation."""
    return dict(_leaves(Config, ""))


def value_of(config: Config, path: str) -> Any:
    """The value of the option at `path` (a key of `options`), as plain JSON types."""
    value: Any = msgspec.to_builtins(config)
    for key in path.split("."):
        value = value[key]
    return list(value) if isinstance(value, tuple) else value


def nearest(word: str, known: Iterator[str] | Mapping[str, Any]) -> str:
    """The end of an error message: the known word that is meant, or all of them."""
    names = sorted(known)
    meant = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f'did you mean "{meant[0]}"?' if meant else f"known: {', '.join(names)}"


def _leaves(struct: type[Struct], prefix: str) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(struct, include_extras=True)
    for name in struct.__struct_fields__:
        hint = hints[name]
        if isinstance(hint, type) and issubclass(hint, Struct):
            yield from _leaves(hint, f"{prefix}{name}.")
        else:
            yield prefix + name, hint


def _refuse_unknown(values: Mapping[str, Any], struct: type[Struct], prefix: str) -> None:
    hints = get_type_hints(struct)
    for key, value in values.items():
        if key not in hints:
            raise BadOption(f"{prefix}{key}", f"there is no such option; {nearest(str(key), hints)}")
        section = hints[key]
        if isinstance(section, type) and issubclass(section, Struct) and isinstance(value, Mapping):
            _refuse_unknown(value, section, f"{prefix}{key}.")


def _bad_option(error: msgspec.ValidationError) -> BadOption:
    """msgspec says ``Expected `int`, got `str` - at `$.port_batch```; a person needs the path first."""
    what, _, where = str(error).partition(" - at ")
    message = what.replace("`", "").replace("object", "a mapping")
    return BadOption(where.strip("`").removeprefix("$").removeprefix("."), message[:1].lower() + message[1:])


def _check(config: Config) -> None:
    """What types alone cannot say."""
    if not _CLUSTER_ID.fullmatch(config.cluster_id):
        raise BadOption(
            "cluster_id", f'"{config.cluster_id}" is not a name of at most 32 small letters, digits and inner dashes'
        )
    pods = _networks("pod_network.cidrs", config.pod_network.cidrs)
    services = _networks("service_cidrs", config.service_cidrs)
    if len({network.version for network in pods}) < len(pods):
        raise BadOption("pod_network.cidrs", "at most one IPv4 and one IPv6 network can be given")
    for index, service in enumerate(services):
        clash = next((pod for pod in pods if _overlap(pod, service)), None)
        if clash:
            raise BadOption(f"service_cidrs[{index}]", f"{service} overlaps with the pods' {clash}")
    _check_node(config.node)
    if config.audit_log is not None and not config.audit_log.startswith("/"):
        raise BadOption("audit_log", f'"{config.audit_log}" is not an absolute path')


def _check_node(node: NodeOptions) -> None:
    if not node.socket.startswith("/") or len(node.socket.encode()) > _UNIX_PATH_MAX:
        raise BadOption("node.socket", f'"{node.socket}" is not an absolute path of at most {_UNIX_PATH_MAX} bytes')
    if not _OVSDB.fullmatch(node.ovsdb):
        raise BadOption("node.ovsdb", f'"{node.ovsdb}" is none of unix:/PATH, tcp:HOST:PORT, ssl:HOST:PORT')
    if not 0 < len(node.bridge.encode()) <= _INTERFACE_NAME_MAX:
        raise BadOption("node.bridge", f'"{node.bridge}" is not a name of 1 to {_INTERFACE_NAME_MAX} bytes')


def _networks(path: str, cidrs: tuple[str, ...]) -> list[_Network]:
    if not cidrs:
        raise BadOption(path, "at least one network is needed")
    return [_network(f"{path}[{index}]", cidr) for index, cidr in enumerate(cidrs)]


def _network(path: str, cidr: str) -> _Network:
    try:
        return ip_network(cidr)
    except ValueError as error:
        raise BadOption(path, f'"{cidr}" is not a network (ADDRESS/PREFIX): {error}') from None


def _contains(cidr: str, address: str) -> bool:
    """Whether the first is a network, the second an address, and it is in there."""
    try:
        return ip_address(address) in ip_network(cidr)
    except ValueError:
        return False


def _overlap(one: _Network, other: _Network) -> bool:
    return one.version == other.version and one.overlaps(other)
