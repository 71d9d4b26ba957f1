"""Every kind of call of the cloud x every fault: the engine's run says what happened, and the next one has settled it.

The assertions are `walk`'s; three engines that are wrong on purpose show that they would notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import msgspec
import pytest
from _pytest.mark.structures import ParameterSet

from kuryrctl.cloud import Neutron, wire
from kuryrctl.cloud.ports import PortMaker, Wanted
from kuryrctl.cloud.wire import PORTS
from kuryrctl.core.cloud import CloudState, Port
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key, PortSpec
from kuryrctl.core.subjects import uid_of_key
from kuryrctl.reconcile import Scope
from kuryrctl.reconcile.notify import POD_REASON, POLICY_REASON, REASONS
from kuryrctl.reconcile.once import TRIES
from kuryrctl.reconcile.report import Failure, failure
from tests.faults.faults import Fault, Refuse, Rewrite, Silence, Swallow, neutron_error
from tests.faults.rules import Rule
from tests.walks.fault_scenes import (
    FORECAST,
    LISTS,
    SCENES,
    Engine,
    FaultySite,
    Listening,
    Scene,
    must_be_equal,
    scene_named,
    settled,
)

GARBLED = Rewrite(lambda body: body if b"NeutronError" in body else b"<html>a proxy's page</html>", "garbled answer")
CODES = (
    (neutron_error(400), "NET-INVALID"),
    (neutron_error(401), "KST-TOKEN"),
    (neutron_error(403), "NET-FORBIDDEN"),
    (neutron_error(404), "NET-NOT-FOUND"),
    (neutron_error(409), "NET-CONFLICT"),
    (neutron_error(412), "NET-CHANGED"),
    (neutron_error(429), "NET-BUSY"),
    (neutron_error(500), "NET-UNAVAILABLE"),
    (neutron_error(503), "NET-UNAVAILABLE"),
    (Refuse(), "NET-UNREACHABLE"),
    (Silence(), "NET-UNREACHABLE"),
    (Swallow(), "NET-UNREACHABLE"),
    (GARBLED, "NET-ANSWER"),
)
"""Every fault, and under which code a run tells of it."""

REFUSALS = ("400", "403", "404", "409")
"""What no second try of the same call is expected to change: the run goes on, and says so at its end."""
NO_SECOND_LIST = (*REFUSALS, "412")
"""With these a list is not tried again."""

WITH_LISTS = ("rollout", "removal", "cluster init")
HITS = [(scene, kind) for scene in SCENES for kind in (*(LISTS if scene.name in WITH_LISTS else ()), *scene.kinds)]
LASTING = ("400", "409", "412", "429", "500", "refused", "time-out after success", "garbled answer")
"""Of those that a run treats alike, one: the others last in the long run only."""


MATRIX = [(*hit, *fault) for hit, fault in product(HITS, CODES)]
POLICY_KEYS = ("security-group/policy-", "security-group-rule/policy-")
RUNS = 2
"""A run that met the fault, and the one that settles it."""
MOST_CALLS = 30
"""However long a fault lasts, a run makes so many times the calls that it makes without: three rounds, each of at most
a call, a look at what became of it, and the halves of a batch. What rests only for a moment (412) is tried anew as long
as others are at work, twice as late each time: up to 12.3 times the calls were seen on a loaded machine."""

Counter = Callable[[str, object], None]
RIGHT = Engine()


def walk(scene: Scene, kind: str, fault: Fault, code: str, *, times: int, engine: Engine = RIGHT) -> None:
    """One combination. `times` 0: the fault lasts for the whole run."""
    site = scene.site(engine)
    site.faulty.add(Rule(fault, kind=re.escape(kind), skip=scene.skip.get(kind, 0), times=times))

    failures = run_of(scene, site)
    told = {each.code for each in failures}

    assert site.faulty.injected[:1] == [(fault.name, kind)]
    observation = kind in LISTS and kind not in scene.skip
    if observation and (times == 0 or fault.name in NO_SECOND_LIST):
        assert told == {code}, "a list that failed ends the run with its own error"
        assert not any(call.mutates for call in site.faulty.calls), "nothing is done on a list that failed"
    elif times == 1 and fault.name not in REFUSALS:
        if not scene.obstacle:
            must_be_equal(
                {
                    "what no engine may do": (site.wrongs, []),
                    "pods that are served in the same run": (served(site), pods(site)),
                }
            )
        assert told <= {scene.obstacle}, "what passes by itself is got over in the same run"
    else:
        assert told <= {code, scene.obstacle}
    if times == 0 and not observation:
        must_be_equal({"users who are not told why": (untold(site, failures), set())})
    if times == 0:
        assert len(site.faulty.calls) <= MOST_CALLS * undisturbed(scene), "a run does not spin"
    site.faulty.clear()
    scene.lift(site)
    for _ in range(RUNS - 1):
        run(scene, site)
    if scene.scope is Scope.CLUSTER:
        assert site.run().ok
    settled(site)


def run(scene: Scene, site: FaultySite) -> set[str]:
    """The codes of all that one run told."""
    return {each.code for each in run_of(scene, site)}


def run_of(scene: Scene, site: FaultySite) -> Sequence[Failure]:
    """All that one run told."""
    try:
        return scene.run(site).failures
    except KuryrError as error:
        return [failure(error)]


def pods(site: FaultySite) -> set[str]:
    """The uids of the pods that there are."""
    return {pod["metadata"]["uid"] for pod in site.kube.objects("pods").values()}


def served(site: FaultySite) -> set[str]:
    """The uids of the pods whose node is told of the one port that is theirs."""
    owners = {port["id"]: port["device_id"] for port in site.cloud.objects("ports")}
    told = [port["spec"] for port in site.kube.objects("kuryrports").values()]
    return {spec["podUid"] for spec in told if owners.get(spec["interfaces"][0]["portId"]) == spec["podUid"]}


def untold(site: FaultySite, failures: Sequence[Failure]) -> set[str]:
    """Who should have an Event about these failures and has none: pods without network, pods and policies named.

    An Event has the reason of one of the codes, and names the code; of what a failure names, of that very code.
    """
    about = {(event["regarding"]["uid"], event["reason"], code) for event in site.events() for code in _codes(event)}
    codes = {each.code for each in failures}
    told = {uid for uid, reason, code in about if code in codes and reason == REASONS.get(code, POD_REASON)}
    named = {(uid_of_key(each.key), each.code) for each in failures if uid_of_key(each.key) in pods(site)}
    missing = {uid for uid, code in named if (uid, REASONS.get(code, POD_REASON), code) not in about}
    for policy in site.kube.objects("networkpolicies").values():
        uid = policy["metadata"]["uid"]
        mine = {each.code for each in failures if each.key.startswith(POLICY_KEYS) and uid in each.key}
        missing |= {uid for code in mine if (uid, REASONS.get(code, POLICY_REASON), code) not in about}
    return missing | (pods(site) - served(site) - told)


def _codes(event: Mapping[str, Any]) -> list[str]:
    return re.findall(r"\(([A-Z]+(?:-[A-Z]+)+)\)", event["note"])


_UNDISTURBED: dict[str, int] = {}


def undisturbed(scene: Scene) -> int:
    """How many calls the scene takes without faults."""
    if scene.name not in _UNDISTURBED:
        site = scene.site()
        scene.run(site)
        _UNDISTURBED[scene.name] = len(site.faulty.calls)
    return _UNDISTURBED[scene.name]


def _is_short(scene: Scene, kind: str, fault: Fault) -> bool:
    """Whether it is walked in every run. A list that fails ends a run at once: how long it would is nothing to it."""
    return fault.name in LASTING and kind in scene.kinds


def cases(in_every_run: Callable[[Scene, str, Fault], bool]) -> list[ParameterSet]:
    """The matrix as pytest's parameters."""
    return [
        pytest.param(
            *(scene, kind, fault, code),
            id=f"{scene.name}-{kind}-{fault.name}",
            marks=() if in_every_run(scene, kind, fault) else pytest.mark.long,
        )
        for scene, kind, fault, code in MATRIX
    ]


