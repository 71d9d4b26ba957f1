"""NetworkPolicies as they travel, and how they become core types.

The API server's defaults are filled in here, too: a manifest from a file means what it would mean once it was stored.
Field meanings: Kubernetes API reference (networking.k8s.io/v1). Does not know: how they were read, whether an API
server would accept them (`documents` does).
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from kuryrctl.core.lint import LINT_IGNORE
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.kube.addresses import cidr
from kuryrctl.kube.wire import AnnotatedMeta


class RequirementWire(Struct):
    """metav1.LabelSelectorRequirement."""

    key: str
    operator: Operator
    values: list[str] | None = None


class SelectorWire(Struct, rename="camel"):
    """metav1.LabelSelector."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[RequirementWire] | None = None

    def core(self) -> Selector:
        """As a core type: labels are requirements, too, sorted by key."""
        labels = [Requirement(key, Operator.IN, (value,)) for key, value in sorted((self.match_labels or {}).items())]
        expressions = [Requirement(e.key, e.operator, tuple(e.values or ())) for e in self.match_expressions or ()]
        return Selector((*labels, *expressions))


class IPBlockWire(Struct):
    """networking/v1 IPBlock."""

    cidr: str
    except_: list[str] | None = field(default=None, name="except")

    def core(self) -> IPBlock:
        """As a core type."""
        return IPBlock(cidr(self.cidr), tuple(map(cidr, self.except_ or ())))


class PeerWire(Struct, rename="camel"):
    """networking/v1 NetworkPolicyPeer. An absent selector is None, an empty one matches everything."""

    pod_selector: SelectorWire | None = None
    namespace_selector: SelectorWire | None = None
    ip_block: IPBlockWire | None = None

    def core(self) -> Peer:
        """As a core type."""
        return Peer(
            pod_selector=_selector(self.pod_selector),
            namespace_selector=_selector(self.namespace_selector),
            ip_block=self.ip_block.core() if self.ip_block else None,
        )


class PolicyPortWire(Struct, rename="camel"):
    """networking/v1 NetworkPolicyPort."""

    protocol: str | None = None
    port: int | str | None = None
    end_port: int | None = None

    def core(self) -> PolicyPort:
        """As a core type."""
        return PolicyPort(self.protocol or "TCP", self.port, self.end_port)


class IngressRuleWire(Struct):
    """networking/v1 NetworkPolicyIngressRule."""

    from_: list[PeerWire] | None = field(default=None, name="from")
    ports: list[PolicyPortWire] | None = None

    def core(self) -> PolicyRule:
        """As a core type."""
        return _rule(self.from_, self.ports)


class EgressRuleWire(Struct):
    """networking/v1 NetworkPolicyEgressRule."""

    to: list[PeerWire] | None = None
    ports: list[PolicyPortWire] | None = None

    def core(self) -> PolicyRule:
        """As a core type."""
        return _rule(self.to, self.ports)


class PolicyType(StrEnum):
    """The words of `policyTypes`."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


class NetworkPolicySpecWire(Struct, rename="camel"):
    """networking/v1 NetworkPolicySpec. An absent `podSelector` selects all pods, as an empty one."""

    pod_selector: SelectorWire | None = None
    policy_types: list[PolicyType] | None = None
    ingress: list[IngressRuleWire] | None = None
    egress: list[EgressRuleWire] | None = None

    @property
    def directions(self) -> frozenset[Direction]:
        """Given, or the API's default: ingress, and egress where there are egress rules."""
        if self.policy_types:
            return frozenset(Direction(word.lower()) for word in self.policy_types)
        return frozenset(Direction) if self.egress else frozenset((Direction.INGRESS,))


class NetworkPolicyWire(Struct):
    """networking/v1 NetworkPolicy."""

    metadata: AnnotatedMeta
    spec: NetworkPolicySpecWire = field(default_factory=NetworkPolicySpecWire)

    def core(self) -> NetworkPolicy:
        """As a core type."""
        spec = self.spec
        return NetworkPolicy(
            namespace=self.metadata.namespace,
            name=self.metadata.name,
            uid=self.metadata.uid,
            pod_selector=(spec.pod_selector or SelectorWire()).core(),
            directions=spec.directions,
            ingress=tuple(rule.core() for rule in spec.ingress or ()),
            egress=tuple(rule.core() for rule in spec.egress or ()),
            lint_ignore=(self.metadata.annotations or {}).get(LINT_IGNORE, ""),
            resource_version=self.metadata.resource_version,
        )


def _selector(wire: SelectorWire | None) -> Selector | None:
    return None if wire is None else wire.core()


def _rule(peers: list[PeerWire] | None, ports: list[PolicyPortWire] | None) -> PolicyRule:
    return PolicyRule(tuple(peer.core() for peer in peers or ()), tuple(port.core() for port in ports or ()))
