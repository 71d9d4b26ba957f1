"""Calls of one service's API: encode, count, page, decode, and turn error statuses into `Refused`.

Does not know: what objects are for, whose they are, what to do about a refusal.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from kuryrctl.cloud import wire
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.meanings import NEUTRON, Service
from kuryrctl.cloud.transport import Response, Transport
from kuryrctl.cloud.wire import Resource
from kuryrctl.core.sharing import Held

T = TypeVar("T", bound=Struct)
Query = Sequence[tuple[str, str]]

WRITE_TIMEOUT_S = 120.0
"""A bulk of 50 bound ports takes 13-16 s where nothing else runs; the time-out must leave room for a busy server."""
READ_TIMEOUT_S = 60.0


class Client:
    """One endpoint of a service. `calls` counts answers by (method, resource), for example ``("POST", "ports")``."""

    def __init__(self, transport: Transport, service: Service = NEUTRON) -> None:
        self._transport = transport
        self._service = service
        self._lock = threading.Lock()
        self._held: defaultdict[str, Held[Any]] = defaultdict(Held)
        self.calls: Counter[tuple[str, str]] = Counter()

    @property
    def project_id(self) -> str:
        """The project of the credential."""
        return self._transport.project_id

    def call(self, method: str, path: str, body: Any = None, *, revision: int = 0) -> Response:
        """The answer to one call. Raises Refused for an error status, Unavailable and Invalid as the transport does.

        A `revision` makes the call conditional (``If-Match``, extension revision-if-match): 412 if the object changed.
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if revision:
            headers["If-Match"] = f"revision_number={revision}"
        with self._lock:
            self.calls[method, _resource_of(path)] += 1
        response = self._transport.request(
            method,
            path,
            body=None if body is None else msgspec.json.encode(body),
            headers=headers,
            timeout_s=READ_TIMEOUT_S if method == "GET" else WRITE_TIMEOUT_S,
        )
        if response.status >= 300:
            raise Refused(response, self._service)
        return response

    def get(self, resource: Resource[T], id_: str) -> T:
        """One object."""
        return wire.decode_one(resource, self.call("GET", f"{resource.path}/{id_}").body)

    def list(self, resource: Resource[T], query: Query, *, must_show: str = "") -> tuple[T, ...]:
        """All objects that match, over as many pages as the server makes of them.

        `must_show` is a field that the credential has to see in a non-empty answer (policy strips fields silently).
        """
        query = [*query, *(("fields", field) for field in resource.fields)]
        path = f"{resource.path}?{urlencode(query)}"
        found: tuple[T, ...] = ()
        while path:
            body = self.call("GET", path).body
            items, following = wire.decode_list(resource, body, self._held[resource.kind])
            if must_show and items and not wire.has_field(body, must_show):
                raise _hidden(must_show)
            found += items
            # Octavia's address of the next page names neither filters nor fields (api/common/pagination.py).
            marker = parse_qs(urlsplit(following).query).get("marker")
            path = f"{resource.path}?{urlencode([*query, ('marker', marker[0])])}" if marker else ""
        return found

    def add_tags(self, resource: Resource[T], id_: str, have: Iterable[str], want: Iterable[str]) -> Response | None:
        """Give an object the tags that it lacks; tags that are there stay, also those that somebody adds meanwhile.

        An object without any tag gets them in one call; one that has some gets one call for each, because a PUT of the
        whole list would drop what was added after `have` was read (``/tags`` knows no ``If-Match``: 500).
        """
        have = tuple(have)
        missing = wire.missing_tags(have, want)
        if not missing:
            return None
        path = f"{resource.path}/{id_}/tags"
        if not have:
            return self.call("PUT", path, {"tags": list(missing)})
        for tag in missing:
            response = self.call("PUT", f"{path}/{quote(tag, safe='')}")
        return response


def _resource_of(path: str) -> str:
    """``/ports/ID/tags?x`` → ``ports/tags``: what calls are counted by."""
    parts = path.partition("?")[0].strip("/").split("/")
    return "/".join((parts[0], *parts[2:3]))


def _hidden(field: str) -> Refused:
    body = {"NeutronError": {"type": "PolicyNotAuthorized", "message": f"the credential may not read {field}"}}
    return Refused(Response(403, {}, msgspec.json.encode(body)))
