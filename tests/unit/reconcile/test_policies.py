"""NetworkPolicies on a site: groups, rules and lists as objects of the one plan; what is called, in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kuryrctl.core import names
from kuryrctl.core.errors import Conflict
from kuryrctl.core.findings import FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Plan
from kuryrctl.core.saved_plan import decode, encode
from kuryrctl.reconcile import Scope, apply_plan, dry_run, once, plan_to_save, policies
from tests.unit.reconcile.site import Site, eventually

WEB, DB = {"app": "web"}, {"app": "db"}
FROM_WEB = {
    "podSelector": {"matchLabels": DB},
    "ingress": [{"from": [{"podSelector": {"matchLabels": WEB}}], "ports": [{"port": 5432}]}],
}
DENY = {"podSelector": {}}


@pytest.fixture
def site() -> Site:
    """Two pods, web and db, converged."""
    site = Site()
    site.kube.add_pod("shop", "web", node="node1", uid="web", labels=WEB)
    site.kube.add_pod("shop", "db", node="node2", uid="db", labels=DB)
    assert site.run().ok
    return site


def policy(site: Site, name: str, spec: dict[str, Any]) -> str:
    return site.kube.apply("networkpolicies", "shop", name, spec=spec)


def carried(site: Site, uid: str) -> set[str]:
    """The roles of the groups that a pod's port lists (but the one that every pod is in)."""
    tags = {group["id"]: group["tags"] for group in site.cloud.objects("security_groups")}
    listed = [tags[id_] for id_ in site.port_of(uid).security_groups if id_ in tags]  # others came or went between
    return {names.role_of(each) for each in listed if names.uid_of(each) != "all"}


def group(site: Site, role: str, uid: str = "") -> dict[str, Any]:
    (found,) = [
        found
        for found in site.cloud.objects("security_groups")
        if names.role_of(found["tags"]) == role and uid in ("", names.uid_of(found["tags"]))
    ]
    return found


def calls(site: Site) -> dict[str, int]:
    """The writing calls since the engine's last run began, by method and resource."""
    return {f"{method} {path}": n for (method, path), n in site.neutron.calls.items() if method != "GET"}


def test_a_pod_that_no_policy_isolates_is_open_and_carries_its_namespaces_and_its_nodes_group(site: Site) -> None:
    assert {"open-ingress", "open-egress", "namespace", "node"} <= carried(site, "web")
    assert not {"policy-ingress", "policy-egress"} & carried(site, "web")
    assert site.plan() == []


def test_a_policy_becomes_a_group_its_rules_and_the_lists_of_those_whom_it_concerns(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)

    report = site.run()

    assert report.ok
    assert "policy-ingress" in carried(site, "db")
    assert "open-ingress" not in carried(site, "db")
    assert "open-egress" in carried(site, "db")
    assert {"open-ingress", "peer"} <= carried(site, "web")
    rules = group(site, "policy-ingress", uid)["security_group_rules"]
    peers = {each["id"] for each in site.cloud.objects("security_groups") if names.role_of(each["tags"]) == "peer"}
    assert {rule["remote_group_id"] for rule in rules} <= peers
    assert {(rule["ethertype"], rule["protocol"], rule["port_range_min"]) for rule in rules} == {
        ("IPv4", "tcp", 5432),
        ("IPv6", "tcp", 5432),
    }
    assert site.plan() == []


def test_a_policy_costs_its_groups_one_call_for_each_groups_rules_and_one_update_of_each_port(site: Site) -> None:
    for number in range(5):
        site.kube.add_pod("shop", f"web-{number}", node="node1", labels=WEB)
    site.run()
    before = {each["id"] for each in site.cloud.objects("security_groups")}
    policy(site, "db", FROM_WEB)

    site.run()

    made = len({each["id"] for each in site.cloud.objects("security_groups")} - before)
    told = calls(site)
    assert told["POST security-groups"] == made
    assert told["POST security-group-rules"] == 1
    assert told["PUT ports"] == 7


