"""The commands by hand, as the agent answers them, and the question a command line puts to it.

``node list | bind | unbind | check | gc`` go over the agent's socket, so that there is one writer for each node. Knows
no terminal.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from kuryrctl.core.decoding import convert
from kuryrctl.core.errors import Invalid, KuryrError, Owner, Unavailable
from kuryrctl.node.assignments import Assignments
from kuryrctl.node.binder import BindRequest, Bound, Finding
from kuryrctl.node.cni import ANSWER_TIMEOUT_S, TAKEN_TIMEOUT_S
from kuryrctl.node.cni_types import CniCall, NetworkConfig, Verb
from kuryrctl.node.keeper import Keeper
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Attachment
from kuryrctl.node.server import Answer, Caller, Request

BY_HAND: Final = "by-hand"


class BindArguments(Struct, frozen=True):
    """Bind this pod's assignment into the namespace at path `netns`."""

    pod: str
    netns: str
    sandbox: str
    ifname: str = "eth0"


class SandboxArguments(Struct, frozen=True):
    """An attachment. An empty sandbox: all of them."""

    sandbox: str = ""
    ifname: str = "eth0"


class GcArguments(Struct, frozen=True):
    """Sandboxes to keep of a CNI network; None: remove only what has no device any more."""

    keep: tuple[str, ...] | None = None
    network: str = ""


class Checked(Struct, frozen=True):
    """What is wrong with one attachment; no finding: nothing."""

    attachment: Attachment
    findings: tuple[Finding, ...]


class BoundByHand(Struct, frozen=True):
    """What `bind` did."""

    pod: str
    port_id: str
    host_link: str
    addresses: tuple[str, ...]


class _Failure(Struct, frozen=True):
    code: str
    owner: Owner
    message: str
    hint: str = ""


class Agent(Protocol):
    """What the commands need of the agent."""

    @property
    def assignments(self) -> Assignments: ...

    @property
    def binder(self) -> OvsBinder: ...

    def plugged(self) -> list[Attachment]: ...

    def bind(self, call: CniCall, caller: Caller) -> Bound: ...

    @property
    def keeper(self) -> Keeper: ...


# --- the agent's side ---
def answer_command(agent: Agent, request: Request, caller: Caller) -> Answer:
    """The answer to a command; every error of ours as what it is."""
    try:
        return Answer(ok=True, body=_run(agent, request, caller))
    except msgspec.ValidationError as error:
        failure = _Failure("NODE-COMMAND", Owner.USER, f"node {request.command}: {error}")
    except KuryrError as error:
        failure = _Failure(error.code, error.owner, error.message, error.hint)
    return Answer(ok=False, body=failure)


def _run(agent: Agent, request: Request, caller: Caller) -> Any:
    match request.command:
        case "list":
            return agent.plugged()
        case "bind":
            return _bind(agent, convert(request.arguments, BindArguments), caller)
        case "unbind":
            wanted = convert(request.arguments, SandboxArguments)
            return agent.keeper.unbind(wanted.sandbox, wanted.ifname)
        case "check":
            return _check(agent, convert(request.arguments, SandboxArguments).sandbox)
        case "gc":
            return _gc(agent, convert(request.arguments, GcArguments))
        case _:
            raise Invalid(f'the agent knows no command "{request.command}"', code="NODE-COMMAND", owner=Owner.USER)


def _bind(agent: Agent, wanted: BindArguments, caller: Caller) -> BoundByHand:
    call = CniCall(
        verb=Verb.ADD,
        config=NetworkConfig(name=BY_HAND),
        sandbox=wanted.sandbox,
        ifname=wanted.ifname,
        netns=wanted.netns,
        pod=wanted.pod,
    )
    bound = agent.bind(call, caller)
    interface = bound.request.interface
    return BoundByHand(wanted.pod, interface.port_id, bound.host_link, interface.addresses)


def _check(agent: Agent, sandbox: str) -> list[Checked]:
    checked = []
    for known in agent.plugged():
        if known.node or sandbox not in ("", known.sandbox):
            continue
        assigned = agent.assignments.of(known.pod)
        wanted = [each for each in assigned.interfaces if each.name == known.ifname] if assigned else []
        if assigned is None or assigned.pod_uid != known.pod_uid or not wanted:
            findings = [Finding("assignment", f"no KuryrPort of pod {known.pod} (uid {known.pod_uid}) is on this node")]
        else:
            findings = agent.binder.check(
                BindRequest(wanted[0], known.pod, known.pod_uid, known.sandbox, known.netns, known.network)
            )
        checked.append(Checked(known, tuple(findings)))
    return checked


def _gc(agent: Agent, wanted: GcArguments) -> list[Attachment]:
    before = agent.plugged()
    agent.keeper.tidy()
    if wanted.keep is not None:
        keep = {(known.sandbox, known.ifname) for known in before if known.sandbox in wanted.keep}
        agent.keeper.collect(keep, wanted.network)
    after = {(known.name, known.sandbox) for known in agent.plugged()}
    return [known for known in before if (known.name, known.sandbox) not in after]


# --- the command line's side ---
def ask(path: Path, command: str, arguments: Struct | None, answer: Any) -> Any:
    """What the agent at the socket `path` answers, as type `answer`. Raises its error, or Unavailable without one."""
    asked = Request(command=command, arguments={} if arguments is None else msgspec.to_builtins(arguments))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.settimeout(TAKEN_TIMEOUT_S)
        try:
            agent.connect(str(path))
            agent.sendall(msgspec.json.encode(asked) + b"\n")
            received = agent.recv(65536)
            agent.settimeout(ANSWER_TIMEOUT_S)
            while more := agent.recv(1 << 20):
                received += more
        except OSError as error:
            raise Unavailable(
                f"the agent at {path} does not answer: {error}",
                code="NODE-NO-AGENT",
                owner=Owner.NODE,
                hint="does kuryrctl node agent run on this node? Its socket is for root only",
            ) from None
    taken, _, rest = received.partition(b"\n")
    verdict, _, body = rest.partition(b"\n")
    if taken != b"taken" or verdict not in (b"ok", b"error"):
        raise Unavailable(f"the agent at {path} hung up", code="NODE-NO-AGENT", owner=Owner.NODE)
    if verdict == b"error":
        failure = msgspec.json.decode(body, type=_Failure)
        raise KuryrError(failure.message, code=failure.code, owner=failure.owner, hint=failure.hint)
    return msgspec.json.decode(body, type=answer)
