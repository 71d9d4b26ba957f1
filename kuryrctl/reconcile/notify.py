"""Telling the users of a pod why it has no network: Kubernetes Events with stable reasons.

Does not know: when a step is tried again.
"""

from __future__ import annotations

from kuryrctl.core.errors import KuryrError, Retryable
from kuryrctl.reconcile.schedule import STALE_CODES, Fault

REASONS = {
    "NET-QUOTA": "KuryrQuotaExceeded",
    "NET-NO-ADDRESS": "KuryrNoFreeAddress",
    "NET-ADDRESS-TAKEN": "KuryrAddressTaken",
}
DEFAULT_REASON = "KuryrPortFailed"
PATIENCE = 3
"""How often something that may pass by itself has to fail before people are told."""


def reason(error: KuryrError) -> str:
    """The reason of the Event about an error."""
    return REASONS.get(error.code, DEFAULT_REASON)


def worth_telling(fault: Fault) -> bool:
    """Whether people should know: at once what waits for them, otherwise what did not pass by itself."""
    passing = isinstance(fault.error, Retryable) or fault.error.code in STALE_CODES or fault.error.code == "LEASE-LOST"
    return not passing or fault.failures >= PATIENCE


def text(error: KuryrError) -> str:
    """The Event's message: what happened, and what to do next."""
    return f"{error.message} ({error.code}){f'; next: {error.hint}' if error.hint else ''}"
