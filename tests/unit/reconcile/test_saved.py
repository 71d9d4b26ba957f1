"""Plans that were saved and are applied later: exactly, or not at all; and runs that are narrowed to some kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kuryrctl.core.errors import Conflict, Invalid, Unavailable
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.saved_plan import SavedPlan, decode, encode
from kuryrctl.kube.transport import MERGE_PATCH
from kuryrctl.reconcile import Report, apply_plan, dry_run, once, plan_to_save
from tests.fakes.kube import FakeKube
from tests.unit.reconcile.site import Site


@pytest.fixture
def site() -> Site:
    return Site()


def save(site: Site, *only: Kind) -> SavedPlan:
    """The plan as it comes back from a file."""
    saved = plan_to_save(site.parts(), only, made_by="host/1/somebody/ab", now_s=0.0)
    return decode(encode(saved), "plan.json")


def apply(site: Site, saved: SavedPlan, **limits: Any) -> Report:
    return apply_plan(site.parts(first_rest_s=0.001, **limits), site.lease(), saved)


def everything(site: Site) -> str:
    kinds = ("kuryrports", "kuryrnodes")
    return site.cloud_objects() + json.dumps({kind: site.kube.objects(kind) for kind in kinds}, sort_keys=True)


def pod(site: Site, name: str, node: str = "node1") -> str:
    return str(site.kube.add_pod("shop", name, node=node, uid=f"uid-{name}"))


def mixed(site: Site) -> None:
    """Something of each: a pod to serve, one that is gone, a port to repair, an assignment to repair, one to adopt."""
    for name in ("gone", "moved", "edited", "untagged"):
        pod(site, name)
    assert site.run().ok
    site.kube.delete_pod("shop", "gone")
    site.cloud.change("ports", site.port_of("uid-moved").id, **{"binding:host_id": "node2"})
    edit_assignment(site, "edited", mtu=9000)
    site.set_tags(site.port_of("uid-untagged").id, [])
    pod(site, "new")


def edit_assignment(site: Site, name: str, **fields: object) -> None:
    spec = site.kuryr_port(f"shop/{name}")["spec"]
    spec["interfaces"][0].update(fields)
    path = f"/apis/kuryr.openstack.org/v1/namespaces/shop/kuryrports/{name}"
    site.kube.request("PATCH", path, body=json.dumps({"spec": spec}).encode(), content_type=MERGE_PATCH)


# -- saved, and applied


def test_saving_a_plan_changes_nothing_and_it_is_the_dry_runs(site: Site) -> None:
    mixed(site)
    before = everything(site)

    saved = save(site)
    assert [step.summary for step in saved.steps] == site.plan()
    assert {step.action for step in saved.steps} == set(Action)
    assert everything(site) == before
    assert (saved.cluster_id, saved.project_id, saved.made_at) == ("kuryr", "project-a", "1970-01-01T00:00:00+00:00")
    assert saved.kube_system_uid


def test_a_plan_is_applied_as_it_is_and_then_nothing_is_left(site: Site) -> None:
    mixed(site)
    saved = save(site)

    report = apply(site, saved)
    assert (report.failures, report.left) == ((), ())
    assert report.done == tuple(step.summary for step in saved.steps)
    assert site.port_of("uid-moved").host == "node1"
    assert site.plan() == []


def test_an_empty_plan_does_nothing(site: Site) -> None:
    saved = save(site)
    before = everything(site)

    assert saved.steps == ()
    assert apply(site, saved).ok
    assert everything(site) == before


def test_no_step_is_done_that_the_plan_does_not_have(site: Site) -> None:
    mixed(site)
    saved = save(site)
    pod(site, "late")
    site.cloud.change("ports", site.port_of("uid-edited").id, **{"binding:host_id": "node2"})
    saved_without = msgspec.structs.replace(
        saved,
        steps=tuple(step for step in saved.steps if "uid-edited" not in step.key),
        observed=tuple(seen for seen in saved.observed if "uid-edited" not in seen.key),
    )

    report = apply(site, saved_without)
    assert report.ok
    assert report.done == tuple(step.summary for step in saved_without.steps)
    assert [line.partition("  ")[0] for line in site.plan()] == [
        "create port/pod/uid-late",
        "update port/pod/uid-edited",
        "create kuryr-port/shop/late/uid-late",
        "update kuryr-port/shop/edited/uid-edited",
    ]


def test_a_plan_is_applied_once(site: Site) -> None:
    pod(site, "new")
    saved = save(site)
    assert apply(site, saved).ok
    before = everything(site)

    with pytest.raises(Conflict, match="port/pod/uid-new: it did not exist when the plan was made, and does now"):
        apply(site, saved)
    assert everything(site) == before


def test_what_the_plan_does_not_touch_may_change(site: Site) -> None:
    pod(site, "other")
    site.run()
    pod(site, "new")
    saved = save(site)
    site.cloud.change("ports", site.port_of("uid-other").id, **{"binding:host_id": "node2"})

    assert apply(site, saved).ok
    assert site.port_of("uid-other").host == "node2"


def test_revisions_and_other_peoples_tags_are_no_change(site: Site) -> None:
    mixed(site)
    saved = save(site)
    moved = site.port_of("uid-moved")
    site.cloud.change("ports", moved.id, status="DOWN")
    site.set_tags(moved.id, [*moved.tags, "billing=shop"])
    assert site.port_of("uid-moved").revision_number > moved.revision_number

    assert apply(site, saved).ok
    assert "billing=shop" in site.port_of("uid-moved").tags


# -- refused as a whole


def _host(site: Site) -> None:
    site.cloud.change("ports", site.port_of("uid-moved").id, **{"binding:host_id": "node3"})


def _groups(site: Site) -> None:
    port = site.port_of("uid-moved")
    site.cloud.change("ports", port.id, security_groups=list(port.security_groups[:1]))


def _tags(site: Site) -> None:
    port = site.port_of("uid-gone")
    site.set_tags(port.id, [tag for tag in port.tags if "cluster" not in tag])


def _mtu(site: Site) -> None:
    edit_assignment(site, "edited", mtu=1300)


def _port_made(site: Site) -> None:
    once(site.parts(), site.lease(), only=(Kind.PORT,))


def _port_gone(site: Site) -> None:
    site.delete_port(site.port_of("uid-moved").id)


def _pod_gone(site: Site) -> None:
    site.kube.delete_pod("shop", "new")


def _pod_elsewhere(site: Site) -> None:
    site.kube.delete_pod("shop", "new")
    pod(site, "new", "node2")


def _pod_back(site: Site) -> None:
    pod(site, "gone")


def _network(site: Site) -> None:
    network = next(each for each in site.cloud.objects("networks") if each["name"].endswith("-pods"))
    site.cloud.change("networks", network["id"], mtu=1300)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_host, r"port/pod/uid-moved \(.+\): host was node2 when the plan was made, and is node3 now"),
        (_groups, r"port/pod/uid-moved \(.+\): security_groups was [^,]+ when the plan was made, and is \S+ now"),
        (_tags, r"port/pod/uid-gone \(.+\): tags was kuryr:cluster=kuryr .+ and is kuryr:kind=pod .+ now"),
        (_mtu, r"kuryr-port/shop/edited/uid-edited \(.+\): interfaces\[0\].mtu was 9000 .+, and is 1300 now"),
        (_port_made, r"port/pod/uid-new: it did not exist when the plan was made, and does now"),
        (_port_gone, r"port/pod/uid-moved \(.+\): it existed when the plan was made, and is gone now"),
        (_pod_gone, r"pod/uid-new: it existed when the plan was made, and is gone now"),
        (_pod_elsewhere, r"pod/uid-new: node was node1 when the plan was made, and is node2 now"),
        (_pod_back, r"pod/uid-gone: it did not exist when the plan was made, and does now"),
        (_network, r"network/pods: mtu was 1442 when the plan was made, and is 1300 now"),
    ],
)
def test_a_plan_that_saw_something_else_is_refused_naming_object_and_field(
    site: Site, change: Callable[[Site], None], told: str
) -> None:
    mixed(site)
    saved = save(site)
    change(site)
    before = everything(site)

    with pytest.raises(Conflict, match=f"^plan not applied, nothing done: {told}") as refused:
        apply(site, saved)
    assert refused.value.code == "PLAN-STALE"
    assert "kuryrctl reconcile --save-plan" in refused.value.hint
    assert everything(site) == before
    assert site.lease().holder() is None  # it was given back


def test_a_plan_whose_steps_were_edited_is_refused(site: Site) -> None:
    pod(site, "new")
    saved = save(site)
    before = everything(site)
    text = encode(saved).decode()

    edited = decode(text.replace('"device_owner": "compute:kuryr"', '"device_owner": "compute:other"').encode(), "f")
    with pytest.raises(Conflict, match=r"planned device_owner was compute:other .+ and is compute:kuryr now"):
        apply(site, edited)

    (port, assignment) = saved.steps
    with pytest.raises(Conflict, match=f"needs {port.key} to be done first, which the plan does not contain"):
        apply(site, msgspec.structs.replace(saved, steps=(assignment,)))
    assert everything(site) == before


def test_a_deletion_that_nothing_asks_for_is_refused(site: Site) -> None:
    """A document alone proves nobody's absence."""
    pod(site, "gone")
    site.run()
    site.kube.delete_pod("shop", "gone")
    saved = save(site)
    site = Site()
    pod(site, "gone")
    site.run()
    port = site.port_of("uid-gone")
    forged = msgspec.json.decode(encode(saved).replace(saved.steps[1].id.encode(), port.id.encode()), type=SavedPlan)
    forged = msgspec.structs.replace(forged, kube_system_uid=save(site).kube_system_uid)
    seen = plan_to_save(site.parts(), (), made_by="", now_s=0).observed
    forged = msgspec.structs.replace(forged, observed=seen)
    before = everything(site)

    with pytest.raises(Conflict, match="the plan would delete it, and nothing asks for that any more"):
        apply(site, forged)
    assert everything(site) == before


