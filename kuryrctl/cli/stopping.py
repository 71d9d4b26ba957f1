"""Ending a service when it is told to: SIGTERM and SIGINT as an event. Does not know: what is to be ended, or how."""

from __future__ import annotations

import signal
import threading
from typing import Final

_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT})


def told_to_stop() -> threading.Event:
    """An event that SIGTERM or SIGINT set from now on. For the main thread, before it starts others.

    A thread waits for the signals, which all threads block. A handler would run in the main thread between any two
    instructions, also inside of `Event.wait`, which holds the lock that `Event.set` takes: it then waits for itself.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    stop = threading.Event()

    def wait() -> None:
        signal.sigwait(_SIGNALS)
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stop
