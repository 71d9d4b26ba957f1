"""The world before, the plan as people read it, the world after, and then an empty plan."""

from __future__ import annotations

import json
import time

import pytest
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.errors import Invalid
from kuryrctl.core.findings import FindingCode
from kuryrctl.kube import Kube
from kuryrctl.kube.transport import MERGE_PATCH
from kuryrctl.reconcile import Scope
from tests.unit.reconcile.site import Site


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_new_pod_gets_a_port_and_its_node_is_told(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="new")

    assert site.plan() == [
        "create port/pod/new  (pod shop/web-0 has no port)",
        "create kuryr-port/shop/web-0/new  (node node1 is not told yet which port pod shop/web-0 has)",
    ]
    assert site.run().ok
    port = site.port_of("new")
    assert (port.host, port.device_owner, port.device_id) == ("node1", "compute:kuryr", "new")
    assert port.mac_address == names.mac_address("kuryr", "pod", "new")
    assert len(port.fixed_ips) == 2
    (interface,) = site.kuryr_port("shop/web-0")["spec"]["interfaces"]
    assert interface["portId"] == port.id
    assert interface["mtu"] == 1442
    assert sorted(address.partition("/")[0] for address in interface["addresses"]) == sorted(
        fixed.ip_address for fixed in port.fixed_ips
    )
    assert {route["destination"] for route in interface["routes"]} == {"0.0.0.0/0", "::/0"}
    assert site.plan() == []


def test_pods_without_a_place_on_the_pod_network_get_nothing(site: Site) -> None:
    site.kube.add_pod("shop", "waiting")
    site.kube.add_pod("shop", "host", node="node1", host_network=True)
    site.kube.add_pod("shop", "done", node="node1", phase="Succeeded")
    site.kube.add_pod("shop", "failed", node="node1", phase="Failed")

    assert site.plan() == []


def test_a_deleted_pod_gives_back_its_port(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="old")
    site.run()
    site.kube.delete_pod("shop", "web-0")

    assert site.plan() == [
        "delete kuryr-port/shop/web-0/old  (its pod is gone)",
        "delete port/pod/old  (its pod is gone)",
    ]
    assert site.run().deleted == 2
    assert site.ports() == []
    assert site.kube.objects("kuryrports") == {}
    assert site.plan() == []


def test_a_finished_pod_gives_back_its_port(site: Site) -> None:
    site.kube.add_pod("shop", "job", node="node1", uid="j")
    site.run()
    site.kube.finish_pod("shop", "job")

    assert site.plan() == [
        "delete kuryr-port/shop/job/j  (its pod shop/job has finished)",
        "delete port/pod/j  (its pod shop/job has finished)",
    ]
    site.run()
    assert site.ports() == []
    assert site.plan() == []


