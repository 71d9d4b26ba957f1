"""A list that was answered from the past takes back nothing of what events told of policies and what they depend on."""

from __future__ import annotations

from typing import Any

import pytest

from kuryrctl.core.cluster import ClusterState, Namespace
from kuryrctl.core.config import Config
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import Direction, NetworkPolicy
from kuryrctl.core.selectors import Selector
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.reconcile.moments import Moments
from kuryrctl.reconcile.policing import Policing
from kuryrctl.reconcile.watch import WATCHED
from tests.unit.reconcile.site import Site, eventually
from tests.unit.reconcile.test_policies import DENY, carried, policy

BOTH = frozenset(Direction)
OLD_AND_NEW = [
    (
        Kind.NETWORK_POLICY,
        "policies",
        NetworkPolicy("shop", "web", "u", Selector(), BOTH, resource_version="99"),
        NetworkPolicy("shop", "web", "u", Selector(), frozenset(), resource_version="100"),
    ),
    (
        Kind.NAMESPACE,
        "namespaces",
        Namespace("shop", "u", {"team": "a"}, resource_version="99"),
        Namespace("shop", "u", {"team": "b"}, resource_version="100"),
    ),
    (
        Kind.SERVICE,
        "services",
        Service("shop", "web", "u", resource_version="99"),
        Service("shop", "web", "u", cluster_ips=("10.96.0.1",), resource_version="100"),
    ),
    (
        Kind.ENDPOINT_SLICE,
        "endpoint_slices",
        EndpointSlice("shop", "web", "u", "web", resource_version="99"),
        EndpointSlice("shop", "web", "u", "web", "IPv6", resource_version="100"),
    ),
]


@pytest.mark.parametrize(("kind", "field", "old", "new"), OLD_AND_NEW)
def test_the_newer_of_two_versions_is_kept_however_they_come(kind: Kind, field: str, old: Any, new: Any) -> None:
    policing, moments = Policing(Config(), dict), Moments()
    name = "shop" if kind is Kind.NAMESPACE else "shop/web"
    policing.change(new, deleted=False, moments=moments)
    mark = moments.mark()

    policing.take_relist(ClusterState(**{field: {name: old}}, complete=frozenset({kind})), moments, mark)
    assert getattr(policing, field) == {name: new}
    policing.change(old, deleted=False, moments=moments)
    assert getattr(policing, field) == {name: new}
    assert moments.mark() == mark, "what is old counts as no change"


@pytest.mark.parametrize(("kind", "field", "old", "new"), OLD_AND_NEW)
def test_a_list_that_is_newer_is_believed(kind: Kind, field: str, old: Any, new: Any) -> None:
    policing, moments = Policing(Config(), dict), Moments()
    name = "shop" if kind is Kind.NAMESPACE else "shop/web"
    policing.change(old, deleted=False, moments=moments)

    policing.take_relist(ClusterState(**{field: {name: new}}, complete=frozenset({kind})), moments, moments.mark())

    assert getattr(policing, field) == {name: new}


def test_a_full_turn_on_stale_lists_opens_no_pod_that_a_newer_policy_closes() -> None:
    site = Site(full_turn_s=1)
    site.kube.add_pod("shop", "web", node="node1", uid="web")
    policy(site, "deny", {**DENY, "policyTypes": ["Ingress"]})
    assert site.run().ok
    with site.watching():
        eventually(lambda: site.kube.open_watches() == len(WATCHED))
        site.kube.freeze_lists()
        policy(site, "deny", {**DENY, "policyTypes": ["Ingress", "Egress"]})
        eventually(lambda: "policy-egress" in carried(site, "web"))
        read = lists_of_policies(site)
        eventually(lambda: lists_of_policies(site) > read + 2)
        assert "policy-egress" in carried(site, "web")


def lists_of_policies(site: Site) -> int:
    """How often a full turn has listed them all."""
    return sum("/networkpolicies?" in path and "watch=" not in path for _, path in list(site.kube.requests))
