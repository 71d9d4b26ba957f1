"""Keeps what is bound on the node as the engine says, and takes away what serves nobody.

Re-points a running pod whose port was created again; keeps the node port; removes what a reboot, a kill or a DEL
without an agent left behind. By level, not by event: every step may run at any time. Knows no CNI and no sockets.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kuryrctl.core.cluster import Interface, KuryrPort
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from kuryrctl.node import nodeport
from kuryrctl.node.assignments import Assignments
from kuryrctl.node.binder import UnbindRequest
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Attachment, Ovsdb
from kuryrctl.node.reporter import Reporter

_AT_ONCE: Final = 4

_log = logging.getLogger(__name__)


class Busy:
    """What is being worked on right now, by name (a sandbox, a device)."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._working: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        with self._guard:
            return name in self._working

    @contextmanager
    def working_on(self, name: str) -> Iterator[bool]:
        """Work on it; whether nobody else does."""
        with self._guard:
            others = self._working.get(name, 0)
            self._working[name] = others + 1
        try:
            yield not others
        finally:
            with self._guard:
                self._working[name] -= 1
                if not self._working[name]:
                    del self._working[name]


class Keeper:
    """One node's. `deletions` is the folder where the CNI entry notes the DELs that found no agent."""

    def __init__(
        self,
        node: str,
        deletions: Path,
        *,
        ovsdb: Ovsdb,
        binder: OvsBinder,
        assignments: Assignments,
        reporter: Reporter,
        binding: Busy,
    ) -> None:
        self._node = node
        self._deletions = deletions
        self._ovsdb = ovsdb
        self._binder = binder
        self._assignments = assignments
        self._reporter = reporter
        self._binding = binding
        self._repointing = Busy()
        self._node_port_turn = threading.Lock()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="keeper")
        self._stopped = False

    def start(self) -> None:
        """Have a place for notes of DELs."""
        for folder in (self._deletions.parent, self._deletions):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def stop(self) -> None:
        """Finish what is under way."""
        self._stopped = True
        self._pool.shutdown(cancel_futures=True)

    # --- unbinding ---
    def unbind(self, sandbox: str, ifname: str) -> bool:
        """Take away what the sandbox has; whether there was anything."""
        pods = {known.pod for known in self._ovsdb.attachments() if known.sandbox == sandbox}
        done = self._binder.teardown(UnbindRequest(sandbox, ifname))
        if done:
            _log.info("unbound %s of sandbox %s (%s)", ifname, sandbox, ", ".join(sorted(pods)))
        self._reporter.touch(pods)
        return done

    def collect(self, valid: set[tuple[str, str]], network: str) -> list[Attachment]:
        """Unbind what this CNI network bound and no valid attachment (sandbox, ifname) names; what it was."""
        removed = [
            known
            for known in self._ovsdb.attachments()
            if not known.node
            and known.network == network
            and (known.sandbox, known.ifname) not in valid
            and known.sandbox not in self._binding
        ]
        for known in removed:
            self.unbind(known.sandbox, known.ifname)
        self._tidy_links()
        return removed

    def forget_deletion(self, sandbox: str, ifname: str) -> None:
        """The sandbox is being added (again): an older DEL no longer counts."""
        (self._deletions / f"{sandbox}:{ifname}").unlink(missing_ok=True)

    # --- keeping ---
    def look_at(self, pods: Iterable[str], kind: Kind) -> None:
        """Something changed in the cluster: do what follows from it, in the background."""
        for pod in pods:
            self._repoint_if_needed(pod)
        if kind is Kind.KURYR_NODE:
            self._soon(self._keep_node_port)

    def tidy(self) -> None:
        """What no event tells of: noted DELs, what a reboot or a kill left, a changed node port, a failed re-point."""
        for step in (self._tidy_notes, self._tidy_stale, self._tidy_links, self._keep_node_port, self._repoint_all):
            _tried(step)

    def _tidy_notes(self) -> None:
        for note in self._deletions.iterdir():
            sandbox, _, ifname = note.name.partition(":")
            if sandbox not in self._binding:
                self.unbind(sandbox, ifname)
                note.unlink(missing_ok=True)

    def _tidy_stale(self) -> None:
        for known in self._binder.stale():
            if self._binder.remove(known):
                _log.info("removed %s of pod %s: its device is gone", known.name, known.pod)
                self._reporter.touch([known.pod])

    def _tidy_links(self) -> None:
        for request in self._binder.half_made(self._binding.__contains__):
            self._binder.teardown(request)
            _log.info("removed what was half made for sandbox %s", request.sandbox)

    # --- the node port ---
    def _keep_node_port(self) -> None:
        with self._node_port_turn:
            kuryr_node = self._assignments.kuryr_node
            if kuryr_node is None or kuryr_node.node_port is None:
                return
            wanted = kuryr_node.node_port
            try:
                if nodeport.keep(self._ovsdb, self._node, wanted):
                    _log.info("node port %s is up", wanted.port_id)
            except KuryrError as error:
                self._reporter.node_fault(f"node port: {error.message} [{error.code}]")
                raise
            self._reporter.node_fault("")

    # --- re-pointing ---
    def _repoint_all(self) -> None:
        for known in self._ovsdb.attachments():
            if known.pod:
                self._repoint_if_needed(known.pod)

    def _repoint_if_needed(self, pod: str) -> None:
        """A bound pod whose port was created again gets the new one, without being created again itself."""
        assigned = self._assignments.of(pod)
        if assigned is None:
            return
        for known in self._ovsdb.attachments():
            wanted = interface_of(assigned, known.ifname)
            if known.pod_uid != assigned.pod_uid or wanted is None or known.port_id == wanted.port_id:
                continue
            if known.sandbox not in self._binding:
                self._soon(lambda known=known, wanted=wanted: self._repoint(known, wanted))  # type: ignore[misc]  # binds

    def _repoint(self, known: Attachment, wanted: Interface) -> None:
        with self._repointing.working_on(known.name) as alone:
            if not alone:
                return
            try:
                self._binder.repoint(known, wanted)
            except KuryrError as error:
                self._reporter.fault(known.pod, f"{error.message} [{error.code}]")
                raise
        _log.info("pod %s serves port %s in place of %s", known.pod, wanted.port_id, known.port_id)
        self._reporter.fault(known.pod, "")

    def _soon(self, step: Callable[[], None]) -> None:
        if not self._stopped:
            self._pool.submit(_tried, step)


def interface_of(assigned: KuryrPort, name: str) -> Interface | None:
    """The interface of that name of an assignment."""
    return next((each for each in assigned.interfaces if each.name == name), None)


def _tried(step: Callable[[], None]) -> None:
    """Run it; a failure is logged, and the next tick tries again."""
    try:
        step()
    except (KuryrError, OSError) as error:
        _log.warning("not kept as it should be: %s", error)
