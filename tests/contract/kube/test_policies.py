"""What a NetworkPolicy, a Service and its slices mean once they were stored: as in our own reading of a file."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from kuryrctl.core.cluster import ContainerPort, Pod
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import Direction, IPBlock, NetworkPolicy, Peer, PolicyPort, PolicyRule
from kuryrctl.core.selectors import Operator, Requirement, Selector
from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from kuryrctl.kube.resources import RESOURCES
from tests.contract.kube.world import World

T = TypeVar("T", NetworkPolicy, Service, EndpointSlice, Pod)
WEB = Requirement("app", Operator.IN, ("web",))


def store(world: World, kind: Kind, name: str, **parts: Any) -> None:
    resource = RESOURCES[kind]
    labels = parts.pop("labels", {})
    body = {
        "apiVersion": resource.base.removeprefix("/apis/").removeprefix("/api/"),
        "kind": resource.title,
        "metadata": {"name": name, "labels": labels},
        **parts,
    }
    answer = world.transport.request("POST", resource.path("", world.namespace), body=msgspec.json.encode(body))
    assert answer.status == 201, answer.body


def stored(world: World, kind: Kind, type_: type[T], name: str) -> T:
    (found,) = [
        item
        for item in world.kube.list_kind(kind).items
        if isinstance(item, type_) and (item.namespace, item.name) == (world.namespace, name)
    ]
    assert found.uid
    return found


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


def test_a_headless_service_has_no_address_and_a_port_is_its_own_target(world: World) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    store(world, Kind.SERVICE, "headless", spec={"clusterIP": "None", "ports": ports, "selector": {"app": "web"}})

    found = stored(world, Kind.SERVICE, Service, "headless")

    assert (found.type, found.cluster_ips) == ("ClusterIP", ())
    assert found.ports == (ServicePort(80, "TCP", "http", "web"), ServicePort(53, "UDP", "dns", 53))


def test_endpoints_are_ready_unless_their_slice_denies_it(world: World) -> None:
    pod = {"kind": "Pod", "name": "web-0", "namespace": world.namespace, "uid": "5f0e"}
    store(
        world,
        Kind.ENDPOINT_SLICE,
        "web-1",
        labels={"kubernetes.io/service-name": "web"},
        addressType="IPv4",
        endpoints=[
            {"addresses": ["10.65.0.9"], "targetRef": pod},
            {"addresses": ["10.65.0.10"], "conditions": {"ready": False, "serving": True, "terminating": True}},
            {"addresses": ["10.65.0.11"], "conditions": {"ready": False}},
        ],
        ports=[{"name": "http", "port": 8080}, {"name": "every", "protocol": "UDP"}],
    )

    found = stored(world, Kind.ENDPOINT_SLICE, EndpointSlice, "web-1")

    assert (found.service, found.address_type) == ("web", "IPv4")
    assert found.endpoints == (
        Endpoint(("10.65.0.9",), pod_uid="5f0e"),
        Endpoint(("10.65.0.10",), ready=False, serving=True, terminating=True),
        Endpoint(("10.65.0.11",), ready=False, serving=False),
    )
    assert found.ports == (EndpointPort("http", 8080), EndpointPort("every", None, "UDP"))


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
