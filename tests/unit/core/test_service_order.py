"""Rules of NetworkPolicies go before a load balancer lets first packets through that they would let out to its VIP."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.cloud import Port, SecurityGroup, SecurityGroupRule
from kuryrctl.core.config import Config
from kuryrctl.core.diff import POLICY_KINDS, Evidence, World, ordered, subject_difference
from kuryrctl.core.diff_groups import Policed
from kuryrctl.core.group_index import Groups, Lists
from kuryrctl.core.index import Ports
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Step
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.service_index import ServiceIndex
from kuryrctl.core.service_order import closing, guarding
from kuryrctl.core.specs import Key, RuleSpec
from kuryrctl.core.subjects import service_subject
from kuryrctl.kube.documents import parse
from tests.unit.core.balancing import IDENTITY, OWN, Scene

CLIENT = """
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: client, labels: {app: client}}
spec: {nodeName: node1, containers: [{name: c, image: i}]}
status: {podIPs: [{ip: 10.65.0.20}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: node1, containers: [{name: c, image: i}]}
status: {podIPs: [{ip: 10.65.0.21}]}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: other, labels: {app: other}}
spec: {nodeName: node1, containers: [{name: c, image: i}]}
status: {podIPs: [{ip: 10.65.0.22}]}
---
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: out}
spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [%s]}
---
"""
ANYWHERE_80 = POLICY % "{ports: [{port: 80}]}"
TO_DB = POLICY % "{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: 5432}]}"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: db}
spec: {clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5], selector: {app: db}, ports: [{port: %s, targetPort: 5432}]}
---
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{port: 5432, protocol: TCP}]
endpoints: [%s]
---
"""
DB = SLICE % "{addresses: [10.65.0.21]}"
BOTH = SLICE % "{addresses: [10.65.0.21]}, {addresses: [10.65.0.22]}"


def world(before: str, after: str) -> World:
    """What the policies of `after` ask for, in a cloud that has what those of `before` asked for."""
    policies = Policies(Config())
    policies.replace(parse(before, "before"))
    groups = Groups(IDENTITY, [_group(policies, key) for key in sorted(policies.keys())])
    cluster = parse(after, "after")
    policies.replace(cluster)
    ports = Ports(IDENTITY)
    policed = Policed(policies, Lists(), groups, ports=ports, own=OWN, who=str)
    return World(
        cluster=replace(cluster, complete=frozenset(POLICY_KINDS)),
        own=OWN,
        ports=ports,
        assignments={},
        nodes={},
        ports_complete=True,
        groups_complete=True,
        policed=policed,
        balancers=Balancers(IDENTITY),
        services=ServiceIndex(cluster.services, cluster.endpoint_slices),
        balancers_complete=True,
        floating_ips_complete=True,
    )


def _group(policies: Policies, key: Key) -> SecurityGroup:
    group = policies.group(key)
    assert group is not None
    rules = tuple(_rule(rule) for rule in group.rules)
    return SecurityGroup(
        key, group.spec.name, "project", group.spec.description, security_group_rules=rules, tags=group.spec.tags
    )


def _rule(spec: RuleSpec) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=spec.key.rpartition("/")[2],
        security_group_id=spec.group,
        direction=spec.direction,
        ethertype=spec.ethertype,
        protocol=spec.protocol,
        port_range_min=spec.port_range_min,
        port_range_max=spec.port_range_max,
        remote_ip_prefix=spec.remote_ip_prefix,
        remote_group_id=spec.remote_group,
    )


def steps_of(seen: World, subject: str) -> list[Step]:
    found = subject_difference(subject, seen, Config(), Evidence())
    return [each for each in found if isinstance(each, Step)]


def opened(seen: World) -> tuple[Step, list[str]]:
    """The step that makes the Service's load balancer, and the rules that go before it, as words."""
    (service,) = seen.cluster.services.values()
    (made,) = steps_of(seen, service_subject(service.uid))
    rules = {step.key: step for key in sorted(seen.policed.policies.keys()) for step in steps_of(seen, key)}
    assert set(made.needs) <= rules.keys(), "it needs steps that are in no plan"
    placed = [step.key for step in ordered([made, *rules.values()])]
    assert all(placed.index(key) < placed.index(made.key) for key in made.needs)
    return made, [rules[key].reason.partition("have it: ")[2] for key in made.needs]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(
            CLIENT + ANYWHERE_80,
            CLIENT + ANYWHERE_80 + SERVICE % 80 + DB,
            ["egress IPv4 tcp 80-80 everywhere"],
            id="port 80 anywhere: behind the VIP it would be 5432",
        ),
        pytest.param(
            CLIENT + ANYWHERE_80,
            CLIENT + ANYWHERE_80 + SERVICE % 81 + DB,
            [],
            id="another port of the VIP is let out by no rule",
        ),
        pytest.param(
            CLIENT + TO_DB + SERVICE % 80 + DB,
            CLIENT + TO_DB + SERVICE % 80 + BOTH,
            ["egress IPv4 tcp 80-80 10.96.0.5/32"],
            id="one more endpoint that the client may not reach closes the VIP to it first",
        ),
        pytest.param(
            CLIENT + TO_DB,
            CLIENT + TO_DB + SERVICE % 80 + DB,
            [],
            id="what is only added need not be waited for",
        ),
    ],
)
def test_what_would_let_first_packets_out_goes_first(before: str, after: str, expected: list[str]) -> None:
    seen = world(before, after)
    _, rules = opened(seen)
    assert rules == expected


