"""One thread that keeps the caller told of one kind: a list, then its changes, through every fault.

    Listed   everything, at the start, after the server forgot our place, and as the first message after a Down
    Changed  one object, as it is now, or as it was last when it is deleted
    Down     the list or the watch failed; repeated with each failed try

Messages of one informer are in order. Does not know: what anybody does with them; it keeps no copy.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from typing import TypeAlias

from msgspec import Struct

from kuryrctl.core.errors import KuryrError, Retryable, Unavailable, internal
from kuryrctl.core.kinds import Kind
from kuryrctl.kube.client import Kube, Listed
from kuryrctl.kube.errors import Gone
from kuryrctl.kube.watch import EventType, Watch
from kuryrctl.kube.wire import KubeObject

STOP_TIMEOUT_S = 2.0
BACKOFF_FIRST_S = 0.25
BACKOFF_MAX_S = 5.0
_SHORT_S = 1.0
_log = logging.getLogger(__name__)


class Changed(Struct, frozen=True):
    """One object was added, changed or (last state) deleted."""

    kind: Kind
    object: KubeObject
    deleted: bool = False


class Down(Struct, frozen=True):
    """The kind is not being followed at the moment."""

    kind: Kind
    error: KuryrError


Message: TypeAlias = Listed | Changed | Down


class Informer(threading.Thread):
    """Follows one kind (one node's share of it) and puts Messages on `out`, until `stop`."""

    def __init__(self, kube: Kube, kind: Kind, out: queue.Queue[Message], *, node: str | None = None) -> None:
        super().__init__(name=f"watch-{kind}", daemon=True)
        self._kube = kube
        self._kind = kind
        self._out = out
        self._node = node
        self._stopping = threading.Event()
        self._watch: Watch | None = None

    def run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                resource_version = self._list()
                failures = 0
                self._follow(resource_version)
            except KuryrError as error:
                failures += 1
                self._down(error, failures)
            except Exception as bug:  # noqa: BLE001  # a thread's boundary: nobody would hear of this kind any more
                _log.exception("%s: the list or the watch failed", self._kind)
                failures += 1
                self._down(internal(f"{self._kind} not followed", bug, after_s=1.0), failures)

    def stop(self) -> None:
        """End the thread; nothing is put after this. Returns within 2 s, also where a call is still out."""
        self._stopping.set()
        if self._watch:
            self._watch.close()
        if self.is_alive():
            self.join(STOP_TIMEOUT_S)

    def _list(self) -> str:
        """Put the list; its resource version alone is kept, or the first list would live as long as the watch."""
        listed = self._kube.list_kind(self._kind, node=self._node)
        self._put(listed)
        return listed.resource_version

    def _follow(self, resource_version: str) -> None:
        """Watch, and resume where a watch ended. Returns when a new list is needed; raises what else went wrong."""
        while not self._stopping.is_set():
            try:
                watch = self._kube.watch(self._kind, resource_version, node=self._node, stop=self._stopping)
            except Gone:
                return
            self._watch = watch
            if self._stopping.is_set():
                watch.close()
            before = resource_version
            try:
                for event in watch:
                    resource_version = event.resource_version
                    if event.object is not None:
                        self._put(Changed(self._kind, event.object, event.type is EventType.DELETED))
            except Gone:
                return
            except Unavailable as error:  # the stream was cut: if the server is down, the next watch says so
                _log.debug("%s: the watch ended after %s: %s", self._kind, resource_version, error.message)
            if resource_version == before:
                self._stopping.wait(random.uniform(0.1, _SHORT_S))

    def _down(self, error: KuryrError, failures: int) -> None:
        self._put(Down(self._kind, error))
        self._stopping.wait(_delay_s(error, failures))

    def _put(self, message: Message) -> None:
        if not self._stopping.is_set():
            self._out.put(message)


def _delay_s(error: KuryrError, failures: int) -> float:
    """Full jitter between nothing and a bound that doubles: many informers must not come back at once."""
    least = error.after_s if isinstance(error, Retryable) and error.after_s > 1 else 0.05
    return least + random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures, 10)))
