"""KuryrProbes on a fake and on a real API server: what is stored, what is refused, who may ask and who may answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
import pytest
from msgspec.structs import replace

from kuryrctl.core.cluster import Pod
from kuryrctl.core.errors import Conflict, KuryrError, NotFound
from kuryrctl.core.kinds import Kind
from kuryrctl.core.probe import Attempt, KuryrProbe, Protocol, Result, Target, probes_from
from kuryrctl.kube import Kube
from kuryrctl.kube.transport import MERGE_PATCH
from tests.contract.kube.test_admission import AGENT_ACCOUNT, NODE_CLAIM, REPORTS, by_policy, denied
from tests.contract.kube.world import NODE_A, NODE_B, RealWorld, World, eventually, refusal

TARGETS = (
    Target("10.65.0.6", Protocol.TCP, 80),
    Target("fd00::6", Protocol.UDP, 53, payload="x"),
    Target("10.65.0.6", Protocol.ICMP, packet_bytes=1442, dont_fragment=True),
)
ATTEMPTS = (
    (Attempt(Result.REACHABLE, round_trip_ms=1.5),),
    (Attempt(Result.UNREACHABLE, detail="No route to host"),),
    (Attempt(Result.TOO_BIG, mtu_bytes=1300),),
)
DONE = {"started_at": "2026-11-24T00:00:00.000Z", "finished_at": "2026-11-24T00:00:01.000Z"}


def probe_of(world: World, *targets: Target, pod: str = "web-0", run: str = "r1") -> KuryrProbe:
    """A probe from a new pod, not yet made."""
    source = Pod(world.namespace, pod, world.add_pod(pod), node=NODE_A)
    (probe,) = probes_from(source, targets or TARGETS, run=run)
    return probe


def agent_of(world: World, node: str = NODE_A) -> Kube:
    """The cluster as that node's agent sees it."""
    return world.as_user(f"kuryr:agent:{node}", "kuryr:agents") if isinstance(world, RealWorld) else world.kube


def path_of(probe: KuryrProbe) -> str:
    return f"/apis/kuryr.openstack.org/v1/namespaces/{probe.namespace}/kuryrprobes/{probe.name}"


def there(world: World, probe: KuryrProbe) -> KuryrProbe | None:
    found = [item for item in world.kube.list_kind(Kind.KURYR_PROBE).items if isinstance(item, KuryrProbe)]
    return next((item for item in found if item.uid == probe.uid), None)


def test_what_is_asked_and_answered_comes_back_as_it_was(world: World) -> None:
    wanted = probe_of(world)

    made = world.kube.probes.create(wanted)
    agent_of(world).probes.report(replace(made, attempts=ATTEMPTS, **DONE))

    assert replace(made, uid="", created_s=0.0) == wanted
    assert there(world, made) == replace(made, attempts=ATTEMPTS, **DONE)
    assert not made.expired(made.created_s + 299)
    assert made.expired(made.created_s + 301)


def test_it_is_listed_for_its_node_and_is_no_part_of_an_observation(world: World) -> None:
    made = world.kube.probes.create(probe_of(world))

    assert made in world.kube.list_kind(Kind.KURYR_PROBE, node=NODE_A).items
    assert made not in world.kube.list_kind(Kind.KURYR_PROBE, node=NODE_B).items
    state, _ = world.kube.observe()
    assert Kind.KURYR_PROBE not in state.complete


@pytest.mark.parametrize(
    "wrong",
    [
        Target("10.65.0.6", Protocol.TCP),
        Target("10.65.0.6", Protocol.ICMP, 80),
        Target("example.org", Protocol.TCP, 80),
        Target("10.65.0.6", Protocol.UDP, 53, payload="x" * 257),
        Target("10.65.0.6", Protocol.TCP, 65536),
    ],
    ids=["no port", "ICMP with a port", "a name", "too much payload", "no such port"],
)
def test_what_no_agent_could_try_is_refused(world: World, wrong: Target) -> None:
    probe = probe_of(world, wrong)

    assert refusal(lambda: world.kube.probes.create(probe)).code == "KUBE-INVALID"


