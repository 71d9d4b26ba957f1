"""What can go wrong with one call, as data: the words in which tests say it. Pure; `proxy` does it.

Each fault has a `name`, under which it is counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from msgspec import Struct

LineEdit: TypeAlias = Callable[[Iterable[bytes]], Iterable[bytes]]


class Answer(Struct, frozen=True):
    """An answer of the test's own; the call is never forwarded."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """The status."""
        return str(self.status)


class Refuse(Struct, frozen=True):
    """The connection is reset, and for `for_s` seconds nobody listens: what a server that restarts looks like."""

    for_s: float = 0.3
    name: str = "refused"


class Silence(Struct, frozen=True):
    """The call is never forwarded; after `after_s` seconds without an answer the connection is reset."""

    after_s: float = 0.3
    name: str = "time-out before"


class Swallow(Struct, frozen=True):
    """The call is forwarded and has its effect; its answer never comes, and then the connection is reset."""

    after_s: float = 0.3
    name: str = "time-out after success"


class Cut(Struct, frozen=True):
    """The answer begins, and ends in the middle: after `lines` of its lines, or (0) after its headers."""

    lines: int = 0
    name: str = "cut"


class Delay(Struct, frozen=True):
    """The call is forwarded `for_s` seconds late."""

    for_s: float
    name: str = "delayed"


class Rewrite(Struct, frozen=True):
    """The answer's whole body is another one."""

    edit: Callable[[bytes], bytes]
    name: str = "rewritten"


class EditLines(Struct, frozen=True):
    """A stream's lines (a watch's events) are lost, doubled, put in another order, …: whatever `edit` yields."""

    edit: LineEdit
    name: str = "edited stream"


class Hook(Struct, frozen=True):
    """No fault: the test acts in the middle of a call, before it is forwarded or before its answer is given."""

    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None
    name: str = "hook"


Fault: TypeAlias = Answer | Refuse | Silence | Swallow | Cut | Delay | Rewrite | EditLines | Hook


def lost(every: int = 1) -> EditLines:
    """Each `every`-th event of a watch is lost."""
    return EditLines(lambda lines: (line for n, line in enumerate(lines, 1) if n % every), f"lost 1 of {every} events")


def doubled() -> EditLines:
    """Each event of a watch comes twice."""
    return EditLines(lambda lines: (line for line in lines for _ in range(2)), "doubled events")


def swapped() -> EditLines:
    """Of two events of a watch, the second comes first. The first waits for it as long as it takes."""

    def swap(lines: Iterable[bytes]) -> Iterator[bytes]:
        held: bytes | None = None
        for line in lines:
            if held is None:
                held = line
            else:
                yield line
                yield held
                held = None
        if held is not None:
            yield held

    return EditLines(swap, "reordered events")


def shortened(collection: str, keep: int = 0) -> Rewrite:
    """A list that is complete by its form, and has only the first `keep` members of its `collection`."""

    def shorten(body: bytes) -> bytes:
        answer = json.loads(body)
        answer[collection] = answer[collection][:keep]
        return json.dumps(answer).encode()

    return Rewrite(shorten, "shortened list")


def neutron_error(status: int, type_: str = "", message: str = "injected by a test", **headers: str) -> Answer:
    """An answer as Neutron gives it."""
    body = {"NeutronError": {"type": type_ or f"HTTP{status}", "message": message, "detail": ""}}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **_dashed(headers)})


def octavia_error(status: int, message: str = "injected by a test", **headers: str) -> Answer:
    """An answer as Octavia gives it."""
    body = {"faultcode": "Server" if status >= 500 else "Client", "faultstring": message, "debuginfo": None}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json", **_dashed(headers)})


def kubernetes_error(status: int, reason: str = "", message: str = "injected by a test", **headers: str) -> Answer:
    """An answer as the API server gives it: a Status."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    content = json.dumps({**body, "code": status}).encode()
    return Answer(status, content, {"Content-Type": "application/json", **_dashed(headers)})


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
