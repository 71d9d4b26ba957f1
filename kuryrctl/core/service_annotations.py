"""The annotations that load balancers know, as data, and what a Service's say.

Two families: ``loadbalancer.openstack.org/*`` (cloud-provider-openstack, "Exposing applications using services of
LoadBalancer type") and ``openstack.org/kuryr-*`` (kuryr-kubernetes, and what we need beyond both). Those that name
cloud objects, and the provider, count only where the operator allows the namespace that value.
Does not know: what a provider can do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from kuryrctl.core.config import ServiceOptions
from kuryrctl.core.service_notes import Note, NoteCode
from kuryrctl.core.services import Service

CPO, KURYR = "loadbalancer.openstack.org/", "openstack.org/kuryr-"
INTERNAL = "service.beta.kubernetes.io/openstack-internal-load-balancer"
PREFIXES: Final = (CPO, KURYR, INTERNAL)
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0", "")


class Options(Struct, frozen=True):
    """What annotations ask for, None or empty: nothing. Listeners' time-outs in milliseconds, monitors' in seconds."""

    timeout_client_data: int | None = None
    timeout_member_data: int | None = None
    monitor: bool = False
    monitor_delay: int = 5
    monitor_timeout: int = 3
    monitor_retries: int = 1
    provider: str = ""
    floating_network: str = ""
    floating_subnet: str = ""
    vip_subnet: str = ""
    address: str = ""
    keep_floating_ip: bool = False
    internal: bool = False


class Annotation(Struct, frozen=True):
    """One annotation that is known. `option` is the field of Options that it sets; empty: none, and `why` says why.

    `least` and `most` bound a number. `names_object`: it counts only where the operator allows its value.
    """

    name: str
    option: str = ""
    why: str = ""
    least: int = 1
    most: int = 0
    names_object: bool = False


_DAY_MS = 24 * 3600 * 1000
_ALWAYS_POOLS = "each Service has load balancers of its own"
ANNOTATIONS: Final[Mapping[str, Annotation]] = MappingProxyType(
    {
        each.name: each
        for each in (
            Annotation(f"{KURYR}timeout-client-data", "timeout_client_data", least=0, most=_DAY_MS),
            Annotation(f"{KURYR}timeout-member-data", "timeout_member_data", least=0, most=_DAY_MS),
            Annotation(f"{KURYR}lb-provider", "provider", names_object=True),
            Annotation(f"{CPO}timeout-client-data", "timeout_client_data", least=0, most=_DAY_MS),
            Annotation(f"{CPO}timeout-member-data", "timeout_member_data", least=0, most=_DAY_MS),
            Annotation(f"{CPO}enable-health-monitor", "monitor"),
            Annotation(f"{CPO}health-monitor-delay", "monitor_delay", most=3600),
            Annotation(f"{CPO}health-monitor-timeout", "monitor_timeout", most=3600),
            Annotation(f"{CPO}health-monitor-max-retries", "monitor_retries", most=10),
            Annotation(f"{CPO}floating-network-id", "floating_network", names_object=True),
            Annotation(f"{CPO}floating-subnet-id", "floating_subnet", names_object=True),
            Annotation(f"{CPO}subnet-id", "vip_subnet", names_object=True),
            Annotation(f"{CPO}load-balancer-address", "address", names_object=True),
            Annotation(f"{CPO}keep-floatingip", "keep_floating_ip"),
            Annotation(INTERNAL, "internal"),
            Annotation(f"{CPO}timeout-member-connect", why="no time-out but those for client and member data is set"),
            Annotation(f"{CPO}timeout-tcp-inspect", why="no time-out but those for client and member data is set"),
            Annotation(f"{CPO}connection-limit", why="no limit is set"),
            Annotation(f"{CPO}health-monitor-max-retries-down", why="Octavia's own number counts (3)"),
            Annotation(f"{CPO}proxy-protocol", why="members would have to speak it to clients inside the cluster, too"),
            Annotation(f"{CPO}x-forwarded-for", why="listeners are of layer 4; members see the client's address"),
            Annotation(f"{CPO}default-tls-container-ref", why="listeners are of layer 4 and end no TLS"),
            Annotation(f"{CPO}load-balancer-id", why=_ALWAYS_POOLS),
            Annotation(f"{CPO}port-id", why="the VIP of a ClusterIP is the ClusterIP"),
            Annotation(
                f"{CPO}network-id", why=f"the VIP of a ClusterIP is the ClusterIP; outside, {CPO}subnet-id counts"
            ),
            Annotation(f"{CPO}member-subnet-id", why="members are found by their addresses"),
            Annotation(f"{CPO}node-selector", why="members are pods, not nodes"),
            Annotation(f"{CPO}hostname", why="status tells addresses"),
            Annotation(f"{CPO}class", why="there are no classes of load balancers in a file"),
            Annotation(f"{CPO}floating-subnet", why=f"a subnet is named by its id: {CPO}floating-subnet-id"),
            Annotation(f"{CPO}floating-subnet-tags", why=f"a subnet is named by its id: {CPO}floating-subnet-id"),
            Annotation(f"{CPO}flavor-id", why="no flavor is set"),
            Annotation(f"{CPO}availability-zone", why="no zone is set"),
        )
    }
)


class Asked(Struct, frozen=True):
    """What a Service's annotations say, and what of them does not count."""

    options: Options
    notes: tuple[Note, ...] = ()


