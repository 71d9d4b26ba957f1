"""Tells the cluster what is bound here: KuryrPort.status of each pod, KuryrNode.status with the heartbeat.

One thread, so that nobody waits for the API server. It compares what is plugged with what the cluster says, and writes
differences only; what could not be written stays due. Knows nothing of how things are bound.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from kuryrctl import __version__
from kuryrctl.core.cluster import KuryrNode, KuryrPort, Plugged
from kuryrctl.core.errors import Conflict, KuryrError, NotFound
from kuryrctl.node.assignments import Assignments
from kuryrctl.node.ovsdb import Attachment

HEARTBEAT_S: Final = 10.0
_GATHER_S: Final = 0.2
_AGAIN_S: Final = 2.0
_ERROR_MAX: Final = 1000

_log = logging.getLogger(__name__)


class Cluster(Protocol):
    """What the agent writes (`kube.Kube`)."""

    def write_kuryr_port_status(self, port: KuryrPort) -> KuryrPort: ...

    def write_kuryr_node_status(self, node: KuryrNode) -> KuryrNode: ...


class Reporter(threading.Thread):
    """Writes status when told that something changed, and a heartbeat every 10 s."""

    def __init__(
        self,
        cluster: Cluster,
        assignments: Assignments,
        plugged: Callable[[], list[Attachment]],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name="reporter", daemon=True)
        self._cluster = cluster
        self._assignments = assignments
        self._plugged = plugged
        self._now = now
        self._wake = threading.Condition()
        self._due: set[str] = set()
        self._stopping = False
        self._errors: dict[str, str] = {}
        self._node_error = ""
        self._written: dict[str, tuple[object, ...]] = {}
        self._node_written: tuple[object, ...] = ()

    def touch(self, pods: Iterable[str]) -> None:
        """Something of these pods changed."""
        with self._wake:
            self._due.update(pods)
            self._wake.notify()

    def fault(self, pod: str, message: str) -> None:
        """Binding this pod went wrong; an empty message: it went well."""
        with self._wake:
            if message:
                self._errors[pod] = message[:_ERROR_MAX]
            else:
                self._errors.pop(pod, None)
        self.touch([pod])

    def node_fault(self, message: str) -> None:
        """The node port, or the node as a whole, is not as it should be; an empty message: it is."""
        with self._wake:
            self._node_error = message[:_ERROR_MAX]

    def stop(self) -> None:
        """End after the writes under way."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def run(self) -> None:
        heartbeat_due = 0.0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._due, max(0.0, heartbeat_due - time.monotonic()))
                if self._stopping:
                    return
            time.sleep(_GATHER_S)  # pods come in groups: one write of the node's status for all of them
            with self._wake:
                due, self._due = self._due, set()
            late = time.monotonic() >= heartbeat_due
            try:
                failed = self.report(due, heartbeat=late)
            except Exception:  # noqa: BLE001  # a thread's boundary: without it the node would look dead for ever
                _log.exception("the status was not written")
                failed = list(due)
            if late:
                heartbeat_due = time.monotonic() + HEARTBEAT_S
            if failed:
                time.sleep(_AGAIN_S)
                self.touch(failed)

    def report(self, pods: Iterable[str], *, heartbeat: bool) -> list[str]:
        """Write what differs; the pods whose write must be tried again."""
        plugged = self._plugged()
        failed = [pod for pod in sorted(pods) if not self._report_port(pod, plugged)]
        self._report_node(plugged, heartbeat)
        return failed

    def _report_port(self, pod: str, plugged: list[Attachment]) -> bool:
        assigned = self._assignments.of(pod)
        if assigned is None:
            self._errors.pop(pod, None)
            self._written.pop(pod, None)
            return True
        bound = next((each for each in plugged if each.pod_uid == assigned.pod_uid and each.installed), None)
        wanted = msgspec.structs.replace(
            assigned,
            bound=bound is not None,
            since=bound.since if bound else "",
            sandbox=bound.sandbox if bound else "",
            error=self._errors.get(pod, ""),
        )
        # Our own write comes back by the watch a little later: until then the old version is no reason to repeat it.
        status = (assigned.resource_version, wanted.bound, wanted.since, wanted.sandbox, wanted.error)
        if wanted == assigned or self._written.get(pod) == status:
            return True
        try:
            self._cluster.write_kuryr_port_status(wanted)
        except (NotFound, Conflict):  # another one has its name by now: the watch will tell
            return True
        except KuryrError as error:
            _log.warning("status of KuryrPort %s not written: %s", pod, error.message)
            return False
        self._written[pod] = status
        return True

    def _report_node(self, plugged: list[Attachment], heartbeat: bool) -> None:
        node = self._assignments.kuryr_node
        if node is None:
            return
        held = tuple(
            Plugged(port_id=each.port_id, pod_uid=each.pod_uid, sandbox=each.sandbox)
            for each in sorted(plugged, key=lambda each: each.port_id)
            if not each.node
        )
        error = "; ".join(filter(None, (self._node_error, self._assignments.trouble)))
        if not heartbeat and self._node_written == (node.uid, held, error):
            return
        wanted = msgspec.structs.replace(node, heartbeat_s=self._now(), plugged=held, version=__version__, error=error)
        try:
            self._cluster.write_kuryr_node_status(wanted)
        except (NotFound, Conflict):
            return
        except KuryrError as problem:
            _log.warning("status of KuryrNode %s not written: %s", node.name, problem.message)
            return
        self._node_written = (node.uid, held, error)