def rule(**fields: object) -> SecurityGroupRule:
    return SecurityGroupRule(
        **({"id": "r", "security_group_id": "g", "direction": "egress", "ethertype": "IPv4"} | fields)
    )  # type: ignore[arg-type]


class Going:
    """Policed as far as the order looks at it: one rule goes."""

    def __init__(self, going: SecurityGroupRule) -> None:
        self._going = going

    def egress_deletes(self) -> tuple[tuple[Key, SecurityGroupRule], ...]:
        return (("security-group/policy-egress/p", self._going),)


@pytest.mark.parametrize(
    ("fields", "waited_for"),
    [
        ({}, True),
        ({"protocol": "tcp"}, True),
        ({"protocol": "6"}, True),
        ({"protocol": "udp"}, False),
        ({"ethertype": "IPv6"}, False),
        ({"remote_ip_prefix": "10.96.0.0/16"}, True),
        ({"remote_ip_prefix": "10.97.0.0/16"}, False),
        ({"remote_group_id": "peer"}, False),
        ({"remote_address_group_id": "some"}, False),
        ({"protocol": "tcp", "port_range_min": 80, "port_range_max": 80}, True),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 79}, False),
        ({"protocol": "tcp", "port_range_min": 81, "port_range_max": 99}, False),
        ({"protocol": "tcp", "port_range_min": 80, "port_range_max": None}, True),
    ],
)
def test_a_rule_is_waited_for_when_it_lets_out_to_a_listener(fields: dict[str, object], waited_for: bool) -> None:
    listeners = Scene().wanted.balancers[0].listeners
    found = closing(Going(rule(**fields)), "10.96.0.5", listeners)  # type: ignore[arg-type]
    assert bool(found) is waited_for


def test_the_ports_that_are_still_to_be_guarded_come_before_what_leads_to_the_service() -> None:
    ranges = "spec: {type: LoadBalancer, loadBalancerSourceRanges: [203.0.113.0/24], clusterIP: 10.96.0.5"
    seen = world(CLIENT, CLIENT + SERVICE.replace("spec: {clusterIP: 10.96.0.5", ranges) % 80 + DB)
    (service,) = seen.cluster.services.values()
    db = next(pod for pod in seen.cluster.pods.values() if pod.name == "db")
    wanted = seen.policed.policies.groups_of(db)
    seen.policed.lists.put(db.uid, wanted)
    port = Port(
        "port",
        "net",
        names.mac_address("kuryr", "pod", db.uid),
        project_id="project",
        tags=names.tags("kuryr", "pod", db.uid),
    )

    assert any(key.startswith("security-group/guard/") for key in wanted)
    assert guarding(seen.policed, service) == (f"port/pod/{db.uid}",)
    (balancer, floating) = steps_of(seen, service_subject(service.uid))
    assert (balancer.needs, floating.needs) == ((), (balancer.key, f"port/pod/{db.uid}"))

    seen.policed.groups.put(_group(seen.policed.policies, next(key for key in wanted if "/guard/" in key)))
    carrying = replace(port, security_groups=tuple(map(seen.policed.id_of, wanted)))
    seen.ports.put(carrying)
    assert seen.ports.of(f"port/pod/{db.uid}") == (carrying,)
    assert guarding(seen.policed, service) == ()


def test_without_knowledge_of_policies_no_load_balancer_is_made() -> None:
    seen = world(CLIENT, CLIENT + SERVICE % 80 + DB)
    for less in (
        {"groups_complete": False},
        {"balancers_complete": False},
        {"floating_ips_complete": False},
        {"cluster": replace(seen.cluster, complete=frozenset({Kind.SERVICE}))},
    ):
        (service,) = seen.cluster.services.values()
        assert steps_of(replace(seen, **less), service_subject(service.uid)) == []
