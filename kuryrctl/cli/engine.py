"""How commands get at the engine: its parts from a command's settings, connected and audited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuryrctl.cli.settings import Settings
from kuryrctl.kube import Lease, own_identity
from kuryrctl.reconcile import AuditLog, Parts

if TYPE_CHECKING:
    from kuryrctl.kube import Kube


def engine_of(settings: Settings, *, max_deletes: int | None = None) -> tuple[Parts, Kube, Lease]:
    """The engine's parts, the cluster, and its Lease as this process would hold it. Raises Invalid, Unavailable."""
    config = settings.config
    identity = own_identity()
    audit = AuditLog(config.audit_log, identity)
    kube = settings.kube(audit.of_kubernetes)
    lease = Lease(
        kube,
        namespace=config.lease.namespace,
        name=config.lease.name,
        identity=identity,
        duration_s=config.lease.duration_s,
    )
    return Parts(config, settings.cloud(audit), kube, audit, max_deletes), kube, lease
