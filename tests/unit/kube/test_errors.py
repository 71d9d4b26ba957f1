"""Each refusal of an API server becomes the narrowest error, with a hint where a person can act."""

from __future__ import annotations

import json

import pytest

from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Owner, Retryable, Unavailable
from kuryrctl.kube import Gone
from kuryrctl.kube.errors import error_of
from kuryrctl.kube.transport import Response

NAMED = {"name": "web-0", "kind": "pods"}


@pytest.mark.parametrize(
    ("status", "details", "error", "code"),
    [
        (400, {}, Invalid, "KUBE-INVALID"),
        (401, {}, Invalid, "KUBE-UNAUTHORIZED"),
        (403, {}, Invalid, "KUBE-FORBIDDEN"),
        (403, {"causes": [{"reason": "NamespaceTerminating"}]}, Conflict, "KUBE-TERMINATING"),
        (404, NAMED, NotFound, "KUBE-NOT-FOUND"),
        (409, NAMED, Conflict, "KUBE-CONFLICT"),
        (410, {}, Gone, "KUBE-GONE"),
        (422, NAMED, Invalid, "KUBE-INVALID"),
        (429, {}, Retryable, "KUBE-BUSY"),
        (500, {}, Unavailable, "KUBE-UNAVAILABLE"),
        (504, {}, Unavailable, "KUBE-UNAVAILABLE"),
    ],
)
def test_a_status_becomes_an_error(status: int, details: object, error: type[KuryrError], code: str) -> None:
    body = json.dumps({"message": "because", "reason": "Reason", "details": details, "code": status}).encode()

    made = error_of(Response(status, body, {"audit-id": "a-1"}), "write it")

    assert type(made) is error
    assert (made.code, made.message, made.request_id) == (code, "write it: because", "a-1")


def test_a_404_without_a_name_is_about_the_kind() -> None:
    assert "cluster init" in error_of(Response(404, b"404 page not found"), "list kuryrports").hint


def test_waiting_is_as_long_as_the_server_asks() -> None:
    by_header = error_of(Response(429, b"{}", {"retry-after": "7"}), "list")
    by_body = error_of(Response(503, b'{"details": {"retryAfterSeconds": 3}}'), "list")

    assert isinstance(by_header, Retryable)
    assert by_header.after_s == 7
    assert isinstance(by_body, Unavailable)
    assert by_body.after_s == 3


def test_what_is_no_status_object_is_told_as_it_is() -> None:
    error = error_of(Response(502, b"<html>bad gateway"), "list pods")

    assert "<html>bad gateway" in error.message
    assert error.owner is Owner.KUBERNETES
