"""The same faults without a network: a cloud Transport around another one, for tests on the fake in one process.

What has no answer raises what `cloud.session` makes of it. Does not know: any service's API.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from kuryrctl.cloud.meanings import NEUTRON, Service
from kuryrctl.cloud.transport import Response, Transport
from kuryrctl.core.errors import Unavailable
from tests.faults.faults import Answer, Cut, Delay, Hook, Refuse, Rewrite, Silence, Swallow
from tests.faults.rules import Call, Rules

SOON_S = 0.005
"""When a call without an answer may be made again: a real session says 2 s."""


class Faulty(Rules):
    """A Transport with faults. What has no answer is told at once: no test waits for a time-out."""

    def __init__(self, transport: Transport, service: Service = NEUTRON) -> None:
        super().__init__()
        self._transport = transport
        self._service = service

    @property
    def project_id(self) -> str:
        """See `Transport.project_id`."""
        return self._transport.project_id

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Response:
        """See `Transport.request`."""

        def forward() -> Response:
            return self._transport.request(method, path, body=body, headers=headers, timeout_s=timeout_s)

        match self.take(Call(method, path)):
            case Answer() as fault:
                return Response(
                    fault.status, {name.lower(): value for name, value in fault.headers.items()}, fault.body
                )
            case Refuse() | Silence() as fault:
                raise self._no_answer(fault.name)
            case Swallow() | Cut() as fault:
                forward()
                raise self._no_answer(fault.name)
            case Rewrite() as fault:
                answer = forward()
                return Response(answer.status, answer.headers, fault.edit(answer.body))
            case Delay() as fault:
                time.sleep(fault.for_s)
                return forward()
            case Hook() as hook:
                hook.before()
                answer = forward()
                hook.after()
                return answer
            case None:
                return forward()
            case other:
                raise TypeError(f"{other.name} is a fault of streams")

    def _no_answer(self, why: str) -> Unavailable:
        service = self._service
        return Unavailable(
            f"{service.name} does not answer: {why}",
            code=f"{service.prefix}-UNREACHABLE",
            owner=service.owner,
            hint="wait",
            after_s=SOON_S,
        )
