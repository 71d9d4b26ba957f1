"""Who reaches a Service: pods on both nodes, nodes, a VM, the world outside; by each protocol and IP version."""

from __future__ import annotations

import pytest

from kuryrctl.lab.layout import CLUSTER_DNS_IPS, KUBERNETES_SERVICE_IPS, NETNS_DIR, NODES
from tests.functional.lab import wait_for
from tests.functional.services.shop import PATIENT_S, Shop
from tests.functional.services.wire import AAAA, OUTSIDE, VM, A, Client, is_ipv6


def clients(shop: Shop) -> list[Client]:
    nodes = [Client(node.name, str(NETNS_DIR / node.netns)) for node in NODES]
    return [*shop.clients.values(), *nodes, VM, OUTSIDE]


def test_everybody_reaches_every_server_by_both_ip_versions(shop: Shop) -> None:
    vips = shop.addresses("web")
    assert [is_ipv6(vip) for vip in vips] == [False, True]
    for vip in vips:
        shop.answer_exactly(shop.servers(), vip)
        for client in clients(shop):
            assert client.fetch(vip, 80) in shop.servers(), (client.name, vip)


def test_a_server_sees_who_asks(shop: Shop) -> None:
    pods = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in shop.lab.pods(shop.namespace)}
    vip = shop.addresses("web")[0]
    for client in shop.clients.values():
        source, _, _ = client.fetch(vip, 80, "/clientip").rpartition(":")
        assert source == pods[client.name]


def test_the_world_outside_reaches_the_floating_ip(shop: Shop) -> None:
    address = shop.external("outside")
    assert address.startswith("172.24.4.")
    shop.answers(address, 80, client=OUTSIDE)
    assert OUTSIDE.names(address, 80, 30) == set(shop.servers())
    assert shop.client.fetch(shop.addresses("outside")[0], 80) in shop.servers()


def test_one_port_number_serves_tcp_and_udp_and_another_port_another_server(shop: Shop) -> None:
    for vip in shop.addresses("web"):
        for client in clients(shop):
            assert client.says(vip, 80, b"echo hello") == b"hello", (client.name, vip)
            assert client.fetch(vip, 81) in shop.servers()


def test_a_client_stays_with_one_server_where_the_service_wants_it(shop: Shop) -> None:
    vip = shop.addresses("sticky")[0]
    for client in (*shop.clients.values(), VM):
        assert len(client.names(vip, 80, 25)) == 1, client.name


def test_names_are_resolved_by_udp_and_tcp_and_both_ip_versions(shop: Shop) -> None:
    v4, v6 = shop.addresses("web")
    name = f"web.{shop.namespace}.svc.cluster.local"
    for server in CLUSTER_DNS_IPS:
        for client in (*shop.clients.values(), VM):
            for tcp in (False, True):
                assert client.looks_up(server, name, A, tcp=tcp) == [v4], (client.name, server, tcp)
                assert client.looks_up(server, name, AAAA, tcp=tcp) == [v6], (client.name, server, tcp)


def test_a_pod_finds_a_service_by_its_name_and_the_api_server_by_its_own(shop: Shop) -> None:
    for node in shop.lab.nodes():
        (pod,) = (p for p in shop.lab.pods(shop.namespace) if p["metadata"]["name"] == f"client-{node}")
        assert shop.lab.exec(pod, "curl", "-sS", "-m", "10", "http://web/hostname") in shop.servers()
        authority = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
        for host in ("kubernetes.default.svc", KUBERNETES_SERVICE_IPS[0]):
            answer = shop.lab.exec(pod, "curl", "-sS", "-m", "10", "--cacert", authority, f"https://{host}/version")
            assert '"gitVersion"' in answer


SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: by-hand-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: by-hand}}}}
addressType: IPv4
endpoints: [{{addresses: ["{address}"]}}]
ports: [{{name: "", port: {port}, protocol: TCP}}]
"""


@pytest.fixture
def by_hand(shop: Shop) -> str:
    """A Service without a selector; its address."""
    shop.apply("by-hand", {"ports": [{"port": 80}]})
    return shop.addresses("by-hand")[0]


def test_a_service_without_a_selector_has_the_endpoints_it_is_given(shop: Shop, by_hand: str) -> None:
    pod = next(pod for pod in shop.lab.pods(shop.namespace, "app=web"))
    text = SLICE.format(namespace=shop.namespace, address=pod["status"]["podIP"], port=8080)
    shop.lab.kubectl("apply", "-f", "-", stdin=text)
    shop.answer_exactly([pod["metadata"]["name"]], by_hand)
    shop.lab.kubectl("delete", "-f", "-", stdin=text)
    wait_for(lambda: not shop.client.reaches(by_hand, 80, 1.0), PATIENT_S, shop.told)
    shop.delete("by-hand")
    shop.gone(by_hand)
