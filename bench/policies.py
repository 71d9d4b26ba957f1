"""The policy compiler: a whole cluster at once, one pod's change, and what 500 peers on 3 ports come to.

The cluster has 1 policy for 10 pods, 100 pods in a namespace, 10 pods alike, and a Service for each 10 pods. Policies
take turns between all kinds of peers and ports. Compiling is all of it: taking the cluster in, every pod's group list,
every group's rules. A change is compiled when the groups and lists that it touches were asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import msgspec

from bench.command import main
from bench.result import Measure, Result
from kuryrctl.core.cluster import ClusterState, ContainerPort, Namespace, Node, Pod
from kuryrctl.core.config import Config, PodNetwork
from kuryrctl.core.policy.compiler import Group, Policies, Touched
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort

GOAL_S = 1.0
GOAL_CHANGE_MS = 5.0
GOAL_RULES = 6.0
NODES = 100
CONFIG = Config(pod_network=PodNetwork(cidrs=("10.64.0.0/12", "fd00:10:65::/64")))
BOTH = frozenset(Direction)


def run(size: int, repeat: int) -> Result:
    """`size` pods."""
    cluster = world(size)
    policies = Policies(CONFIG)
    whole = [seconds(lambda: everything(policies, cluster)) for _ in range(repeat)]
    rules = sum(len(group.rules) for key in sorted(policies.keys()) if (group := policies.group(key)))
    changes = {
        name: [1000 * seconds(partial(compiled, policies, change)) for change in made]
        for name, made in one_changes(cluster).items()
    }
    peers, ports = 500, 3
    few = [group for group in groups_of(peer_world(peers, ports)) if group.rules]
    ratio = median(whole) / GOAL_S
    return Result(
        "policies",
        size,
        repeat,
        ratio,
        "time to compile a cluster / its goal",
        (
            Measure(f"{len(cluster.policies)} policies x {size} pods", median(whole), "s", GOAL_S),
            *(Measure(name, median(made), "ms", GOAL_CHANGE_MS) for name, made in changes.items()),
            Measure(f"rules for {peers} peers x {ports} ports", float(len(few[0].rules)), "", GOAL_RULES),
            Measure("rules calls", float(len(few)), "", 1.0),
            Measure("rules of the cluster", float(rules), ""),
            Measure("worst change", max(each for made in changes.values() for each in made), "ms"),
        ),
    )


def everything(policies: Policies, cluster: ClusterState) -> None:
    """A full turn's worth."""
    policies.replace(cluster)
    for pod in cluster.pods.values():
        policies.groups_of(pod)
    for key in sorted(policies.keys()):
        policies.group(key)


def compiled(policies: Policies, change: Pod | NetworkPolicy | Namespace | EndpointSlice) -> Touched:
    """A change, with everything asked for again that it touches."""
    touched = policies.put(change)
    for key in touched.groups:
        policies.group(key)
    if isinstance(change, Pod):
        policies.groups_of(change)
    return touched


