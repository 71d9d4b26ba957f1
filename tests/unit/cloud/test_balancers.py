"""Load balancers through every fault of Octavia and time: waits are bounded, nothing is doubled, faults are named."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from kuryrctl.cloud import OpenStack
from kuryrctl.cloud.transport import Response
from kuryrctl.cloud.waiting import FIRST_PAUSE_S, LONGEST_PAUSE_S, WAIT_S
from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.errors import Conflict, Invalid, Owner, Quota, Retryable, Unavailable
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.subjects import BALANCER_KINDS
from tests.fakes.octavia_rules import Obj
from tests.unit.cloud.balancer_bench import SERVICES, Bench

SILENT = Unavailable("Octavia does not answer", code="OCT-UNREACHABLE", owner=Owner.OCTAVIA)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def one(bench: Bench) -> Obj:
    """The only load balancer that the server holds."""
    (balancer,) = bench.octavia.objects("loadbalancers")
    return balancer


# --- waiting


def test_a_new_load_balancer_costs_one_creation_and_a_few_looks(bench: Bench) -> None:
    bench.octavia.cloud.rules.active_s, bench.octavia.cloud.rules.lag_s = 1.0, 3.6

    bench.made()

    assert bench.calls() == ["POST /loadbalancers", *[f"GET /loadbalancers/{one(bench)['id']}/status"] * 8]


def test_looks_are_bounded_and_their_pauses_grow(bench: Bench) -> None:
    bench.octavia.cloud.rules.active_s = 1000.0
    pauses: list[float] = []
    octavia = bench.octavia

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        octavia.sleep(seconds)

    cloud = OpenStack(bench.neutron, octavia, clock=octavia.clock, sleep=sleep)
    (outcome,) = cloud.apply([bench.step(Action.CREATE, bench.balancer("u"))], bench.ids)

    assert isinstance(outcome.error, Retryable) and outcome.error.code == "OCT-PENDING"
    assert "is still at work after 60 s" in outcome.error.message
    assert pauses == sorted(pauses) and (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert sum(pauses) <= WAIT_S and len(pauses) == 34


def test_one_that_was_pending_for_too_long_is_gone_on_with(bench: Bench) -> None:
    bench.octavia.cloud.rules.active_s = 70.0
    step = bench.step(Action.CREATE, bench.balancer("u", address="10.92.0.10"))

    assert bench.refused(step).code == "OCT-PENDING"
    made = bench.apply(step).object

    assert isinstance(made, LoadBalancer) and made.id == one(bench)["id"]
    assert bench.calls().count("POST /loadbalancers") == 2


def test_a_change_waits_for_somebody_elses(bench: Bench) -> None:
    tree = bench.made()
    bench.octavia.cloud.rules.update_balancer(one(bench), {"name": "by somebody"})

    outcome = bench.create(bench.listener("u", 443))

    assert isinstance(outcome.object, LoadBalancer)
    assert {each.protocol_port for each in outcome.object.listeners} == {80, 443}
    assert outcome.object.id == tree.id


def test_a_change_that_came_second_is_made_after_the_first(bench: Bench) -> None:
    bench.made()
    immutable = Response(409, {}, json.dumps({"faultstring": "Pool x is immutable and cannot be updated."}).encode())
    bench.octavia.fail_next("PUT", "/pools/", immutable, times=2)
    pool = bench.octavia.objects("pools")[0]["id"]

    members = bench.listener("u", 80, 11).pool.members
    outcome = bench.apply(bench.step(Action.UPDATE, members, pool))

    assert isinstance(outcome.object, LoadBalancer)
    assert [member.address for member in outcome.object.pools[0].members] == ["10.91.0.11"]


# --- ERROR


def test_a_creation_that_ends_in_error_says_so_and_is_not_made_again(bench: Bench) -> None:
    bench.octavia.end_in_error()
    step = bench.step(Action.CREATE, bench.balancer("u", address="10.92.0.10"))

    first, second = bench.refused(step), bench.refused(step)

    assert {type(first), type(second)} == {Conflict}
    assert (first.code, second.code, first.owner) == ("OCT-ERROR", "OCT-ERROR", Owner.OCTAVIA)
    assert one(bench)["id"] in first.message
    assert bench.cloud.observe("c").load_balancers[one(bench)["id"]].provisioning_status == "ERROR"


def test_what_is_in_error_is_deleted_but_not_changed(bench: Bench) -> None:
    tree = bench.made()
    bench.octavia.change("loadbalancers", tree.id, provisioning_status="ERROR")

    assert bench.refused(bench.step(Action.CREATE, bench.listener("u", 443))).code == "OCT-ERROR"
    assert bench.apply(bench.step(Action.DELETE, bench.balancer("u"), tree.id)).ok
    assert bench.octavia.objects("loadbalancers") == []


def test_a_deletion_that_ends_in_error_says_so(bench: Bench) -> None:
    tree = bench.made()
    bench.octavia.end_in_error()

    assert bench.refused(bench.step(Action.DELETE, bench.balancer("u"), tree.id)).code == "OCT-ERROR"


# --- lost answers and leftovers


@pytest.mark.parametrize("outcome", [SILENT, 502, 500])
@pytest.mark.parametrize("after_effect", [True, False])
def test_a_creation_without_an_answer_is_never_doubled(
    bench: Bench, outcome: int | Exception, after_effect: bool
) -> None:
    bench.octavia.fail_next("POST", "/loadbalancers", outcome, after_effect=after_effect)
    step = bench.step(Action.CREATE, bench.balancer("u"))

    first = bench.apply(step)
    if not after_effect:
        assert isinstance(first.error, Unavailable)
        first = bench.apply(step)

    assert isinstance(first.object, LoadBalancer) and first.object.id == one(bench)["id"]


def test_tags_that_an_old_octavia_dropped_are_put(bench: Bench) -> None:
    bench.octavia.cloud.rules.keep_post_tags = False

    tree = bench.made()

    assert set(tree.tags) == set(bench.balancer("u").tags) == set(one(bench)["tags"])


def test_an_untagged_one_is_seen_by_its_description_and_adopted_beside_tags_of_others(bench: Bench) -> None:
    tree = bench.made()
    bench.octavia.change("loadbalancers", tree.id, tags=["of-somebody"])
    assert list(bench.process().observe("c").load_balancers) == [tree.id]

    adopted = bench.apply(bench.step(Action.ADOPT, bench.balancer("u"), tree.id)).object

    assert isinstance(adopted, LoadBalancer)
    assert set(adopted.tags) == {*bench.balancer("u").tags, "of-somebody"}


# --- ownership


@pytest.mark.parametrize("kind", ["balancer", "listener"])
def test_what_carries_no_mark_is_neither_changed_nor_deleted(bench: Bench, kind: str) -> None:
    tree = bench.made()
    bench.octavia.change("loadbalancers", tree.id, tags=[], description="somebody's")
    spec = bench.balancer("u") if kind == "balancer" else bench.listener("u")
    id_ = tree.id if kind == "balancer" else tree.listeners[0].id

    codes = {bench.refused(bench.step(action, spec, id_)).code for action in (Action.UPDATE, Action.DELETE)}

    assert codes == {"OCT-NOT-OURS"}
    assert not any(call.startswith(("PUT", "DELETE")) for call in bench.calls())


def test_a_vip_that_somebody_has_is_named(bench: Bench) -> None:
    bench.made("other", bench.listener("other"))
    taken = one(bench)["vip_address"]

    error = bench.refused(bench.step(Action.CREATE, bench.balancer("u", address=taken)))

    assert (type(error), error.code) == (Conflict, "OCT-ADDRESS-TAKEN")
    assert taken in error.message


# --- quota, providers, a cloud without Octavia


@pytest.mark.parametrize(
    ("resource", "limit", "used"), [("loadbalancer", 1, 1), ("listener", 1, 1), ("pool", 1, 1), ("member", 3, 2)]
)
def test_a_used_up_quota_is_told_with_limit_and_use(bench: Bench, resource: str, limit: int, used: int) -> None:
    bench.made("first")
    bench.octavia.set_quota(resource, limit)

    error = bench.refused(bench.step(Action.CREATE, bench.balancer("u")))

    assert (type(error), error.code) == (Quota, "OCT-QUOTA")
    assert f'quota "{resource}" of project project-a is used up ({used} of {limit})' in error.message
    assert len(bench.octavia.objects("loadbalancers")) == 1


@pytest.mark.parametrize("resource", ["listener", "pool", "member"])
def test_a_refused_creation_leaves_no_port_and_its_address_free(bench: Bench, resource: str) -> None:
    step = bench.step(Action.CREATE, bench.balancer("u", address="10.92.0.7"))
    bench.octavia.set_quota(resource, 0)
    for _ in range(3):
        assert bench.refused(step).code == "OCT-QUOTA"
        assert bench.neutron.objects("ports") == []

    bench.octavia.set_quota(resource, -1)
    assert bench.done(step).vip_address == "10.92.0.7"


def test_an_address_that_a_refused_creation_kept_is_freed_once_it_is_forgotten(bench: Bench) -> None:
    step = bench.step(Action.CREATE, bench.balancer("u", address="10.92.0.7"))
    nameless = {"protocol": "TCP", "protocol_port": 80, "default_pool": {"protocol": "TCP"}}
    body = {"vip_subnet_id": bench.ids[SERVICES], "vip_address": "10.92.0.7", "listeners": [nameless]}
    assert (
        bench.octavia.request("POST", "/loadbalancers", body=json.dumps({"loadbalancer": body}).encode()).status == 400
    )
    (port,) = bench.neutron.objects("ports")

    for unsure in (datetime.now(UTC).isoformat(), ""):
        port["created_at"] = unsure
        assert bench.refused(step).code == "OCT-ADDRESS-TAKEN"
        assert bench.neutron.objects("ports") == [port]
    assert bench.cloud.calls["DELETE", "ports"] == 0

    port["created_at"] = (datetime.now(UTC) - timedelta(minutes=11)).isoformat()
    tree = bench.done(step)
    assert tree.vip_address == "10.92.0.7"
    assert [each["id"] for each in bench.neutron.objects("ports")] == [tree.vip_port_id]
    assert bench.cloud.calls["DELETE", "ports"] == 1


@pytest.mark.parametrize(
    "change",
    [{"name": "mine"}, {"device_owner": "compute:nova"}, {"project_id": "another"}, {"name": "ovn-lb-vip-{id}"}],
)
def test_a_port_that_is_no_left_vip_keeps_the_address(bench: Bench, change: dict[str, str]) -> None:
    """Another's port, or that of a load balancer which exists."""
    other = bench.made("other")
    fixed = {"subnet_id": bench.ids[SERVICES], "ip_address": "10.92.0.7"}
    body = {"network_id": bench.network, "fixed_ips": [fixed], "name": "ovn-lb-vip-x", "device_owner": "ovn-lb:vip"}
    port = bench.post("/ports", {"port": body})["port"]
    values = {name: value.format(id=other.id) for name, value in change.items()}
    bench.neutron.change("ports", port["id"], created_at="2020-01-01T00:00:00Z", **values)

    error = bench.refused(bench.step(Action.CREATE, bench.balancer("u", address="10.92.0.7")))

    assert error.code == "OCT-ADDRESS-TAKEN"
    assert port["id"] in {each["id"] for each in bench.neutron.objects("ports")}


