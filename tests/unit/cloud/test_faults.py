"""What each refusal of Neutron becomes: class, code, owner, and when to try again."""

from __future__ import annotations

import json

import pytest

from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.transport import Response
from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Owner, Quota, Retryable, Unavailable

TABLE: list[tuple[int, str, type[KuryrError], str, Owner]] = [
    (400, "InvalidInput", Invalid, "NET-INVALID", Owner.NEUTRON),
    (401, "", Unavailable, "KST-TOKEN", Owner.KEYSTONE),
    (403, "PolicyNotAuthorized", Invalid, "NET-FORBIDDEN", Owner.NEUTRON),
    (404, "PortNotFound", NotFound, "NET-NOT-FOUND", Owner.NEUTRON),
    (409, "OverQuota", Quota, "NET-QUOTA", Owner.NEUTRON),
    (409, "MacAddressInUse", Conflict, "NET-MAC-TAKEN", Owner.NEUTRON),
    (409, "IpAddressAlreadyAllocated", Conflict, "NET-ADDRESS-TAKEN", Owner.NEUTRON),
    (409, "IpAddressInUse", Conflict, "NET-ADDRESS-TAKEN", Owner.NEUTRON),
    (409, "IpAddressGenerationFailure", Conflict, "NET-NO-ADDRESS", Owner.NEUTRON),
    (409, "IpAddressGenerationFailureAllSubnets", Conflict, "NET-NO-ADDRESS", Owner.NEUTRON),
    (409, "NetworkInUse", Conflict, "NET-IN-USE", Owner.NEUTRON),
    (409, "SecurityGroupInUse", Conflict, "NET-IN-USE", Owner.NEUTRON),
    (409, "SecurityGroupRuleExists", Conflict, "NET-CONFLICT", Owner.NEUTRON),
    (412, "RevisionNumberConstraintFailed", Conflict, "NET-CHANGED", Owner.NEUTRON),
    (413, "", Retryable, "NET-BUSY", Owner.NEUTRON),
    (429, "", Retryable, "NET-BUSY", Owner.NEUTRON),
    (500, "HTTPInternalServerError", Unavailable, "NET-UNAVAILABLE", Owner.NEUTRON),
    (502, "", Unavailable, "NET-UNAVAILABLE", Owner.NEUTRON),
    (503, "HTTPServiceUnavailable", Unavailable, "NET-UNAVAILABLE", Owner.NEUTRON),
    (302, "", Invalid, "NET-INVALID", Owner.NEUTRON),
]


def _refused(status: int, type_: str = "", message: str = "no", **headers: str) -> Refused:
    body = json.dumps({"NeutronError": {"type": type_, "message": message, "detail": ""}}).encode()
    return Refused(Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body))


@pytest.mark.parametrize(("status", "type_", "error", "code", "owner"), TABLE)
def test_a_refusal_becomes(status: int, type_: str, error: type[KuryrError], code: str, owner: Owner) -> None:
    made = _refused(status, type_, x_openstack_request_id="req-1").error("port of pod shop/web-0 not created")

    assert type(made) is error
    assert (made.code, made.owner, made.request_id) == (code, owner, "req-1")
    assert made.message.startswith("port of pod shop/web-0 not created: ")


@pytest.mark.parametrize(("status", "unknown"), [(400, False), (409, False), (429, False), (500, True), (504, True)])
def test_only_a_server_fault_leaves_the_effect_unknown(status: int, unknown: bool) -> None:
    assert _refused(status).effect_unknown is unknown


@pytest.mark.parametrize(("header", "after_s"), [("7", 7.0), ("", 2.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 2.0)])
def test_retry_after_is_kept(header: str, after_s: float) -> None:
    error = _refused(429, retry_after=header).error("x")

    assert isinstance(error, Retryable) and error.after_s == after_s


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>\n<h1>Bad gateway</h1></html>", "x: <html>"),
        (b"", "x: HTTP 502"),
        (b'{"NeutronError": "text"}', "x: text"),
        (b'{"message": "plain", "type": "T"}', "x: plain"),
        (b"[1]", "x: [1]"),
    ],
)
def test_a_body_that_is_not_neutrons_is_told_as_it_is(body: bytes, message: str) -> None:
    assert Refused(Response(502, {}, body)).error("x").message == message


def test_forbidden_says_where_the_policy_comes_from() -> None:
    assert "kuryrctl cluster credential" in _refused(403).error("x").hint
