"""Faults of the cloud while steps are applied and the world is observed: named, never doubled, never raised."""

from __future__ import annotations

import math
import threading

import pytest

from kuryrctl.cloud import Neutron
from kuryrctl.core import names
from kuryrctl.core.audit import AuditRecord
from kuryrctl.core.cloud import CloudObject, Port
from kuryrctl.core.errors import KuryrError, Owner, Retryable, Unavailable
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import (
    AddressSpec,
    NetworkSpec,
    PortSpec,
    RuleSpec,
    SecurityGroupSpec,
    Spec,
    SubnetSpec,
    kind_of,
)
from tests.fakes.neutron import FakeNeutron

GONE = Unavailable("connection refused", code="NET-UNREACHABLE", owner=Owner.NEUTRON)


class Bench:
    """A fake cloud with a pod network and a group."""

    def __init__(self) -> None:
        self.fake = FakeNeutron()
        self.audit: list[AuditRecord] = []
        self.neutron = Neutron(self.fake, audit=self.audit.append)
        tags = names.tags("c1", "pods")
        made = self.neutron.apply(
            [
                create(NetworkSpec("network/pods", "pods", tags)),
                create(SubnetSpec("subnet/v4", "v4", tags, "network/pods", "10.0.0.0/16")),
                create(SecurityGroupSpec("security-group/pods", "pods", "of pods", tags)),
            ],
            {},
        )
        self.ids = {outcome.step.key: outcome.object.id for outcome in made if isinstance(outcome.object, CloudObject)}
        self.neutron.calls.clear()
        self.audit.clear()

    def apply(self, *specs: Spec) -> list[Outcome]:
        return self.neutron.apply([create(spec) for spec in specs], self.ids)

    def port_macs(self) -> list[str]:
        return sorted(port["mac_address"] for port in self.fake.objects("ports"))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def create(spec: Spec) -> Step:
    return Step(action=Action.CREATE, kind=kind_of(spec), key=spec.key, reason="a test", spec=spec, subject="it")


def port(number: int, **fields: object) -> PortSpec:
    uid = f"uid-{number}"
    values: dict[str, object] = {
        "key": f"port/pod/{uid}",
        "name": f"shop/web-{number}",
        "tags": names.tags("c1", "pod", uid),
        "network": "network/pods",
        "mac_address": names.mac_address("c1", uid),
        "addresses": (AddressSpec("subnet/v4"),),
        "security_groups": ("security-group/pods",),
        "device_owner": names.DEVICE_OWNER,
        "device_id": uid,
        "host": "node1",
    }
    return PortSpec(**(values | fields))  # type: ignore[arg-type]  # a table of fields


def rule(number: int) -> RuleSpec:
    return RuleSpec(f"rule/{number}", "security-group/pods", "ingress", "IPv4", "tcp", number, number)


def codes(outcomes: list[Outcome]) -> list[str]:
    return [outcome.error.code if outcome.error else "" for outcome in outcomes]


@pytest.mark.parametrize(("ports", "batch"), [(1, 10), (10, 10), (30, 10), (31, 10), (100, 50)])
def test_n_ports_cost_n_by_batch_creating_calls_and_no_other(bench: Bench, ports: int, batch: int) -> None:
    for first in range(0, ports, batch):
        outcomes = bench.apply(*(port(number) for number in range(first, min(first + batch, ports))))
        assert set(codes(outcomes)) == {""}

    assert bench.neutron.calls == {("POST", "ports"): math.ceil(ports / batch)}
    assert len(bench.port_macs()) == ports


def test_n_rules_of_a_group_cost_one_call(bench: Bench) -> None:
    assert set(codes(bench.apply(*(rule(number) for number in range(1, 101))))) == {""}
    assert bench.neutron.calls == {("POST", "security-group-rules"): 1}


def test_tags_that_the_cloud_dropped_are_set_afterwards(bench: Bench) -> None:
    bench.fake.cloud.rules.keep_post_tags = False

    outcomes = bench.apply(port(1), port(2))

    assert bench.neutron.calls == {("POST", "ports"): 1, ("PUT", "ports/tags"): 2}
    for outcome in outcomes:
        assert isinstance(outcome.object, Port)
        assert set(outcome.object.tags) == set(names.tags("c1", "pod", outcome.object.device_id))
        assert set(bench.fake.cloud.rules.tables["ports"][outcome.object.id]["tags"]) == set(outcome.object.tags)


