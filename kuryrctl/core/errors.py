"""The errors of every layer: each has a stable code, an owner and a hint.

    KuryrError
    ├── Retryable        the same call may succeed later; `after_s` says when
    │   └── Unavailable  the other side did not answer (refused, timed out, 5xx)
    ├── Conflict         somebody else changed or holds the object
    ├── Quota            a limit of the project is used up
    ├── Invalid          the request or the configuration can never succeed as it is
    └── NotFound         the object does not exist

Knows: nothing of transports. The layer that met the fault raises the narrowest class.
"""

from __future__ import annotations

from enum import StrEnum


class Owner(StrEnum):
    """Whose part is broken."""

    KURYRCTL = "kuryrctl"
    KUBERNETES = "kubernetes"
    NEUTRON = "neutron"
    OCTAVIA = "octavia"
    KEYSTONE = "keystone"
    NODE = "node"
    USER = "user"


class KuryrError(Exception):
    """What happened, to which object; `hint` says what to do next.

    `code` is stable (for example ``NET-QUOTA``) and documented; `request_id` is the other side's id of the call.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        owner: Owner = Owner.KURYRCTL,
        hint: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.owner = owner
        self.hint = hint
        self.request_id = request_id


class Retryable(KuryrError):
    """The same call may succeed later, not before `after_s` seconds."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        owner: Owner = Owner.KURYRCTL,
        hint: str = "",
        request_id: str = "",
        after_s: float = 1.0,
    ) -> None:
        super().__init__(message, code=code, owner=owner, hint=hint, request_id=request_id)
        self.after_s = after_s


class Unavailable(Retryable):
    """The other side did not answer, or answered that it cannot: whether the call had an effect is unknown."""


class Conflict(KuryrError):
    """Somebody else changed or holds the object: observe again before deciding."""


class Quota(KuryrError):
    """A limit of the project is used up."""


class Invalid(KuryrError):
    """The request or the configuration can never succeed as it is."""


class NotFound(KuryrError):
    """The object does not exist."""


def internal(what: str, bug: Exception, after_s: float = 10.0) -> Unavailable:
    """An exception that nobody expected, as an error: for the boundaries of threads, which must live on.

    `what` happened because of it, in whole words. Whoever calls this writes the traceback into the log.
    """
    return Unavailable(
        f"{what} by an error in kuryrctl: {bug!r}",
        code="INTERNAL",
        owner=Owner.KURYRCTL,
        hint="please report it with the traceback from the log",
        after_s=after_s,
    )
