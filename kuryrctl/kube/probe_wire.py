"""KuryrProbes as they travel (``manifests/15-kuryrprobe.yaml``), and how they become core types.

Does not know: how they were read, who runs them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field

from kuryrctl.core.probe import Attempt, KuryrProbe, Target
from kuryrctl.kube.wire import API_VERSION, GROUP, NODE_LABEL, Meta, OwnerReference, node_label

RUN_LABEL = f"{GROUP}/run"


class KuryrProbeSpecWire(Struct, rename="camel"):
    """KuryrProbe `spec`."""

    pod: str
    pod_uid: str
    node: str
    targets: tuple[Target, ...]
    count: int
    timeout_ms: int
    ttl_seconds: int


class ResultWire(Struct):
    """What came of one target."""

    attempts: tuple[Attempt, ...]


class KuryrProbeStatusWire(Struct, rename="camel", omit_defaults=True):
    """KuryrProbe `status`."""

    started_at: str = ""
    finished_at: str = ""
    error: str = ""
    results: tuple[ResultWire, ...] = ()


class KuryrProbeWire(Struct):
    """KuryrProbe."""

    metadata: Meta
    spec: KuryrProbeSpecWire
    status: KuryrProbeStatusWire = field(default_factory=KuryrProbeStatusWire)

    def core(self) -> KuryrProbe:
        """As a core type."""
        meta, spec, status = self.metadata, self.spec, self.status
        return KuryrProbe(
            namespace=meta.namespace,
            name=meta.name,
            pod=spec.pod,
            pod_uid=spec.pod_uid,
            node=spec.node,
            targets=spec.targets,
            count=spec.count,
            timeout_ms=spec.timeout_ms,
            ttl_s=spec.ttl_seconds,
            run=(meta.labels or {}).get(RUN_LABEL, ""),
            uid=meta.uid,
            created_s=_seconds(meta.creation_timestamp),
            started_at=status.started_at,
            finished_at=status.finished_at,
            error=status.error,
            attempts=tuple(result.attempts for result in status.results),
        )


def kuryr_probe_body(probe: KuryrProbe) -> dict[str, Any]:
    """A new KuryrProbe, owned by its pod."""
    return {
        "apiVersion": API_VERSION,
        "kind": "KuryrProbe",
        "metadata": {
            "namespace": probe.namespace,
            "name": probe.name,
            "labels": {NODE_LABEL: node_label(probe.node)} | ({RUN_LABEL: probe.run} if probe.run else {}),
            "ownerReferences": [OwnerReference("v1", "Pod", probe.pod, probe.pod_uid)],
        },
        "spec": KuryrProbeSpecWire(
            probe.pod, probe.pod_uid, probe.node, probe.targets, probe.count, probe.timeout_ms, probe.ttl_s
        ),
    }


def status_of(probe: KuryrProbe) -> KuryrProbeStatusWire:
    """What its agent writes."""
    results = tuple(ResultWire(attempts) for attempts in probe.attempts)
    return KuryrProbeStatusWire(probe.started_at, probe.finished_at, probe.error, results)


def _seconds(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0
