"""The audit log: one JSON line for each mutation that was asked of the cloud or the cluster.

Neutron tells its own records; for Kubernetes a call is joined here with the step during which its thread made it.
Does not know: what is worth doing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.plan import Step
from kuryrctl.kube import Mutation

SCHEMA = "kuryrctl.audit/1"
_log = logging.getLogger("kuryrctl.audit")


class _Line(AuditRecord, frozen=True, kw_only=True):
    schema: str = SCHEMA
    time_s: float = 0.0
    who: str = ""


class AuditLog:
    """Appends lines to a file, or to the process' log where there is none. Thread-safe."""

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
            _log.info("%s", line.decode())
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
        """What the cluster's `on_mutation` callback calls. Calls outside a step (leases, Events) are not recorded."""
        step: Step | None = getattr(self._step, "current", None)
        if step is None:
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
                error=f"HTTP-{mutation.status}" if mutation.status >= 400 else "",
            )
        )
