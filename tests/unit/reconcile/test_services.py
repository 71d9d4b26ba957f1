"""Services on a site: load balancers, floating IPs and statuses as objects of the one plan; what is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kuryrctl.cloud import OpenStack
from kuryrctl.core.errors import Conflict, Owner, Unavailable
from kuryrctl.core.findings import FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.saved_plan import decode, encode
from kuryrctl.reconcile import AuditLog, Remedy, apply_plan, dry_run, once, plan_to_save, services
from tests.fakes.neutron import FakeNeutron
from tests.fakes.octavia import FakeOctavia
from tests.unit.reconcile.service_site import ServiceSite

SILENT = Unavailable("Octavia does not answer", code="OCT-UNREACHABLE", owner=Owner.OCTAVIA)


class NoOctavia(ServiceSite):
    """Its cloud has no Octavia."""

    def speaking(self, neutron: FakeNeutron, octavia: FakeOctavia, audit: AuditLog) -> OpenStack:
        return OpenStack(neutron, None, audit=audit)


@pytest.fixture
def site() -> ServiceSite:
    """Nothing but nodes, converged."""
    return ServiceSite()


@pytest.fixture
def web(site: ServiceSite) -> str:
    """Service shop/web with two endpoints, served; its uid."""
    uid = site.service("web")
    site.endpoints("web", "10.65.0.8", "10.65.0.9")
    assert site.run().ok
    return uid


def test_a_new_service_is_one_call_of_octavia(site: ServiceSite) -> None:
    uid = site.service("web")
    site.endpoints("web", "10.65.0.8", "10.65.0.9")

    report = site.run()

    assert report.ok
    assert site.octavia_calls() == {"POST loadbalancers": 1}
    assert site.balancer(uid)["vip_address"] == "10.96.0.10"
    assert site.balancer(uid)["provisioning_status"] == "ACTIVE"
    assert site.members(uid) == [("10.65.0.8", 8080), ("10.65.0.9", 8080)]
    assert site.plan() == []


def test_a_change_of_endpoints_is_one_call_of_octavia(site: ServiceSite, web: str) -> None:
    for count in (5, 0, 2):
        addresses = [f"10.65.0.{8 + n}" for n in range(count)]
        site.endpoints("web", *addresses)
        assert site.run().ok
        assert site.octavia_calls() == {"PUT pools/members": 1}
        assert site.members(web) == [(each, 8080) for each in sorted(addresses)]
    assert site.plan() == []


def test_a_service_from_outside_gets_a_floating_ip_and_its_status_tells_it(site: ServiceSite) -> None:
    uid = site.service("web", type="LoadBalancer")
    site.endpoints("web", "10.65.0.8")

    report = site.run()

    assert report.ok
    (floating_ip,) = site.floating_ips()
    assert floating_ip["port_id"] == site.balancer(uid)["vip_port_id"]
    assert site.ingress("web") == [floating_ip["floating_ip_address"]]
    assert site.octavia_calls() == {"POST loadbalancers": 1}
    assert site.plan() == []


def test_a_service_that_is_from_outside_no_more_loses_its_floating_ip_first(site: ServiceSite) -> None:
    site.service("web", type="LoadBalancer")
    site.run()
    site.service("web")

    report = site.run()

    assert report.ok
    assert [line.split()[1].split("/")[0] for line in report.done] == ["floating-ip", "service"]
    assert site.floating_ips() == []
    assert site.ingress("web") == []
    assert site.plan() == []


def test_a_service_that_went_while_nobody_looked_loses_its_load_balancer(site: ServiceSite, web: str) -> None:
    site.kube.remove("services", "shop", "web")
    site.kube.remove("endpointslices", "shop", "web-1")

    report = site.run()

    assert report.ok
    assert site.octavia_calls() == {"DELETE loadbalancers": 1}
    assert site.balancers() == []
    assert site.plan() == []


def test_a_service_that_was_made_anew_with_its_address_gets_another_load_balancer(site: ServiceSite, web: str) -> None:
    site.kube.remove("services", "shop", "web")
    new = site.service("web")

    report = site.run()

    assert report.ok
    assert site.octavia_calls() == {"DELETE loadbalancers": 1, "POST loadbalancers": 1}
    assert len(site.balancers()) == 1
    assert site.balancer(new)["vip_address"] == "10.96.0.10"
    assert site.plan() == []


@pytest.mark.parametrize("collection", ["loadbalancers", "listeners", "pools", "members"])
def test_what_somebody_deleted_comes_back(site: ServiceSite, web: str, collection: str) -> None:
    thing = site.octavia.objects(collection)[0]
    path = (
        f"/pools/{thing['_pool']}/members/{thing['id']}" if collection == "members" else f"/{collection}/{thing['id']}"
    )
    answer = site.octavia.request("DELETE", path + ("?cascade=true" if collection == "loadbalancers" else ""))
    assert answer.status == 204
    site.octavia.sleep(60)
    assert site.plan() != []

    assert site.run().ok

    assert site.members(web) == [("10.65.0.8", 8080), ("10.65.0.9", 8080)]
    assert site.plan() == []


def test_fifty_services_at_once_are_fifty_calls(site: ServiceSite) -> None:
    uids = [site.service(f"web-{n}", f"10.96.1.{n}") for n in range(50)]
    for n in range(50):
        site.endpoints(f"web-{n}", f"10.65.1.{n}")

    report = site.run()

    assert report.ok
    assert site.octavia_calls() == {"POST loadbalancers": 50}
    assert {site.members(uid)[0][0] for uid in uids} == {f"10.65.1.{n}" for n in range(50)}
    assert site.plan() == []


# -- Octavia's faults


def test_pods_and_policies_go_on_while_octavia_is_silent(site: ServiceSite) -> None:
    uid = site.service("web")
    site.kube.add_pod("shop", "web-0", node="node1", uid="pod")
    site.octavia.fail_next("GET", "/loadbalancers", SILENT, times=99)

    report = site.run(first_rest_s=0.001)

    assert site.port_of("pod")
    assert [(each.code, each.owner) for each in report.failures] == [("OCT-UNREACHABLE", Owner.OCTAVIA)]
    (event,) = site.events()
    assert (event["regarding"]["uid"], event["reason"]) == (uid, "KuryrLoadBalancerFailed")
    assert "(OCT-UNREACHABLE)" in event["note"]
    site.octavia.cloud.injected.clear()
    assert site.run().ok
    assert site.balancer(uid)


def test_octavia_that_is_silent_for_a_moment_is_asked_again_in_the_same_run(site: ServiceSite) -> None:
    uid = site.service("web")
    site.octavia.fail_next("GET", "/loadbalancers", SILENT)

    assert site.run().ok

    assert site.balancer(uid)


def test_nothing_is_deleted_while_load_balancers_cannot_be_listed(site: ServiceSite, web: str) -> None:
    site.kube.remove("services", "shop", "web")
    site.octavia.fail_next("GET", "/pools", SILENT, times=99)

    report = site.run(first_rest_s=0.001)

    assert not report.ok
    assert site.balancer(web)


def test_a_cloud_without_octavia_serves_pods_and_says_so() -> None:
    site = NoOctavia()
    site.service("web")
    site.kube.add_pod("shop", "web-0", node="node1", uid="pod")

    report = site.run()

    assert report.ok
    assert site.port_of("pod")
    assert [each.message.partition(":")[0] for each in report.findings] == ["OCT-NONE"]
    assert [each.message.partition(":")[0] for each in site.difference().findings] == ["OCT-NONE"]
    assert [event["regarding"]["name"] for event in site.events()] == ["web"]


def test_a_creation_whose_answer_got_lost_makes_no_second_load_balancer(site: ServiceSite) -> None:
    uid = site.service("web", type="LoadBalancer")
    site.octavia.fail_next("POST", "/loadbalancers", SILENT, after_effect=True)

    assert site.run().ok

    assert site.balancer(uid)
    assert len(site.floating_ips()) == 1
    assert site.plan() == []


def test_a_load_balancer_that_octavia_gave_up_is_told_of_and_made_anew_only_when_asked(site: ServiceSite) -> None:
    uid = site.service("web")
    site.octavia.end_in_error()

    report = site.run()

    assert [each.code for each in report.failures] == ["OCT-ERROR"]
    first = site.balancer(uid)["id"]
    again = site.run()
    assert [each.code for each in again.findings] == [FindingCode.BROKEN]
    assert site.balancer(uid)["id"] == first
    assert {event["reason"] for event in site.events()} >= {"KuryrLoadBalancerFailed", "KuryrLoadBalancerBroken"}

    repaired = once(site.parts(), site.lease(), part=services(remedy=Remedy.RECREATE))

    assert repaired.ok
    assert site.balancer(uid)["id"] != first
    assert site.balancer(uid)["provisioning_status"] == "ACTIVE"
    assert site.plan() == []


def test_a_used_up_quota_is_the_users_to_know(site: ServiceSite) -> None:
    uid = site.service("web")
    site.octavia.set_quota("loadbalancer", 0)

    report = site.run()

    assert [each.code for each in report.failures] == ["OCT-QUOTA"]
    (event,) = [each for each in site.events() if each["regarding"]["uid"] == uid]
    assert (event["regarding"]["kind"], event["reason"]) == ("Service", "KuryrQuotaExceeded")


def test_what_a_service_asks_for_in_vain_is_told_on_it(site: ServiceSite) -> None:
    uid = site.service("web", type="LoadBalancer", externalIPs=["198.51.100.9"], externalTrafficPolicy="Local")

    report = site.run()

    assert report.ok
    told = {each["note"].partition(":")[0] for each in site.events() if each["regarding"]["uid"] == uid}
    assert told == {"SVC-EXTERNAL-IPS", "SVC-TRAFFIC-POLICY"}


def test_every_call_is_in_the_audit_log_with_its_service(tmp_path: Path) -> None:
    site = ServiceSite(audit_log=tmp_path / "audit.jsonl")
    site.service("web", type="LoadBalancer")
    (tmp_path / "audit.jsonl").unlink()

    assert site.run().ok

    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert {(each["action"], each["kind"], each["call"].split("/")[1]) for each in lines} >= {
        ("create", "load-balancer", "loadbalancers"),
        ("create", "floating-ip", "floatingips"),
        ("update", "service", "api"),
    }
    assert {each["subject"] for each in lines} == {"Service shop/web"}
    (status,) = [each for each in lines if each["kind"] == "service"]
    assert status["after"] == {"ingress": site.ingress("web")[0]}


# -- with policies


def test_a_member_comes_only_after_the_rule_went_that_would_let_first_packets_out_to_it(site: ServiceSite) -> None:
    """The client may speak to db, so it may to db's Service; it may no more when `other` answers there, too."""
    for name, address in (("client", "10.65.0.20"), ("db", "10.65.0.21"), ("other", "10.65.0.22")):
        site.kube.add_pod("shop", name, node="node1", labels={"app": name}, ips=(address,))
    to_db = [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": 8080}]}]
    spec = {"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"], "egress": to_db}
    site.kube.apply("networkpolicies", "shop", "out", spec=spec)
    site.service("web")
    site.endpoints("web", "10.65.0.21")
    assert site.run().ok
    (rule,) = _rules_to(site, "10.96.0.10/32")

    site.endpoints("web", "10.65.0.21", "10.65.0.22")
    plan = [step.key for step in site.difference().plan]
    done = [line.split()[1] for line in site.run().done]

    for order in (plan, done):
        deletion = next(index for index, key in enumerate(order) if key.endswith(rule))
        assert deletion < next(index for index, key in enumerate(order) if key.startswith("member/"))
    assert _rules_to(site, "10.96.0.10/32") == set()
    assert site.plan() == []


