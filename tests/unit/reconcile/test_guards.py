"""What must never happen: the wrong cluster, two writers, harm to what is not ours, deletion without proof."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from kuryrctl.core import names
from kuryrctl.core.errors import Conflict, Invalid, KuryrError
from kuryrctl.core.findings import FindingCode
from kuryrctl.kube import Kube
from tests.fakes.kube import FakeKube
from tests.unit.reconcile.site import Site, eventually


@pytest.fixture
def site() -> Site:
    return Site()


def with_pods(site: Site, count: int) -> list[str]:
    uids = [site.kube.add_pod("shop", f"web-{n}", node=f"node{n % 2 + 1}") for n in range(count)]
    assert site.run().ok
    return uids


def test_the_kubeconfig_of_another_empty_cluster_is_refused(site: Site) -> None:
    with_pods(site, 3)
    before = site.cloud_objects()
    site.kube = FakeKube()

    for attempt in (site.run, site.difference, site.init):
        with pytest.raises(Invalid) as refused:
            attempt()
        assert refused.value.code == "CLUSTER-GUARD"
    assert site.cloud_objects() == before


def test_a_pod_network_without_a_guard_is_refused_until_init(site: Site) -> None:
    network = next(each for each in site.cloud.objects("networks") if each["name"].endswith("-pods"))
    site.set_tags(network["id"], [tag for tag in network["tags"] if "guard" not in tag], "networks")

    with pytest.raises(Invalid) as refused:
        site.run()
    assert refused.value.code == "CLUSTER-GUARD"
    assert site.init().updated == 1
    assert site.run().ok


def test_a_once_run_beside_a_running_watch_is_refused_naming_the_holder(site: Site) -> None:
    with site.watching():
        eventually(lambda: bool(site.lease().holder()))
        holder = site.lease().holder()
        assert holder
        before = site.cloud_objects()
        with pytest.raises(Conflict) as refused:
            site.run()
        assert holder.identity in refused.value.message
        assert refused.value.code == "KUBE-LEASE-HELD"
        assert site.cloud_objects() == before
    assert site.run().ok  # it gave the lease back


def test_many_absent_owners_stop_the_run_before_its_first_deletion(site: Site) -> None:
    with_pods(site, 12)
    for n in range(12):
        site.kube.delete_pod("shop", f"web-{n}")
    site.kube.add_pod("shop", "late", node="node1", uid="late")

    report = site.run()
    assert [failure.code for failure in report.failures] == ["LIMIT-DELETES"]
    assert "12 of 14 ports" in report.failures[0].message
    assert report.deleted == 0
    assert report.created == 2  # what adds is done
    assert len(report.left) == 24
    assert len(site.ports()) == 13

    assert site.run(max_deletes=12).ok
    assert [port.device_id for port in site.ports()] == ["late"]


def test_finished_pods_do_not_count_as_absent(site: Site) -> None:
    with_pods(site, 12)
    for n in range(12):
        site.kube.finish_pod("shop", f"web-{n}")

    assert site.run().ok
    assert site.ports() == []


@pytest.mark.parametrize("plural", ["pods", "kuryrports", "nodes", "kuryrnodes", "namespaces"])
def test_a_list_that_fails_deletes_nothing(site: Site, plural: str) -> None:
    with_pods(site, 2)
    site.kube.delete_pod("shop", "web-0")
    before = site.cloud_objects()
    site.kube.fail(403, verb="GET", path=f"/{plural}?")

    with pytest.raises(KuryrError):
        site.run()
    assert site.cloud_objects() == before


@pytest.mark.parametrize("collection", ["ports", "networks", "subnets", "security-groups"])
def test_a_cloud_that_cannot_be_listed_is_left_as_it_is(site: Site, collection: str) -> None:
    with_pods(site, 2)
    site.kube.delete_pod("shop", "web-0")
    before = site.cloud_objects()
    site.cloud.fail_next("GET", f"/{collection}", 403)

    with pytest.raises(KuryrError):
        site.run()
    assert site.cloud_objects() == before


def test_look_alikes_survive_everything_and_are_told(site: Site) -> None:
    (uid,) = with_pods(site, 1)
    mine = site.port_of(uid)
    foreign = [
        site.foreign_port(name=mine.name),
        site.foreign_port(name=mine.name, tags=list(mine.tags)),
        site.foreign_port(name=mine.name, device_owner="compute:kuryr", device_id=uid),
        site.foreign_port(name=mine.name, device_owner="compute:kuryr", device_id=uid, tags=list(mine.tags)),
        site.foreign_port(device_owner="compute:kuryr", tags=list(names.tags("other", "pod", uid))),
        site.foreign_port(device_owner="compute:kuryr", tags=list(names.tags("kuryr", "pod", "nobody"))),
        site.foreign_port(device_owner="compute:kuryr", tags=list(names.tags("kuryr", "banana"))),
    ]
    kept = {port["id"]: dict(port) for port in site.cloud.objects("ports") if port["id"] in {f["id"] for f in foreign}}

    assert site.plan() == []
    suspicious = [f.id for f in site.difference().findings if f.code is FindingCode.SUSPICIOUS]
    assert sorted(suspicious) == sorted(foreign[n]["id"] for n in (1, 3, 5, 6))
    site.kube.delete_pod("shop", "web-0")
    assert site.run().ok
    after = {port["id"]: port for port in site.cloud.objects("ports")}
    assert mine.id not in after
    assert {id_: after[id_] for id_ in kept} == kept


def test_a_port_moved_to_another_network_is_not_ours_any_more(site: Site) -> None:
    (uid,) = with_pods(site, 1)
    other = site.cloud.cloud.rules.create_network("project-a", {"name": "elsewhere"})
    moved = site.port_of(uid)
    site.cloud.change("ports", moved.id, network_id=other["id"])
    site.kube.delete_pod("shop", "web-0")

    site.run()
    assert moved.id in {port["id"] for port in site.cloud.objects("ports")}


def test_each_mutation_is_one_audit_line(tmp_path: Path) -> None:
    site = Site(audit_log=tmp_path / "audit.jsonl")
    (tmp_path / "audit.jsonl").unlink()
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()

    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["key"], line["call"]) for line in lines] == [
        ("create", "port/pod/w", "POST /ports"),
        (
            "create",
            "kuryr-port/shop/web-0/w",
            "POST /apis/kuryr.openstack.org/v1/namespaces/shop/kuryrports",
        ),
    ]
    assert lines[0]["request_id"].startswith("req-")
    assert lines[1]["request_id"].startswith("audit-")
    assert {line["who"] for line in lines} == {"test"}


@pytest.mark.parametrize(("age_s", "deleted"), [(60.0, 12), (-86400.0 * 365, 0)])
def test_ports_that_their_node_has_since_reported_free_do_not_count(site: Site, age_s: float, deleted: int) -> None:
    with_pods(site, 12)
    for n in range(12):
        site.kube.delete_pod("shop", f"web-{n}")
    site.kube.collect()
    kube = Kube(site.kube)
    for node in kube.observe()[0].kuryr_nodes.values():
        kube.write_kuryr_node_status(msgspec.structs.replace(node, heartbeat_s=time.time() + age_s))

    report = site.run()

    assert report.ok is bool(deleted)
    assert len(site.ports()) == 12 - deleted


def test_groups_that_nobody_carries_or_only_who_goes_do_not_count(site: Site) -> None:
    """An engine that starts after the end of many namespaces has seen none of them go."""
    for n in range(12):
        site.kube.add_namespace(f"team-{n}")
        site.kube.add_pod(f"team-{n}", "web", node="node1")
    assert site.run().ok
    before = site.cloud_objects().count("kuryr:kind=namespace")
    for n in range(12):
        site.kube.delete_pod(f"team-{n}", "web")
        site.kube.remove("namespaces", "", f"team-{n}")
    site.kube.collect()
    kube = Kube(site.kube)
    for node in kube.observe()[0].kuryr_nodes.values():
        kube.write_kuryr_node_status(msgspec.structs.replace(node, heartbeat_s=time.time() + 5))

    report = site.run()

    assert report.ok, report
    assert site.ports() == []
    assert before and site.cloud_objects().count("kuryr:kind=namespace") < before
    assert not site.plan()