@pytest.mark.parametrize("scene", [pytest.param(scene, id=scene.name) for scene in SCENES])
def test_the_table_of_calls_is_the_truth(scene: Scene) -> None:
    site = scene.site()
    assert {each.code for each in scene.run(site).failures} <= {scene.obstacle}
    assert {call.kind for call in site.faulty.calls} == {*LISTS, FORECAST, *scene.kinds}


@pytest.mark.parametrize(("scene", "kind", "fault", "code"), cases(lambda *_: True))
def test_a_fault_of_one_call(scene: Scene, kind: str, fault: Fault, code: str, record_property: Counter) -> None:
    walk(scene, kind, fault, code, times=1)
    record_property("fault-call", f"{scene.name}: {fault.name} x {kind}, once")


@pytest.mark.parametrize(("scene", "kind", "fault", "code"), cases(_is_short))
def test_a_fault_that_lasts(scene: Scene, kind: str, fault: Fault, code: str, record_property: Counter) -> None:
    walk(scene, kind, fault, code, times=0)
    record_property("fault-call", f"{scene.name}: {fault.name} x {kind}, lasting")


@pytest.mark.parametrize(
    "plural",
    ["pods", "nodes", "kuryrports", "kuryrnodes", "networkpolicies", "namespaces", "services", "endpointslices"],
)
def test_a_list_of_the_cluster_that_failed(plural: str) -> None:
    walk_cluster(plural, RIGHT)