def test_a_terminating_pod_keeps_its_port(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    site.kube.terminate_pod("shop", "web-0")

    assert site.plan() == []


def test_a_pod_recreated_under_the_same_name_is_a_new_pod(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="old")
    site.run()
    site.kube.delete_pod("shop", "web-0")
    site.kube.add_pod("shop", "web-0", node="node2", uid="new")

    assert site.plan() == [
        "create port/pod/new  (pod shop/web-0 has no port)",
        "delete kuryr-port/shop/web-0/old  (its pod is gone)",
        "create kuryr-port/shop/web-0/new  (node node2 is not told yet which port pod shop/web-0 has)",
        "delete port/pod/old  (its pod is gone)",
    ]
    assert site.run().ok
    assert [port.device_id for port in site.ports()] == ["new"]
    assert site.kuryr_port("shop/web-0")["spec"]["podUid"] == "new"
    assert site.plan() == []


def test_a_port_deleted_by_hand_comes_back_as_it_was(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    before = site.port_of("w")
    site.delete_port(before.id)
    site.kube.add_pod("shop", "other", node="node1", uid="o")  # it would take the first free address

    assert [line for line in site.plan() if "/w " in line] == [
        "create port/pod/w  (the port of pod shop/web-0 is gone; it comes back as it was)",
        "update kuryr-port/shop/web-0/w  (node node1 is to be told of the changed port of pod shop/web-0:"
        f" portId {before.id} -> the new port's)",
    ]
    assert site.run().ok
    after = site.port_of("w")
    assert after.id != before.id
    assert (after.mac_address, after.fixed_ips) == (before.mac_address, before.fixed_ips)
    assert site.kuryr_port("shop/web-0")["spec"]["interfaces"][0]["portId"] == after.id
    assert site.plan() == []


def test_addresses_come_back_also_where_the_assignment_was_deleted_too(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w", phase="Running", ips=("10.65.1.77", "fd00:10:65::77"))
    site.kube.add_pod("shop", "old-network", node="node1", uid="x", phase="Running", ips=("172.16.0.9",))

    assert site.run().ok
    assert [fixed.ip_address for fixed in site.port_of("w").fixed_ips] == ["10.65.1.77", "fd00:10:65::77"]
    assert len(site.port_of("x").fixed_ips) == 2


def test_an_address_taken_meanwhile_is_named_and_not_guessed_anew(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    before = site.port_of("w")
    site.delete_port(before.id)
    squatter = site.foreign_port(
        name="squatter",
        fixed_ips=[{"subnet_id": before.fixed_ips[0].subnet_id, "ip_address": before.fixed_ips[0].ip_address}],
    )

    report = site.run()
    assert [(failure.code, failure.subject) for failure in report.failures] == [("NET-ADDRESS-TAKEN", "pod shop/web-0")]
    assert before.fixed_ips[0].ip_address in report.failures[0].message
    assert not report.ok
    assert site.ports() == []
    assert [(event["reason"], event["regarding"]["uid"]) for event in site.events()] == [("KuryrAddressTaken", "w")]

    site.delete_port(squatter["id"])
    assert site.run().ok
    assert site.port_of("w").fixed_ips == before.fixed_ips
    assert site.plan() == []


def test_a_port_on_the_wrong_host_or_with_other_groups_is_repaired(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    port = site.port_of("w")
    site.cloud.change("ports", port.id, **{"binding:host_id": "node2", "security_groups": port.security_groups[:1]})

    (line,) = site.plan()
    assert line.startswith(
        "update port/pod/w  (the port of pod shop/web-0 differs: host node2 -> node1, security_groups "
    )
    assert site.run().updated == 1
    repaired = site.port_of("w")
    assert (repaired.host, set(repaired.security_groups)) == ("node1", set(port.security_groups))
    assert site.plan() == []


@pytest.mark.parametrize("vif_type", ["unbound", "binding_failed"])
def test_a_port_that_neutron_has_not_bound_is_bound_by_one_more_call(site: Site, vif_type: str) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    site.cloud.change("ports", site.port_of("w").id, **{"binding:vif_type": vif_type})

    assert site.plan() == [
        f"update port/pod/w  (the port of pod shop/web-0 differs: vif_type {vif_type} -> bound to node1)"
    ]
    site.neutron.calls.clear()
    assert site.run().updated == 1
    assert site.neutron.calls["PUT", "ports"] == 1
    assert site.port_of("w").vif_type == "ovs"
    assert site.plan() == []


def test_a_port_whose_host_has_no_agent_is_tried_again_and_its_pod_is_told(site: Site) -> None:
    site.cloud.agents_on("node1")
    site.kube.add_pod("shop", "well", node="node1", uid="w")
    site.kube.add_pod("shop", "ill", node="node2", uid="i")

    report = site.run()
    assert [(failure.code, failure.subject) for failure in report.failures] == [("NET-UNBOUND", "pod shop/ill")]
    assert "node2" in report.failures[0].hint
    assert [(event["reason"], event["regarding"]["uid"]) for event in site.events()] == [("KuryrPortUnbound", "i")]
    assert site.port_of("w").vif_type == "ovs"

    site.cloud.agents_on("node1", "node2")
    assert site.run().ok
    assert site.port_of("i").vif_type == "ovs"
    assert site.plan() == []


def test_the_port_of_a_node_is_bound_once_an_agent_is_there(site: Site) -> None:
    """A node that never has one, because it is on no pod network, is no fault."""
    site.cloud.agents_on("node1", "node2")
    uid = site.kube.add_node("far")
    assert site.run().ok
    (port,) = (port for port in site.ports("node") if port.host == "far")
    assert port.vif_type == "binding_failed"
    assert site.plan() == []
    site.cloud.change("ports", port.id, security_groups=[])
    assert site.run().ok

    kube = Kube(site.kube)
    kube.write_kuryr_node_status(replace(kube.observe()[0].kuryr_nodes["far"], heartbeat_s=time.time()))

    assert site.plan() == [
        f"update port/node/{uid}  (the port of node far differs: vif_type binding_failed -> bound to far)"
    ]
    report = site.run()
    assert [(failure.code, failure.subject) for failure in report.failures] == [("NET-UNBOUND", "node far")]


def test_an_assignment_edited_by_hand_is_repaired(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    spec = site.kuryr_port("shop/web-0")["spec"]
    spec["interfaces"][0]["mtu"] = 9000
    path = "/apis/kuryr.openstack.org/v1/namespaces/shop/kuryrports/web-0"
    site.kube.request("PATCH", path, body=json.dumps({"spec": spec}).encode(), content_type=MERGE_PATCH)

    assert site.plan() == [
        "update kuryr-port/shop/web-0/w  (node node1 is to be told of the changed port of pod shop/web-0:"
        " mtu 9000 -> 1442)"
    ]
    assert site.run().ok
    assert site.kuryr_port("shop/web-0")["spec"]["interfaces"][0]["mtu"] == 1442


def test_an_untagged_port_that_only_we_can_have_made_is_adopted(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    site.set_tags(site.port_of("w").id, [])

    assert site.plan() == ["adopt port/pod/w  (it was made for pod shop/web-0, but lacks our tags)"]
    assert site.run().adopted == 1
    assert names.uid_of(site.port_of("w").tags) == "w"
    assert site.plan() == []


def test_an_untagged_port_of_a_pod_that_is_gone_is_no_leak(site: Site) -> None:
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    site.set_tags(site.port_of("w").id, [])
    site.kube.delete_pod("shop", "web-0")

    assert site.run().ok
    assert [port for port in site.cloud.objects("ports") if port["device_id"] == "w"] == []


def test_a_node_recreated_under_the_same_name_is_a_new_node(site: Site) -> None:
    old = site.kube.objects("nodes")["node1"]["metadata"]["uid"]
    site.kube.delete_node("node1")
    new = site.kube.add_node("node1")

    plan = [line for line in site.plan() if "security-group" not in line]
    assert plan[0] == f"create port/node/{new}  (node node1 has no port)"
    assert plan[1].startswith("update kuryr-node/node1  (node node1 is to be told of its port: portId ")
    assert plan[2] == f"delete port/node/{old}  (its node is gone)"
    assert len(plan) == 3
    assert site.run().ok
    assert new in {port.device_id for port in site.ports("node")}
    assert old not in {port.device_id for port in site.ports("node")}
    assert site.plan() == []


def test_a_removed_node_leaves_nothing(site: Site) -> None:
    site.kube.delete_node("node2")

    assert site.run().ok
    assert len(site.ports("node")) == 1
    assert list(site.kube.objects("kuryrnodes")) == ["node1"]
    assert site.plan() == []


# -- what the whole cluster shares


def test_without_cluster_init_one_error_says_what_to_run() -> None:
    site = Site(converged=False)
    with pytest.raises(Invalid) as refused:
        site.run()
    assert refused.value.code == "CLUSTER-INIT"
    assert "kuryrctl cluster init" in refused.value.hint


def test_cluster_init_makes_everything_and_then_nothing() -> None:
    site = Site(converged=False)

    assert site.init().created == 22
    assert site.plan(Scope.CLUSTER) == []
    assert site.init().done == ()
    services = {subnet["cidr"]: subnet for subnet in site.cloud.objects("subnets")}
    assert services["10.96.0.0/15"]["gateway_ip"] == "10.97.255.254"
    assert services["10.96.0.0/15"]["allocation_pools"] == [{"start": "10.97.0.1", "end": "10.97.255.253"}]
    assert services["fd00:10:96::/111"]["gateway_ip"] == "fd00:10:96::1:fffe"


def test_rules_that_somebody_changed_are_told_by_a_run_and_repaired_by_init(site: Site) -> None:
    nodes = next(group for group in site.cloud.objects("security_groups") if group["name"].endswith("-nodes"))
    rule = nodes["security_group_rules"][0]["id"]
    site.cloud.request("DELETE", f"/security-group-rules/{rule}")

    difference = site.difference()
    assert list(difference.plan) == []
    assert [finding.code for finding in difference.findings] == [FindingCode.DRIFT]
    assert "kuryrctl cluster init" in difference.findings[0].message
    assert site.init().created == 1
    assert site.difference().findings == ()


def test_untagged_shared_objects_are_adopted_not_made_twice() -> None:
    site = Site(converged=False)
    for resource in ("networks", "subnets", "routers", "security-groups"):
        site.cloud.fail_next("PUT", f"/{resource}/", 500)
    for _ in range(4):
        site.init()

    assert site.plan(Scope.CLUSTER) == []
    for collection, count in {"networks": 2, "subnets": 4, "routers": 1}.items():
        assert len(site.cloud.objects(collection)) == count
    assert len([group for group in site.cloud.objects("security_groups") if group["name"] != "default"]) == 3


def test_an_adopted_network_gets_the_guard_and_nothing_else() -> None:
    site = Site(converged=False, pod_network={"name": "tenant"})
    network = site.cloud.cloud.rules.create_network("project-a", {"name": "tenant"})
    for cidr, version in (("10.77.0.0/24", 4), ("fd00:77::/64", 6)):
        site.cloud.cloud.rules.create_subnet("project-a", network, {"name": "s", "cidr": cidr, "ip_version": version})
    before = [subnet for subnet in site.cloud.objects("subnets")]

    assert site.init().ok
    after = next(each for each in site.cloud.objects("networks") if each["name"] == "tenant")
    assert [tag for tag in after["tags"] if not tag.startswith("kuryr:guard=")] == []
    assert len(after["tags"]) == 1
    assert [subnet for subnet in site.cloud.objects("subnets") if subnet["network_id"] == network["id"]] == before
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    assert site.run().ok
    assert site.port_of("w").network_id == network["id"]
    assert site.port_of("w").fixed_ips[0].ip_address.startswith("10.77.0.")


def test_the_port_of_a_node_that_went_outlives_its_kuryr_node(site: Site) -> None:
    """By the port the KuryrNode is known as the gone node's: with the port first, a death in between would keep it."""
    site.kube.delete_node("node2")
    site.kube.fail(0, times=50, verb="DELETE", path="kuryrnodes")
    assert not site.run(first_rest_s=0.001).ok
    assert len(site.ports("node")) == 2
    site.kube.faults.clear()
    assert site.run().ok
    assert (len(site.ports("node")), list(site.kube.objects("kuryrnodes"))) == (1, ["node1"])
    assert site.plan() == []
