"""The document of a saved plan: what it keeps, and which files are refused with which sentence."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from kuryrctl.core import specs
from kuryrctl.core.errors import Conflict, Invalid, Owner
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import FieldChange, Plan, Step, chosen
from kuryrctl.core.saved_plan import SAVED_SCHEMA, SavedPlan, Seen, Stale, decode, encode, refuse, same_cluster

MEMBERS = specs.MembersSpec(
    "member/service/u/4/tcp-80",
    "load-balancer/service/u/4",
    "pool/service/u/4/tcp-80",
    (specs.MemberSpec("10.0.0.7", 8080, "subnet/pods-4", "shop/web-0"),),
)
MONITOR = specs.HealthMonitorSpec(
    "health-monitor/service/u/4/tcp-80", MEMBERS.balancer, MEMBERS.pool, "m", "TCP", delay=5, timeout=3, max_retries=3
)
POOL = specs.PoolSpec(
    MEMBERS.pool, MEMBERS.balancer, "p", "TCP", "SOURCE_IP_PORT", MEMBERS, ("SOURCE_IP", 10800), MONITOR
)
LISTENER = specs.ListenerSpec("listener/service/u/4/tcp-80", MEMBERS.balancer, "l", "TCP", 80, POOL, ("10.0.0.0/8",))

SPECS: tuple[specs.Spec, ...] = (
    specs.NetworkSpec("network/pods", "n", ("a", "b"), 1442, "guard"),
    specs.SubnetSpec("subnet/pods-4", "s", (), "network/pods", "10.0.0.0/24", "10.0.0.1", ("10.0.0.2", "10.0.0.9")),
    specs.RouterSpec("router/pods", "r", (), None),
    specs.RouterInterfaceSpec("router-interface/pods-4", "router/pods", "subnet/pods-4"),
    specs.SecurityGroupSpec("security-group/nodes", "g", "d", ("t",)),
    specs.RuleSpec("security-group-rule/nodes/0", "security-group/nodes", "ingress", "IPv4", "tcp", 1, 2),
    specs.PortSpec(
        key="port/pod/u",
        name="p",
        tags=("t",),
        network="network/pods",
        mac_address="02:00:00:00:00:01",
        addresses=(specs.AddressSpec("subnet/pods-4", "10.0.0.5"), specs.AddressSpec("subnet/pods-6")),
        security_groups=("security-group/nodes",),
        device_owner="compute:kuryr",
        device_id="u",
        host="node1",
    ),
    specs.KuryrPortSpec("kuryr-port/shop/web/u", "shop", "web", "u", "node1", "port/pod/u"),
    specs.KuryrNodeSpec("kuryr-node/node1", "node1", "n", "port/node/n", ("10.96.0.0/16",)),
    specs.LoadBalancerSpec(
        MEMBERS.balancer, "lab/shop/web", "d", ("t",), "ovn", "subnet/services-4", "10.96.0.10", (LISTENER,)
    ),
    LISTENER,
    POOL,
    MEMBERS,
    MONITOR,
    specs.FloatingIPSpec("floating-ip/service/u/4", "d", ("t",), "net-1", MEMBERS.balancer, "172.24.4.7", ours=False),
    specs.ServiceStatusSpec("service/u", "shop", "web", "u", ("172.24.4.7",)),
)


def document() -> SavedPlan:
    created = (
        Step(
            action=Action.CREATE,
            kind=specs.kind_of(spec),
            key=spec.key,
            reason="there is none",
            subject="pod shop/web",
            spec=spec,
            changes=(FieldChange("host", "", "node1"),),
            needs=("network/pods",),
        )
        for spec in SPECS
    )
    steps = (*created, Step(action=Action.DELETE, kind=Kind.PORT, key="port/pod/x", reason="it is gone", id="port-1"))
    return SavedPlan(
        cluster_id="prod-1",
        kube_system_uid="uid-1",
        project_id="project-a",
        made_at="2026-01-02T03:04:05+00:00",
        made_by="somebody",
        only=(Kind.PORT,),
        steps=steps,
        observed=tuple(Seen(step.kind, step.key, step.id, bool(step.id), {"host": "node1"}) for step in steps),
        findings=(Finding(FindingCode.KEPT, Kind.PORT, "port-2", "p", "kept"),),
    )


def test_there_is_a_sample_of_every_kind_of_spec() -> None:
    assert {type(spec) for spec in SPECS} == set(specs.KIND_OF)


def test_what_is_read_is_what_was_written() -> None:
    assert decode(encode(document()), "plan.json") == document()


def test_the_document_is_one_json_object_that_names_its_version() -> None:
    read = json.loads(encode(document()))

    assert read["schema"] == SAVED_SCHEMA == "kuryrctl.saved-plan/1"
    assert read["steps"][0]["spec"]["type"] == "network"
    assert list(read) == list(SavedPlan.__struct_fields__)


def altered(**fields: Any) -> bytes:
    return json.dumps({**json.loads(encode(document())), **fields}).encode()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", r"plan.json is no saved plan: it is not a JSON object with a schema"),
        (b"kind: Pod\n", r"plan.json is no saved plan: it is not a JSON object with a schema"),
        (b"[1]", r"plan.json is no saved plan: it is not a JSON object with a schema"),
        (b"\xff\xfe\x00", r"plan.json is no saved plan: it is not a JSON object with a schema"),
        (b"{}", r'plan.json is no saved plan that this version reads: its schema is "", not "kuryrctl.saved-plan/1"'),
        (altered(schema="kuryrctl.saved-plan/2"), r'its schema is "kuryrctl.saved-plan/2", not'),
        (altered(schema="kuryrctl.plan/1"), r'its schema is "kuryrctl.plan/1", not'),
        (altered(steps="all"), r"plan.json is a damaged plan: .+ `\$.steps`"),
        (altered(steps=[{"action": "explode"}]), r"plan.json is a damaged plan: .+ `\$.steps\[0\]"),
        (altered(observed=[]), r"plan.json is a damaged plan: it does not say what was observed of network/pods"),
        (encode(document())[:-40], r"plan.json is (no saved|a damaged) plan"),
    ],
)
def test_a_bad_file_gets_one_clear_sentence(data: bytes, told: str) -> None:
    with pytest.raises(Invalid, match=told) as refused:
        decode(data, "plan.json")

    assert (refused.value.code, refused.value.owner) == ("PLAN-FILE", Owner.USER)
    assert "\n" not in refused.value.message
    assert "kuryrctl reconcile --save-plan FILE" in refused.value.hint


def test_another_clusters_plan_names_both() -> None:
    same_cluster(document(), cluster_id="prod-1", kube_system_uid="uid-1", project_id="project-a")
    with pytest.raises(Invalid, match="it was made for cluster prod-1, this is prod-2"):
        same_cluster(document(), cluster_id="prod-2")
    with pytest.raises(Invalid, match="whose kube-system is uid-1, this is uid-2"):
        same_cluster(document(), cluster_id="prod-1", kube_system_uid="uid-2")
    with pytest.raises(Invalid, match="it was made for project project-a, this is project-b"):
        same_cluster(document(), cluster_id="prod-1", kube_system_uid="uid-1", project_id="project-b")


def test_a_refusal_names_the_first_reason_and_counts_the_others() -> None:
    refuse([])
    with pytest.raises(Conflict, match=r"nothing done: port/a: host was x \(and 1 more difference\)$"):
        refuse([Stale("port/a", "host was x"), Stale("port/b", "it is gone")])


def test_steps_that_need_a_step_left_out_are_left_out_too() -> None:
    def step(kind: Kind, key: str, *needs: str) -> Step:
        return Step(action=Action.CREATE, kind=kind, key=key, reason="", needs=needs)

    port, assignment = step(Kind.PORT, "port/a"), step(Kind.KURYR_PORT, "kuryr-port/a", "port/a")
    after = step(Kind.KURYR_PORT, "kuryr-port/b", "kuryr-port/a")
    free = step(Kind.KURYR_PORT, "kuryr-port/c", "port/that-exists")
    plan = Plan((port, assignment, after, free))

    assert plan.only([Kind.KURYR_PORT]).steps == (free,)
    assert plan.only([Kind.KURYR_PORT, Kind.PORT]) == plan
    assert plan.of(Kind.KURYR_PORT).steps == (assignment, after, free)
    assert chosen(plan, lambda each: each is not assignment) == [port, free]


def test_an_unknown_field_of_a_newer_writer_is_no_error() -> None:
    """Fields may be added within one schema version; what is gone or means something else gets a new one."""
    assert decode(altered(later="x"), "plan.json") == document()
    assert msgspec.json.decode(encode(document()), type=SavedPlan).plan.count(Action.DELETE) == 1
