"""A refusal of Neutron or Octavia as an exception, and what it becomes for callers.

Neutron says ``{"NeutronError": {"type", "message"}}``, Octavia ``{"faultcode", "faultstring", "debuginfo"}``.
Does not know: what refusals mean (`meanings`), which call was made, what to do about it.
"""

from __future__ import annotations

import json

from kuryrctl.cloud.meanings import NEUTRON, NO_ADDRESS, Meaning, Service, meaning
from kuryrctl.cloud.transport import Response
from kuryrctl.core.errors import Conflict, KuryrError, Retryable

_DEFAULT_WAIT_S = 2.0


class Refused(Exception):
    """The service answered with an error status. Stays inside this package: callers see `error()`."""

    def __init__(self, response: Response, service: Service = NEUTRON) -> None:
        self.status = response.status
        self.request_id = response.headers.get("x-openstack-request-id", "")
        self.retry_after_s = _seconds(response.headers.get("retry-after", ""))
        self.type, self.message = _type_and_message(response)
        self._service = service
        super().__init__(f"{self.status} {self.type}: {self.message}")

    @property
    def code(self) -> str:
        """The code of the error that it becomes."""
        return self._meaning.code

    @property
    def effect_unknown(self) -> bool:
        """Whether the call may have had its effect all the same (a proxy's 502/504, a 500 after the commit)."""
        return self.status >= 500

    @property
    def no_address(self) -> bool:
        """Whether the subnet has no free address left."""
        return self.type.startswith(NO_ADDRESS)

    def error(self, what: str) -> KuryrError:
        """Our error; `what` names what was not done to which object: ``port of pod shop/web-0 not created``."""
        means = self._meaning
        message = f"{what}: {means.says or self.message}"
        if issubclass(means.error, Retryable):
            return means.error(
                message,
                code=means.code,
                owner=means.owner,
                hint=means.hint,
                request_id=self.request_id,
                after_s=self.retry_after_s or _DEFAULT_WAIT_S,
            )
        return means.error(message, code=means.code, owner=means.owner, hint=means.hint, request_id=self.request_id)

    @property
    def _meaning(self) -> Meaning:
        return meaning(self._service, self.status, self.type, self.message)


def _type_and_message(response: Response) -> tuple[str, str]:
    """What the body says; one that is of neither service (a proxy's page) is cut to its first line."""
    try:
        answer = json.loads(response.body)
    except ValueError:
        text = response.body.decode(errors="replace").strip()
        return "", (text.splitlines() or [f"HTTP {response.status}"])[0][:200]
    fault = answer.get("NeutronError", answer) if isinstance(answer, dict) else answer
    if isinstance(fault, dict):
        # Octavia's lookup of a path, before any call is made, says its words as a description.
        said = (fault.get(name) for name in ("message", "faultstring", "description"))
        message = next(filter(None, said), f"HTTP {response.status}")
        return str(fault.get("type", "")), str(message)
    return "", str(fault)[:200]


def _seconds(retry_after: str) -> float:
    """Retry-After as seconds (RFC 9110 also allows a date, which needs a clock: taken as not given)."""
    return float(retry_after) if retry_after.isdigit() else 0.0


def vanished(what: str, service: Service = NEUTRON) -> Conflict:
    """The service said that it made it, and does not show it."""
    return Conflict(f"{what} was made, but cannot be found", code=f"{service.prefix}-ANSWER", owner=service.owner)
