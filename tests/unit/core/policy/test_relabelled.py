"""A Service that opens to a client after the client was asked about, and closes with a label of its pods' namespace."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kuryrctl.core.policy.compiler import Policies
from kuryrctl.kube.documents import parse
from tests.unit.core.policy.agreement import CONFIG
from tests.unit.core.policy.test_compiler_changes import compiled, outcome

WORLD = """
{kind: Namespace, metadata: {name: shop, labels: {env: prod}}}
---
{kind: Namespace, metadata: {name: mail}}
---
{kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
 spec: {nodeName: n1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.65.0.10}]}}
---
{kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}},
 spec: {nodeName: n1, containers: [{name: c, image: i}]}, status: {podIPs: [{ip: 10.65.0.11}]}}
---
{kind: NetworkPolicy, metadata: {name: out, namespace: shop},
 spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress],
        egress: [{to: [{namespaceSelector: {matchLabels: {env: prod}}}]}]}}
---
{kind: Service, metadata: {name: db, namespace: WHERE},
 spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10], ports: [{port: 80, protocol: TCP}]}}
---
{kind: EndpointSlice, metadata: {name: db-1, namespace: WHERE, labels: {kubernetes.io/service-name: db}},
 addressType: IPv4, ports: [{port: 80, protocol: TCP}],
 endpoints: [{addresses: [10.65.0.11], conditions: {ready: true}}]}
"""


@pytest.mark.parametrize("where", ["shop", "mail"])
def test_it_closes_again(where: str) -> None:
    after = parse(WORLD.replace("WHERE", where), "test")
    shop = replace(after.namespaces["shop"], labels={})
    policies = Policies(CONFIG)
    policies.replace(replace(after, services={}, endpoint_slices={}))
    shut = outcome(policies, after)

    for thing in (*after.services.values(), *after.endpoint_slices.values()):
        policies.put(thing)
    opened = outcome(policies, after)
    policies.put(shop)

    assert shut != opened == compiled(after)
    assert outcome(policies, after) == compiled(replace(after, namespaces=after.namespaces | {"shop": shop}))
