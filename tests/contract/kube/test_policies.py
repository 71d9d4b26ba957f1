"""What a NetworkPolicy and a pod's ports mean once they were stored: as in our own reading of a file."""

from __future__ import annotations

from typing import Any

from kuryrctl.core.cluster import ContainerPort, Pod
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Requirement, Selector
from tests.contract.kube.world import World, store, stored

WEB = Requirement("app", Operator.IN, ("web",))


def policy(world: World, name: str, **spec: Any) -> NetworkPolicy:
    store(world, Kind.NETWORK_POLICY, name, spec=spec)
    return stored(world, Kind.NETWORK_POLICY, NetworkPolicy, name)


def test_an_empty_policy_isolates_every_pod_against_what_comes_in(world: World) -> None:
    found = policy(world, "empty", podSelector={})

    assert found == NetworkPolicy(
        world.namespace,
        "empty",
        found.uid,
        Selector(),
        frozenset({Direction.INGRESS}),
        resource_version=found.resource_version,
    )
    assert found.resource_version


def test_a_policy_with_egress_rules_is_one_of_both_directions_unless_it_says_otherwise(world: World) -> None:
    defaulted = policy(world, "defaulted", podSelector={}, egress=[{}])
    told = policy(world, "told", podSelector={}, egress=[{}], policyTypes=["Ingress"])
    denied = policy(world, "denied", podSelector={}, egress=[])

    assert defaulted.directions == {Direction.INGRESS, Direction.EGRESS}
    assert defaulted.rules(Direction.EGRESS) == (PolicyRule(),)
    assert told.directions == denied.directions == {Direction.INGRESS}
    assert told.rules(Direction.EGRESS) == ()


def test_every_kind_of_peer_and_port_is_read(world: World) -> None:
    found = policy(
        world,
        "all",
        podSelector={
            "matchLabels": {"tier": "front", "app": "web"},
            "matchExpressions": [{"key": "canary", "operator": "DoesNotExist"}],
        },
        ingress=[
            {
                "from": [
                    {"podSelector": {}},
                    {
                        "namespaceSelector": {
                            "matchExpressions": [{"key": "env", "operator": "In", "values": ["a", "b"]}]
                        }
                    },
                    {"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {}},
                    {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}},
                ],
                "ports": [
                    {"port": 80},
                    {"port": "http", "protocol": "UDP"},
                    {"port": 8000, "endPort": 8010, "protocol": "SCTP"},
                    {"protocol": "UDP"},
                ],
            }
        ],
        egress=[{"to": [{"ipBlock": {"cidr": "fd00::/8"}}]}],
        policyTypes=["Egress", "Ingress"],
    )

    assert found.pod_selector == Selector(
        (WEB, Requirement("tier", Operator.IN, ("front",)), Requirement("canary", Operator.DOES_NOT_EXIST))
    )
    assert found.ingress == (
        PolicyRule(
            peers=(
                Peer(pod_selector=Selector()),
                Peer(namespace_selector=Selector((Requirement("env", Operator.IN, ("a", "b")),))),
                Peer(pod_selector=Selector((WEB,)), namespace_selector=Selector()),
                Peer(ip_block=IPBlock("10.0.0.0/8", ("10.1.0.0/16", "10.2.0.0/16"))),
            ),
            ports=(
                PolicyPort("TCP", 80),
                PolicyPort("UDP", "http"),
                PolicyPort("SCTP", 8000, 8010),
                PolicyPort("UDP"),
            ),
        ),
    )
    assert found.egress == (PolicyRule(peers=(Peer(ip_block=IPBlock("fd00::/8")),)),)


def test_a_pods_named_ports_are_those_of_containers_that_stay(world: World) -> None:
    def container(name: str, *ports: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"name": name, "image": "none", "ports": list(ports), **more}

    store(
        world,
        Kind.POD,
        "web-0",
        spec={
            "schedulerName": "nobody",
            "containers": [
                container("a", {"name": "http", "containerPort": 8080}, {"containerPort": 9999}),
                container("b", {"name": "dns", "containerPort": 53, "protocol": "UDP"}),
            ],
            "initContainers": [
                container("beside", {"name": "mesh", "containerPort": 15001}, restartPolicy="Always"),
                container("before", {"name": "gone", "containerPort": 1}),
            ],
        },
        labels={"app": "web"},
    )

    found = stored(world, Kind.POD, Pod, "web-0")

    assert found.ports == (ContainerPort("http", 8080), ContainerPort("dns", 53, "UDP"), ContainerPort("mesh", 15001))