def test_another_clusters_plan_is_refused(site: Site) -> None:
    pod(site, "new")
    saved = save(site)
    before = everything(site)

    for field, noun in (("cluster_id", "cluster"), ("kube_system_uid", "kube-system"), ("project_id", "project")):
        with pytest.raises(Invalid, match=f"nothing done: it was made for .*{noun}") as refused:
            apply(site, msgspec.structs.replace(saved, **{field: "another"}))
        assert refused.value.code == "PLAN-CLUSTER"
    site.kube = FakeKube()
    with pytest.raises(Invalid) as guarded:
        apply(site, saved)
    assert guarded.value.code == "CLUSTER-GUARD"
    assert site.cloud_objects() in before


def test_a_plan_waits_for_the_lease_like_a_run(site: Site) -> None:
    saved = save(site)
    lease = site.lease()
    lease.acquire()

    with pytest.raises(Conflict) as refused:
        apply(site, saved)
    assert refused.value.code == "KUBE-LEASE-HELD"


# -- partial failure


def test_a_step_that_fails_stops_only_what_needs_it_and_each_is_told(site: Site) -> None:
    pod(site, "moved")
    site.run()
    site.cloud.change("ports", site.port_of("uid-moved").id, **{"binding:host_id": "node2"})
    pod(site, "new")
    pod(site, "second")
    saved = save(site)
    site.cloud.set_quota("port", len(site.cloud.objects("ports")) + 1)

    report = apply(site, saved)
    assert [(failure.code, failure.subject) for failure in report.failures] == [("NET-QUOTA", "pod shop/second")]
    assert [line.partition("  ")[0] for line in report.left] == [
        "create port/pod/uid-second",
        "create kuryr-port/shop/second/uid-second",
    ]
    assert sorted((*report.done, *report.left)) == sorted(step.summary for step in saved.steps)
    site.cloud.set_quota("port", -1)
    assert site.plan() == list(report.left)  # what was done is as a run would have left it
    assert site.run().ok


