"""Subjects: whom a change concerns. An event makes a subject dirty; a difference is computed for one subject.

cluster     what the whole cluster shares
pod/UID     one pod, its port and its KuryrPort
security-group/ROLE/ID   one group of the NetworkPolicies with its rules: the subject is the group's key
service/UID one Service, its load balancers, its floating IPs and its status
node/UID    one node, its port and its KuryrNode (``node/NAME`` for a KuryrNode whose node's uid is unknown)
"""

from __future__ import annotations

from typing import TypeAlias

from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import POLICY_ROLES
from kuryrctl.core.specs import Key

Subject: TypeAlias = str
BALANCER_KINDS = frozenset({Kind.LOAD_BALANCER, Kind.LISTENER, Kind.POOL, Kind.MEMBER, Kind.HEALTH_MONITOR})
"""What Octavia holds."""
_NAMED_BY_ROLE = BALANCER_KINDS | {Kind.PORT, Kind.FLOATING_IP}
CLUSTER: Subject = "cluster"


def pod_subject(uid: str) -> Subject:
    """The subject of a pod."""
    return f"pod/{uid}"


def node_subject(uid: str) -> Subject:
    """The subject of a node."""
    return f"node/{uid}"


def service_subject(uid: str) -> Subject:
    """The subject of a Service."""
    return f"service/{uid}"


def subject_of_key(key: Key) -> Subject:
    """Whom an object with this key serves; a Service's status is its subject itself."""
    kind, *rest = key.split("/")
    if kind == Kind.SERVICE:
        return key
    match kind, rest:
        case _, [role, uid, *_] if kind in _NAMED_BY_ROLE:
            return f"{role}/{uid}"
        case "kuryr-port", [_, _, uid]:
            return pod_subject(uid)
        case "kuryr-node", [name]:
            return node_subject(name)
        case (("security-group" | "security-group-rule"), [role, id_, *_]) if role in POLICY_ROLES:
            return f"security-group/{role}/{id_}"
    return CLUSTER


def uid_of_key(key: Key) -> str:
    """The uid of the pod or node that an object with this key serves; empty for what the cluster shares."""
    return subject_of_key(key).partition("/")[2]
