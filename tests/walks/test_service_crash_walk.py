"""The crash walk of Services: the engine dies at every call that serves them. The next run converges.

Each point is walked twice: the process dies before the call was sent, and after it was done but before the answer.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kuryrctl.cloud import OpenStack
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.kube import Kube, Lease
from kuryrctl.reconcile import AuditLog, Parts, once
from tests.unit.reconcile.service_site import HTTP, ServiceSite
from tests.walks.mortal import Life, MortalCloud, MortalKube, deaths, die_again_and_again

DNS = ({"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"})
TWO = (*HTTP, {"name": "admin", "port": 81, "targetPort": 8080})
MONITORED = {"loadbalancer.openstack.org/enable-health-monitor": "true"}


def fresh() -> ServiceSite:
    """Three Services wait: one for clients from outside, one of two protocols, one without endpoints."""
    site = ServiceSite()
    site.service("web", "10.96.0.10", type="LoadBalancer")
    site.endpoints("web", "10.65.0.8", "10.65.0.9")
    site.service("dns", "10.96.0.11", ports=DNS)
    site.service("idle", "10.96.0.12")
    return site


def changed() -> ServiceSite:
    """All was well; then Services came, went and changed, and somebody changed what is theirs in the cloud.

    One changes so that its load balancer has to be made anew, with an outage.
    """
    site = fresh()
    site.service("gone", "10.96.0.13")
    site.service("anew", "10.96.0.14", type="LoadBalancer")
    site.service("opened", "10.96.0.15")
    site.service("closed", "10.96.0.16", type="LoadBalancer")
    site.service("watched", "10.96.0.17", annotations=MONITORED)
    assert site.run().ok
    site.service("web", "10.96.0.10", type="LoadBalancer", ports=TWO)
    site.endpoints("web", "10.65.0.9", "10.65.0.10", "10.65.0.11")
    site.service("dns", "10.96.0.11", ports=DNS[:1])
    for name in ("gone", "anew"):
        site.kube.remove("services", "shop", name)
    site.service("anew", "10.96.0.14", type="LoadBalancer")
    site.service("opened", "10.96.0.15", type="LoadBalancer", sessionAffinity="ClientIP")
    site.service("closed", "10.96.0.16")
    site.service("watched", "10.96.0.17")
    _change_in_the_cloud(site)
    return site


def _change_in_the_cloud(site: ServiceSite) -> None:
    """The tags of a load balancer and of a floating IP are taken away, and a member, and a whole load balancer."""
    by_name = {each["name"].rpartition("/")[2]: each for each in site.balancers()}
    site.octavia.change("loadbalancers", by_name["web"]["id"], tags=[])
    (floating_ip,) = [each for each in site.floating_ips() if each["port_id"] == by_name["web"]["vip_port_id"]]
    site.cloud.change("floatingips", floating_ip["id"], tags=[])
    assert site.octavia.request("DELETE", f"/loadbalancers/{by_name['idle']['id']}?cascade=true").status == 204
    site.octavia.sleep(60)


def live(site: ServiceSite, life: Life) -> None:
    """One run, by a process with this life. Raises what it fails with, unless that is because the life has ended."""
    audit = AuditLog(None, "test", clock=lambda: 0.0)
    kube = Kube(MortalKube(site.kube, life))
    neutron, octavia = MortalCloud(site.cloud, life), MortalCloud(site.octavia, life)
    cloud = OpenStack(neutron, octavia, clock=site.octavia.clock, sleep=site.octavia.sleep)
    parts = Parts(site.config, cloud, kube, audit, first_rest_s=0.001)
    lease = site.config.lease
    try:
        once(parts, Lease(kube, namespace=lease.namespace, name=lease.name))
    except KuryrError:
        if not life.ended:
            raise
    if life.ended:
        site.kube.remove("leases", lease.namespace, lease.name)  # as if it had run out


def settled(site: ServiceSite) -> None:
    """Every Service is served, nothing leaked, nothing doubled, nothing left to do: asked of what the servers hold."""
    services = site.kube.objects("services").values()
    assert sorted(each["vip_address"] for each in site.balancers()) == sorted(
        address for each in services for address in each["spec"]["clusterIPs"]
    )
    assert {each["provisioning_status"] for each in site.balancers()} <= {"ACTIVE"}
    vips = {each["vip_port_id"] for each in site.balancers()}
    assert {port["id"] for port in site.cloud.objects("ports") if port["device_owner"] == "ovn-lb:vip"} <= vips
    for service in services:
        balancer = site.balancer(service["metadata"]["uid"])
        gates = {(each["protocol"], each["protocol_port"]) for each in _below(site, "listeners", balancer["id"])}
        assert gates == {(port.get("protocol", "TCP"), port["port"]) for port in service["spec"]["ports"]}
        assert len(_below(site, "pools", balancer["id"])) == len(gates)
        outside = {each["floating_ip_address"] for each in site.floating_ips() if _leads(each, balancer["vip_port_id"])}
        assert len(outside) == (service["spec"]["type"] == "LoadBalancer")
        assert set(site.ingress(service["metadata"]["name"])) == outside
    assert {each["port_id"] for each in site.floating_ips()} <= vips
    assert site.plan() == []
    assert site.difference().findings == ()


def _below(site: ServiceSite, collection: str, balancer: str) -> list[dict[str, object]]:
    return [each for each in site.octavia.objects(collection) if each["_lb"] == balancer]


def _leads(floating_ip: dict[str, object], port: str) -> bool:
    return floating_ip["port_id"] == port


def converge(site: ServiceSite) -> None:
    """The next run comes at once, while Octavia may still delete what has an address, and the one after it later."""
    told = {each.code for each in site.run(first_rest_s=0.001).failures}
    assert told <= {"OCT-ADDRESS-TAKEN"}
    site.octavia.sleep(60)
    assert site.run(first_rest_s=0.001).ok
    settled(site)


def done_by(site: ServiceSite) -> set[tuple[Action, Kind]]:
    """What a run does of which nobody dies."""
    plan = site.difference().plan
    report = site.run()
    assert report.ok
    settled(site)
    told = (line.split()[:2] for line in report.done)
    done = {(Action(action), Kind(key.partition("/")[0])) for action, key in told}
    return done | {(step.action, step.kind) for step in plan}


def test_the_two_runs_do_everything_that_there_is_to_do() -> None:
    whole = {
        (action, kind) for kind in (Kind.LOAD_BALANCER, Kind.FLOATING_IP) for action in (Action.CREATE, Action.DELETE)
    }
    below = {(Action.CREATE, Kind.LISTENER), (Action.DELETE, Kind.LISTENER)}
    below |= {(Action.UPDATE, Kind.MEMBER), (Action.DELETE, Kind.HEALTH_MONITOR)}
    marks = {(Action.ADOPT, Kind.LOAD_BALANCER), (Action.ADOPT, Kind.FLOATING_IP), (Action.UPDATE, Kind.SERVICE)}
    assert done_by(fresh()) | done_by(changed()) >= whole | below | marks


@pytest.mark.parametrize("effect", [False, True], ids=["before the call", "before its answer"])
@pytest.mark.parametrize("begin", [fresh, changed])
def test_whenever_the_engine_dies_the_next_run_converges(
    begin: Callable[[], ServiceSite], effect: bool, record_property: Callable[[str, object], None]
) -> None:
    walked = 0
    for site, where in deaths(begin, live, effect=effect):
        if where:
            converge(site)
            record_property("crash-point", f"Services, {where}")
        settled(site)
        walked += 1
    assert walked > 5


def test_a_process_that_dies_again_and_again_converges_as_well() -> None:
    for begin in (fresh, changed):
        site = begin()
        assert die_again_and_again(site, live) >= 5
        converge(site)