def before_reading(site: Site, watched: str, meddle: Callable[[], object]) -> None:
    """Let somebody be faster: what they do happens once, before the next reading of this path."""
    request = site.cloud.request

    def slow(method: str, path: str, **rest: Any) -> Any:
        if method == "GET" and path.partition("?")[0] == watched:
            site.cloud.request = request  # type: ignore[method-assign]  # only once
            meddle()
        return request(method, path, **rest)

    site.cloud.request = slow  # type: ignore[method-assign]  # the moment between two calls exists only here


def test_a_change_between_comparing_and_writing_is_refused_and_told(site: Site) -> None:
    mixed(site)
    saved = save(site)
    port = site.port_of("uid-moved")
    before_reading(
        site, f"/ports/{port.id}", lambda: site.cloud.change("ports", port.id, **{"binding:host_id": "node3"})
    )

    report = apply(site, saved)
    (failure,) = report.failures
    assert (failure.code, failure.key, failure.subject) == ("PLAN-STALE", "port/pod/uid-moved", "pod shop/moved")
    assert "host was node2 when the plan was made, and is node3 now" in failure.message
    assert [line.partition("  ")[0] for line in report.left] == ["update port/pod/uid-moved"]
    assert len(report.done) == len(saved.steps) - 1
    assert site.port_of("uid-moved").host == "node3"


