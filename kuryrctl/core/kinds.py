"""The kinds of object a plan may touch, and what a plan may do with one."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A kind of object; its value is the noun people read."""

    NETWORK = "network"
    SUBNET = "subnet"
    ROUTER = "router"
    ROUTER_INTERFACE = "router-interface"
    SECURITY_GROUP = "security-group"
    SECURITY_GROUP_RULE = "security-group-rule"
    PORT = "port"
    LOAD_BALANCER = "load-balancer"
    LISTENER = "listener"
    POOL = "pool"
    MEMBER = "member"
    """All members of one pool: they change in one call."""
    HEALTH_MONITOR = "health-monitor"
    FLOATING_IP = "floating-ip"
    KURYR_PORT = "kuryr-port"
    KURYR_NODE = "kuryr-node"
    KURYR_PROBE = "kuryr-probe"
    POD = "pod"
    NODE = "node"
    NAMESPACE = "namespace"
    NETWORK_POLICY = "network-policy"
    SERVICE = "service"
    ENDPOINT_SLICE = "endpoint-slice"


class Action(StrEnum):
    """What a step does. Adopt takes an object that is provably ours, but lacks our mark, into our care."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    ADOPT = "adopt"

    @property
    def symbol(self) -> str:
        """One character, used by every view of a plan."""
        return {"create": "+", "update": "~", "delete": "-", "adopt": "="}[self.value]