STATUSES: list[tuple[int, str]] = [
    (400, "NET-INVALID"),
    (401, "KST-TOKEN"),
    (403, "NET-FORBIDDEN"),
    (404, "NET-NOT-FOUND"),
    (409, "NET-CONFLICT"),
    (412, "NET-CHANGED"),
    (429, "NET-BUSY"),
    (500, "NET-UNAVAILABLE"),
    (503, "NET-UNAVAILABLE"),
]


@pytest.mark.parametrize(("status", "code"), STATUSES)
def test_a_refused_creation_is_an_outcome_and_makes_nothing(bench: Bench, status: int, code: str) -> None:
    bench.fake.fail_next("POST", "/ports", status)

    assert codes(bench.apply(port(1))) == [code]
    assert bench.port_macs() == []
    assert codes(bench.apply(port(1))) == [""]


@pytest.mark.parametrize("outcome", [GONE, 500, 502, 504])
@pytest.mark.parametrize("after_effect", [True, False])
def test_an_unanswered_bulk_is_neither_doubled_nor_forgotten(
    bench: Bench, outcome: int | KuryrError, after_effect: bool
) -> None:
    bench.fake.fail_next("POST", "/ports", outcome, after_effect=after_effect)

    first = bench.apply(*(port(number) for number in range(5)))
    second = bench.apply(*(port(number) for number in range(5)))

    assert {outcome.ok for outcome in first} == {after_effect}
    assert {outcome.ok for outcome in second} == {True}
    assert bench.port_macs() == sorted(names.mac_address("c1", f"uid-{number}") for number in range(5))
    if after_effect:
        assert [one.object for one in first] == [two.object for two in second]


def test_an_unanswered_bulk_whose_look_up_fails_too_is_tried_again_later(bench: Bench) -> None:
    bench.fake.fail_next("POST", "/ports", GONE, after_effect=True)
    bench.fake.fail_next("GET", "/ports", GONE)

    outcomes = bench.apply(port(1), port(2))

    assert codes(outcomes) == ["NET-UNREACHABLE"] * 2
    assert all(isinstance(outcome.error, Retryable) for outcome in outcomes)
    assert set(codes(bench.apply(port(1), port(2)))) == {""}
    assert len(bench.port_macs()) == 2