def one_changes(cluster: ClusterState) -> dict[str, list[Pod] | list[NetworkPolicy] | list[EndpointSlice]]:
    """Changes of one object each: there and back."""
    pods = list(cluster.pods.values())[:: max(1, len(cluster.pods) // 50)]
    relabelled = [msgspec.structs.replace(pod, labels={**pod.labels, "app": "app-0"}) for pod in pods]
    news = [msgspec.structs.replace(pod, name=f"new-{pod.name}", uid=f"new-{pod.uid}", ips=()) for pod in pods]
    policies = list(cluster.policies.values())[:: max(1, len(cluster.policies) // 50)]
    more = PolicyRule(ports=(PolicyPort(port=81),))
    edited = [
        msgspec.structs.replace(policy, ingress=(*policy.ingress, more), egress=(*policy.egress, more))
        for policy in policies
    ]
    slices = list(cluster.endpoint_slices.values())[:: max(1, len(cluster.endpoint_slices) // 50)]
    one_less = [msgspec.structs.replace(each, endpoints=each.endpoints[1:]) for each in slices]
    none_left = [msgspec.structs.replace(each, endpoints=()) for each in slices]
    return {
        "a new pod": news,
        "a pod relabelled": [*relabelled, *pods],
        "a policy edited": [*edited, *policies],
        "one endpoint of a Service": [*one_less, *slices],
        "all endpoints of a Service": [*none_left, *slices],
    }


def world(size: int) -> ClusterState:
    """A cluster of `size` pods."""
    homes = [f"team-{number}" for number in range(max(1, size // 100))]
    pods = [_pod(number, homes) for number in range(size)]
    services = [_service(number, homes, pods) for number in range(size // 10)]
    made = [_policy(number, homes[number % len(homes)]) for number in range(size // 10)]
    return ClusterState(
        pods={pod.uid: pod for pod in pods},
        nodes={f"node{n}": Node(f"node{n}", f"node-uid-{n}", (f"10.254.0.{n + 1}",)) for n in range(NODES)},
        namespaces={
            home: Namespace(home, f"uid-{home}", {"name": home, "tier": f"tier-{number % 5}"})
            for number, home in enumerate(homes)
        },
        policies={policy.full_name: policy for policy in made},
        services={service.full_name: service for service, _ in services},
        endpoint_slices={slice_.full_name: slice_ for _, slice_ in services},
    )


def peer_world(peers: int, ports: int) -> ClusterState:
    """One policy that lets `peers` pods in on `ports` ports."""
    pods = [_pod(number, ["shop"]) for number in range(peers)]
    alike = [msgspec.structs.replace(pod, labels={"app": "web"}) for pod in pods]
    rule = PolicyRule(
        (Peer(pod_selector=_labels(app="web")),), tuple(PolicyPort(port=8000 + 2 * n) for n in range(ports))
    )
    policy = NetworkPolicy("shop", "db", "uid-db", _labels(app="db"), frozenset({Direction.INGRESS}), (rule,))
    return ClusterState(
        pods={pod.uid: pod for pod in alike},
        namespaces={"shop": Namespace("shop", "uid-shop")},
        policies={policy.full_name: policy},
    )


def groups_of(cluster: ClusterState) -> Iterator[Group]:
    """All groups of a cluster."""
    policies = Policies(CONFIG)
    policies.replace(cluster)
    return (group for key in sorted(policies.keys()) if (group := policies.group(key)))


def seconds(work: Callable[[], object]) -> float:
    """How long it took, by the CPU's clock of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _pod(number: int, homes: list[str]) -> Pod:
    app = number // len(homes) // 10
    return Pod(
        namespace=homes[number % len(homes)],
        name=f"pod-{number}",
        uid=f"uid-{number}",
        node=f"node{number % NODES}",
        phase="Running",
        labels={"app": f"app-{app}", "tier": f"tier-{app % 3}", "pod-template-hash": f"{app:09d}"},
        ips=(f"10.65.{number // 250}.{number % 250 + 1}", f"fd00:10:65::{number + 1:x}"),
        ports=(ContainerPort("http", 8080 + app % 2),),
    )


def _service(number: int, homes: list[str], pods: list[Pod]) -> tuple[Service, EndpointSlice]:
    home, app = homes[number % len(homes)], number // len(homes)
    behind = pods[number % len(homes) + app * 10 * len(homes) :: len(homes)][:10]
    vip = f"10.96.{number // 250}.{number % 250 + 1}"
    endpoints = tuple(Endpoint((pod.ips[0],), pod_uid=pod.uid) for pod in behind)
    return (
        Service(home, f"app-{app}", f"service-{number}", cluster_ips=(vip,), ports=(ServicePort(80),)),
        EndpointSlice(
            home, f"app-{app}-x", f"slice-{number}", f"app-{app}", "IPv4", endpoints, (EndpointPort(port=8080),)
        ),
    )


def _policy(number: int, home: str) -> NetworkPolicy:
    kind = number // 100 % 10
    peers = (
        (Peer(pod_selector=_labels(app=f"app-{(kind + 1) % 10}")),),
        (Peer(namespace_selector=_labels(name=f"team-{number % 50}")),),
        (Peer(namespace_selector=_labels(tier=f"tier-{kind % 5}"), pod_selector=_labels(tier="tier-1")),),
        (Peer(ip_block=IPBlock("10.0.0.0/8", ("10.1.0.0/16", f"10.{kind}.2.0/24"))),),
        (Peer(namespace_selector=Selector(), pod_selector=_labels(app=f"app-{kind}")),),
        (),
    )[number % 6]
    ports = ((PolicyPort(port=8080),), (PolicyPort(port="http"),), (PolicyPort("UDP", 53), PolicyPort("TCP", 53)), ())[
        number % 4
    ]
    rule = PolicyRule(peers, ports)
    return NetworkPolicy(
        home, f"policy-{number}", f"policy-uid-{number}", _labels(app=f"app-{kind}"), BOTH, (rule,), (rule,)
    )


def _labels(**labels: str) -> Selector:
    return Selector(tuple(Requirement(key, Operator.IN, (value,)) for key, value in labels.items()))


if __name__ == "__main__":
    main(run, __doc__ or "", size=10_000, repeat=3)
