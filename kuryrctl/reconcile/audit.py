"""The audit log: one JSON line for each mutation that was asked of the cloud or the cluster.

Neutron tells its own records; for Kubernetes a call is joined here with the step during which its thread made it, or
told by itself (`cluster init` applies our manifests outside any plan). Leases and Events are not recorded: they are
written all the time and configure nothing. Does not know: what is worth doing, how loud the process logs.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import msgspec

from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.kinds import Action
from kuryrctl.core.plan import Step
from kuryrctl.kube import Mutation

SCHEMA = "kuryrctl.audit/1"
NO_STEP = "no step of a plan"
UNRECORDED = frozenset({"leases", "events"})
_BY_METHOD = {"POST": Action.CREATE, "DELETE": Action.DELETE}
_log = logging.getLogger("kuryrctl.audit")


class _Line(AuditRecord, frozen=True, kw_only=True):
    schema: str = SCHEMA
    time_s: float = 0.0
    who: str = ""


class AuditLog:
    """Appends lines to a file, or to stderr where none is given, whatever the process logs. Thread-safe."""

    def __init__(self, path: str | None, who: str, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path) if path else None
        self._who = who
        self._clock = clock
        self._lock = threading.Lock()
        self._step = threading.local()

    def __call__(self, record: AuditRecord) -> None:
        """Write one record; what the cloud's `audit` callback calls. A file that cannot be written is logged about."""
        values = {name: getattr(record, name) for name in AuditRecord.__struct_fields__}
        line = msgspec.json.encode(_Line(time_s=round(self._clock(), 3), who=self._who, **values))
        if self._path is None:
            with self._lock:
                sys.stderr.write(f"{line.decode()}\n")
                sys.stderr.flush()
            return
        try:
            with self._lock, self._path.open("ab") as file:
                file.write(line + b"\n")
        except OSError as error:
            _log.error("audit log %s cannot be written: %s; the line: %s", self._path, error, line.decode())

    @contextmanager
    def during(self, step: Step) -> Iterator[None]:
        """The calls that this thread makes to Kubernetes meanwhile are the step's."""
        self._step.current = step
        try:
            yield
        finally:
            self._step.current = None

    def of_kubernetes(self, mutation: Mutation) -> None:
        """What the cluster's `on_mutation` callback calls."""
        step: Step | None = getattr(self._step, "current", None)
        plural, key = _named(mutation.path)
        if plural in UNRECORDED:
            return
        error = f"HTTP-{mutation.status}" if mutation.status >= 400 else ""
        if step is None:
            self(
                AuditRecord(
                    action=_action(mutation),
                    kind=plural,
                    key=key,
                    reason=NO_STEP,
                    call=f"{mutation.method} {mutation.path}",
                    status=mutation.status,
                    request_id=mutation.request_id,
                    error=error,
                )
            )
            return
        self(
            AuditRecord(
                action=step.action,
                kind=step.kind,
                key=step.key,
                reason=step.reason,
                id=step.id,
                subject=step.subject,
                before={change.field: change.before for change in step.changes if change.before},
                after={change.field: change.after for change in step.changes if change.after},
                call=f"{mutation.method} {mutation.path}",
                status=mutation.status,
                request_id=mutation.request_id,
                error=error,
            )
        )


def _action(mutation: Mutation) -> Action:
    """What a call without a step did. An apply (PATCH) that made its object is answered with 201."""
    made = mutation.status == HTTPStatus.CREATED
    return _BY_METHOD.get(mutation.method, Action.CREATE if made else Action.UPDATE)


def _named(path: str) -> tuple[str, str]:
    """The plural and the key of what a path is about: ``roles``, ``roles/kube-system/NAME``.

    Source: Kubernetes API conventions, ``/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL[/NAME[/SUBRESOURCE]]``.
    """
    parts = path.partition("?")[0].strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespaced = parts[0] == "namespaces" and len(parts) > 2
    namespace, parts = (parts[1:2], parts[2:]) if namespaced else ([], parts)
    return parts[0], "/".join([parts[0], *namespace, *parts[1:2]])
