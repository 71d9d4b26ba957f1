"""What a worker thread does for steps: call the cloud or the cluster, and turn whatever happens into outcomes.

Before each batch it asks whether the Lease is still ours. Does not know: plans, state; it gets all it needs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from kuryrctl.core.cluster import Interface, KuryrPort
from kuryrctl.core.errors import Conflict, KuryrError, Owner, internal
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key, ServiceStatusSpec
from kuryrctl.reconcile.audit import AuditLog
from kuryrctl.reconcile.contracts import Cloud, Cluster

_log = logging.getLogger(__name__)


class WritePort(Struct, frozen=True):
    """Write a KuryrPort."""

    step: Step
    port: KuryrPort


class DeletePort(Struct, frozen=True):
    """Delete the KuryrPort with this uid."""

    step: Step
    namespace: str
    name: str


class WriteNode(Struct, frozen=True):
    """Write a KuryrNode."""

    step: Step
    name: str
    node_uid: str
    interface: Interface


class DeleteNode(Struct, frozen=True):
    """Delete the KuryrNode with this uid."""

    step: Step
    name: str


class WriteStatus(Struct, frozen=True):
    """Write the addresses of a Service's load balancers."""

    step: Step
    spec: ServiceStatusSpec


ClusterJob = WritePort | DeletePort | WriteNode | DeleteNode | WriteStatus


def run_cloud(cloud: Cloud, steps: Sequence[Step], ids: Mapping[Key, str], ours: Callable[[], bool]) -> list[Outcome]:
    """One batch of cloud steps."""
    if not ours():
        return [Outcome(step, error=_not_leading(step)) for step in steps]
    try:
        return cloud.apply(steps, ids)
    except Exception as bug:  # noqa: BLE001  # the boundary of a worker: a bug in one step must not end the engine
        return [Outcome(step, error=_bug(step, bug)) for step in steps]


def run_cluster(cluster: Cluster, job: ClusterJob, ours: Callable[[], bool], audit: AuditLog) -> Outcome:
    """One step on a KuryrPort, a KuryrNode or a Service's status."""
    if not ours():
        return Outcome(job.step, error=_not_leading(job.step))
    try:
        with audit.during(job.step):
            return _execute(cluster, job)
    except KuryrError as error:
        return Outcome(job.step, error=error)
    except Exception as bug:  # noqa: BLE001  # the boundary of a worker: a bug in one step must not end the engine
        return Outcome(job.step, error=_bug(job.step, bug))


def _execute(cluster: Cluster, job: ClusterJob) -> Outcome:
    match job:
        case WritePort():
            return Outcome(job.step, object=cluster.write_kuryr_port(job.port))
        case DeletePort():
            cluster.delete_kuryr_port(job.namespace, job.name, job.step.id)
            return Outcome(job.step)
        case WriteNode():
            return Outcome(job.step, object=cluster.write_kuryr_node(job.name, job.node_uid, job.interface))
        case DeleteNode():
            cluster.delete_kuryr_node(job.name, job.step.id)
            return Outcome(job.step)
        case WriteStatus(spec=spec):
            written = cluster.write_service_status(spec.namespace, spec.name, spec.uid, spec.ingress)
            return Outcome(job.step, object=written)


def _not_leading(step: Step) -> KuryrError:
    return Conflict(
        f"{step.action} {step.key} not done: the cluster's lease is not ours any more",
        code="LEASE-LOST",
        owner=Owner.KURYRCTL,
        hint="another writer has taken over, or the Kubernetes API did not answer in time",
    )


def _bug(step: Step, bug: Exception) -> KuryrError:
    _log.error("%s %s failed by an error in kuryrctl", step.action, step.key, exc_info=bug)
    return internal(f"{step.action} {step.key} failed", bug)