def test_two_writers_make_one_port(bench: Bench) -> None:
    other = Neutron(bench.fake)
    specs = [port(number) for number in range(20)]
    found: list[list[Outcome]] = []

    def write(neutron: Neutron) -> None:
        found.append(neutron.apply([create(spec) for spec in specs], bench.ids))

    threads = [threading.Thread(target=write, args=(neutron,)) for neutron in (bench.neutron, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(bench.port_macs()) == 20
    assert [one.object.id for one in found[0] if isinstance(one.object, Port)] == [
        two.object.id for two in found[1] if isinstance(two.object, Port)
    ]


def test_a_bad_port_among_many_costs_few_calls_and_fails_alone(bench: Bench) -> None:
    bench.ids["security-group/gone"] = "00000000-0000-4000-8000-00000000dead"
    specs = [port(number) for number in range(16)]
    specs[11] = port(11, security_groups=("security-group/gone",))

    outcomes = bench.apply(*specs)

    assert codes(outcomes) == ["NET-NOT-FOUND" if number == 11 else "" for number in range(16)]
    assert bench.neutron.calls["POST", "ports"] <= 1 + 2 * math.log2(16)


def test_a_full_subnet_costs_no_call_for_each_port(bench: Bench) -> None:
    tags = names.tags("c1", "tiny")
    made = bench.apply(SubnetSpec("subnet/tiny", "tiny", tags, "network/pods", "10.1.0.0/29"))
    bench.ids["subnet/tiny"] = made[0].object.id if isinstance(made[0].object, CloudObject) else ""
    bench.neutron.calls.clear()

    outcomes = bench.apply(*(port(number, addresses=(AddressSpec("subnet/tiny"),)) for number in range(64)))

    assert sum(outcome.ok for outcome in outcomes) == 5
    assert set(codes(outcomes)) == {"", "NET-NO-ADDRESS"}
    assert bench.neutron.calls["POST", "ports"] <= 16


def test_an_object_whose_creation_went_through_before_the_cut_is_found(bench: Bench) -> None:
    spec = SecurityGroupSpec("security-group/x", "x", "described", names.tags("c1", "x"))
    bench.fake.fail_next("POST", "/security-groups", GONE, after_effect=True)

    assert codes(bench.apply(spec)) == [""]
    groups = [group for group in bench.fake.objects("security_groups") if group["name"] == "x"]
    assert [(group["security_group_rules"], set(group["tags"])) for group in groups] == [([], set(spec.tags))]


def test_an_object_that_could_not_be_tagged_is_an_error_and_is_found_untagged(bench: Bench) -> None:
    spec = NetworkSpec("network/x", "x", names.tags("c1", "x"))
    bench.fake.fail_next("PUT", "/networks", 503)

    assert codes(bench.apply(spec)) == ["NET-UNAVAILABLE"]
    untagged = [net for net in bench.fake.objects("networks") if net["name"] == "x"]
    assert [(net["tags"], net["description"]) for net in untagged] == [([], names.description(spec.tags))]


def test_a_failing_step_does_not_stop_the_others(bench: Bench) -> None:
    bench.fake.fail_next("POST", "/networks", 400)

    outcomes = bench.apply(
        NetworkSpec("network/x", "x", names.tags("c1", "x")),
        SubnetSpec("subnet/x", "x", names.tags("c1", "x"), "network/x", "10.9.0.0/24"),
        port(1),
        rule(80),
    )

    assert codes(outcomes) == ["NET-INVALID", "NET-NEEDS", "", ""]


def test_every_refusal_is_told_to_the_audit(bench: Bench) -> None:
    bench.fake.fail_next("POST", "/ports", 403, headers={"x-openstack-request-id": "req-x"})

    bench.apply(port(1))

    (record,) = bench.audit
    assert (record.status, record.error, record.request_id) == (403, "NET-FORBIDDEN", "req-x")
    assert (record.key, record.reason, record.subject) == ("port/pod/uid-1", "a test", "it")


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("/networks", {Kind.NETWORK}),
        ("/subnets", {Kind.SUBNET}),
        ("/routers", {Kind.ROUTER}),
        ("/security-groups", {Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE}),
        ("/ports", {Kind.PORT, Kind.ROUTER_INTERFACE}),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_list_that_failed_leaves_its_kind_unknown_and_only_it(
    bench: Bench, path: str, unknown: set[Kind], status: int
) -> None:
    bench.fake.fail_next("GET", path, status)

    observed = bench.neutron.observe("c1")

    assert observed.errors.keys() == unknown
    assert not unknown & observed.complete and len(unknown | observed.complete) == 7


def test_a_page_that_failed_leaves_the_kind_unknown(bench: Bench) -> None:
    bench.apply(*(port(number) for number in range(5)))
    bench.fake.cloud.page_limit = 2
    assert len(bench.neutron.observe("c1").ports) == 5

    bench.fake.fail_next("GET", "/ports?project_id=project-a&tags=", 500)
    observed = bench.neutron.observe("c1")

    assert Kind.PORT not in observed.complete and observed.ports == {}


def test_a_silent_cloud_is_asked_once(bench: Bench) -> None:
    bench.fake.fail_next("GET", "/", GONE, times=9)

    observed = bench.neutron.observe("c1")

    assert observed.complete == frozenset() and len(observed.errors) == 7
    assert sum(bench.neutron.calls.values()) == 1


def test_reads_for_people_raise_our_errors(bench: Bench) -> None:
    bench.fake.fail_next("GET", "/ports", 503)
    with pytest.raises(Unavailable) as fault:
        bench.neutron.ports()
    assert fault.value.message.startswith("ports not listed")
    bench.fake.fail_next("GET", "/quotas", 403)
    with pytest.raises(KuryrError) as forbidden:
        bench.neutron.quota()
    assert forbidden.value.code == "NET-FORBIDDEN"


def test_a_delete_without_a_revision_looks_again_when_the_object_moved_meanwhile(bench: Bench) -> None:
    made = bench.apply(port(1))[0].object
    assert isinstance(made, Port)
    step = Step(action=Action.DELETE, kind=Kind.PORT, key="port/pod/uid-1", reason="a test", id=made.id)
    bench.fake.fail_next("DELETE", "/ports", 412, times=2)

    assert codes(bench.neutron.apply([step], {})) == [""]
    assert bench.port_macs() == []


def test_a_delete_with_a_revision_is_not_tried_on_another_one(bench: Bench) -> None:
    made = bench.apply(port(1))[0].object
    assert isinstance(made, Port)
    step = Step(action=Action.DELETE, kind=Kind.PORT, key="port/pod/uid-1", reason="a test", id=made.id, revision=99)

    assert codes(bench.neutron.apply([step], {})) == ["NET-CHANGED"]
    assert len(bench.port_macs()) == 1
