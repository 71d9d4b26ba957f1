"""What an API server's refusal means, in the words of `core.errors`.

Knows: HTTP codes and Kubernetes' Status object. Does not know: what the caller does next.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from kuryrctl.core.decoding import decode
from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Owner, Retryable, Unavailable
from kuryrctl.kube.transport import Response


class Gone(KuryrError):
    """The resource version is older than what the server still remembers: list again."""


class _Cause(Struct):
    reason: str = ""


class _Details(Struct, rename="camel"):
    name: str = ""
    retry_after_seconds: int = 0
    causes: list[_Cause] | None = None


class Status(Struct):
    """Kubernetes' own account of an error (meta/v1)."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: _Details | None = None


class _Refusal(Struct, frozen=True):
    error: type[KuryrError]
    code: str
    owner: Owner = Owner.KUBERNETES
    hint: str = ""


_INVALID = _Refusal(Invalid, "KUBE-INVALID", Owner.KURYRCTL)
_NO_KIND = "kuryrctl cluster init installs our kinds of object"
_REFUSALS = {
    401: _Refusal(
        Invalid, "KUBE-UNAUTHORIZED", Owner.USER, "the credential in the kubeconfig is not, or no longer, accepted"
    ),
    403: _Refusal(
        Invalid,
        "KUBE-FORBIDDEN",
        Owner.USER,
        "kubectl auth whoami names the user; kuryrctl cluster manifests shows the roles it may need",
    ),
    404: _Refusal(NotFound, "KUBE-NOT-FOUND"),
    409: _Refusal(Conflict, "KUBE-CONFLICT"),
    410: _Refusal(Gone, "KUBE-GONE"),
}


def error_of(response: Response, doing: str) -> KuryrError:
    """The error that a response of 400 or more is; `doing` begins the message (``write KuryrPort shop/web-0``)."""
    try:
        status = decode(response.body, Status)
    except msgspec.DecodeError:
        status = Status(message=response.body[:200].decode(errors="replace"))
    after_s = float(response.headers.get("retry-after") or 0)
    return error_of_status(status, doing, response.status, response.headers.get("audit-id", ""), after_s)


def error_of_status(status: Status, doing: str, code: int = 0, request_id: str = "", after_s: float = 0) -> KuryrError:
    """The error that a Status object is, also when it comes in a watch. `code` 0: the Status' own."""
    code = code or status.code
    details = status.details or _Details()
    message = f"{doing}: {status.message or status.reason or f'HTTP {code}'}"
    wait_s = after_s or details.retry_after_seconds or 1.0
    if any(cause.reason == "NamespaceTerminating" for cause in details.causes or ()):
        return Conflict(message, code="KUBE-TERMINATING", owner=Owner.KUBERNETES, request_id=request_id)
    if code == 429:
        return Retryable(message, code="KUBE-BUSY", owner=Owner.KUBERNETES, request_id=request_id, after_s=wait_s)
    if code >= 500:
        return Unavailable(
            message, code="KUBE-UNAVAILABLE", owner=Owner.KUBERNETES, request_id=request_id, after_s=wait_s
        )
    refusal = _REFUSALS.get(code, _INVALID)
    # A 404 that names no object is about the kind itself.
    hint = _NO_KIND if code == 404 and not details.name else refusal.hint
    return refusal.error(message, code=refusal.code, owner=refusal.owner, hint=hint, request_id=request_id)