def asked(service: Service, settings: ServiceOptions) -> Asked:
    """What the annotations of a Service ask for. Of both families kuryr's wins; what is not allowed does not count."""
    values: dict[str, Any] = {}
    notes: list[Note] = []
    for name in sorted(service.annotations):  # kuryr's come last
        if not name.startswith(PREFIXES):
            continue
        text = service.annotations[name].strip()
        note = why_not(name, text, service.namespace, settings)
        if note is not None:
            notes.append(note)
        else:
            option = ANNOTATIONS[name].option
            values[option] = _value(option, text)
    return Asked(Options(**values), tuple(notes))


def why_not(name: str, text: str, namespace: str, settings: ServiceOptions) -> Note | None:
    """Why an annotation does not count; None: it does."""
    field = f"metadata.annotations[{name}]"
    known = ANNOTATIONS.get(name)
    if known is None:
        meant = _meant(name)
        told = f"did you mean {meant}?" if meant else "nobody knows it"
        return Note(NoteCode.ANNOTATION, f"annotation {name} has no effect: {told}", field)
    if not known.option:
        return Note(NoteCode.ANNOTATION, f"annotation {name} has no effect: {known.why}", field)
    bad = _fault(known, text)
    if bad:
        return Note(NoteCode.ANNOTATION, f'annotation {name} has no effect: "{text}" is {bad}', field)
    if known.names_object and not settings.allows(namespace, text):
        return Note(
            NoteCode.ALLOW,
            f'annotation {name} has no effect: namespace {namespace} may not name "{text}"; its operator may allow it:'
            f" services.allow.{namespace}",
            field,
        )
    return None


def _meant(name: str) -> str:
    """The annotation that a misspelt one is most like, without its prefix; empty: none."""
    by_last = {known.partition("/")[2].removeprefix("kuryr-"): known for known in ANNOTATIONS}
    found = difflib.get_close_matches(name.partition("/")[2].removeprefix("kuryr-"), by_last, n=1, cutoff=0.75)
    return by_last[found[0]] if found else ""


def _fault(known: Annotation, text: str) -> str:
    """What is wrong with a value; empty: nothing."""
    kind = _kinds()[known.option]
    if kind is bool:
        return "" if text.lower() in (*_TRUE, *_FALSE) else "neither true nor false"
    if kind is int:
        within = text.isascii() and text.isdigit() and known.least <= int(text) <= known.most
        return "" if within else f"no number from {known.least} to {known.most}"
    return "" if text else "empty"


def _value(option: str, text: str) -> Any:
    kind = _kinds()[option]
    return text.lower() in _TRUE if kind is bool else int(text) if kind is int else text


def _kinds() -> dict[str, type]:
    return dict(_fields())


def _fields() -> Iterator[tuple[str, type]]:
    for name, value in zip(Options.__struct_fields__, Options.__struct_defaults__, strict=True):
        yield name, int if value is None else type(value)
