"""The node agent: answers the CNI entry, keeps what is bound as the engine says, reports what is bound.

Its memory is Open vSwitch's database and the kernel: it may be killed at any moment and disturbs nothing when it
starts again. Threads: one for each request, the watches' (outside), one that takes their messages in, one that
reports, a few that re-point, some that probe, and the caller's, which tidies up every 10 s. Knows no OpenStack and no
container runtime.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

from kuryrctl.core.cluster import KuryrPort
from kuryrctl.core.errors import Invalid, KuryrError, Owner, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Message
from kuryrctl.node.assignments import Assignments
from kuryrctl.node.binder import BindRequest, Bound, UndoStack
from kuryrctl.node.cni import DELETED_DIR
from kuryrctl.node.cni_types import CniCall, CniError, Code, Verb, error_object, parse_call, result, version_of
from kuryrctl.node.commands import answer_command
from kuryrctl.node.keeper import Busy, Keeper, interface_of
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Attachment, Ovsdb
from kuryrctl.node.probe import Prober, Reports
from kuryrctl.node.reporter import Cluster, Reporter
from kuryrctl.node.server import Answer, Caller, Request, Server

FOLLOWED: Final = (Kind.KURYR_PORT, Kind.KURYR_NODE, Kind.KURYR_PROBE)
ASSIGNMENT_TIMEOUT_S: Final = 60.0
TICK_S: Final = 10.0
_STOP_GRACE_S: Final = 3.0
_CONNECT_AGAIN_S: Final = 1.0
_SWITCH_S: Final = 0.0005
"""How long a thread may keep the interpreter while another waits for it. An ADD gives it up at each system call; with
Python's 5 ms, whoever decodes what Open vSwitch wrote meanwhile took 1 to 3 ms of an ADD's 15."""

_log = logging.getLogger(__name__)


class Follower(Protocol):
    """A thread that puts the cluster's messages on a queue (`kube.Informer`)."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class AgentCluster(Cluster, Protocol):
    """What the agent writes (`kube.Kube`)."""

    @property
    def probes(self) -> Reports: ...


class AgentOptions(Struct, frozen=True):
    """Who and where: the node's name, the socket, the bridge's database and name."""

    node: str
    socket: Path
    ovsdb: str
    bridge: str
    assignment_timeout_s: float = ASSIGNMENT_TIMEOUT_S
    tick_s: float = TICK_S


def connected(options: AgentOptions, stop: threading.Event) -> Ovsdb | None:
    """The node's Open vSwitch, as soon as it answers; None when `stop` was set first."""
    while not stop.is_set():
        try:
            return Ovsdb(options.ovsdb, options.bridge)
        except Unavailable as error:
            _log.warning("%s", error.message)
            stop.wait(_CONNECT_AGAIN_S)
    return None


