"""Every call that changes something, told to the audit callback in the words of the step that it is part of.

Does not know: where records go, which calls are made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.transport import Response
from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action
from kuryrctl.core.plan import Step

Audit: TypeAlias = Callable[[AuditRecord], None]
Log: TypeAlias = Callable[[Step, str, str, Response | Refused | KuryrError], None]
"""Told of every mutation: the step, the object's id, the call, what came of it."""


def recorder(audit: Audit | None) -> Log:
    """A Log that gives each call to `audit` as one record; None: to nobody."""

    def log(step: Step, id_: str, call: str, result: Response | Refused | KuryrError) -> None:
        if audit is not None:
            audit(_record(step, id_, call, result))

    return log


def _record(step: Step, id_: str, call: str, result: Response | Refused | KuryrError) -> AuditRecord:
    status, request_id, error = 0, "", ""
    match result:
        case Response():
            status, request_id = result.status, result.headers.get("x-openstack-request-id", "")
        case Refused():
            status, request_id, error = result.status, result.request_id, result.code
        case KuryrError():
            request_id, error = result.request_id, result.code
    return AuditRecord(
        action=step.action,
        kind=step.kind,
        key=step.key,
        reason=step.reason,
        id=id_ or step.id,
        subject=step.subject,
        before={change.field: change.before for change in step.changes if change.before},
        after={change.field: change.after for change in step.changes if change.after} or _summary(step),
        call=call,
        status=status,
        request_id=request_id,
        error=error,
    )


def _summary(step: Step) -> dict[str, str]:
    """What a creation asks for, where the plan did not say it field by field."""
    if step.action is not Action.CREATE or step.spec is None:
        return {}
    fields = msgspec.to_builtins(step.spec)
    return {name: str(value) for name, value in fields.items() if value and name not in ("type", "key", "tags")}
