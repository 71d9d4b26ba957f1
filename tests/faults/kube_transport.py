"""The same faults without a network, for the cluster: a Transport of `kuryrctl.kube` around the fake one.

What has no answer raises what `kube.http` makes of it. Does not know: Kubernetes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from kuryrctl.core.errors import Owner, Unavailable
from kuryrctl.kube.transport import Response, Stream, Transport
from tests.faults.faults import Answer, Cut, Delay, EditLines, Fault, Hook, Refuse, Rewrite, Silence, Swallow
from tests.faults.rules import Call, Rules

SOON_S = 0.005
"""When a call without an answer may be made again."""


class FaultyKube(Rules):
    """A Transport with faults. What has no answer is told at once: no test waits for a time-out."""

    def __init__(self, transport: Transport) -> None:
        super().__init__()
        self._transport = transport

    def request(self, method: str, path: str, **given: Any) -> Response:
        """See `Transport.request`."""

        def forward() -> Response:
            return self._transport.request(method, path, **given)

        match self.take(Call(method, path)):
            case None:
                return forward()
            case Answer() as fault:
                return _response(fault)
            case Swallow() | Cut() as fault:
                forward()
                raise _no_answer(fault.name)
            case Rewrite() as fault:
                answer = forward()
                return Response(answer.status, fault.edit(answer.body), answer.headers)
            case Hook() as hook:
                hook.before()
                answer = forward()
                hook.after()
                return answer
            case other:
                _before(other)
                return forward()

    def stream(self, path: str, *, timeout_s: float) -> Stream:
        """See `Transport.stream`."""
        match self.take(Call("GET", path)):
            case None:
                return self._transport.stream(path, timeout_s=timeout_s)
            case Answer() as fault:
                return _Refusal(fault)
            case EditLines() | Cut() as fault:
                return _Edited(self._transport.stream(path, timeout_s=timeout_s), fault)
            case other:
                _before(other)
                return self._transport.stream(path, timeout_s=timeout_s)

    def close(self) -> None:
        """See `Transport.close`."""
        self._transport.close()


class _Refusal:
    """An answer that is no stream."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self._body = answer.body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body

    def close(self) -> None:
        """Nothing is open."""


class _Edited:
    """A stream whose lines are others, or that is cut."""

    def __init__(self, stream: Stream, fault: EditLines | Cut) -> None:
        self.status = stream.status
        self._stream, self._fault = stream, fault

    def __iter__(self) -> Iterator[bytes]:
        if isinstance(self._fault, EditLines):
            yield from self._fault.edit(_each(self._stream))
            return
        yield from islice(self._stream, self._fault.lines)
        self._stream.close()
        raise _no_answer(self._fault.name)

    def close(self) -> None:
        """End it."""
        self._stream.close()


def _each(stream: Stream) -> Iterable[bytes]:
    return iter(stream)


def _before(fault: Fault) -> None:
    if isinstance(fault, Delay):
        time.sleep(fault.for_s)
    elif isinstance(fault, Refuse | Silence):
        raise _no_answer(fault.name)
    else:
        raise TypeError(f"{fault.name} is no fault of this call")


def _response(answer: Answer) -> Response:
    return Response(answer.status, answer.body, {name.lower(): value for name, value in answer.headers.items()})


def _no_answer(why: str) -> Unavailable:
    return Unavailable(
        f"the Kubernetes API does not answer: {why}",
        code="KUBE-UNAVAILABLE",
        owner=Owner.KUBERNETES,
        hint="wait",
        after_s=SOON_S,
    )