def _rules_to(site: ServiceSite, prefix: str) -> set[str]:
    """The rules that let out there."""
    rules = [rule for group in site.cloud.objects("security_groups") for rule in group["security_group_rules"]]
    return {rule["id"] for rule in rules if (rule["remote_ip_prefix"], rule["direction"]) == (prefix, "egress")}


# -- parts of a run


def test_the_services_part_of_a_run_does_nothing_else(site: ServiceSite) -> None:
    site.kube.add_pod("shop", "web-0", node="node1")
    uid = site.service("web", type="LoadBalancer")

    report = once(site.parts(), site.lease(), part=services())

    assert report.ok
    assert {line.split()[1].split("/")[0] for line in report.done} == {"load-balancer", "floating-ip", "service"}
    assert site.balancer(uid)
    assert site.ports() == []


def test_the_services_of_one_namespace_are_those_that_are_gone_as_well(site: ServiceSite, web: str) -> None:
    bank = site.service("bank", "10.96.0.20", namespace="bank")
    assert site.run().ok
    for name, namespace in (("web", "shop"), ("bank", "bank")):
        site.kube.remove("services", namespace, name)
    new = site.service("late", "10.96.0.30", namespace="bank")

    report = once(site.parts(), site.lease(), part=services("shop"))

    assert report.ok
    assert (len(site.balancers(web)), len(site.balancers(bank)), len(site.balancers(new))) == (0, 1, 0)


