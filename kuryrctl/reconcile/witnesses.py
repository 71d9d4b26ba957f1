"""What shows by itself how far a pod has come, that its port is free, and that nobody misses a group. Pure.

Does not know: lists, events, who asks.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime

from kuryrctl.core.cluster import FINISHED_PHASES, KuryrNode, Pod
from kuryrctl.core.index import Ports
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import Key
from kuryrctl.core.subjects import uid_of_key


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


def carried_by_none(groups: Iterable[Step], ports: Ports, going: Container[str]) -> set[Key]:
    """The groups that no port of ours carries, but for those of the uids that are `going`: nobody misses such a group.

    Neutron itself refuses to delete one that any port carries.
    """
    return {step.key for step in groups if all(uid_of_key(carrier) in going for carrier in ports.carriers(step.id))}


def progress(pod: Pod) -> tuple[bool, bool, bool]:
    """How far a pod has come: nothing of it is ever taken back (Kubernetes pod life cycle)."""
    return (bool(pod.node), pod.deleting, pod.phase in FINISHED_PHASES)
