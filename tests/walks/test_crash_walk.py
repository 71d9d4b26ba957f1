"""The crash walk: the engine dies at every single call of a run that does all there is to do. The next run converges.

Each point is walked twice: the process dies before the call was sent, and after it was done but before the answer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from kuryrctl.cloud import Neutron
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.kube import Kube, Lease
from kuryrctl.reconcile import AuditLog, Parts, Scope, once
from tests.unit.reconcile.site import Site
from tests.walks.mortal import Life, MortalCloud, MortalKube, deaths, die_again_and_again

EXTERNAL = {"external_network": "public", "port_batch": 2}
SHARED = {Kind.NETWORK, Kind.SUBNET, Kind.ROUTER, Kind.ROUTER_INTERFACE, Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE}
SERVING = {Kind.PORT, Kind.KURYR_PORT, Kind.KURYR_NODE}
ADOPTED = {Kind.NETWORK, Kind.SUBNET, Kind.SECURITY_GROUP}


def fresh() -> Site:
    """Pods and nodes wait, and the cloud has nothing for them."""
    site = Site(converged=False, **EXTERNAL)
    site.cloud.external_network()
    for n in range(3):
        site.kube.add_pod("shop", f"web-{n}", node="node1")
    site.kube.add_pod("bank", "web-0", node="node2")
    return site


def changed() -> Site:
    """All was well; then pods and nodes came and went, and somebody changed something of every kind."""
    site = fresh()
    for n in range(3, 7):
        site.kube.add_pod("shop", f"web-{n}", node="node1")
    assert site.init().ok
    assert site.run().ok
    _change_what_is_shared(site)
    _change_ports(site)
    _change_what_nodes_are_told(site)
    _come_and_go(site)
    return site


def _change_what_is_shared(site: Site) -> None:
    """Tags, a gateway, a leg of the router, rules."""
    rules = site.cloud.cloud.rules
    router = _ours(site, "routers")[0]
    leg = next(port for port in site.cloud.objects("ports") if port["device_id"] == router["id"] and _inner(port))
    site.cloud.request(
        "PUT", f"/routers/{router['id']}/remove_router_interface", body=json.dumps({"port_id": leg["id"]}).encode()
    )
    site.cloud.change("routers", router["id"], external_gateway_info=None)
    for collection in ("networks", "subnets", "security_groups"):
        site.set_tags(_ours(site, collection)[0]["id"], [], collection)
    group = _ours(site, "security_groups")[-1]
    surplus = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "udp"}
    site.cloud.request("DELETE", f"/security-group-rules/{group['security_group_rules'][0]['id']}")
    rules.create_rules("project-a", [surplus])


def _change_ports(site: Site) -> None:
    """Of three pods: the groups, the tags, the whole port."""
    first, second, third = (site.port_of(_uid(site, f"web-{n}")) for n in (1, 2, 3))
    site.cloud.change("ports", first.id, security_groups=[])
    site.set_tags(second.id, [])
    site.delete_port(third.id)


def _change_what_nodes_are_told(site: Site) -> None:
    """One KuryrPort and one KuryrNode are edited, another KuryrPort is deleted."""
    told = Kube(site.kube).observe()[0]
    edited = told.kuryr_ports["shop/web-4"]
    wrong = msgspec.structs.replace(edited.interfaces[0], mtu=1280)
    Kube(site.kube).write_kuryr_port(msgspec.structs.replace(edited, interfaces=(wrong,)))
    Kube(site.kube).write_kuryr_node("node1", _node_uid(site, "node1"), None)
    site.kube.remove("kuryrports", "shop", "web-5")


def _come_and_go(site: Site) -> None:
    """A pod goes for good, one is made anew under its name, one is new; of two nodes one goes, another one comes."""
    site.kube.delete_pod("shop", "web-0")
    site.kube.delete_pod("shop", "web-6")
    site.kube.add_pod("shop", "web-6", node="node1")
    site.kube.add_pod("shop", "web-7", node="node1")
    site.kube.delete_pod("bank", "web-0")
    site.kube.delete_node("node2")
    site.kube.add_node("node3", "203.0.113.3")


def _ours(site: Site, collection: str) -> list[Any]:
    return [each for each in site.cloud.objects(collection) if each["name"].startswith("kuryr-")]


def _inner(port: Mapping[str, Any]) -> bool:
    return port["device_owner"] == "network:router_interface"


def _uid(site: Site, pod: str) -> str:
    return str(site.kube.objects("pods")[f"shop/{pod}"]["metadata"]["uid"])


def _node_uid(site: Site, node: str) -> str:
    return str(site.kube.objects("nodes")[node]["metadata"]["uid"])


# -- the walk


def live(site: Site, life: Life) -> None:
    """`cluster init` and one run, by a process with this life; who had the lease then is soon forgotten.

    Raises what they fail with, unless that is because the life has ended.
    """
    audit = AuditLog(None, "test", clock=lambda: 0.0)
    kube = Kube(MortalKube(site.kube, life))
    parts = Parts(site.config, Neutron(MortalCloud(site.cloud, life)), kube, audit, first_rest_s=0.001)
    lease = site.config.lease
    for scope in (Scope.CLUSTER, Scope.PODS):
        try:
            once(parts, Lease(kube, namespace=lease.namespace, name=lease.name), scope)
        except KuryrError:
            if not life.ended:
                raise
    if life.ended:
        site.kube.remove("leases", lease.namespace, lease.name)  # as if it had run out


def settled(site: Site) -> None:
    """Everybody is served, nothing leaked, nothing doubled, nothing left to do: asked of what the servers hold."""
    pods = {pod["metadata"]["uid"] for pod in site.kube.objects("pods").values()}
    nodes = {node["metadata"]["uid"] for node in site.kube.objects("nodes").values()}
    served = [port["device_id"] for port in site.cloud.objects("ports") if port["device_owner"] == "compute:kuryr"]
    assert sorted(served) == sorted([*pods, *nodes])
    told = site.kube.objects("kuryrports").values()
    assert {(port["spec"]["podUid"], port["spec"]["interfaces"][0]["portId"]) for port in told} == {
        (uid, site.port_of(uid).id) for uid in pods
    }
    assert site.kube.objects("kuryrnodes").keys() == site.kube.objects("nodes").keys()
    for collection in ("networks", "subnets", "routers", "security_groups"):
        named = Counter(each["name"] for each in site.cloud.objects(collection))
        assert set(named.values()) == {1}, f"{collection}: {named}"
    assert (site.plan(), site.plan(Scope.CLUSTER)) == ([], [])
    assert site.difference().findings == ()


def done_by(site: Site) -> set[tuple[Action, Kind]]:
    """What two runs do, of which nobody dies."""
    init = site.difference(Scope.CLUSTER).plan
    assert site.init().ok
    run = site.difference().plan
    assert len(init) + len(run) >= 15
    assert site.run().ok
    settled(site)
    return {(step.action, step.kind) for step in (*init, *run)}


def test_the_two_runs_do_everything_that_there_is_to_do() -> None:
    serving = {(action, kind) for kind in SERVING for action in (Action.CREATE, Action.UPDATE, Action.DELETE)}
    shared = {(Action.CREATE, kind) for kind in SHARED} | {(Action.ADOPT, kind) for kind in ADOPTED}
    rare = {(Action.UPDATE, Kind.ROUTER), (Action.ADOPT, Kind.PORT)}
    rare |= {(Action.DELETE, kind) for kind in (Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE)}
    assert done_by(fresh()) | done_by(changed()) == serving | shared | rare


@pytest.mark.parametrize("effect", [False, True], ids=["before the call", "before its answer"])
@pytest.mark.parametrize("begin", [fresh, changed])
def test_whenever_the_engine_dies_the_next_run_converges(
    begin: Callable[[], Site], effect: bool, record_property: Callable[[str, object], None]
) -> None:
    walked = 0
    for site, where in deaths(begin, live, effect=effect):
        if where:
            assert site.init().ok
            assert site.run().ok
            settled(site)
            record_property("crash-point", where)
        settled(site)
        walked += 1
    assert walked > 15


def test_a_process_that_dies_again_and_again_converges_as_well() -> None:
    for begin in (fresh, changed):
        site = begin()
        assert die_again_and_again(site, live) >= 15
        settled(site)


def test_a_group_that_was_left_without_tags_goes_when_nobody_asks_for_it_any_more() -> None:
    """Its name and its description prove whose it is, to the plan and to the call that deletes it."""
    site = Site()
    uid = _node_uid(site, "node2")
    (group,) = [each for each in _ours(site, "security_groups") if each["name"].endswith(uid)]
    site.set_tags(group["id"], [], "security_groups")
    site.kube.delete_node("node2")
    assert site.run().ok
    assert group["id"] not in {each["id"] for each in site.cloud.objects("security_groups")}
    settled(site)