def test_ovn_cannot_fail_over_and_an_amphora_can(bench: Bench) -> None:
    tree = bench.made()
    with pytest.raises(Invalid) as refused:
        bench.cloud.failover(tree, "a case")
    assert refused.value.code == "OCT-UNSUPPORTED" and "failover" in refused.value.message

    bench.octavia.change("loadbalancers", tree.id, provider="amphora")
    assert bench.cloud.failover(tree, "a case").provisioning_status == "ACTIVE"
    assert bench.audit[-1].call == f"PUT /loadbalancers/{tree.id}/failover"


def test_a_cloud_without_octavia_knows_everything_else(bench: Bench) -> None:
    cloud = OpenStack(bench.neutron)

    observed = cloud.observe("c")
    (outcome,) = cloud.apply([bench.step(Action.CREATE, bench.balancer("u"))], bench.ids)

    assert {kind: error.code for kind, error in observed.errors.items()} == dict.fromkeys(BALANCER_KINDS, "OCT-NONE")
    assert {Kind.PORT, Kind.NETWORK, Kind.FLOATING_IP} <= observed.complete
    assert outcome.error and outcome.error.code == "OCT-NONE"


def test_an_octavia_that_is_down_leaves_the_other_kinds_complete(bench: Bench) -> None:
    bench.octavia.fail_next("GET", "/loadbalancers", SILENT)

    observed = bench.cloud.observe("c")

    assert {kind: error.code for kind, error in observed.errors.items()} == dict.fromkeys(
        BALANCER_KINDS, "OCT-UNREACHABLE"
    )
    assert Kind.PORT in observed.complete


