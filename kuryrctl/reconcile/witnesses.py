"""What shows by itself how far a pod has come, and that its port is free. Pure.

Does not know: lists, events, who asks.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime

from kuryrctl.core.cluster import FINISHED_PHASES, KuryrNode, Pod
from kuryrctl.core.index import Ports


def reported_free(
    port_ids: Iterable[str], ports: Ports, nodes: Mapping[str, KuryrNode], assigned: Container[str]
) -> set[str]:
    """The uids whose port its node itself calls free: reported after the port was made, and not among the plugged.

    A second witness of their absence beside the cluster's lists. A wrong cluster's nodes never reported. `assigned` are
    the pods that have a KuryrPort.
    """
    found = set()
    for port in filter(None, map(ports.by_id, port_ids)):
        told = nodes.get(port.host)
        uid = ports.claim(port.id).uid
        if told is None or uid in assigned or any(each.port_id == port.id for each in told.plugged):
            continue
        if port.created_at and told.heartbeat_s > datetime.fromisoformat(port.created_at).timestamp():
            found.add(uid)
    return found


def progress(pod: Pod) -> tuple[bool, bool, bool]:
    """How far a pod has come: nothing of it is ever taken back (Kubernetes pod life cycle)."""
    return (bool(pod.node), pod.deleting, pod.phase in FINISHED_PHASES)