def test_a_revision_that_moves_meanwhile_is_compared_again_and_done(site: Site) -> None:
    mixed(site)
    saved = save(site)
    port = site.port_of("uid-moved")
    before_reading(site, f"/ports/{port.id}", lambda: site.cloud.change("ports", port.id, status="DOWN"))

    assert apply(site, saved).ok
    assert site.port_of("uid-moved").host == "node1"


def test_a_step_that_was_done_is_not_done_again(site: Site) -> None:
    for name in ("moved", "other"):
        pod(site, name)
    site.run()
    moved, other = (site.port_of(f"uid-{name}") for name in ("moved", "other"))
    for port in (moved, other):
        site.cloud.change("ports", port.id, **{"binding:host_id": "node2"})
    saved = save(site)

    def undo() -> None:
        assert site.port_of("uid-other").host == "node1"
        site.cloud.change("ports", other.id, **{"binding:host_id": "node2"})

    def meddle() -> None:
        site.cloud.change("ports", moved.id, status="DOWN")
        before_reading(site, "/ports", undo)  # the second round's observation

    before_reading(site, f"/ports/{moved.id}", meddle)
    report = apply(site, saved)
    assert report.ok
    assert len(report.done) == 2
    assert (site.port_of("uid-moved").host, site.port_of("uid-other").host) == ("node1", "node2")


def test_a_step_that_nothing_asks_for_after_its_failure_is_told(site: Site) -> None:
    mixed(site)
    saved = save(site)
    port = site.port_of("uid-moved")

    def meddle() -> None:
        site.cloud.change("ports", port.id, status="DOWN")
        site.kube.delete_pod("shop", "moved")

    before_reading(site, f"/ports/{port.id}", meddle)
    report = apply(site, saved)
    assert [(each.code, each.key) for each in report.failures] == [("PLAN-STALE", "port/pod/uid-moved")]
    assert "nothing asks for it any more" in report.failures[0].message
    assert sorted((*report.done, *report.left)) == sorted(step.summary for step in saved.steps)
    assert site.run().ok


def test_what_failed_but_had_its_effect_is_done(site: Site) -> None:
    mixed(site)
    saved = save(site)
    port = site.port_of("uid-moved")
    before_reading(site, f"/ports/{port.id}", lambda: site.cloud.change("ports", port.id, status="DOWN"))
    error = Unavailable("injected", code="NET-UNAVAILABLE", after_s=0)
    site.cloud.fail_next("POST", "/ports", error, after_effect=True)
    site.cloud.fail_next("POST", "/ports", error, times=2)
    site.cloud.fail_next("GET", "/ports?network_id=", error, times=3)

    report = apply(site, saved)
    assert site.cloud.cloud.injected == type(site.cloud.cloud.injected)()  # all of them happened
    assert "create port/pod/uid-new" in [line.partition("  ")[0] for line in report.done]
    assert report.failures == ()
    assert len([each for each in site.ports() if each.device_id == "uid-new"]) == 1


def test_a_time_out_after_success_is_done_not_doubled(site: Site) -> None:
    pod(site, "new")
    saved = save(site)
    error = Unavailable("injected", code="NET-UNAVAILABLE", after_s=0)
    site.cloud.fail_next("POST", "/ports", error, after_effect=True)

    report = apply(site, saved)
    assert report.ok
    assert report.done == tuple(step.summary for step in saved.steps)
    assert len(site.ports()) == 1
    assert site.plan() == []