@pytest.mark.parametrize(
    "parts", [{"count": 0}, {"count": 11}, {"timeout_ms": 10001}, {"ttl_s": 3601}, {"targets": ()}, {"pod_uid": ""}]
)
def test_limits_hold(world: World, parts: dict[str, object]) -> None:
    probe = replace(probe_of(world), **parts)

    assert refusal(lambda: world.kube.probes.create(probe)).code == "KUBE-INVALID"


def test_as_many_targets_as_fit_and_one_more(world: World) -> None:
    first = probe_of(world)

    full, rest = probes_from(Pod(first.namespace, first.pod, first.pod_uid, node=NODE_A), TARGETS[:1] * 257, run="r2")

    assert len(world.kube.probes.create(full).targets) == 256
    assert len(world.kube.probes.create(rest).targets) == 1
    assert refusal(lambda: world.kube.probes.create(replace(full, name="more", targets=TARGETS[:1] * 257)))


def test_what_is_asked_does_not_change(world: World) -> None:
    made = world.kube.probes.create(probe_of(world))
    body = msgspec.json.encode({"spec": {"node": NODE_B}})

    answer = world.transport.request("PATCH", path_of(made), body=body, content_type=MERGE_PATCH)

    assert answer.status == 422
    assert there(world, made) == made


def test_an_answer_is_for_this_very_probe(world: World) -> None:
    old = world.kube.probes.create(probe_of(world))
    world.kube.probes.delete(old)
    agent = agent_of(world)
    assert isinstance(refusal(lambda: agent.probes.report(replace(old, **DONE))), NotFound)
    new = world.kube.probes.create(replace(old, uid=""))

    assert isinstance(refusal(lambda: agent.probes.report(replace(old, **DONE))), Conflict)
    world.kube.probes.delete(old)

    assert there(world, new) == new


def test_many_are_asked_at_once_and_none_is_left(world: World) -> None:
    probes = [probe_of(world, pod=f"web-{number}", run="r3") for number in range(3)]
    agent = agent_of(world)

    def answer() -> None:
        """Two of three are answered."""
        for probe in probes[:2]:
            found = eventually(lambda probe=probe: _named(world, probe))  # type: ignore[misc]  # binds
            agent.probes.report(replace(found, attempts=ATTEMPTS, **DONE))

    playing = threading.Thread(target=answer)
    playing.start()
    answers = world.kube.probes.ask(probes, 4.0)
    playing.join()

    assert [each.name for each in answers] == [each.name for each in probes]
    assert [bool(each.finished_at) for each in answers] == [True, True, False]
    assert [_named(world, each) for each in probes] == [None] * 3


def _named(world: World, probe: KuryrProbe) -> KuryrProbe | None:
    found = [item for item in world.kube.list_kind(Kind.KURYR_PROBE).items if isinstance(item, KuryrProbe)]
    return next((item for item in found if (item.namespace, item.name) == (probe.namespace, probe.name)), None)


def test_a_forgotten_one_ends_after_its_time_to_live(world: World) -> None:
    old = world.kube.probes.create(replace(probe_of(world), ttl_s=10))
    young = world.kube.probes.create(probe_of(world, pod="web-1"))

    world.kube.delete_expired_probes(old.created_s + 10)
    assert there(world, old) == old
    world.kube.delete_expired_probes(old.created_s + 11)

    assert there(world, old) is None
    assert there(world, young) == young


def test_it_ends_with_its_pod(world: World) -> None:
    made = world.kube.probes.create(probe_of(world))

    world.delete_pod("web-0")
    world.collect()

    eventually(lambda: there(world, made) is None)


def test_a_pod_is_read_by_its_name(world: World) -> None:
    uid = world.add_pod("web-0")

    assert world.kube.probes.pod(world.namespace, "web-0").uid == uid
    assert refusal(lambda: world.kube.probes.pod(world.namespace, "web-9")).code == "PROBE-NO-POD"
    assert world.kube.probes.heartbeat_s(NODE_A) == 0.0


