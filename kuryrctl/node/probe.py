"""Runs the KuryrProbes of this node, each once, inside the network namespace of its pod, and writes what came of it.

Only for a pod that is bound here under the very uid that the probe names. Threads, attempts and their time are bounded;
what was not tried when the probe's time to live is over is said to be so. Does not know: who asks, sockets.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import msgspec

from kuryrctl.core.errors import Conflict, KuryrError, NotFound, Owner, Retryable, internal
from kuryrctl.core.probe import TARGETS_AT_ONCE, Attempt, KuryrProbe, Result, Target
from kuryrctl.kube import Changed, Down, Listed, Message
from kuryrctl.node.ovsdb import Attachment
from kuryrctl.node.probe_attempt import attempt

PROBES_AT_ONCE: Final = 4
_REPORTS: Final = 3
_ERROR_MAX: Final = 1000

_log = logging.getLogger(__name__)


class Reports(Protocol):
    """Where answers are written (`kube.Probes`)."""

    def report(self, probe: KuryrProbe) -> None: ...


class Prober:
    """One node's. `attached` gives what is plugged here; `now` seconds since the epoch."""

    def __init__(
        self,
        node: str,
        reports: Reports,
        attached: Callable[[], list[Attachment]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._reports = reports
        self._attached = attached
        self._now = now
        self._stopping = threading.Event()
        self._taken: set[str] = set()
        self._trouble = ""
        self._probes = ThreadPoolExecutor(PROBES_AT_ONCE, thread_name_prefix="probe")
        self._targets = ThreadPoolExecutor(TARGETS_AT_ONCE, thread_name_prefix="target")

    def take(self, message: Message) -> None:
        """Take a message of the watch in, and run what is to be run, in the background. For one thread."""
        match message:
            case Listed():
                listed = [each for each in message.items if isinstance(each, KuryrProbe)]
                self._taken &= {probe.uid for probe in listed}
                self._trouble = ""
                for probe in listed:
                    self._consider(probe)
            case Changed(object=KuryrProbe() as probe):
                if message.deleted:
                    self._taken.discard(probe.uid)
                else:
                    self._consider(probe)
            case Down() if message.error.message != self._trouble:
                self._trouble = message.error.message
                _log.warning("no probes at the moment: %s", self._trouble)

    def stop(self) -> None:
        """Give up what is under way, unreported; returns within a second."""
        self._stopping.set()
        for pool in (self._probes, self._targets):
            pool.shutdown(cancel_futures=True)

    def _consider(self, probe: KuryrProbe) -> None:
        if probe.node != self._node or probe.finished_at or probe.uid in self._taken or self._stopping.is_set():
            return
        self._taken.add(probe.uid)
        self._probes.submit(self._run, probe)

    def _run(self, probe: KuryrProbe) -> None:
        started = self._now()
        try:
            done = msgspec.structs.replace(probe, attempts=self._attempts(probe))
        except KuryrError as error:
            done = msgspec.structs.replace(probe, error=f"{error.message} [{error.code}]"[:_ERROR_MAX])
        except OSError as error:
            done = msgspec.structs.replace(probe, error=f"the pod's namespace: {error} [NODE-NETNS]"[:_ERROR_MAX])
        except Exception as bug:  # noqa: BLE001  # a job's boundary: who asks must get an answer
            _log.exception("KuryrProbe %s/%s was not run", probe.namespace, probe.name)
            done = msgspec.structs.replace(probe, error=internal("not run", bug).message[:_ERROR_MAX])
        if not self._stopping.is_set():
            self._report(msgspec.structs.replace(done, started_at=_rfc3339(started), finished_at=_rfc3339(self._now())))

    def _attempts(self, probe: KuryrProbe) -> tuple[tuple[Attempt, ...], ...]:
        age_s = self._now() - probe.created_s
        if probe.expired(self._now()):
            raise KuryrError(
                f"not run: {age_s:.0f} s old by the clock of node {self._node}, its time to live is {probe.ttl_s} s",
                code="PROBE-EXPIRED",
                owner=Owner.NODE,
            )
        pod = next(
            (each for each in self._attached() if each.pod_uid == probe.pod_uid and each.pod == probe.pod_name), None
        )
        if pod is None:
            raise NotFound(
                f"pod {probe.pod_name} (uid {probe.pod_uid}) is not bound on node {self._node}",
                code="PROBE-NOT-BOUND",
                owner=Owner.NODE,
            )
        until = time.monotonic() + min(probe.ttl_s, probe.ttl_s - age_s)
        return tuple(self._targets.map(partial(self._try, probe, pod.netns, until), probe.targets))

    def _try(self, probe: KuryrProbe, netns: str, until: float, target: Target) -> tuple[Attempt, ...]:
        tried = []
        for _ in range(probe.count):
            left_s = until - time.monotonic()
            if left_s <= 0 or self._stopping.is_set():
                tried.append(Attempt(Result.NOT_TRIED))
            else:
                timeout_s = min(probe.timeout_ms / 1000, left_s)
                tried.append(attempt(target, netns, timeout_s, self._stopping.is_set))
        return tuple(tried)

    def _report(self, probe: KuryrProbe) -> None:
        """What could not be written is forgotten after some tries: whoever asked has given up by then."""
        for last in (False,) * (_REPORTS - 1) + (True,):
            try:
                self._reports.report(probe)
                return
            except (NotFound, Conflict):  # nobody waits for it any more
                return
            except KuryrError as error:
                _log.warning("KuryrProbe %s/%s not answered: %s", probe.namespace, probe.name, error.message)
                if last or not isinstance(error, Retryable) or self._stopping.wait(error.after_s):
                    return


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
