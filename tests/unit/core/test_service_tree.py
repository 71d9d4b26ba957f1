"""The tree of a Service: which link is the first broken one, whose part that is; and the condition of its row."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kuryrctl.core.balancers import FloatingIP, Listener, Member
from kuryrctl.core.conditions import Condition, PortRow
from kuryrctl.core.errors import Owner
from kuryrctl.core.kinds import Action
from kuryrctl.core.lint import Check, Level, LintFinding
from kuryrctl.core.service_join import foreign_row, service_row
from kuryrctl.core.service_links import Layer, State
from kuryrctl.core.service_rows import ServiceCondition
from kuryrctl.core.service_tree import Sight, tree
from kuryrctl.core.specs import FloatingIPSpec
from tests.unit.core.sights import (
    ADDRESSES,
    BALANCER,
    LISTENER,
    POOL,
    balancer,
    endpoints,
    sight,
    spec,
    step,
    with_members,
)

FLOATING = FloatingIPSpec("floating-ip/service/s/4", "", (), "ext", BALANCER)
LONG_AGO = "2025-11-25T20:00:00"
STRANGER = Member("m9", "10.65.0.99", 8080, provisioning_status="ACTIVE")


def test_a_service_that_is_well_has_no_broken_link_and_all_layers() -> None:
    grown = tree(sight())
    assert [(link.layer, link.name) for link in grown.walk()] == [
        (Layer.SERVICE, "shop/web"),
        (Layer.LOAD_BALANCER, "10.96.0.9"),
        (Layer.LISTENER, "TCP 80"),
        (Layer.POOL, "tcp-80"),
        (Layer.MEMBER, "10.65.0.11:8080"),
        (Layer.POD, "shop/web-0"),
        (Layer.PORT, "10.65.0.11"),
        (Layer.MEMBER, "10.65.0.12:8080"),
        (Layer.POD, "shop/web-1"),
        (Layer.PORT, "10.65.0.12"),
    ]
    row = service_row(sight())
    assert (row.condition, row.members_ready, row.members_total, row.link) == (ServiceCondition.OK, 2, 2, None)
    assert (row.provisioning_status, row.operating_status, row.load_balancers) == ("ACTIVE", "ONLINE", ("lb",))


def dead(members: tuple[Member, ...]) -> tuple[Member, ...]:
    return replace(members[0], operating_status="ERROR"), *members[1:]


@pytest.mark.parametrize(
    ("seen", "expected", "condition"),
    [
        (
            sight(balancers={}),
            (Layer.LOAD_BALANCER, "10.96.0.9", State.MISSING, Owner.KURYRCTL), ServiceCondition.NO_BALANCER,
        ),
        (
            sight(balancers={BALANCER: balancer(listeners=(), pools=())}),
            (Layer.LISTENER, "TCP 80", State.MISSING, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(balancers={BALANCER: balancer(pools=())}),
            (Layer.POOL, "tcp-80", State.MISSING, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(balancers=with_members(lambda members: members[:1])),
            (Layer.MEMBER, "10.65.0.12:8080", State.MISSING, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(balancers=with_members(lambda members: (*members, STRANGER))),
            (Layer.MEMBER, "10.65.0.99:8080", State.SURPLUS, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(balancers=with_members(lambda members: (replace(members[0], weight=0), members[1]))),
            (Layer.MEMBER, "10.65.0.11:8080", State.DIFFERENT, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(balancers=with_members(dead)),
            (Layer.MEMBER, "10.65.0.11:8080", State.OFFLINE, Owner.USER), ServiceCondition.DEGRADED,
        ),
        (
            sight(balancers={BALANCER: balancer(provisioning_status="ERROR")}),
            (Layer.LOAD_BALANCER, "10.96.0.9", State.ERROR, Owner.OCTAVIA), ServiceCondition.ERROR,
        ),
        (
            sight(balancers={BALANCER: balancer(provisioning_status="PENDING_UPDATE", updated_at=LONG_AGO)}),
            (Layer.LOAD_BALANCER, "10.96.0.9", State.STUCK, Owner.OCTAVIA), ServiceCondition.STUCK,
        ),
        (
            sight(steps=step(LISTENER, Action.UPDATE, "its time-out is another one")),
            (Layer.LISTENER, "TCP 80", State.DIFFERENT, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(balancer_specs=()),
            (Layer.LOAD_BALANCER, "10.96.0.9", State.SURPLUS, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(floating_specs=(FLOATING,)),
            (Layer.FLOATING_IP, "any address", State.MISSING, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(
                floating_specs=(FLOATING,), floating_ips={FLOATING.key: FloatingIP("f", "172.24.4.9", "ext")},
                steps=step(FLOATING.key, Action.UPDATE, "it leads to another port"),
            ),
            (Layer.FLOATING_IP, "172.24.4.9", State.DIFFERENT, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(steps=step("floating-ip/service/s/4/f", Action.DELETE, "it asks for none any more")),
            (Layer.FLOATING_IP, "", State.SURPLUS, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
        (
            sight(pods={}),
            (Layer.POD, "p0", State.FAULTY, Owner.KUBERNETES), ServiceCondition.DEGRADED,
        ),
        (
            sight(port_rows={"p1": PortRow(namespace="shop", pod="web-1", condition=Condition.NO_PORT, detail="gone")}),
            (Layer.PORT, "no address", State.FAULTY, Owner.KURYRCTL), ServiceCondition.DEGRADED,
        ),
        (
            sight(steps=step("service/s", Action.UPDATE, "its status lacks 172.24.4.9")),
            (Layer.STATUS, "status.loadBalancer", State.DIFFERENT, Owner.KURYRCTL), ServiceCondition.DRIFT,
        ),
    ],
)  # fmt: skip
def test_the_first_broken_link(
    seen: Sight, expected: tuple[Layer, str, State, Owner], condition: ServiceCondition
) -> None:
    broken = tree(seen).first_broken
    assert broken is not None
    assert (broken.layer, broken.name, broken.state, broken.owner) == expected
    assert broken.detail and broken.hint
    row = service_row(seen)
    assert (row.condition, row.broken, row.link) == (condition, True, broken)


def test_an_operating_status_that_comes_from_below_is_not_the_first_broken_link() -> None:
    above = replace(with_members(dead)[BALANCER], operating_status="ERROR")
    broken = tree(sight(balancers={BALANCER: above})).first_broken
    assert broken is not None
    assert broken.layer is Layer.MEMBER


def test_an_operating_status_that_comes_from_nowhere_is_octavias_part() -> None:
    broken = tree(sight(balancers={BALANCER: balancer(operating_status="ERROR")})).first_broken
    assert broken is not None
    assert (broken.layer, broken.state, broken.owner) == (Layer.LOAD_BALANCER, State.OFFLINE, Owner.OCTAVIA)


def test_a_listener_that_nobody_asks_for_is_surplus() -> None:
    other = Listener("l2", "UDP", 53, "udp-53")
    broken = tree(sight(balancers={BALANCER: balancer(listeners=(*balancer().listeners, other))})).first_broken
    assert broken is not None
    assert (broken.name, broken.state) == ("UDP 53", State.SURPLUS)


def none_ready() -> Sight:
    empty = spec()
    (listener,) = empty.listeners
    pool = replace(listener.pool, members=replace(listener.pool.members, members=()))
    return sight(
        balancer_specs=(replace(empty, listeners=(replace(listener, pool=pool),)),),
        balancers=with_members(lambda _: ()),
        slices=(endpoints(False, False),),
    )


def test_without_a_ready_endpoint_its_pool_is_empty_and_that_is_the_users_part() -> None:
    row = service_row(none_ready())
    assert (row.condition, row.members_total) == (ServiceCondition.NO_ENDPOINTS, 0)
    assert row.link is not None
    assert (row.link.layer, row.link.owner) == (Layer.POOL, Owner.USER)
    assert row.detail == "pool tcp-80: no endpoint is ready: 2 are not"
    assert "service-name=web" in row.link.hint


def test_a_selector_that_matches_nothing_is_named_as_the_reason() -> None:
    assert "no pod has the labels of its selector" in service_row(replace(none_ready(), slices=())).detail


@pytest.mark.parametrize("status", ["PENDING_CREATE", "PENDING_UPDATE"])
def test_what_differs_while_octavia_is_at_work_is_on_its_way(status: str) -> None:
    working = replace(with_members(lambda members: members[:1])[BALANCER], provisioning_status=status)
    row = service_row(sight(balancers={BALANCER: working}, steps=step(POOL, Action.UPDATE, "another algorithm")))
    assert (row.condition, row.link) == (ServiceCondition.PENDING, None)
    assert row.detail == f"load balancer 10.96.0.9: {status}"


def test_what_is_in_error_below_is_no_matter_of_waiting() -> None:
    lost = replace(
        with_members(lambda members: (replace(members[0], provisioning_status="ERROR"), members[1]))[BALANCER],
        provisioning_status="PENDING_UPDATE",
    )
    assert service_row(sight(balancers={BALANCER: lost})).condition is ServiceCondition.ERROR


def test_an_endpoint_that_is_no_pod_ends_with_its_member() -> None:
    alien = replace(endpoints(), endpoints=tuple(replace(each, pod_uid="") for each in endpoints().endpoints))
    layers = [link.layer for link in tree(sight(slices=(alien,))).walk()]
    assert layers[-2:] == [Layer.MEMBER, Layer.MEMBER]


def note(level: Level, accepted: str = "") -> LintFinding:
    return LintFinding(Check("SVC-RANGES", level, "x"), "shop/web", "no external address", "", accepted)


@pytest.mark.parametrize(
    ("notes", "condition"),
    [
        ([note(Level.ERROR)], ServiceCondition.LIMITED),
        ([note(Level.WARNING)], ServiceCondition.LIMITED),
        ([note(Level.NOTE)], ServiceCondition.OK),
        ([note(Level.ERROR, "we know")], ServiceCondition.OK),
    ],
)
def test_what_it_asks_for_in_vain_limits_it_unless_its_user_accepts_that(
    notes: list[LintFinding], condition: ServiceCondition
) -> None:
    row = service_row(sight(), notes=notes)
    assert (row.condition, row.notes) == (condition, tuple(notes))
    assert row.detail == ("no external address" if condition is ServiceCondition.LIMITED else "")


def test_a_service_that_is_to_have_none_is_skipped() -> None:
    row = service_row(sight(balancer_specs=(), balancers={}), skipped="it is headless")
    assert (row.condition, row.detail, row.broken) == (ServiceCondition.SKIPPED, "it is headless", False)


def test_a_broken_link_comes_before_what_is_asked_for_in_vain() -> None:
    assert service_row(sight(balancers={}), notes=[note(Level.ERROR)]).condition is ServiceCondition.NO_BALANCER


def test_a_load_balancer_without_its_service_is_left_over() -> None:
    row = service_row(sight(service=None, balancer_specs=()))
    assert (row.condition, row.load_balancers) == (ServiceCondition.NO_SERVICE, ("lb",))


def test_a_foreign_one_is_shown_with_the_reason() -> None:
    row = foreign_row(balancer(), "it belongs to project b, not to ours")
    assert (row.condition, row.load_balancers, row.broken) == (ServiceCondition.FOREIGN, ("lb",), True)
    assert "project b" in row.detail


def test_ages_are_told_in_minutes() -> None:
    stuck = sight(balancers={BALANCER: balancer(provisioning_status="ERROR", updated_at="2025-11-25T21:48:00+00:00")})
    assert "ERROR for 12 min" in service_row(stuck).detail


def test_members_count_by_address() -> None:
    assert service_row(sight(balancers=with_members(lambda members: members[:1]))).members_ready == 1
    assert len(ADDRESSES) == 2
