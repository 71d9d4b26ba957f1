"""The engine: observe, plan, execute; once, as a dry run, or as a watch.

    parts = Parts(config, neutron, kube, AuditLog(config.audit_log, identity), max_deletes=None)
    dry_run(parts)                              what would be done
    once(parts, lease, Scope.CLUSTER)           ``cluster init``
    once(parts, lease, wait_s=30)               one run, the cluster's only writer meanwhile
    plan_to_save(parts, (), made_by=…, now_s=…) what would be done, as a document
    apply_plan(parts, lease, saved)             the steps of that document and no others
    watch(parts, lease, kube, stop)             until `stop` is set

Does not know: command lines, files of configuration, credentials.
"""

from __future__ import annotations

import queue
import threading

from kuryrctl.core.diff import Difference, Scope
from kuryrctl.core.diff_services import Remedy
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Informer, Kube, Message
from kuryrctl.reconcile.audit import AuditLog
from kuryrctl.reconcile.contracts import Lease
from kuryrctl.reconcile.memory import give_back_large_blocks
from kuryrctl.reconcile.once import dry_run, once
from kuryrctl.reconcile.policy_part import Part, policies
from kuryrctl.reconcile.report import Failure, Report
from kuryrctl.reconcile.saved import apply_plan, plan_to_save
from kuryrctl.reconcile.service_part import services
from kuryrctl.reconcile.turn import Parts
from kuryrctl.reconcile.watch import Watch

__all__ = [
    "AuditLog",
    "Difference",
    "Failure",
    "Part",
    "Parts",
    "Remedy",
    "Report",
    "Scope",
    "apply_plan",
    "dry_run",
    "once",
    "plan_to_save",
    "policies",
    "services",
    "watch",
]


def watch(parts: Parts, lease: Lease, kube: Kube, stop: threading.Event, part: Part | None = None) -> None:
    """Reconcile what events and full turns show, under the lease, until `stop` is set; then end within 5 seconds.

    Waits for the lease as long as another holds it. Raises nothing: faults are logged, told as Events, and retried.
    """

    give_back_large_blocks()

    def follow(kind: Kind, out: queue.Queue[Message]) -> Informer:
        return Informer(kube, kind, out)

    watching = Watch(parts, lease, follow)
    if part:
        part(watching.turn)
    watching.run(stop)