def test_only_load_balancers(site: ServiceSite) -> None:
    site.kube.add_pod("shop", "web-0", node="node1")
    site.service("web", type="LoadBalancer")

    found = dry_run(site.parts(), only=(Kind.LOAD_BALANCER,))

    assert [step.kind for step in found.plan] == [Kind.LOAD_BALANCER]


def test_ports_alone_need_no_octavia(site: ServiceSite) -> None:
    site.kube.add_pod("shop", "web-0", node="node1")
    site.octavia.fail_next("GET", "/loadbalancers", SILENT, times=9)

    assert once(site.parts(), site.lease(), only=(Kind.PORT,)).ok


# -- limits


def test_more_deletions_than_one_run_may_are_withheld(site: ServiceSite) -> None:
    for n in range(12):
        site.service(f"web-{n}", f"10.96.1.{n}")
    assert site.run().ok
    for n in range(12):
        site.kube.remove("services", "shop", f"web-{n}")

    report = site.run()

    assert [each.code for each in report.failures] == ["LIMIT-DELETES"]
    assert len(site.balancers()) == 12
    assert site.run(max_deletes=12).ok
    assert site.balancers() == []


# -- plans as files


def test_a_saved_plan_of_services_is_applied_as_it_is(site: ServiceSite, web: str) -> None:
    site.endpoints("web", "10.65.0.8")
    site.service("db", "10.96.0.20", type="LoadBalancer")
    saved = decode(encode(plan_to_save(site.parts(), (), made_by="t", now_s=0)), "plan.json")
    site.service("late", "10.96.0.30")

    report = apply_plan(site.parts(), site.lease(), saved)

    assert report.ok
    assert site.members(web) == [("10.65.0.8", 8080)]
    assert len(site.balancers()) == 2
    assert len(site.floating_ips()) == 1


@pytest.mark.parametrize("change", ["endpoints", "service", "members"])
def test_a_saved_plan_that_does_not_fit_any_more_is_refused(site: ServiceSite, web: str, change: str) -> None:
    site.endpoints("web", "10.65.0.8")
    saved = plan_to_save(site.parts(), (), made_by="t", now_s=0)
    match change:
        case "endpoints":
            site.endpoints("web", "10.65.0.9")
        case "service":
            site.service("web", publishNotReadyAddresses=True, sessionAffinity="ClientIP")
        case "members":
            pool = site.octavia.objects("pools")[0]["id"]
            body = b'{"members": []}'
            assert site.octavia.request("PUT", f"/pools/{pool}/members", body=body).status == 202
            site.octavia.sleep(60)

    with pytest.raises(Conflict) as refused:
        apply_plan(site.parts(), site.lease(), saved)

    assert refused.value.code == "PLAN-STALE"