# --- thrift


def reads(bench: Bench) -> list[str]:
    """The calls of one observation."""
    bench.octavia.requests.clear()
    bench.cloud.observe("c")
    return [call.replace("GET ", "") for call in bench.calls()]


def test_without_load_balancers_an_observation_is_one_call(bench: Bench) -> None:
    assert reads(bench) == ["/loadbalancers"]


def test_members_are_read_again_only_where_something_has_moved(bench: Bench) -> None:
    for uid in ("a", "b", "c"):
        bench.made(uid, bench.listener(uid), bench.listener(uid, 443))
    pools = [pool["id"] for pool in bench.octavia.objects("pools")]
    lists = ["/loadbalancers", "/listeners", "/pools"]

    bench.octavia.sleep(5)
    assert sorted(reads(bench)) == sorted([*lists, *(f"/pools/{id_}/members" for id_ in pools)])
    bench.octavia.sleep(60)
    assert len(reads(bench)) == len(lists) + len(pools), "what was read in the second of a change proves nothing yet"
    bench.octavia.sleep(60)
    assert reads(bench) == lists

    bench.put(f"/pools/{pools[0]}/members", {"members": []})
    observed = bench.cloud.observe("c")
    trees = {pool.id: pool for tree in observed.load_balancers.values() for pool in tree.pools}
    assert [trees[id_].members == () for id_ in pools] == [True, *[False] * (len(pools) - 1)]
    bench.octavia.sleep(60)
    assert reads(bench) == lists