class Agent:
    """One node's agent. `followers` makes the threads that follow the kinds FOLLOWED of this node."""

    def __init__(
        self,
        options: AgentOptions,
        ovsdb: Ovsdb,
        cluster: AgentCluster,
        followers: Callable[[queue.Queue[Message]], list[Follower]],
    ) -> None:
        self._options = options
        self._messages: queue.Queue[Message | None] = queue.Queue()
        self._followers = followers(self._messages)  # type: ignore[arg-type]  # None only ends our own reading
        self._assignments = Assignments(options.node)
        self._ovsdb = ovsdb
        self._binder = OvsBinder(ovsdb)
        self._reporter = Reporter(cluster, self._assignments, ovsdb.attachments)
        self._prober = Prober(options.node, cluster.probes, ovsdb.attachments)
        self._server = Server(options.socket, self.answer)
        self._stop = threading.Event()
        self._busy = Busy()
        self._keeper = Keeper(
            options.node,
            options.socket.parent / DELETED_DIR,
            ovsdb=ovsdb,
            binder=self._binder,
            assignments=self._assignments,
            reporter=self._reporter,
            binding=self._busy,
        )

    # --- life ---
    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set, and end within some seconds of it. The process is taken to be the agent's."""
        sys.setswitchinterval(_SWITCH_S)
        self._keeper.start()
        self._server.start()
        reader = threading.Thread(target=self._read, name="assignments", daemon=True)
        threads: list[Follower] = [self._reporter, *self._followers]
        reader.start()
        for thread in threads:
            thread.start()
        _log.info("agent of node %s listens at %s", self._options.node, self._options.socket)
        try:
            while not stop.is_set():
                self._keeper.tidy()
                stop.wait(self._options.tick_s)
        finally:
            self._stop.set()
            self._server.stop(_STOP_GRACE_S)
            for thread in threads:
                thread.stop()
            self._messages.put(None)
            self._keeper.stop()
            self._prober.stop()

    def _read(self) -> None:
        """Take the watches' messages in, and put right what they ask to be put right."""
        while (message := self._messages.get()) is not None:
            try:
                if message.kind is Kind.KURYR_PROBE:
                    self._prober.take(message)
                    continue
                pods = self._assignments.put(message)
                self._reporter.touch(pods)
                self._keeper.look_at(pods, message.kind)
            except Exception:  # noqa: BLE001  # a thread's boundary: without it no pod would get its assignment any more
                _log.exception("a change of the cluster was not followed up")

    # --- answering ---
    def answer(self, request: Request, caller: Caller) -> Answer:
        """The answer to a request of the socket; every error becomes an error object."""
        if request.command:
            return answer_command(self, request, caller)
        try:
            return self._answer_cni(parse_call(request.env, request.config), caller)
        except KuryrError as error:
            _log.warning("%s: %s [%s]", _who(request), error.message, error.code)
            return Answer(ok=False, body=error_object(error, version_of(request.config)))
        except Exception as error:  # noqa: BLE001 - the boundary: a runtime must get an answer, whatever broke
            _log.exception("%s failed", _who(request))
            told = KuryrError(f"{type(error).__name__}: {error}", code="BUG", owner=Owner.KURYRCTL)
            return Answer(ok=False, body=error_object(told, version_of(request.config)))

    def _answer_cni(self, call: CniCall, caller: Caller) -> Answer:
        match call.verb:
            case Verb.ADD:
                bound = self._add(call, caller)
                undo = _later(self._keeper.unbind, call.sandbox, call.ifname)
                return Answer(ok=True, body=result(bound, call.config.cni_version), undo=undo)
            case Verb.DEL:
                self._keeper.unbind(call.sandbox, call.ifname)
            case Verb.CHECK:
                self._check(call)
            case Verb.GC:
                valid = call.config.valid_attachments
                if valid is None:
                    raise CniError(Code.INVALID_CONFIG, "GC without cni.dev/valid-attachments: nothing is removed")
                self._keeper.collect({(each.container_id, each.ifname) for each in valid}, call.config.name)
            case Verb.STATUS:
                if not self._assignments.synced:
                    trouble = self._assignments.trouble or "the first list is under way"
                    raise CniError(Code.PLUGIN_NOT_AVAILABLE, f"the agent has not seen the cluster yet: {trouble}")
        return Answer(ok=True)

    def _add(self, call: CniCall, caller: Caller) -> Bound:
        if not call.names_its_pod:
            raise CniError(
                Code.INVALID_ENVIRONMENT,
                "CNI_ARGS lacks K8S_POD_NAMESPACE, K8S_POD_NAME or K8S_POD_UID",
                hint="a runtime that knows no Kubernetes needs podNamespace in its network configuration; by hand: "
                "kuryrctl node bind",
            )
        return self.bind(call, caller)

    def bind(self, call: CniCall, caller: Caller) -> Bound:
        """Wait for the pod's assignment and bind it; what went wrong is also told in the KuryrPort's status."""
        started = time.monotonic()
        with self._busy.working_on(call.sandbox):
            self._keeper.forget_deletion(call.sandbox, call.ifname)
            assigned = self._assignments.wait(
                call.pod,
                call.pod_uid,
                self._options.assignment_timeout_s,
                lambda: self._stop.is_set() or caller.gone(),
            )
            waited = time.monotonic()
            try:
                request = _bind_request(call, assigned)
                self._binder.validate(request)
                with UndoStack() as undo:
                    bound = self._binder.setup(request, undo)
            except KuryrError as error:
                self._reporter.fault(call.pod, f"{error.message} [{error.code}]")
                raise
        self._reporter.fault(call.pod, "")
        ended = time.monotonic()
        _log.info(
            "bound pod %s (sandbox %s) to port %s: waited %.1f ms, bound in %.1f ms",
            call.pod,
            call.sandbox,
            request.interface.port_id,
            (waited - started) * 1000,
            (ended - waited) * 1000,
        )
        return bound

    def _check(self, call: CniCall) -> None:
        assigned = self._assignments.wait(call.pod, call.pod_uid, 0.0, lambda: True)
        findings = self._binder.check(_bind_request(call, assigned))
        if findings:
            raise CniError(Code.NOT_AS_ADDED, "; ".join(finding.message for finding in findings), code="NODE-CHECK")

    # --- what the commands by hand use besides ---
    @property
    def assignments(self) -> Assignments:
        """What the engine assigned."""
        return self._assignments

    @property
    def binder(self) -> OvsBinder:
        """How it is bound."""
        return self._binder

    def plugged(self) -> list[Attachment]:
        """Everything plugged on this node."""
        return self._ovsdb.attachments()

    @property
    def keeper(self) -> Keeper:
        """What unbinds and tidies."""
        return self._keeper


def _bind_request(call: CniCall, assigned: KuryrPort) -> BindRequest:
    interface = interface_of(assigned, call.ifname)
    if interface is None:
        names = ", ".join(each.name for each in assigned.interfaces)
        raise Invalid(
            f"pod {call.pod} was assigned {names}, not {call.ifname}", code="NODE-NO-INTERFACE", owner=Owner.KURYRCTL
        )
    return BindRequest(
        interface=interface,
        pod=call.pod,
        pod_uid=assigned.pod_uid,
        sandbox=call.sandbox,
        netns=call.netns,
        network=call.config.name,
    )


def _later(function: Callable[[str, str], object], sandbox: str, ifname: str) -> Callable[[], object]:
    return lambda: function(sandbox, ifname)


def _who(request: Request) -> str:
    environment = request.env
    return f"{environment.get('CNI_COMMAND')} of {environment.get('CNI_CONTAINERID')} {environment.get('CNI_ARGS')}"
