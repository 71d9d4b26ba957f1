"""Which pods are a workload's, by the names that Kubernetes' controllers give them.

Does not know: owner references, which a snapshot does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kuryrctl.core.cluster import Pod

HASH_LABEL = "pod-template-hash"
CONTROLLERS_LABELS = frozenset(
    {
        HASH_LABEL,
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    }
)
"""What controllers label their pods with, beside what the template says."""
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
"""The alphabet of generated names (k8s.io/apimachinery, util/rand): no word is made by accident."""
_HASH = rf"(?:{_SAFE}{{5,10}}|(?=[a-z]*[0-9])[a-z0-9]{{5,10}})"
_BEHIND = re.compile(rf"(?:-[0-9]+|-{_SAFE}{{5}}|-{_HASH}-[a-z0-9]{{5}})?")


def is_of(pod: Pod, workload: str) -> bool:
    """Whether this is the pod ``namespace/name``, or one of the workload that is called so."""
    if not pod.full_name.startswith(workload):
        return False
    behind = pod.full_name.removeprefix(workload)
    hashed = pod.labels.get(HASH_LABEL)
    if hashed and behind:
        return re.fullmatch(rf"(?:-{re.escape(hashed)})?-[a-z0-9]{{5}}", behind) is not None
    return _BEHIND.fullmatch(behind) is not None


def workload_of(pod: Pod, workloads: Iterable[Pod]) -> Pod | None:
    """Of manifests' pods, which are called as their workloads, the one whose pod this is; None: of none."""
    found = [each for each in workloads if is_of(pod, each.full_name)]
    return max(found, key=lambda each: len(each.name), default=None)
