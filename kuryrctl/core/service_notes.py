"""What a Service asks for and does not get, or gets differently: said to its owner, never silently dropped.

The same codes on the Service's Events, in `service list` and, where they are about text, in `service lint`.
Does not know: how a note reaches anybody.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class NoteCode(StrEnum):
    """What a note is about. Each code is documented and never changes its meaning."""

    ADDRESS = "SVC-ADDRESS"
    """A ClusterIP that no subnet of ours can hold."""
    PROTOCOL = "SVC-PROTOCOL"
    """A port whose protocol the provider does not forward."""
    ENDPOINT = "SVC-ENDPOINT"
    """An endpoint that nothing may be sent to, or a slice that does not say to which port."""
    NODE_PORT = "SVC-NODE-PORT"
    """Node ports are not served; the ClusterIP is."""
    CLASS = "SVC-CLASS"
    """Another controller serves the external part."""
    EXTERNAL_IPS = "SVC-EXTERNAL-IPS"
    """`externalIPs` are not served."""
    TRAFFIC_POLICY = "SVC-TRAFFIC-POLICY"
    """A traffic policy `Local` has no effect: every member is used."""
    AFFINITY = "SVC-AFFINITY"
    """Session affinity, or its time-out, that the provider does not have."""
    RANGES = "SVC-RANGES"
    """Source ranges that are not enforced: no external address is given."""
    NETWORK = "SVC-NETWORK"
    """There is no external network, or it has no addresses of this IP version."""
    ALLOW = "SVC-ALLOW"
    """A cloud object is named that the operator does not allow this namespace."""
    FLOATING_IP = "SVC-FLOATING-IP"
    """The floating IP that is asked for is somebody else's or in use."""
    ANNOTATION = "SVC-ANNOTATION"
    """An annotation that means nothing here, or whose value is none."""
    MONITOR = "SVC-MONITOR"
    """A health monitor that the provider does not have, or that cannot work."""
    PROVIDER = "SVC-PROVIDER"
    """No such provider is known."""


class Note(Struct, frozen=True):
    """One note; `field` is the place inside the Service's manifest, empty: none."""

    code: NoteCode
    message: str
    field: str = ""

    @property
    def told(self) -> str:
        """Code and message, as findings and Events say it."""
        return f"{self.code}: {self.message}"