def test_a_weight_that_somebody_changed_is_seen(bench: Bench) -> None:
    tree = bench.made()
    for _ in range(3):
        bench.octavia.sleep(60)
        bench.cloud.observe("c")
    pool, member = tree.pools[0], tree.pools[0].members[0]

    bench.put(f"/pools/{pool.id}/members/{member.id}", {"member": {"weight": 7}})

    (observed,) = bench.cloud.observe("c").load_balancers.values()
    assert {each.weight for each in observed.pools[0].members if each.id == member.id} == {7}


def test_lists_are_followed_over_pages_with_their_filters(bench: Bench) -> None:
    for uid in ("a", "b", "c"):
        bench.made(uid)
    bench.octavia.cloud.page_limit = 2
    observed = bench.cloud.observe("c")

    assert len(observed.load_balancers) == 3
    pages = [path for _, path in bench.octavia.requests if path.startswith("/loadbalancers?")]
    assert len(pages) == 2 and all("project_id=" in page and "fields=tags" in page for page in pages)


def test_every_change_is_recorded_with_its_call_and_request(bench: Bench) -> None:
    tree = bench.made()
    bench.create(bench.listener("u", 443))
    bench.apply(bench.step(Action.DELETE, bench.balancer("u"), tree.id))

    calls = [record.call.partition("?")[0].replace(tree.id, "ID") for record in bench.audit]
    told = [(record.kind, call, record.status) for record, call in zip(bench.audit, calls, strict=True)]
    pool = next(call for _, call, _ in told if call.endswith("/members"))
    assert told == [
        (Kind.LOAD_BALANCER, "POST /loadbalancers", 201),
        (Kind.LISTENER, "POST /pools", 201),
        (Kind.LISTENER, pool, 202),
        (Kind.LISTENER, "POST /listeners", 201),
        (Kind.LOAD_BALANCER, "DELETE /loadbalancers/ID", 204),
    ]
    assert all(record.request_id.startswith("req-") for record in bench.audit)
