"""Calls to the API server whose failures are errors of ours, and whose answers are typed.

Knows: status codes, bodies, the page mechanism of lists. Does not know: any kind of object.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kuryrctl.core.errors import Invalid, NotFound, Owner
from kuryrctl.kube.errors import error_of
from kuryrctl.kube.transport import JSON, Response, Transport

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


def decoded(response: Response, doing: str, type_: type[T]) -> T:
    """The body as a typed struct; raises Invalid where it is not one."""
    try:
        return msgspec.json.decode(response.body, type=type_)
    except msgspec.DecodeError as error:
        message = f"{doing}: the answer of the API server is not understood: {error}"
        raise Invalid(message, code="KUBE-DECODE", owner=Owner.KUBERNETES) from error