@pytest.mark.parametrize("lost", ["port", "assignment", "deletion"])
def test_an_answer_that_was_lost_is_no_change_by_others(site: Site, lost: str) -> None:
    mixed(site)
    saved = save(site)
    error = Unavailable("injected", code="NET-UNAVAILABLE", after_s=0)
    match lost:
        case "port":
            site.cloud.fail_next("PUT", f"/ports/{site.port_of('uid-moved').id}", error, after_effect=True)
        case "assignment":
            site.kube.fail(0, verb="PATCH", path="kuryrports/edited", effect=True)
        case "deletion":
            site.cloud.fail_next("DELETE", f"/ports/{site.port_of('uid-gone').id}", error, after_effect=True)

    report = apply(site, saved)
    assert (report.failures, report.left) == ((), ())
    assert site.plan() == []


def test_an_observation_that_fails_between_two_rounds_hides_nothing(site: Site) -> None:
    mixed(site)
    saved = save(site)
    port = site.port_of("uid-moved")

    def meddle() -> None:
        site.cloud.change("ports", port.id, status="DOWN")
        site.cloud.fail_next("GET", "/networks", 500, times=9)

    before_reading(site, f"/ports/{port.id}", meddle)
    report = apply(site, saved)
    assert len(report.failures) == 2
    assert [each.key for each in report.failures] == ["", "port/pod/uid-moved"]
    assert len(report.done) == len(saved.steps) - 1
    assert [line.partition("  ")[0] for line in report.left] == ["update port/pod/uid-moved"]


def test_the_limit_of_deletions_holds_for_plans(site: Site) -> None:
    for n in range(12):
        pod(site, f"web-{n}")
    site.run()
    for n in range(12):
        site.kube.delete_pod("shop", f"web-{n}")
    pod(site, "new")
    saved = save(site)

    report = apply(site, saved)
    assert [failure.code for failure in report.failures] == ["LIMIT-DELETES"]
    assert "kuryrctl plan apply --max-deletes 12" in report.failures[0].hint
    assert (report.created, report.deleted, len(report.left)) == (2, 0, 24)

    assert apply(site, save(site), max_deletes=12).deleted == 24
    assert site.plan() == []


# -- only some kinds


def test_a_run_on_one_kind_leaves_the_others_and_what_needs_them(site: Site) -> None:
    mixed(site)

    assert [step.summary.partition("  ")[0] for step in dry_run(site.parts(), only=(Kind.PORT,)).plan] == [
        "create port/pod/uid-new",
        "adopt port/pod/uid-untagged",
        "update port/pod/uid-moved",
    ]
    report = once(site.parts(), site.lease(), only=(Kind.PORT,))
    assert report.ok
    assert len(report.done) == 3
    assert "shop/new" not in site.kube.objects("kuryrports")
    assert site.port_of("uid-gone")  # its KuryrPort goes first
    assert [line.partition("  ")[0] for line in site.plan()] == [
        "delete kuryr-port/shop/gone/uid-gone",
        "create kuryr-port/shop/new/uid-new",
        "update kuryr-port/shop/edited/uid-edited",
        "delete port/pod/uid-gone",
    ]
    assert once(site.parts(), site.lease(), only=(Kind.KURYR_PORT,)).ok
    assert [line.partition("  ")[0] for line in site.plan()] == ["delete port/pod/uid-gone"]
    assert once(site.parts(), site.lease(), only=(Kind.PORT, Kind.KURYR_PORT)).ok
    assert site.plan() == []


def test_an_assignment_without_its_port_is_left_out(site: Site) -> None:
    pod(site, "new")

    assert once(site.parts(), site.lease(), only=(Kind.KURYR_PORT,)).done == ()
    assert site.kube.objects("kuryrports") == {}


def test_a_plan_on_one_kind_is_saved_and_applied(site: Site) -> None:
    mixed(site)
    saved = save(site, Kind.PORT)

    assert saved.only == (Kind.PORT,)
    report = apply(site, saved)
    assert report.ok
    assert len(report.done) == 3
    assert report.deleted == 0
