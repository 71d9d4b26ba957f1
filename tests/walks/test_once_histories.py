"""Random histories of a cluster and its cloud, with runs that fail and end anywhere: all ends as it should be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kuryrctl.core import names
from kuryrctl.core.diff import Scope
from kuryrctl.core.errors import KuryrError, Unavailable
from kuryrctl.reconcile.once import run
from kuryrctl.reconcile.turn import Turn
from tests.unit.reconcile.site import NODES, Site

PODS = [f"pod-{n}" for n in range(4)]
CALLS = [
    ("POST", "/ports"),
    ("GET", "/ports"),
    ("PUT", "/ports/"),
    ("DELETE", "/ports/"),
    ("GET", "/networks"),
]

pods = st.sampled_from(PODS)
nodes = st.sampled_from(NODES)
events = st.one_of(
    st.tuples(st.just("create"), pods, nodes),
    st.tuples(st.just("create"), pods, st.just("")),
    st.tuples(st.just("schedule"), pods, nodes),
    st.tuples(st.just("finish"), pods),
    st.tuples(st.just("terminate"), pods),
    st.tuples(st.just("delete"), pods),
    st.tuples(st.just("recreate"), pods, nodes),
    st.tuples(st.just("lose port"), pods),
    st.tuples(st.just("untag"), pods),
    st.tuples(st.just("move"), pods, nodes),
    st.tuples(st.just("look-alike"), pods, st.integers(0, 3)),
    st.tuples(st.just("remove node"), nodes),
    st.tuples(st.just("add node"), nodes),
    st.tuples(st.just("collect")),
    st.tuples(st.just("quota"), st.integers(2, 9)),
)
runs = st.tuples(
    st.just("run"),
    st.integers(0, 6) | st.just(99),  # how many times it still holds the lease when it is about to write
    st.lists(st.tuples(st.sampled_from(CALLS), st.booleans()), max_size=3),
    st.lists(st.tuples(st.sampled_from(["POST", "PATCH", "DELETE"]), st.booleans()), max_size=2),
)


class History:
    """A site and what was done to it."""

    def __init__(self) -> None:
        self.site = Site()
        self.foreign: dict[str, dict[str, Any]] = {}
        self.wronged: list[str] = []
        self.advised: list[str] = []
        self.request = self.site.cloud.request
        self.site.cloud.request = self.judged  # type: ignore[method-assign]  # listens to the engine's calls

    def judged(self, method: str, path: str, **given: Any) -> Any:
        """No port is ever deleted by the engine (a worker's thread) while its pod or node needs it."""
        if (
            method == "DELETE"
            and path.startswith("/ports/")
            and threading.current_thread() is not threading.main_thread()
        ):
            port = self.site.cloud.cloud.rules.tables["ports"].get(path.removeprefix("/ports/"), {"device_id": ""})
            needed = [*self.site.kube.objects("nodes").values(), *self.site.kube.objects("pods").values()]
            self.wronged += [
                path
                for thing in needed
                if thing["metadata"]["uid"] == port["device_id"] and thing["status"].get("phase") != "Succeeded"
            ]
        return self.request(method, path, **given)

    def apply(self, event: tuple[Any, ...]) -> None:
        action: Callable[..., None] = getattr(self, "do_" + event[0].replace(" ", "_").replace("-", "_"))
        action(*event[1:])

    def there(self, name: str) -> Any:
        return self.site.kube.objects("pods").get(f"shop/{name}")

    def do_create(self, name: str, node: str) -> None:
        if not self.there(name):
            self.site.kube.add_pod("shop", name, node=node)

    def do_schedule(self, name: str, node: str) -> None:
        pod = self.there(name)
        if pod and "nodeName" not in pod["spec"]:
            self.site.kube.schedule_pod("shop", name, node)

    def do_finish(self, name: str) -> None:
        if self.there(name):
            self.site.kube.finish_pod("shop", name)

    def do_terminate(self, name: str) -> None:
        if self.there(name):
            self.site.kube.terminate_pod("shop", name)

    def do_delete(self, name: str) -> None:
        if self.there(name):
            self.site.kube.delete_pod("shop", name)

    def do_recreate(self, name: str, node: str) -> None:
        self.do_delete(name)
        self.do_create(name, node)

    def port_of(self, name: str) -> Any:
        pod = self.there(name)
        uid = pod["metadata"]["uid"] if pod else ""
        return next((p for p in self.ours() if p["device_id"] == uid), None)

    def do_lose_port(self, name: str) -> None:
        if port := self.port_of(name):
            self.site.delete_port(port["id"])

    def do_untag(self, name: str) -> None:
        if port := self.port_of(name):
            self.site.set_tags(port["id"], [])

    def do_move(self, name: str, node: str) -> None:
        if port := self.port_of(name):
            self.site.cloud.change("ports", port["id"], **{"binding:host_id": node})

    def do_look_alike(self, name: str, variant: int) -> None:
        pod = self.there(name)
        uid = pod["metadata"]["uid"] if pod else "nobody"
        tags = list(names.tags("kuryr" if variant < 3 else "other", "pod", uid))
        fields: list[dict[str, Any]] = [
            {"name": f"kuryr/shop/{name}"},
            {"tags": tags},
            {"tags": tags, "device_owner": "compute:kuryr", "device_id": uid},
            {"tags": tags, "device_owner": "compute:kuryr", "device_id": uid},
        ]
        self.site.cloud.set_quota("port", -1)
        apart = f"10.65.3.{len(self.foreign) + 1}"  # the address of a lost port taken by somebody is another story
        made = self.site.foreign_port(fixed_ips=[{"ip_address": apart}], **fields[variant])
        self.foreign[made["id"]] = dict(next(p for p in self.site.cloud.objects("ports") if p["id"] == made["id"]))

    def do_remove_node(self, name: str) -> None:
        if name in self.site.kube.objects("nodes"):
            self.site.kube.delete_node(name)

    def do_add_node(self, name: str) -> None:
        if name not in self.site.kube.objects("nodes"):
            self.site.kube.add_node(name)

    def do_collect(self) -> None:
        self.site.kube.collect()

    def do_quota(self, limit: int) -> None:
        self.site.cloud.set_quota("port", limit)

    def do_run(self, writes: int, cloud_faults: list[Any], kube_faults: list[Any]) -> None:
        for (method, path), after in cloud_faults:
            error = Unavailable("injected", code="NET-UNAVAILABLE", after_s=0)
            self.site.cloud.fail_next(method, path, error, after_effect=after)
        for verb, after in kube_faults:
            self.site.kube.fail(0, verb=verb, path="kuryr.openstack.org", effect=after)
        self.run(writes)
        self.site.cloud.cloud.injected.clear()
        self.site.kube.faults.clear()

    def run(self, writes: int = 99) -> None:
        """A run that loses its lease (is killed, for the world) before its next write."""
        left = iter(range(writes))
        turn = Turn(
            self.site.parts(max_deletes=99, first_rest_s=0.001), Scope.PODS, lambda: next(left, None) is not None
        )
        try:
            run(turn)
        except KuryrError:
            return  # an observation failed: nothing was to be done
        finally:
            turn.stop(10)

    def ours(self) -> list[Any]:
        return [
            port
            for port in self.site.cloud.objects("ports")
            if port["device_owner"] == "compute:kuryr" and port["id"] not in self.foreign
        ]

    def robbed(self) -> list[Any]:
        """The pods whose lost port cannot come back: its address was given to somebody else before that was seen."""
        holders = {
            fixed["ip_address"]: port["device_id"]
            for port in self.site.cloud.objects("ports")
            for fixed in port["fixed_ips"]
        }
        found = []
        for held in self.site.kube.objects("kuryrports").values():
            pod = self.there(held["metadata"]["name"])
            if pod and pod["metadata"]["uid"] == held["spec"]["podUid"] and pod["status"]["phase"] == "Pending":
                addresses = [given.split("/")[0] for given in held["spec"]["interfaces"][0]["addresses"]]
                if {holders.get(address, pod["metadata"]["uid"]) for address in addresses} != {pod["metadata"]["uid"]}:
                    found.append(pod)
        return found

    def told(self) -> set[str]:
        """The pods that have an Event about it."""
        return {event["regarding"]["uid"] for event in self.site.events() if event["reason"] == "KuryrAddressTaken"}

    def follow_advice(self) -> None:
        """These pods were told of it, and people do what that advises: they make them again."""
        for pod in self.robbed():
            assert pod["metadata"]["uid"] in self.told()
            self.advised.append(pod["metadata"]["name"])
            self.do_recreate(pod["metadata"]["name"], pod["spec"]["nodeName"])

    def check(self) -> None:
        """Everybody has exactly what is theirs, and nobody else's was touched."""
        assert self.wronged == []
        assert self.site.plan() == []
        now = {port["id"]: port for port in self.site.cloud.objects("ports")}
        assert {id_: now.get(id_) for id_ in self.foreign} == self.foreign
        pods = {
            pod["metadata"]["uid"]: pod
            for pod in self.site.kube.objects("pods").values()
            if "nodeName" in pod["spec"] and pod["status"]["phase"] == "Pending"
        }
        terminating = {uid for uid, pod in pods.items() if "deletionTimestamp" in pod["metadata"]}
        nodes = {node["metadata"]["uid"]: name for name, node in self.site.kube.objects("nodes").items()}
        served = [port["device_id"] for port in self.ours()]
        assert len(served) == len(set(served)), "a port was made twice"
        assert set(served) - terminating == (pods.keys() - terminating) | nodes.keys()
        told = {
            held["spec"]["podUid"]: held["spec"]["interfaces"][0]["portId"]
            for held in self.site.kube.objects("kuryrports").values()
        }
        untold = terminating - told.keys()  # nothing new is done for these: their ports only stay until they are gone
        for port in (port for port in self.ours() if port["device_id"] not in untold):
            expected = nodes.get(port["device_id"]) or pods[port["device_id"]]["spec"]["nodeName"]
            assert port["binding:host_id"] == expected
            assert names.uid_of(port["tags"]) == port["device_id"]
        assert {port["device_id"]: port["id"] for port in self.ours() if port["device_id"] in told} == told
        assert pods.keys() - terminating <= told.keys()


@given(st.lists(st.one_of(events, events, runs), min_size=3, max_size=18))
@settings(max_examples=100, phases=(Phase.explicit, Phase.generate))
def test_any_history_of_runs_that_end_anywhere_converges(history: list[tuple[Any, ...]]) -> None:
    world = History()
    for event in history:
        world.apply(event)
    world.site.cloud.set_quota("port", -1)
    world.run()
    world.follow_advice()
    world.run()
    world.run()

    world.check()


def ending_untold(name: str, node: str) -> History:
    """A pod with a port, of which its node was not told when it began to end."""
    world = History()
    world.do_create(name, node)
    world.site.kube.fail(0, times=50, verb="POST", path="kuryrports")
    world.run()
    world.site.kube.faults.clear()
    world.do_terminate(name)
    return world


def test_a_port_that_no_node_was_told_of_goes_with_its_pod_even_without_its_tags() -> None:
    """Nothing new is done for a terminating pod that has no KuryrPort: its port is neither tagged nor bound anew."""
    world = ending_untold("pod-0", "node1")
    world.do_untag("pod-0")
    world.do_move("pod-0", "node2")
    world.run()
    world.check()
    port = world.port_of("pod-0")
    assert (port["tags"], port["binding:host_id"]) == ([], "node2")
    world.do_delete("pod-0")
    world.run()
    world.check()
    assert len(world.ours()) == len(NODES)


def test_the_group_of_a_node_that_went_stays_as_long_as_a_port_that_gets_nothing_new_carries_it() -> None:
    """Neutron would refuse its deletion (409 SecurityGroupInUse) until the terminating pod is gone."""
    world = ending_untold("pod-0", "node2")
    groups = len(world.site.cloud.objects("security_groups"))
    world.do_remove_node("node2")
    assert world.site.run().ok
    world.check()
    assert len(world.site.cloud.objects("security_groups")) == groups
    world.do_delete("pod-0")
    assert world.site.run().ok
    world.check()
    assert len(world.site.cloud.objects("security_groups")) == groups - 1
