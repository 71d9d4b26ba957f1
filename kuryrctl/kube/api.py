"""Calls to the API server whose failures are errors of ours, and whose answers are typed.

Knows: status codes, bodies, the page mechanism of lists. Does not know: any kind of object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kuryrctl.core.decoding import decode
from kuryrctl.core.errors import Conflict, Invalid, NotFound, Owner
from kuryrctl.kube.errors import error_of
from kuryrctl.kube.transport import JSON, JSON_PATCH, Response, Transport
from kuryrctl.kube.wire import Bookmark

T = TypeVar("T")


class Mutation(Struct, frozen=True):
    """A call that was answered and that may have changed something; `request_id` is the server's Audit-Id."""

    method: str
    path: str
    status: int
    request_id: str


class Api:
    """Typed calls over a transport. `on_mutation` is told of every writing call that was answered, in its thread."""

    def __init__(self, transport: Transport, on_mutation: Callable[[Mutation], None] | None = None) -> None:
        self.transport = transport
        self._on_mutation = on_mutation

    def call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: Any = None,
        content_type: str = JSON,
        timeout_s: float = 30.0,
    ) -> Response:
        """A response below 400; else raises the error it is. `body` is anything that msgspec encodes."""
        raw = None if body is None else msgspec.json.encode(body)
        response = self.transport.request(method, path, body=raw, content_type=content_type, timeout_s=timeout_s)
        if method != "GET" and self._on_mutation:
            self._on_mutation(Mutation(method, path, response.status, response.headers.get("audit-id", "")))
        if response.status >= 400:
            raise error_of(response, doing)
        return response

    def get(self, path: str, doing: str, type_: type[T]) -> T | None:
        """One object; None: it does not exist. Raises NotFound where not even its kind does."""
        try:
            return decoded(self.call("GET", path, doing), doing, type_)
        except NotFound as error:
            if error.hint:
                raise
            return None

    def delete(self, path: str, doing: str, uid: str) -> None:
        """Delete the object with this uid; if it is gone, or another has its name, that is success."""
        _require(uid, doing)
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            self.call("DELETE", path, doing, body=options)
        except NotFound:
            return
        except Conflict:
            there = self.get(path, doing, Bookmark)
            if there and there.metadata.uid == uid:
                raise

    def report(self, path: str, doing: str, uid: str, status: Any, *, part: str = "/status") -> Response:
        """Write the status (`path` ends with it) of the object with this uid; its spec is not touched.

        `part` is what of the object is written, where others write other parts of its status.

        Raises NotFound when it is gone, Conflict when another object has its name.
        """
        _require(uid, doing)
        # The uid is tested by the patch itself: a status write of a custom resource ignores a uid in its metadata.
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": part, "value": status},
        ]
        try:
            return self.call("PATCH", path, doing, body=patch, content_type=JSON_PATCH)
        except Invalid as error:
            there = self.get(path.removesuffix("/status"), doing, Bookmark)
            if error.code == "KUBE-INVALID" and there and there.metadata.uid != uid:
                message = f"{doing}: another object has its name (uid {there.metadata.uid}, not {uid})"
                raise Conflict(message, code="KUBE-CONFLICT", request_id=error.request_id) from error
            raise


def decoded(response: Response, doing: str, type_: type[T]) -> T:
    """The body as a typed struct; raises Invalid where it is not one."""
    try:
        return decode(response.body, type_)
    except msgspec.DecodeError as error:
        message = f"{doing}: the answer of the API server is not understood: {error}"
        raise Invalid(message, code="KUBE-DECODE", owner=Owner.KUBERNETES) from error


def _require(uid: str, doing: str) -> None:
    if not uid:
        raise Invalid(f"{doing}: its uid is not known", code="KUBE-NO-UID")
