"""The seam between this package and the network: one request, one stream.

Everything above it runs the same on a real API server (`http`) and on the tests' fake. Knows HTTP's words; does not
know: Kubernetes' objects, credentials, retries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Response(Struct, frozen=True):
    """An answer, whatever its status. Names of `headers` are lower-case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Stream(Protocol):
    """The lines of an answer that does not end by itself; with a `status` other than 200 they are its error."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    def __iter__(self) -> Iterator[bytes]:
        """Lines without their end. Raises Unavailable when the connection breaks or is silent for too long."""
        ...

    def close(self) -> None:
        """End the stream, from any thread: a blocked reader gets the end. Closing twice is nothing."""
        ...


class Transport(Protocol):
    """Speaks to one API server. Thread-safe. A `path` begins with a slash and includes the query."""

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON,
        timeout_s: float = 30.0,
    ) -> Response:
        """One call. Raises Unavailable, and nothing else, where there is no answer."""
        ...

    def stream(self, path: str, *, timeout_s: float) -> Stream:
        """GET `path` line by line; `timeout_s` is the longest silence. Raises Unavailable where there is no answer."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...
