"""NetworkPolicy as observed, with every default of the API filled in.

Field meanings: Kubernetes API reference, networking.k8s.io/v1 NetworkPolicy. Does not know: the API's wire shape
(`kube` maps it), which pods exist, security groups.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from kuryrctl.core.selectors import Selector


class Direction(StrEnum):
    """The way of a connection as the pod sees it; its value is Neutron's word."""

    INGRESS = "ingress"
    EGRESS = "egress"


class IPBlock(Struct, frozen=True):
    """The addresses of `cidr` without those of every CIDR in `except_`. It matches pod addresses, too."""

    cidr: str
    except_: tuple[str, ...] = ()


class Peer(Struct, frozen=True):
    """Who may be at the other end: an `ip_block`, or the pods that both selectors match.

    Without a `namespace_selector` they are pods of the policy's own namespace; without a `pod_selector` all pods of the
    selected namespaces. An empty selector matches everything, None is no selector.
    """

    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IPBlock | None = None


class PolicyPort(Struct, frozen=True):
    """A destination port: a number (with `end_port`: a range), a name (the destination pod's container port of that
    name and protocol), or None: every port of the protocol (``TCP``, ``UDP``, ``SCTP``)."""

    protocol: str = "TCP"
    port: int | str | None = None
    end_port: int | None = None


class PolicyRule(Struct, frozen=True):
    """What one entry of `ingress` or `egress` allows: any peer on any port. No peers: everywhere; no ports: all."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


class NetworkPolicy(Struct, frozen=True, weakref=True):
    """A policy. `directions` (policyTypes) are those in which it isolates; the rules of any other are ignored.

    `lint_ignore` is the text of its annotation ``kuryr.openstack.org/lint-ignore``: what `policy lint` is not to tell.
    """

    namespace: str
    name: str
    uid: str
    pod_selector: Selector
    directions: frozenset[Direction]
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    lint_ignore: str = ""
    resource_version: str = ""

    @property
    def full_name(self) -> str:
        """``namespace/name``, as people write it."""
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """The rules that count in this direction."""
        if direction not in self.directions:
            return ()
        return self.ingress if direction is Direction.INGRESS else self.egress
