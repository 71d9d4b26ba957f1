"""Probes that nobody came back for end with the engine's runs; nothing else hangs on them."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from kuryrctl.core.cluster import Pod
from kuryrctl.core.kinds import Kind
from kuryrctl.core.probe import KuryrProbe, Protocol, Target, probes_from
from kuryrctl.reconcile import once
from tests.unit.reconcile.site import Site


@pytest.fixture
def site() -> Site:
    """A converged site with a pod and a probe of last year; the fake's objects are that old."""
    made = Site()
    uid = made.kube.add_pod("shop", "web-0", node="node1")
    made.run()
    (probe,) = probes_from(
        Pod("shop", "web-0", uid, node="node1"), [Target("10.65.0.6", Protocol.TCP, 80)], run="r1", ttl_s=10
    )
    assert made.client.probes.create(probe).expired(time.time())
    return made


def left(site: Site) -> list[str]:
    return list(site.kube.objects("kuryrprobes"))


def test_a_run_removes_what_is_old(site):
    assert site.run().ok

    assert left(site) == []


def test_a_watch_does_at_its_full_turns(site):
    with site.watching():
        deadline = time.monotonic() + 10
        while left(site) and time.monotonic() < deadline:
            time.sleep(0.02)

    assert left(site) == []


def test_one_that_is_not_old_stays(site):
    (old,) = site.client.list_kind(Kind.KURYR_PROBE).items
    assert isinstance(old, KuryrProbe)

    site.client.delete_expired_probes(old.created_s + 10)

    assert left(site) == ["shop/web-0-r1-0"]


def test_a_dry_run_a_narrowed_run_and_a_plan_do_not_touch_it(site):
    site.difference()
    once(site.parts(), site.lease(), only=[Kind.PORT])
    site.init()

    assert left(site) == ["shop/web-0-r1-0"]


def test_where_probes_cannot_be_listed_all_else_is_done(site):
    site.kube.fail(403, times=100, path="/kuryrprobes")
    site.kube.add_pod("shop", "web-1", node="node1")

    assert site.run().ok

    assert site.plan() == []
    assert left(site) == ["shop/web-0-r1-0"]


def test_two_engines_that_remove_the_same_one_do_not_stumble(site):
    (old,) = site.client.list_kind(Kind.KURYR_PROBE).items
    assert isinstance(old, KuryrProbe)

    site.client.probes.delete(old)
    site.client.probes.delete(old)
    again = site.client.probes.create(replace(old, uid=""))
    site.client.probes.delete(old)

    assert left(site) == [f"{again.namespace}/{again.name}"]
