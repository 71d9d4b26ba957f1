"""Random small worlds with every construct of NetworkPolicy, and the cloud that the compiler's groups make of them.

A world is made from a `random.Random`: hypothesis gives one that it can shrink, a benchmark a plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeVar

import msgspec

from kuryrctl.core import names
from kuryrctl.core.cloud import AddressPair, CloudState, FixedIP, Port, SecurityGroup, SecurityGroupRule
from kuryrctl.core.cluster import (
    ClusterState,
    ContainerPort,
    Interface,
    KuryrNode,
    KuryrPort,
    Namespace,
    Node,
    Pod,
)
from kuryrctl.core.config import Config
from kuryrctl.core.desired import own_specs
from kuryrctl.core.index import find_own
from kuryrctl.core.ownership import NODE, POD
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.policy.ends import Ends
from kuryrctl.core.policy.flows import End
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kuryrctl.core.specs import RuleSpec, SecurityGroupSpec

CONFIG = Config(external_network=None)
_SHARED = [
    spec
    for spec in own_specs(ClusterState(), CONFIG, find_own(CloudState(), CONFIG)).values()
    if isinstance(spec, SecurityGroupSpec | RuleSpec)
]
T = TypeVar("T")

_NAMESPACES = ("shop", "mail", "ops")
_NODES = ("n1", "n2")
_LABELS = {"app": ("web", "db"), "tier": ("front", "back")}
_NAMESPACE_LABELS = {"team": ("a", "b"), "env": ("prod",)}
_NAMED = (
    ContainerPort("web", 80),
    ContainerPort("web", 8080),
    ContainerPort("web", 80, "UDP"),
    ContainerPort("dns", 53, "UDP"),
    ContainerPort("sig", 80, "SCTP"),
)
_BLOCKS: dict[str, tuple[str, ...]] = {
    "0.0.0.0/0": ("10.65.0.0/22", "10.65.0.8/29", "10.96.0.0/16", "203.0.113.0/25", "203.0.113.5/32", "0.0.0.0/1"),
    "10.65.0.0/22": ("10.65.0.8/29", "10.65.0.9/32", "10.65.0.10/31", "10.65.0.0/23"),
    "10.65.0.8/30": ("10.65.0.9/32", "10.65.0.10/32"),
    "10.65.0.11/32": (),
    "10.96.0.0/24": ("10.96.0.10/32",),
    "172.16.0.0/24": ("172.16.0.1/32",),
    "203.0.113.0/24": ("203.0.113.5/32", "203.0.113.64/26"),
    "::/0": ("fd00:10:65::/64", "2001:db8::/32", "fd00:10:65::9/128"),
    "fd00:10:65::/64": ("fd00:10:65::8/125", "fd00:10:65::a/128"),
    "2001:db8::/32": ("2001:db8::5/128",),
}
_OUTSIDE = ("203.0.113.5", "203.0.113.77", "203.0.113.0/24", "8.8.8.8", "2001:db8::5", "2001:db8:1::/48")
_NUMBERS = (53, 80, 443, 8080)
_RANGES = ("203.0.113.0/25", "203.0.113.5/32", "8.0.0.0/8", "2001:db8::/32", "0.0.0.0/0", "10.65.3.200/29")


def random_world(random: Random) -> ClusterState:
    """A cluster of two nodes, up to three namespaces, eight pods, four policies and two Services."""
    spaces = [
        Namespace(name, f"ns-{name}", _labels(random, _NAMESPACE_LABELS))
        for name in _NAMESPACES[: random.randint(1, 3)]
    ]
    pods = [_pod(random, spaces, number) for number in range(random.randint(1, 8))]
    assigned = [_assignment(pod) for pod in pods if pod.wants_port and not pod.ips and random.random() < 0.5]
    policies = [_policy(random, spaces, number) for number in range(random.randint(0, 4))]
    if policies and random.random() < 0.3:
        policies.append(_echo(random, spaces, random.choice(policies)))
    pairs = [_service(random, pods, number) for number in range(random.choice((0, 0, 1, 2, 2)))]
    return ClusterState(
        pods={pod.uid: pod for pod in pods},
        nodes={name: Node(name, f"uid-{name}", _node_addresses(name)) for name in _NODES},
        namespaces={space.name: space for space in spaces},
        kuryr_ports={f"{each.namespace}/{each.name}": each for each in assigned},
        kuryr_nodes={name: KuryrNode(name, _node_port(name)) for name in _NODES[: random.randint(0, 2)]},
        policies={policy.full_name: policy for policy in policies},
        services={service.full_name: service for service, _ in pairs},
        endpoint_slices={each.full_name: each for _, slices in pairs for each in slices},
    )


def cloud_of(cluster: ClusterState, policies: Policies) -> CloudState:
    """What the cloud holds once the engine has made everything: groups with their keys as ids, ports, a foreign VM."""
    specs = [*_SHARED]
    for key in sorted(policies.keys()):
        group = policies.group(key)
        assert group is not None, f"{key} is among the keys, but there is no such group"
        specs += [group.spec, *group.rules]
    rules: dict[str, list[SecurityGroupRule]] = {}
    for spec in specs:
        if isinstance(spec, RuleSpec):
            rules.setdefault(spec.group, []).append(_rule(spec))
    groups = {
        spec.key: SecurityGroup(
            spec.key, spec.name, tags=spec.tags, security_group_rules=tuple(rules.get(spec.key, ()))
        )
        for spec in specs
        if isinstance(spec, SecurityGroupSpec)
    }
    ends = Ends(cluster)
    ports = [
        _port(POD, pod.uid, ends.pod(pod), policies.groups_of(pod)) for pod in cluster.pods.values() if pod.wants_port
    ]
    for node in cluster.nodes.values():
        known = cluster.kuryr_nodes.get(node.name)
        if known and known.node_port:
            ports.append(_port(NODE, node.uid, next(ends.nodes(node)), ("security-group/nodes",)))
    vm = Port("vm", "net", "02:00:00:00:00:01", name="vm", fixed_ips=_fixed(("10.65.3.200", "fd00:10:65::c8")))
    pair = Port("pair", "net", "02:00:00:00:00:02", name="pair", fixed_ips=_fixed(("10.65.3.201",)))
    pair = _with_pair(pair)
    return CloudState(security_groups=groups, ports={port.id: port for port in (*ports, vm, pair)})


def ends_of(cluster: ClusterState, cloud: CloudState) -> list[End]:
    """All ends of a world, and some addresses outside."""
    ends = Ends(cluster, cloud)
    return [*ends.all(), *map(ends.at, _OUTSIDE)]


def _with_pair(port: Port) -> Port:
    return Port(
        port.id, port.network_id, port.mac_address, fixed_ips=port.fixed_ips,
        allowed_address_pairs=(AddressPair("10.65.3.202"),),
    )  # fmt: skip


def _rule(spec: RuleSpec) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=spec.key,
        security_group_id=spec.group,
        direction=spec.direction,
        ethertype=spec.ethertype,
        protocol=spec.protocol,
        port_range_min=spec.port_range_min,
        port_range_max=spec.port_range_max,
        remote_ip_prefix=spec.remote_ip_prefix,
        remote_group_id=spec.remote_group,
    )


def _port(role: str, uid: str, end: End, groups: tuple[str, ...]) -> Port:
    return Port(
        id=f"port-{uid}",
        network_id="net",
        mac_address=names.mac_address(CONFIG.cluster_id, role, uid),
        fixed_ips=_fixed(end.addresses),
        security_groups=groups,
        device_id=uid,
        tags=names.tags(CONFIG.cluster_id, role, uid),
    )


def _fixed(addresses: tuple[str, ...]) -> tuple[FixedIP, ...]:
    return tuple(FixedIP("subnet", address) for address in addresses)


def _some(random: Random, make: Callable[[], T], most: int) -> tuple[T, ...]:
    return tuple(make() for _ in range(random.randint(0, most)))


def _labels(random: Random, of: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {key: random.choice(values) for key, values in of.items() if random.random() < 0.7}


def _pod(random: Random, spaces: list[Namespace], number: int) -> Pod:
    both = (f"10.65.0.{8 + number}", f"fd00:10:65::{8 + number:x}")
    host = random.random() < 0.12
    node = random.choice(_NODES) if random.random() < 0.93 else ""
    addresses: tuple[str, ...] = random.choice((both, both, both, both, both[:1], both[1:], ()))
    if host:
        addresses = _node_addresses(node) if node else ()
    phase = random.choice(("Running",) * 8 + ("Pending", "Succeeded", "Failed"))
    if phase in ("Succeeded", "Failed") and random.random() < 0.5:
        addresses = ("10.65.0.8", "fd00:10:65::8")
    ports = {(port.name, port.protocol): port for port in _some(random, lambda: random.choice(_NAMED), 3)}
    return Pod(
        namespace=random.choice(spaces).name,
        name=f"p{number}",
        uid=f"uid-p{number}",
        node=node,
        phase=phase,
        host_network=host,
        deleting=random.random() < 0.1,
        labels=_labels(random, _LABELS),
        ips=addresses if node else (),
        ports=tuple(ports.values()),
    )


def _assignment(pod: Pod) -> KuryrPort:
    number = 40 + int(pod.name[1:])
    given = Interface("eth0", f"port-{pod.uid}", "", (f"10.65.0.{number}/22", f"fd00:10:65::{number:x}/64"))
    return KuryrPort(pod.namespace, pod.name, pod.uid, pod.node, (given,))


def _node_addresses(name: str) -> tuple[str, ...]:
    return (f"172.16.0.{name[1:]}", f"fd00:16::{name[1:]}")


def _node_port(name: str) -> Interface:
    return Interface("kuryr0", f"port-uid-{name}", "", (f"10.65.0.{name[1:]}/22", f"fd00:10:65::{name[1:]}/64"))


def _policy(random: Random, spaces: list[Namespace], number: int) -> NetworkPolicy:
    directions = random.choice(([Direction.INGRESS], [Direction.EGRESS], list(Direction), list(Direction)))
    return NetworkPolicy(
        namespace=random.choice(spaces).name,
        name=f"np{number}",
        uid=f"uid-np{number}",
        pod_selector=_selector(random, _LABELS),
        directions=frozenset(directions),
        ingress=_some(random, lambda: _policy_rule(random), 2),
        egress=_some(random, lambda: _policy_rule(random), 2),
    )


def _echo(random: Random, spaces: list[Namespace], policy: NetworkPolicy) -> NetworkPolicy:
    """Another policy with the same rules."""
    return msgspec.structs.replace(
        policy,
        namespace=random.choice(spaces).name,
        name=f"{policy.name}-echo",
        uid=f"{policy.uid}-echo",
        pod_selector=_selector(random, _LABELS),
    )


def _policy_rule(random: Random) -> PolicyRule:
    return PolicyRule(_some(random, lambda: _peer(random), 2), _some(random, lambda: _policy_port(random), 2))


def _peer(random: Random) -> Peer:
    match random.randint(0, 3):
        case 0:
            cidr = random.choice(tuple(_BLOCKS))
            cuts = random.sample(_BLOCKS[cidr], random.randint(0, len(_BLOCKS[cidr])))
            return Peer(ip_block=IPBlock(cidr, tuple(cuts)))
        case 1:
            return Peer(pod_selector=_selector(random, _LABELS))
        case 2:
            return Peer(namespace_selector=_selector(random, _NAMESPACE_LABELS))
    return Peer(_selector(random, _LABELS), _selector(random, _NAMESPACE_LABELS))


def _selector(random: Random, of: Mapping[str, tuple[str, ...]]) -> Selector:
    return Selector(_some(random, lambda: _requirement(random, of), random.choice((1, 1, 1, 2))))


def _requirement(random: Random, of: Mapping[str, tuple[str, ...]]) -> Requirement:
    key, operator = random.choice(tuple(of)), random.choice((Operator.IN, *Operator))
    values = of[key][: random.randint(1, len(of[key]))] if operator in (Operator.IN, Operator.NOT_IN) else ()
    return Requirement(key, operator, values)


def _policy_port(random: Random) -> PolicyPort:
    protocol = random.choice(("TCP", "TCP", "UDP", "SCTP"))
    match random.randint(0, 4):
        case 0:
            return PolicyPort(protocol)
        case 1:
            low = random.choice(_NUMBERS)
            return PolicyPort(protocol, low, low + random.choice((0, 3, 1000)))
        case 2:
            return PolicyPort(protocol, random.choice(("web", "web", "dns", "sig", "none")))
    return PolicyPort(protocol, random.choice(_NUMBERS))


def _service(random: Random, pods: list[Pod], number: int) -> tuple[Service, list[EndpointSlice]]:
    space, name = random.choice(pods).namespace, f"s{number}"
    families: dict[str, Any] = {"IPv4": f"10.96.0.{10 + number}", "IPv6": f"fd00:10:96::{10 + number:x}"}
    ports = [ServicePort(80, "TCP", "one"), ServicePort(53, "UDP", "two")][: random.randint(1, 2)]
    targets = tuple(EndpointPort(port.name, random.choice((80, 80, 80, 8080, 53)), port.protocol) for port in ports)
    chosen = [pod for pod in pods if pod.namespace == space and random.random() < 0.6 and pod.phase == "Running"]
    slices = []
    for family, vip in families.items():
        mark = ":" if family == "IPv6" else "."
        addresses = [(pod, text) for pod in chosen for text in pod.ips if mark in text]
        found = [Endpoint((text,), ready=random.random() < 0.8, pod_uid=pod.uid) for pod, text in addresses]
        if random.random() < 0.1:
            found.append(Endpoint(("203.0.113.77" if family == "IPv4" else "2001:db8::5",)))
        slices.append(EndpointSlice(space, f"{name}-{family.lower()}", vip, name, family, tuple(found), targets))
    vips = tuple(families.values()) if random.random() < 0.8 else ()
    type_ = random.choice(("ClusterIP", "LoadBalancer", "LoadBalancer"))
    ranges = tuple(random.sample(_RANGES, random.choice((0, 1, 1, 2)))) if type_ == "LoadBalancer" else ()
    return Service(space, name, f"uid-{name}", type_, vips, tuple(ports), source_ranges=ranges), slices
