"""A bounded pool of worker threads. A job answers by putting a message on the queue that it knows.

Whose answer is waited for turns its own exceptions into an answer; here they are only logged, so that the thread lives.

The threads are daemons: a call that hangs must not keep a process alive that was told to end. Does not know: what jobs
do.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

Job = Callable[[], None]
_log = logging.getLogger(__name__)


class Pool:
    """`size` threads, one job each at a time. All methods are for the one thread that owns the pool."""

    def __init__(self, name: str, size: int) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(size)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Run the job as soon as a thread is free."""
        self._jobs.put(job)

    def stop(self, timeout_s: float) -> bool:
        """Finish what was submitted, for at most `timeout_s` seconds; whether all is finished."""
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # noqa: BLE001  # a thread's boundary: nobody would miss it before all are dead
                _log.exception("a job of %s failed by an error in kuryrctl", threading.current_thread().name)