def test_a_list_of_the_cluster_that_failed_for_a_moment_is_made_again_in_the_same_run() -> None:
    scene = scene_named("removal")
    site = scene.site()
    site.kube.fail(429, verb="GET", path="/pods?", times=TRIES - 1)
    assert not run(scene, site)
    settled(site)


def walk_cluster(plural: str, engine: Engine) -> None:
    """Pods come and go, and a list of the cluster fails for longer than it is tried: nothing is done on it."""
    scene = scene_named("removal")
    site = scene.site(engine)
    site.kube.fail(500, verb="GET", path=f"/{plural}?", times=TRIES)
    told = run(scene, site)
    must_be_equal({"what no engine may do": (site.wrongs, [])})
    assert told == {"KUBE-UNAVAILABLE"} and not any(call.mutates for call in site.faulty.calls)
    assert not run(scene, site)
    settled(site)


class ForgetsToAdopt(PortMaker):
    """Finds nothing of what an unanswered call has made."""

    def _lookup(self, wanted: Sequence[Wanted]) -> dict[tuple[str, str], Port]:
        return {}


class BelievesFailedLists(Listening):
    """Takes a list that failed for an empty one."""

    def observe(self) -> tuple[ClusterState, Mapping[Kind, KuryrError]]:
        state, errors = super().observe()
        return msgspec.structs.replace(state, complete=state.complete | errors.keys()), {}


class RecyclesAtOnce:
    """Gives the port of a pod that is gone to the next one, whatever the node says of it."""

    def __init__(self, neutron: Neutron) -> None:
        self._neutron = neutron
        self._spare: list[str] = []

    def observe(self, cluster_id: str, *, networks: Sequence[str] = ()) -> CloudState:
        found = self._neutron.observe(cluster_id, networks=networks)
        pods = [port.id for port in found.ports.values() if "kuryr:kind=pod" in port.tags]
        self._spare = self._spare or pods
        return found

    def apply(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        return [self._recycled(step) or self._neutron.apply([step], ids)[0] for step in steps]

    def _recycled(self, step: Step) -> Outcome | None:
        if step.action is not Action.CREATE or not isinstance(step.spec, PortSpec) or not self._spare:
            return None
        client, path = self._neutron._client, f"/ports/{self._spare.pop(0)}"
        mine = {"device_id": step.spec.device_id, "name": step.spec.name, "mac_address": step.spec.mac_address}
        mine["binding:host_id"] = step.spec.host
        client.call("PUT", f"{path}/tags", {"tags": list(step.spec.tags)})
        return Outcome(step, object=wire.decode_one(PORTS, client.call("PUT", path, {"port": mine}).body))


def test_an_engine_that_forgets_to_adopt_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    walk(scene_named("rollout"), "POST ports", Swallow(), "NET-UNREACHABLE", times=1)
    monkeypatch.setattr("kuryrctl.cloud.neutron.PortMaker", ForgetsToAdopt)

    with pytest.raises(AssertionError, match="pods that are served in the same run"):
        walk(scene_named("rollout"), "POST ports", Swallow(), "NET-UNREACHABLE", times=1)


def test_an_engine_that_deletes_on_a_failed_list_is_caught() -> None:
    with pytest.raises(AssertionError, match="the port of a pod that runs was deleted"):
        walk_cluster("pods", Engine(cluster=BelievesFailedLists))


def test_an_engine_that_recycles_before_the_nodes_report_is_caught() -> None:
    with pytest.raises(AssertionError, match="given away before its node reported it free"):
        walk(
            scene_named("removal"), "DELETE ports", Refuse(), "NET-UNREACHABLE", times=1, engine=Engine(RecyclesAtOnce)
        )
