"""What users get wrong in a Service that no API server has checked is kept as it stands, and never an exception."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kuryrctl.core.services import Service
from kuryrctl.kube.service_wire import ServiceWire


def read(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **meta: Any) -> Service:
    body = {"metadata": {"name": "web", "namespace": "shop", "uid": "u", **meta}, "spec": spec or {}}
    body |= {} if status is None else {"status": status}
    return msgspec.json.decode(msgspec.json.encode(body), type=ServiceWire).core()


@pytest.mark.parametrize(
    ("given", "read_as"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 10.1.2.3/8 ", "10.0.0.0/8"),
        ("010.0.0.0/8", "10.0.0.0/8"),
        ("FD00::/8", "fd00::/8"),
        ("10.0.0.0", "10.0.0.0"),
        ("10.0.0.0/99", "10.0.0.0/99"),
        ("office", "office"),
    ],
)
def test_a_source_range_is_canonical_or_the_text_that_it_is(given: str, read_as: str) -> None:
    assert read({"loadBalancerSourceRanges": [given]}).source_ranges == (read_as,)


def test_the_old_annotation_limits_the_sources_where_the_field_does_not() -> None:
    old = {"service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8, 172.16.0.0/12,"}

    assert read(annotations=old).source_ranges == ("10.0.0.0/8", "172.16.0.0/12")
    assert read({"loadBalancerSourceRanges": ["192.168.0.0/16"]}, annotations=old).source_ranges == ("192.168.0.0/16",)
    assert read(annotations=old).annotations == {}


@pytest.mark.parametrize("given", ["", "somewhere", "198.51.100.7 "])
def test_an_address_that_is_none_is_the_text_that_it_is(given: str) -> None:
    found = read({"loadBalancerIP": given, "externalIPs": [given]})

    assert (found.load_balancer_ip, found.external_ips) == (given, (given,))


@pytest.mark.parametrize(
    "config", [None, {}, {"clientIP": None}, {"clientIP": {}}, {"clientIP": {"timeoutSeconds": None}}]
)
def test_a_client_stays_three_hours_where_nothing_else_is_said(config: dict[str, Any] | None) -> None:
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}

    assert read(spec).affinity_timeout_s == 10800


def test_a_service_that_is_being_deleted_says_so() -> None:
    assert read(deletionTimestamp="2026-11-25T00:00:00Z").deleting
    assert not read().deleting


@pytest.mark.parametrize(
    ("status", "ingress"),
    [
        (None, ()),
        ({}, ()),
        ({"loadBalancer": {}}, ()),
        ({"loadBalancer": {"ingress": None}}, ()),
        ({"loadBalancer": {"ingress": [{"hostname": "lb.example.org"}, {"ip": "198.51.100.7"}]}}, ("198.51.100.7",)),
    ],
)
def test_the_addresses_are_those_of_the_status(status: dict[str, Any] | None, ingress: tuple[str, ...]) -> None:
    assert read(status=status).ingress == ingress
