"""How commands get at the engine: its parts from a command's settings, connected and audited."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kuryrctl.cli.settings import Settings
from kuryrctl.cli.stopping import told_to_stop
from kuryrctl.core.errors import Unavailable
from kuryrctl.kube import Lease, own_identity
from kuryrctl.reconcile import AuditLog, Part, Parts, watch

if TYPE_CHECKING:
    from kuryrctl.kube import Kube

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
_log = logging.getLogger(__name__)


def engine_of(settings: Settings, *, max_deletes: int | None = None) -> tuple[Parts, Kube, Lease]:
    """The engine's parts, the cluster, and its Lease as this process would hold it. Raises Invalid, Unavailable."""
    config = settings.config
    identity = own_identity()
    audit = AuditLog(config.audit_log, identity)
    kube = settings.kube(audit.of_kubernetes)
    return Parts(config, settings.cloud(audit), kube, audit, max_deletes), kube, lease_of(settings, kube, identity)


def planning_parts(settings: Settings) -> Parts:
    """The engine's parts for a run that only plans, of both sides or of a saved world. Raises Invalid, Unavailable."""
    if settings.world is None:
        return engine_of(settings)[0]
    from kuryrctl.cli.recorded import RecordedCloud, RecordedCluster

    world = settings.world
    return Parts(world.config, RecordedCloud(world), RecordedCluster(world), AuditLog(None, own_identity()))


def lease_of(settings: Settings, kube: Kube, identity: str = "") -> Lease:
    """The cluster's Lease as `identity` (empty: this process) would hold it; asks nothing yet."""
    of = settings.config.lease
    return Lease(kube, namespace=of.namespace, name=of.name, identity=identity, duration_s=of.duration_s)


def engine_when_it_answers(
    settings: Settings, stop: threading.Event, *, max_deletes: int | None = None
) -> tuple[Parts, Kube, Lease] | None:
    """`engine_of` for a service, which may be started before its cloud is: tries until it answers.

    None: `stop` was set first. Raises Invalid, as no time will heal that.
    """
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        try:
            return engine_of(settings, max_deletes=max_deletes)
        except Unavailable as error:
            _log.warning("%s (%s); next try in %.0f s", error.message, error.code, pause_s)
        stop.wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return None


def watch_until_told(settings: Settings, *, max_deletes: int | None = None, part: Part | None = None) -> None:
    """Watch (only `part`, if given) until SIGTERM or SIGINT. Raises Invalid, as no time will heal that."""
    stop = told_to_stop()
    engine = engine_when_it_answers(settings, stop, max_deletes=max_deletes)
    if engine is not None:
        parts, kube, lease = engine
        watch(parts, lease, kube, stop, part)
