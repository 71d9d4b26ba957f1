"""Holding the cluster's Lease while something runs: one thread that takes it, renews it and gives it back.

`Lease.valid` says by the monotonic clock whether it is still ours; this thread only keeps it so. Does not know: what is
done under the lease.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from msgspec import Struct

from kuryrctl.core.errors import Conflict, KuryrError, internal
from kuryrctl.reconcile.contracts import Lease

RETRY_S = 2.0
FOREVER_S = 1e9
_log = logging.getLogger(__name__)


class Leading(Struct, frozen=True):
    """The Lease was taken."""


class Following(Struct, frozen=True):
    """The Lease is not ours any more, or could not be taken yet."""

    error: KuryrError


Tell = Callable[[Leading | Following], object]


class Keeper(threading.Thread):
    """Takes the lease (unless `held`), renews it three times in each duration, takes it again after a loss."""

    def __init__(self, lease: Lease, duration_s: int, tell: Tell, *, held: bool = False) -> None:
        super().__init__(name="lease", daemon=True)
        self._lease = lease
        self._interval_s = duration_s / 3
        self._tell = tell
        self._held = held
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self._held:
                    self._lease.acquire(FOREVER_S, self._stopping)
                    self._held = True
                    self._tell(Leading())
                self._keep()
            except KuryrError as error:
                self._failed(error)
            except Exception as bug:  # noqa: BLE001  # a thread's boundary: else nobody would ever lead again
                _log.exception("the lease was not kept")
                self._failed(internal("the lease was not kept", bug))
        self._release()

    def stop(self, timeout_s: float) -> None:
        """Give the lease back and end."""
        self._stopping.set()
        self.join(timeout_s)

    def _failed(self, error: KuryrError) -> None:
        self._held = self._held and not isinstance(error, Conflict) and self._lease.valid()
        if not self._stopping.is_set():
            self._tell(Following(error))
            self._stopping.wait(RETRY_S)

    def _keep(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self._lease.renew()

    def _release(self) -> None:
        try:
            self._lease.release()
        except KuryrError as error:
            _log.warning("the lease was not given back, it runs out by itself: %s", error.message)
