"""Which address and port must answer for which VIP and port: stated here from the Kubernetes API reference alone, and
compared with the trees that the planner makes, for random Services and slices, through random changes of both.

The statement shares types with the planner, and nothing else.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kuryrctl.core.services import Endpoint, EndpointPort, EndpointSlice, Service, ServicePort
from tests.unit.core.balancing import Scene, floating_ip

Gate = tuple[str, str, int]
SANE = {
    "IPv4": ("10.65.0.8", "10.65.0.9", "10.65.1.7", "198.51.100.3", "172.16.0.1"),
    "IPv6": ("fd00:10:65::8", "fd00:10:65::9", "2001:db8::3"),
}
FORBIDDEN = {
    "IPv4": ("127.0.0.1", "127.8.0.1", "169.254.169.254", "0.0.0.0", "239.1.2.3", "10.96.0.77", "255.255.255.255"),
    "IPv6": ("::1", "fe80::1", "::", "ff02::1", "fd00:10:96::77"),
}
VIPS = {"IPv4": "10.96.0.5", "IPv6": "fd00:10:96::5"}


def must_answer(service: Service, slices: list[EndpointSlice]) -> dict[Gate, set[tuple[str, int]]]:
    """For each VIP, protocol and port: who gets its packets."""
    answers: dict[Gate, set[tuple[str, int]]] = {}
    for family, vip in VIPS.items():
        if vip not in service.cluster_ips:
            continue
        for port in service.ports:
            willing, last = set(), set()
            for each in slices:
                if each.address_type != family:
                    continue
                targets = {p.port for p in each.ports if p.name == port.name and p.protocol == port.protocol} - {None}
                for endpoint in each.endpoints:
                    address = endpoint.addresses[0]
                    if address not in SANE[family]:
                        continue
                    pairs = {(address, target) for target in targets if target is not None}
                    if endpoint.ready or service.publish_not_ready:
                        willing |= pairs
                    elif endpoint.terminating and endpoint.serving:
                        last |= pairs
            answers[vip, port.protocol, port.port] = willing or last
    return answers


def answering(scene: Scene) -> dict[Gate, set[tuple[str, int]]]:
    """The same, read off the trees that there are."""
    found: dict[Gate, set[tuple[str, int]]] = {}
    for tree in scene.balancers:
        pools = {pool.id: pool for pool in tree.pools}
        for listener in tree.listeners:
            pool = pools[listener.default_pool_id or ""]
            assert pool.protocol == listener.protocol
            gate = (tree.vip_address, listener.protocol, listener.protocol_port)
            found[gate] = {(each.address, each.protocol_port) for each in pool.members if each.weight}
    return found


def random_service(random: Random) -> Service:
    numbers = random.sample((53, 80, 443, 8080), random.randint(1, 3))
    ports = {(random.choice(("TCP", "UDP", "SCTP")), number): None for number in numbers}
    if random.random() < 0.3:
        ports |= {("UDP", numbers[0]): None, ("TCP", numbers[0]): None}
    families = random.choice((("IPv4",), ("IPv6",), ("IPv4", "IPv6"), ("IPv6", "IPv4")))
    return Service(
        namespace="shop",
        name="web",
        uid="u1",
        type=random.choice(("ClusterIP", "ClusterIP", "NodePort", "LoadBalancer")),
        cluster_ips=tuple(VIPS[family] for family in families),
        ports=tuple(ServicePort(number, protocol, f"{protocol}{number}".lower()) for protocol, number in ports),
        session_affinity=random.choice(("None", "ClientIP")),
        publish_not_ready=random.random() < 0.2,
    )


def random_slices(random: Random, service: Service) -> tuple[EndpointSlice, ...]:
    return tuple(_slice(random, service, number) for number in range(random.randint(0, 4)))


def _slice(random: Random, service: Service, number: int) -> EndpointSlice:
    family = random.choice(tuple(SANE))
    endpoints = tuple(
        Endpoint(
            (random.choice(SANE[family] if random.random() < 0.85 else FORBIDDEN[family]),),
            ready=random.random() < 0.5,
            serving=random.random() < 0.6,
            terminating=random.random() < 0.4,
        )
        for _ in range(random.randint(0, 4))
    )
    ports = tuple(
        EndpointPort(port.name, random.choice((8080, 9090, None)), port.protocol)
        for port in service.ports
        if random.random() < 0.85
    )
    return EndpointSlice("shop", f"web-{number}", f"s{number}", "web", family, endpoints, ports)


@settings(deadline=None, max_examples=150)
@given(st.integers(min_value=0, max_value=2**32))
def test_the_trees_answer_as_the_slices_say_through_every_change(seed: int) -> None:
    random = Random(seed)
    scene = Scene(floating_ips=(floating_ip("203.0.113.9"),))
    for _ in range(4):
        given_service = random_service(random)
        known = scene.service.ingress if scene.service else ()
        slices = random_slices(random, given_service)
        scene = replace(scene, service=replace(given_service, ingress=known), slices=slices).converged()
        assert answering(scene) == must_answer(given_service, list(slices))
        outside = given_service.type == "LoadBalancer" and VIPS["IPv4"] in given_service.cluster_ips
        assert scene.service is not None
        assert bool(scene.service.ingress) == outside == any(each.tags and each.port_id for each in scene.floating_ips)
    gone = replace(scene, service=None).converged()
    assert (gone.balancers, [each.id for each in gone.floating_ips]) == ((), ["id-203.0.113.9"])


@settings(deadline=None, max_examples=100)
@given(st.integers(min_value=0, max_value=2**32))
def test_a_change_of_endpoints_alone_touches_members_alone(seed: int) -> None:
    random = Random(seed)
    given_service = random_service(random)
    scene = Scene(service=given_service, slices=random_slices(random, given_service)).converged()
    steps = replace(scene, slices=random_slices(random, given_service)).steps()
    assert {step.kind.value for step in steps} <= {"member"}
    assert len(steps) <= len(given_service.ports) * len(given_service.cluster_ips)
