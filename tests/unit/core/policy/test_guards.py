"""Source ranges at members' ports: when they are enforced, and when nothing may lead to the Service from outside."""

from __future__ import annotations

import pytest

from kuryrctl.core.config import Config, parse_config
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.services import Service
from kuryrctl.kube.documents import parse

PODS = """
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, image: i}]}
status: {podIPs: [{ip: 10.65.0.10}]}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: %s, annotations: {%s}}
spec: {type: LoadBalancer, clusterIP: %s, ports: [{port: 80, targetPort: 8080}], loadBalancerSourceRanges: [%s]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: %s-1, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints: [{addresses: [%s]}]
---
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: in}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress], ingress: [%s]}
---
"""


def service(
    ranges: str = "203.0.113.0/24",
    *,
    name: str = "web",
    vip: str = "10.96.0.5",
    at: str = "10.65.0.10",
    notes: str = "",
) -> str:
    return SERVICE % (name, notes, vip, ranges, name, name, at)


WEB = service()
ELSEWHERE = "another Service lets others in to the same port of pod shop/web"
POLICED = "a policy lets others in to that port of pod shop/web"
CASES = {
    "a pod that no policy isolates": (WEB, ""),
    "an endpoint that is no pod": (service(at="198.51.100.7"), "an endpoint is no pod of this cluster"),
    "no endpoint at all": (WEB.replace("[{addresses: [10.65.0.10]}]", "[]"), ""),
    "a policy that lets in pods": (WEB + POLICY % "{from: [{podSelector: {}}]}", ""),
    "a policy that lets in nobody": (WEB + POLICY % "", ""),
    "a policy that lets in some of the ranges": (WEB + POLICY % "{from: [{ipBlock: {cidr: 203.0.113.8/29}}]}", ""),
    "a policy that lets in the pods' network": (WEB + POLICY % "{from: [{ipBlock: {cidr: 10.65.0.0/22}}]}", ""),
    "a policy that lets in more": (WEB + POLICY % "{from: [{ipBlock: {cidr: 203.0.112.0/23}}]}", POLICED),
    "a policy that lets in everybody": (WEB + POLICY % "{}", POLICED),
    "a policy that does so on this port": (WEB + POLICY % "{ports: [{port: 8000, endPort: 9000}]}", POLICED),
    "a policy that does so on another port": (WEB + POLICY % "{ports: [{port: 9090}]}", ""),
    "a policy that does so by UDP": (WEB + POLICY % "{ports: [{port: 8080, protocol: UDP}]}", ""),
    "another Service with the same ranges": (WEB + service(name="other", vip="10.96.0.6"), ""),
    "another Service with other ranges": (
        WEB + service("198.51.100.0/24", name="other", vip="10.96.0.6"),
        ELSEWHERE,
    ),
    "another Service without any": (WEB + service("", name="other", vip="10.96.0.6"), ELSEWHERE),
    "another Service inside the cluster": (
        WEB + service("", name="other", vip="10.96.0.6").replace("type: LoadBalancer, ", ""),
        "",
    ),
    "another internal Service": (
        WEB
        + service(
            "",
            name="other",
            vip="10.96.0.6",
            notes='service.beta.kubernetes.io/openstack-internal-load-balancer: "true"',
        ),
        "",
    ),
}


def compiled(manifests: str, config: Config) -> tuple[Policies, Service]:
    cluster = parse(PODS + manifests, "case")
    policies = Policies(config)
    policies.replace(cluster)
    return policies, cluster.services["shop/web"]


@pytest.mark.parametrize("name", CASES)
def test_whether_source_ranges_are_enforced(name: str) -> None:
    manifests, expected = CASES[name]
    policies, web = compiled(manifests, Config())
    assert policies.unguarded(web) == expected


def test_a_provider_that_hides_clients_from_members_is_no_matter_for_guards() -> None:
    config = parse_config({"services": {"provider": "amphora"}})
    policies, _ = compiled(WEB, config)
    assert not [key for key in sorted(policies.keys()) if key.startswith("security-group/guard/")]


def test_a_service_is_looked_at_again_when_the_lists_of_its_pods_change() -> None:
    policies, web = compiled(WEB, Config())
    cluster = parse(PODS + WEB + POLICY % "{}", "case")
    (policy,) = cluster.policies.values()
    (pod,) = cluster.pods.values()
    touched = policies.put(policy)
    assert pod.uid in touched.pods
    assert policies.guarded_at(touched.pods) == {web.uid}
    assert policies.limited_by(web) == {pod.uid}

    policies, _ = compiled(service(""), Config())
    assert policies.guarded_at([pod.uid]) == set()
