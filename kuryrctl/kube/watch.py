"""One watch: the changes of one kind since a resource version, until the server or we end it.

Knows: the watch protocol (API concepts, "Efficient detection of changes"). Does not know: what to do when it ends; that
is the informer's.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from enum import StrEnum

import msgspec
from msgspec import Struct

from kuryrctl.core.decoding import decode
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.sharing import Held
from kuryrctl.kube.errors import Status, error_of, error_of_status
from kuryrctl.kube.resources import Resource
from kuryrctl.kube.transport import Response, Transport
from kuryrctl.kube.wire import Bookmark, KubeObject, WatchLine

SILENCE_S = 150.0
"""Longest silence of a stream: an API server sends a bookmark about every minute (cacher.go, one minute + jitter)."""
_LENGTH_S = (240, 300)


class EventType(StrEnum):
    """What happened to an object; a bookmark only moves the resource version."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    BOOKMARK = "bookmark"


class WatchEvent(Struct, frozen=True):
    """One change; `object` is None for a bookmark. A watch resumes after `resource_version`."""

    type: EventType
    object: KubeObject | None
    resource_version: str


class Watch:
    """An open watch. Iterating ends when the server ended the stream, `stop` was set or `close` was called.

    Raises Gone when the server no longer remembers the version, Unavailable when the connection broke.
    """

    def __init__(
        self,
        transport: Transport,
        resource: Resource,
        resource_version: str,
        node: str | None,
        *,
        stop: threading.Event,
        held: Held[KubeObject],
    ) -> None:
        self._doing = f"watch {resource.plural}"
        self._resource = resource
        self._stop = stop
        self._held = held
        path = resource.list_path(
            node=node,
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=random.randint(*_LENGTH_S),
        )
        self._stream = transport.stream(path, timeout_s=SILENCE_S)
        if self._stream.status != 200:
            body = b"\n".join(self._stream)
            raise error_of(Response(self._stream.status, body), self._doing)

    def __iter__(self) -> Iterator[WatchEvent]:
        try:
            for line in self._stream:
                if self._stop.is_set():
                    return
                yield self._event(line)
        finally:
            self._stream.close()

    def close(self) -> None:
        """End it now, from any thread. (`stop` alone is seen only when the next line comes.)"""
        self._stream.close()

    def _event(self, line: bytes) -> WatchEvent:
        try:
            event = decode(line, WatchLine)
            match event.type:
                case "ERROR":
                    raise error_of_status(decode(event.object, Status), self._doing)
                case "BOOKMARK":
                    bookmark = decode(event.object, Bookmark)
                    return WatchEvent(EventType.BOOKMARK, None, bookmark.metadata.resource_version)
            wire = decode(event.object, self._resource.item)
        except msgspec.DecodeError as error:
            message = f"{self._doing}: a line is not understood: {error}"
            raise Invalid(message, code="KUBE-DECODE", owner=Owner.KUBERNETES) from error
        thing = self._held.one(wire.metadata.uid, wire.core())
        return WatchEvent(EventType(event.type.lower()), thing, wire.metadata.resource_version)