# -- rights, on a real API server


@pytest.mark.lab
def test_who_may_not_is_told_the_verb_the_resource_and_the_role(real: RealWorld) -> None:
    probe = probe_of(real)
    jane = real.as_user("jane")

    error = refusal(lambda: jane.probes.create(probe))

    assert 'User "jane" cannot create resource "kuryrprobes"' in error.message
    assert f"kubectl create rolebinding kuryr-probe -n {real.namespace} --clusterrole=kuryr-probe" in error.hint
    assert refusal(lambda: jane.probes.pod(real.namespace, "web-0")).code == "KUBE-FORBIDDEN"


@pytest.mark.lab
def test_the_role_is_all_that_asking_needs_and_holds_in_its_namespace_only(real: RealWorld) -> None:
    elsewhere = RealWorld(real.kube)
    bind(real, "jane")
    jane = real.as_user("jane")
    probe, foreign = probe_of(real), probe_of(elsewhere)

    eventually(lambda: allowed(lambda: jane.probes.pod(real.namespace, "web-0")))
    (answer,) = jane.probes.ask([probe], 0.3)

    assert answer.uid
    assert there(real, answer) is None
    assert denied(refusal(lambda: jane.probes.create(foreign)))
    assert denied(refusal(lambda: jane.probes.report(real.kube.probes.create(probe))))
    elsewhere.close()


@pytest.mark.lab
def test_only_the_agent_of_the_pods_node_answers(real: RealWorld) -> None:
    made = real.kube.probes.create(probe_of(real))
    answered = replace(made, attempts=ATTEMPTS, **DONE)

    for user, group, extra in [
        (f"kuryr:agent:{NODE_B}", "kuryr:agents", {}),
        (AGENT_ACCOUNT, "", {NODE_CLAIM: NODE_B}),
        (AGENT_ACCOUNT, "", {}),
    ]:
        other = real.as_user(user, group, extra)
        assert denied(refusal(lambda other=other: other.probes.report(answered)), REPORTS)  # type: ignore[misc]  # binds
    assert denied(refusal(lambda: real.kube.probes.report(answered)), REPORTS)
    real.give_everything_here("jane")
    jane = real.as_user("jane")
    assert denied(eventually(lambda: by_policy(lambda: jane.probes.report(answered))), REPORTS)
    assert there(real, made) == made

    real.as_user(AGENT_ACCOUNT, "", {NODE_CLAIM: NODE_A}).probes.report(answered)
    assert there(real, made) == answered


@pytest.mark.lab
def test_an_agent_reads_probes_and_neither_makes_nor_removes_any(real: RealWorld) -> None:
    made = real.kube.probes.create(probe_of(real))
    agent = agent_of(real)

    assert made in agent.list_kind(Kind.KURYR_PROBE, node=NODE_A).items
    assert denied(refusal(lambda: agent.probes.delete(made)))
    assert denied(refusal(lambda: agent.probes.create(replace(made, name="another"))))


@pytest.mark.lab
def test_the_engine_removes_old_ones_and_makes_none(real: RealWorld) -> None:
    made = real.kube.probes.create(probe_of(real))
    engine = real.as_user("kuryr:engine", "kuryr:engine")

    assert denied(refusal(lambda: engine.probes.create(replace(made, name="another"))))
    engine.delete_expired_probes(time.time() + 4000)

    assert there(real, made) is None


def allowed(call: Callable[[], object]) -> bool:
    """Whether it is not refused (any more): a new role takes a moment until it counts."""
    try:
        call()
    except KuryrError as error:
        assert error.code == "KUBE-FORBIDDEN"
        return False
    return True


def bind(real: RealWorld, user: str) -> None:
    """The role of people who probe, in the cases' namespace."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{real.namespace}/rolebindings"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kuryr-probe"}
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "kuryr-probe"},
        "roleRef": role,
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    real.kube.api.call("POST", path, "bind the role", body=body)
