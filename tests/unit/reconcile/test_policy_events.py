"""Users are told on their NetworkPolicy why it has no effect: what fails, and what quotas have no room for."""

from __future__ import annotations

from kuryrctl.core.errors import Unavailable
from kuryrctl.reconcile import Report
from tests.unit.reconcile.site import Site, eventually
from tests.unit.reconcile.test_policies import DB, FROM_WEB, WEB, policy

BUSY = Unavailable("Neutron does not answer", code="NET-UNREACHABLE", after_s=0.001)
MANY_PORTS = {"podSelector": {}, "ingress": [{"ports": [{"port": port} for port in range(1000, 1030, 2)]}]}


def site_of_two() -> Site:
    site = Site()
    site.kube.add_pod("shop", "web", node="node1", uid="web", labels=WEB)
    site.kube.add_pod("shop", "db", node="node2", uid="db", labels=DB)
    assert site.run().ok
    return site


def told(site: Site) -> list[tuple[str, str, str]]:
    """Of whom, why, what: each Event."""
    return [
        ("/".join((event["regarding"]["namespace"], event["regarding"]["name"])), event["reason"], event["note"])
        for event in site.events()
        if event["regarding"]["kind"] == "NetworkPolicy"
    ]


def limit(site: Site, **limits: int) -> None:
    site.cloud.cloud.rules.limits[site.neutron.project_id] = limits


def run_unforecast(site: Site, **limits: int) -> Report:
    """A run whose observation does not learn the quotas."""
    limit(site, **limits)
    site.cloud.fail_next("GET", "/quotas", 404)
    return site.run()


def test_a_group_that_is_refused_is_told_with_quota_limit_and_use() -> None:
    site = site_of_two()
    uid = policy(site, "db", FROM_WEB)
    there = len(site.cloud.objects("security_groups"))

    run_unforecast(site, security_group=there)

    (event,) = site.events()
    assert event["regarding"] == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "namespace": "shop",
        "name": "db",
        "uid": uid,
    }
    assert (event["type"], event["reason"]) == ("Warning", "KuryrQuotaExceeded")
    assert 'quota "security_group" of project' in event["note"]
    assert f"is used up ({there} of {there})" in event["note"]


def test_many_rules_that_are_refused_alike_are_told_once() -> None:
    site = site_of_two()
    policy(site, "all", MANY_PORTS)
    site.cloud.fail_next("POST", "/security-group-rules", 400, times=99)

    site.run()

    assert [(whom, why) for whom, why, _ in told(site)] == [("shop/all", "KuryrPolicyFailed")]


def test_rules_beyond_the_quota_are_made_all_or_none() -> None:
    site = site_of_two()
    policy(site, "all", MANY_PORTS)
    rules = sum(len(group["security_group_rules"]) for group in site.cloud.objects("security_groups"))

    report = run_unforecast(site, security_group_rule=rules + 10)

    assert {failure.code for failure in report.failures} == {"NET-QUOTA"}
    ((whom, why, note),) = told(site)
    assert (whom, why) == ("shop/all", "KuryrQuotaExceeded")
    assert '30 rules of policy shop/all not created: quota "security_group_rule"' in note
    assert f"({rules} of {rules + 10})" in note
    limit(site)
    assert site.run().ok


def test_a_deletion_that_is_refused_is_told() -> None:
    site = site_of_two()
    policy(site, "db", FROM_WEB)
    site.run()
    policy(site, "db", {"podSelector": {"matchLabels": DB}, "ingress": []})
    site.cloud.fail_next("DELETE", "/security-group-rules", 403, times=99)

    site.run()

    ((whom, why, note),) = told(site)
    assert (whom, why) == ("shop/db", "KuryrPolicyFailed")
    assert "NET-FORBIDDEN" in note


def test_the_group_of_a_peer_is_told_to_those_who_name_it() -> None:
    site = site_of_two()
    policy(site, "db", FROM_WEB)
    site.kube.apply("networkpolicies", "bank", "deny", spec={"podSelector": {}})
    site.cloud.fail_next("POST", "/security-groups", 400, times=99)

    site.run()

    assert {whom for whom, _, note in told(site) if "security-group/peer/" in note} <= {"shop/db"}
    assert {whom for whom, _, _ in told(site)} == {"shop/db", "bank/deny"}


def test_what_passes_by_itself_is_not_told() -> None:
    site = site_of_two()
    policy(site, "db", FROM_WEB)
    site.cloud.fail_next("POST", "/security-group-rules", BUSY)

    assert site.run().ok

    assert not told(site)


def test_what_the_quotas_have_no_room_for_is_told_to_each_policy_once_while_it_lasts() -> None:
    site = site_of_two()
    limit(site, security_group=len(site.cloud.objects("security_groups")) + 1)
    with site.watching():
        policy(site, "db", FROM_WEB)
        eventually(lambda: [whom for whom, _, _ in told(site)] == ["shop/db"])
        policy(site, "all", MANY_PORTS)
        eventually(lambda: sorted(whom for whom, _, _ in told(site)) == ["shop/all", "shop/db"])
    assert {why for _, why, _ in told(site)} == {"KuryrQuotaExceeded"}
    assert [whom for whom, _, note in told(site) if "needed 2 more" in note] == ["shop/db"]
