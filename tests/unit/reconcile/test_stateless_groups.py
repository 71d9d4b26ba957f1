"""A group that somebody made stateless lets no answers pass: it is repaired while nobody carries it, else told of."""

from __future__ import annotations

from typing import Any

import pytest

from kuryrctl.core.findings import FindingCode
from kuryrctl.reconcile import Scope
from tests.unit.reconcile.site import Site
from tests.unit.reconcile.test_policies import DB, FROM_WEB, WEB, carried, group, policy


@pytest.fixture
def site() -> Site:
    site = Site()
    site.kube.add_pod("shop", "web", node="node1", uid="web", labels=WEB)
    policy(site, "db", FROM_WEB)
    assert site.run().ok
    return site


def stateless(site: Site, role: str) -> dict[str, Any]:
    found = group(site, role)
    site.cloud.change("security_groups", found["id"], stateful=False)
    return found


def test_it_becomes_stateful_again_before_the_first_pod_joins(site: Site) -> None:
    found = stateless(site, "policy-ingress")
    site.kube.add_pod("shop", "db", node="node2", uid="db", labels=DB)

    report = site.run()

    assert report.ok
    order = [line.split("  ")[0] for line in report.done]
    key = f"security-group/policy-ingress/{found['name'].removeprefix('kuryr-kuryr-policy-ingress-')}"
    assert order.index(f"update {key}") < order.index("create port/pod/db")
    assert group(site, "policy-ingress")["stateful"]
    assert "policy-ingress" in carried(site, "db")
    assert site.plan() == []


def test_while_pods_carry_it_it_is_told_of_and_not_tried(site: Site) -> None:
    site.kube.add_pod("shop", "db", node="node2", uid="db", labels=DB)
    site.run()
    found = stateless(site, "policy-ingress")

    difference = site.difference()

    assert difference.plan.steps == ()
    ((code, id_, message),) = [(each.code, each.id, each.message) for each in difference.findings]
    assert (code, id_) == (FindingCode.DRIFT, found["id"])
    assert "policy shop/db is stateless" in message
    assert site.run().ok


def test_groups_of_the_whole_cluster_are_repaired_by_cluster_init() -> None:
    site = Site()
    stateless(site, "open-ingress")
    assert [finding.code for finding in site.difference().findings] == [FindingCode.DRIFT]

    assert site.init().ok

    assert group(site, "open-ingress")["stateful"]
    assert site.plan(Scope.CLUSTER) == []