def test_peers_come_into_their_group_before_anybody_is_isolated(site: Site) -> None:
    policy(site, "db", FROM_WEB)

    steps = [step for step in site.difference().plan if step.kind is not Kind.KURYR_PORT]

    order = [f"{step.action} {step.kind} {step.subject}".strip() for step in steps]
    assert order.index("update port pod shop/web") < order.index("update port pod shop/db")
    last_rule = max(n for n, step in enumerate(steps) if step.kind is Kind.SECURITY_GROUP_RULE)
    assert last_rule < order.index("update port pod shop/web")
    done = once(site.parts(), site.lease()).done
    updates = [line for line in done if line.startswith("update port/")]
    assert [line.split()[1] for line in updates] == ["port/pod/web", "port/pod/db"]


def test_an_edited_policy_gets_its_new_rules_before_its_old_ones_go(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)
    site.run()
    edited = json.loads(json.dumps(FROM_WEB))
    edited["ingress"][0]["ports"] = [{"port": 3306}]
    policy(site, "db", edited)

    done = site.run().done

    assert [line.split("/")[0] for line in done] == ["create security-group-rule"] * 2 + [
        "delete security-group-rule"
    ] * 2
    rules = group(site, "policy-ingress", uid)["security_group_rules"]
    assert {rule["port_range_min"] for rule in rules} == {3306}
    assert site.plan() == []


def test_a_deleted_policy_reopens_and_leaves_nothing(site: Site) -> None:
    before = {each["id"] for each in site.cloud.objects("security_groups")}
    policy(site, "db", FROM_WEB)
    policy(site, "deny", {**DENY, "policyTypes": ["Ingress", "Egress"]})
    site.run()
    assert not {"open-ingress", "open-egress"} & carried(site, "web")
    for name in ("db", "deny"):
        site.kube.remove("networkpolicies", "shop", name)

    assert site.run().ok

    assert {"open-ingress", "open-egress"} <= carried(site, "web")
    assert {each["id"] for each in site.cloud.objects("security_groups")} == before
    assert site.plan() == []


def test_a_new_pod_has_its_final_groups_in_the_call_that_makes_its_port(site: Site) -> None:
    policy(site, "deny", DENY)
    site.run()
    site.kube.add_pod("shop", "late", node="node1", uid="late", labels=WEB)

    site.run()

    assert "PUT ports" not in calls(site)
    assert "policy-ingress" in carried(site, "late")
    assert "open-ingress" not in carried(site, "late")


def test_a_node_is_told_of_a_port_only_once_it_has_its_final_groups(site: Site) -> None:
    site.kube.add_pod("shop", "late", node="node1", uid="late", labels=WEB)
    site.kube.fail(503, path="/kuryrports", verb="POST", times=9)
    site.run(first_rest_s=0.001)
    site.kube.faults.clear()
    policy(site, "deny", DENY)

    steps = {step.key: step for step in site.difference().plan}

    assert "port/pod/late" in steps["kuryr-port/shop/late/late"].needs
    assert site.run().ok


