"""What a refusal of Neutron means: a table from status and error type to our errors.

Source: ``neutron_lib.api.faults`` (which exception becomes which status), ``{"NeutronError": {"type", "message"}}``.
Does not know: which call was made, nor what to do about it beyond a hint.
"""

from __future__ import annotations

import json
import re

from msgspec import Struct

from kuryrctl.cloud.transport import Response
from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Owner, Quota, Retryable, Unavailable

MAC_IN_USE = "MacAddressInUse"
OVER_QUOTA = "OverQuota"
ADDRESS_TAKEN = frozenset({"IpAddressAlreadyAllocated", "IpAddressInUse"})
_NO_ADDRESS = "IpAddressGenerationFailure"
_DEFAULT_WAIT_S = 2.0


class Refused(Exception):
    """Neutron answered with an error status. Stays inside this package: callers see `error()`."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.request_id = response.headers.get("x-openstack-request-id", "")
        self.retry_after_s = _seconds(response.headers.get("retry-after", ""))
        self.type, self.message = _neutron_error(response)
        super().__init__(f"{self.status} {self.type}: {self.message}")

    @property
    def effect_unknown(self) -> bool:
        """Whether the call may have had its effect all the same (a proxy's 502/504, a 500 after the commit)."""
        return self.status >= 500

    @property
    def no_address(self) -> bool:
        """Whether the subnet has no free address left."""
        return self.type.startswith(_NO_ADDRESS)

    def error(self, what: str) -> KuryrError:
        """Our error; `what` names what was not done to which object: ``port of pod shop/web-0 not created``."""
        meaning = self._meaning()
        message = f"{what}: {meaning.says or self.message}"
        if issubclass(meaning.error, Retryable):
            return meaning.error(
                message,
                code=meaning.code,
                owner=meaning.owner,
                hint=meaning.hint,
                request_id=self.request_id,
                after_s=self.retry_after_s or _DEFAULT_WAIT_S,
            )
        return meaning.error(
            message, code=meaning.code, owner=meaning.owner, hint=meaning.hint, request_id=self.request_id
        )

    def _meaning(self) -> _Meaning:
        if self.status == 409:
            return next((meaning for types, meaning in _CONFLICTS if re.fullmatch(types, self.type)), _CONFLICT)
        return _BY_STATUS.get(self.status, _SERVER if self.status >= 500 else _INVALID)


class _Meaning(Struct, frozen=True):
    """What a status or type stands for; `says` replaces Neutron's own words where ours say more."""

    error: type[KuryrError]
    code: str
    owner: Owner = Owner.NEUTRON
    hint: str = ""
    says: str = ""


QUOTA_HINT = 'openstack quota set raises it; kuryrctl port list --condition "no pod" finds ports that nobody uses'

_INVALID = _Meaning(Invalid, "NET-INVALID")
_CONFLICT = _Meaning(Conflict, "NET-CONFLICT")
_SERVER = _Meaning(Unavailable, "NET-UNAVAILABLE", hint="see Neutron's log for the request id")
_BUSY = _Meaning(Retryable, "NET-BUSY")
_BY_STATUS = {
    401: _Meaning(
        Unavailable,
        "KST-TOKEN",
        Owner.KEYSTONE,
        "openstack token issue; see whether Neutron reaches Keystone",
        "Neutron does not accept the token, although a new one was asked for",
    ),
    403: _Meaning(
        Invalid, "NET-FORBIDDEN", hint="kuryrctl cluster credential shows the role and the policy that the engine needs"
    ),
    404: _Meaning(NotFound, "NET-NOT-FOUND"),
    412: _Meaning(Conflict, "NET-CHANGED", says="it was changed after it was read"),
    413: _BUSY,
    429: _BUSY,
}
_CONFLICTS = (
    (OVER_QUOTA, _Meaning(Quota, "NET-QUOTA", hint=QUOTA_HINT)),
    (MAC_IN_USE, _Meaning(Conflict, "NET-MAC-TAKEN")),
    (f"{_NO_ADDRESS}.*", _Meaning(Conflict, "NET-NO-ADDRESS")),
    ("|".join(sorted(ADDRESS_TAKEN)), _Meaning(Conflict, "NET-ADDRESS-TAKEN")),
    (".*InUse.*", _Meaning(Conflict, "NET-IN-USE")),
)


def _neutron_error(response: Response) -> tuple[str, str]:
    """(type, message) of the body; a body that is not Neutron's (a proxy's page) is cut to its first line."""
    try:
        answer = json.loads(response.body)
    except ValueError:
        text = response.body.decode(errors="replace").strip()
        return "", (text.splitlines() or [f"HTTP {response.status}"])[0][:200]
    fault = answer.get("NeutronError", answer) if isinstance(answer, dict) else answer
    if isinstance(fault, dict):
        return str(fault.get("type", "")), str(fault.get("message") or f"HTTP {response.status}")
    return "", str(fault)[:200]


def _seconds(retry_after: str) -> float:
    """Retry-After as seconds (RFC 9110 also allows a date, which needs a clock: taken as not given)."""
    return float(retry_after) if retry_after.isdigit() else 0.0


def vanished(what: str) -> Conflict:
    """Neutron said that it made it, and does not show it."""
    return Conflict(f"{what} was made, but cannot be found", code="NET-ANSWER", owner=Owner.NEUTRON)