def test_drift_in_the_cloud_is_repaired(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)
    site.run()
    whole = group(site, "policy-ingress", uid)
    rule = whole["security_group_rules"][0]
    assert site.cloud.request("DELETE", f"/security-group-rules/{rule['id']}").status == 204
    foreign = {"security_group_id": whole["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "udp"}
    body = json.dumps({"security_group_rule": foreign}).encode()
    assert site.cloud.request("POST", "/security-group-rules", body=body).status == 201
    site.cloud.change("ports", site.port_of("web").id, security_groups=[])

    assert [line.split("/")[0] for line in site.plan()] == [
        "create security-group-rule",
        "update port",
        "delete security-group-rule",
    ]
    assert site.run().ok
    assert {r["protocol"] for r in group(site, "policy-ingress", uid)["security_group_rules"]} == {"tcp"}
    assert "namespace" in carried(site, "web")
    assert site.plan() == []


def test_a_group_deleted_by_hand_comes_back_where_it_was(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)
    site.run()
    old = group(site, "policy-ingress", uid)["id"]
    port = site.port_of("db")
    site.cloud.change("ports", port.id, security_groups=[id_ for id_ in port.security_groups if id_ != old])
    assert site.cloud.request("DELETE", f"/security-groups/{old}").status == 204

    assert site.run().ok

    assert group(site, "policy-ingress", uid)["id"] in site.port_of("db").security_groups
    assert len(group(site, "policy-ingress", uid)["security_group_rules"]) == 2
    assert site.plan() == []


def test_an_untagged_group_that_only_we_can_have_made_is_adopted(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)
    site.run()
    site.set_tags(group(site, "policy-ingress", uid)["id"], [], "security_groups")

    assert [line.split("  ")[0] for line in site.plan()] == [f"adopt security-group/policy-ingress/{uid}"]
    assert site.run().adopted == 1
    assert site.plan() == []


def test_a_look_alike_is_named_and_left_alone(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)
    site.run()
    ours = group(site, "policy-ingress", uid)
    body = {"security_group": {"name": "mine", "description": "x"}}
    made = json.loads(site.cloud.request("POST", "/security-groups", body=json.dumps(body).encode()).body)
    id_ = made["security_group"]["id"]
    site.set_tags(id_, ours["tags"], "security_groups")

    difference = site.difference()

    assert [(finding.code, finding.id) for finding in difference.findings] == [(FindingCode.SUSPICIOUS, id_)]
    assert not difference.plan


def test_relabelling_closes_and_opens(site: Site) -> None:
    policy(site, "db", FROM_WEB)
    site.run()
    assert "peer" in carried(site, "web")
    site.kube.relabel("pods", "shop", "web", {"app": "other"})
    site.run()
    assert "peer" not in carried(site, "web")
    site.kube.relabel("pods", "shop", "db", {"app": "other"})

    assert site.run().ok

    assert "open-ingress" in carried(site, "db")
    assert site.plan() == []


@pytest.mark.parametrize("plural", ["networkpolicies", "namespaces", "endpointslices", "services", "nodes"])
def test_without_a_whole_list_of_what_policies_need_nothing_is_done(site: Site, plural: str) -> None:
    site.kube.add_pod("shop", "late", node="node1", uid="late")
    site.kube.fail(403, path=f"/{plural}?", times=99)
    before = site.cloud_objects()

    with pytest.raises(Exception, match=plural):
        site.run()

    assert site.cloud_objects() == before


def test_ports_of_an_earlier_version_come_into_their_new_groups_and_lose_none() -> None:
    site = Site()
    site.kube.add_pod("shop", "web", node="node1", uid="web")
    site.run()
    roles = ("open-ingress", "open-egress")
    site.cloud.change("ports", site.port_of("web").id, security_groups=[group(site, role)["id"] for role in roles])

    assert site.run().updated == 1
    assert {*roles, "namespace", "node"} <= carried(site, "web")
    assert site.plan() == []


def test_a_quota_that_is_too_small_is_told_before_anything_is_half_done(site: Site) -> None:
    project = site.neutron.project_id
    groups = len(site.cloud.objects("security_groups"))
    site.cloud.cloud.rules.limits[project] = {"security_group": groups + 1}
    policy(site, "db", FROM_WEB)
    before = site.cloud_objects()

    report = site.run()

    assert [failure.code for failure in report.failures] == ["QUOTA-SHORT"]
    assert f"limit {groups + 1}" in report.failures[0].message
    assert FindingCode.QUOTA in {finding.code for finding in site.difference().findings}
    assert site.cloud_objects() == before
    site.cloud.cloud.rules.limits[project] = {}
    assert site.run().ok


def test_a_watch_follows_policies_and_labels(site: Site) -> None:
    with site.watching():
        policy(site, "db", FROM_WEB)
        eventually(lambda: "policy-ingress" in carried(site, "db") and "peer" in carried(site, "web"))
        site.kube.relabel("pods", "shop", "web", {"app": "other"})
        eventually(lambda: "peer" not in carried(site, "web"))
        site.kube.remove("networkpolicies", "shop", "db")
        eventually(lambda: "open-ingress" in carried(site, "db"))
        eventually(lambda: site.plan(Scope.PODS) == [])


def test_a_watch_lives_with_whatever_addresses_a_server_has_stored(site: Site) -> None:
    blocks = ["010.0.0.0/8", "no block"]
    spec = {"podSelector": {"matchLabels": DB}, "ingress": [{"from": [{"ipBlock": {"cidr": each}}]} for each in blocks]}
    endpoints = [{"addresses": ["010.0.0.1", "nowhere"]}]
    with site.watching() as thread:
        site.kube.apply("services", "shop", "db", spec={"clusterIPs": ["010.96.0.1"], "ports": [{"port": 5432}]})
        site.kube.apply(
            "endpointslices", "shop", "db-1", addressType="IPv4", endpoints=endpoints, ports=[{"port": 5432}]
        )
        uid = policy(site, "db", spec)
        eventually(lambda: "policy-ingress" in carried(site, "db"))
        eventually(lambda: site.plan(Scope.PODS) == [])
        rules = group(site, "policy-ingress", uid)["security_group_rules"]
        assert [rule["remote_ip_prefix"] for rule in rules] == ["10.0.0.0/8"]
        site.kube.remove("networkpolicies", "shop", "db")
        eventually(lambda: "open-ingress" in carried(site, "db"))
        assert thread.is_alive()


def test_the_policies_part_of_a_run_makes_no_ports(site: Site) -> None:
    policy(site, "db", FROM_WEB)
    site.kube.add_pod("shop", "late", node="node1", uid="late")

    assert once(site.parts(), site.lease(), part=policies()).ok

    assert "policy-ingress" in carried(site, "db")
    assert [port.device_id for port in site.ports() if port.device_id == "late"] == []
    assert dry_run(site.parts(), part=policies()).plan == Plan()
    assert site.plan() != []


def test_one_namespaces_part_leaves_the_others_as_they_are(site: Site) -> None:
    policy(site, "db", FROM_WEB)
    site.kube.add_pod("bank", "till", node="node1", uid="till")
    site.run()
    site.kube.apply("networkpolicies", "bank", "deny", spec=DENY)
    policy(site, "deny", DENY)

    assert once(site.parts(), site.lease(), part=policies("bank")).ok

    assert "policy-ingress" in carried(site, "till")
    assert "open-ingress" in carried(site, "web")
    assert once(site.parts(), site.lease(), part=policies("shop")).ok
    assert site.plan() == []


def test_a_saved_plan_of_policies_is_done_or_refused_where_a_rule_has_changed(site: Site) -> None:
    uid = policy(site, "db", FROM_WEB)
    site.run()
    policy(site, "deny", DENY)
    edited = json.loads(json.dumps(FROM_WEB))
    edited["ingress"][0]["ports"] = [{"port": 3306}]
    policy(site, "db", edited)
    saved = decode(encode(plan_to_save(site.parts(), (), made_by="", now_s=0)), "plan")
    rules = group(site, "policy-ingress", uid)["security_group_rules"]
    spare = {name: rules[0][name] for name in ("security_group_id", "direction", "ethertype")}
    body = json.dumps({"security_group_rule": {**spare, "protocol": "udp"}}).encode()
    foreign = json.loads(site.cloud.request("POST", "/security-group-rules", body=body).body)["security_group_rule"]

    with pytest.raises(Conflict, match=f"security-group/policy-ingress/{uid}.*: rules was"):
        apply_plan(site.parts(), site.lease(), saved)

    assert site.cloud.request("DELETE", f"/security-group-rules/{foreign['id']}").status == 204
    assert apply_plan(site.parts(), site.lease(), saved).ok
    assert site.plan() == []
