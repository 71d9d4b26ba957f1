"""Wherever the engine stops in the middle of a policy change, nothing is open that the old and the new state close.

The cloud is judged after every single call that changed it: each such state is one in which the engine may have died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import pytest

from kuryrctl.cloud import Neutron
from kuryrctl.core import names
from kuryrctl.core.cloud import CloudState, Port
from kuryrctl.core.diff_groups import Order, Policed
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.policy.flows import End, EndKind, Flow
from kuryrctl.core.policy.groups import GroupJudge
from tests.unit.reconcile.site import Site

PODS = ("web", "api", "db", "log")
PORTS = (80, 5432)
Open = frozenset[tuple[str, str, int, int]]


def spec(pods: str, peers: str = "", port: int = 0, **more: Any) -> dict[str, Any]:
    """A policy that isolates some pods (empty: all), and lets others in (empty: nobody)."""
    rule = {"from": [selector(peers)]} | ({"ports": [{"port": port}]} if port else {})
    return {**selector(pods), "ingress": [rule] if peers else []} | more


def selector(app: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": app}} if app else {}}


class Walk:
    """A site with four pods, judged after each call that changes the cloud while `watching`."""

    def __init__(self) -> None:
        self.site = Site(workers=1)
        for number, name in enumerate(PODS):
            self.site.kube.add_pod("shop", name, node=f"node{number % 2 + 1}", uid=name, labels={"app": name})
        assert self.site.run().ok
        self.states: list[tuple[str, Open]] = []
        self._request = self.site.cloud.request
        self._watching = False
        self._calls_to_live: int | None = None
        self.site.cloud.request = self._judged  # type: ignore[method-assign]  # listens to the engine's calls

    def policy(self, name: str, body: dict[str, Any]) -> None:
        self.site.kube.apply("networkpolicies", "shop", name, spec=body)

    def delete(self, name: str) -> None:
        self.site.kube.remove("networkpolicies", "shop", name)

    def relabel(self, pod: str, app: str) -> None:
        self.site.kube.relabel("pods", "shop", pod, {"app": app})

    def open(self) -> Open:
        """What the groups let through now: (source, target, port, IP family)."""
        observed = Neutron(self.site.cloud).observe(self.site.config.cluster_id)
        judge, ends = GroupJudge(observed), {name: _end(name, observed) for name in PODS}
        return frozenset(
            (one, other, port, family)
            for one, other in permutations(PODS, 2)
            for port in PORTS
            for family in (4, 6)
            if judge.verdict(Flow(ends[one], ends[other], family, "TCP", port)).allowed
        )

    def converge(self) -> Iterator[tuple[str, Open]]:
        """Run the engine; each call that changed something, with what was open after it."""
        self.states.clear()
        self._watching = True
        try:
            assert self.site.run().ok
        finally:
            self._watching = False
        assert self.site.plan() == []
        return iter(self.states)

    def crawl(self) -> Iterator[tuple[str, Open]]:
        """The same by engines that die after every single call, each beginning where the one before it ended."""
        self.crawl_until(lambda: False)
        assert self.site.plan() == []
        return iter(self.states)

    def crawl_until(self, enough: Callable[[], bool]) -> None:
        """Let one engine after the other do one call."""
        self.states.clear()
        self._watching = True
        try:
            for _ in range(100):
                self._calls_to_live = 1
                if self.site.run().ok or enough():
                    return
        finally:
            self._watching, self._calls_to_live = False, None

    def _judged(self, method: str, path: str, **given: Any) -> Any:
        if self._watching and method != "GET" and self._calls_to_live is not None:
            if not self._calls_to_live:
                raise KuryrError("the process is dead", code="DEAD")
            self._calls_to_live -= 1
        answer = self._request(method, path, **given)
        if self._watching and method != "GET":
            self._watching = False
            with self.site.cloud.cloud.lock:
                self.states.append((f"{method} {path}", self.open()))
            self._watching = True
        return answer


def _end(pod: str, observed: CloudState) -> End:
    (port,) = [port for port in observed.ports.values() if names.uid_of(port.tags) == pod]
    return End(EndKind.POD, f"shop/{pod}", pod, tuple(each.ip_address for each in port.fixed_ips))


def old_rules_last(policed: Policed, uid: str, port: Port | None) -> Order:
    """A mistake: ports come under rules that are to go."""
    order = RIGHT(policed, uid, port)
    return Order(tuple(key for key in order.needs if not key.startswith("security-group-rule/")), order.after)


RIGHT = Policed.order_of_port
MISTAKES: dict[str, tuple[str, Callable[..., Any], str]] = {
    "new rules come before ports have left": ("_leaving", lambda policed, rule: (), "other pods and other peers"),
    "old rules go last": ("order_of_port", old_rules_last, "two policies change pods"),
}
"""Each with the change that shows it."""


def nothing(_: Walk) -> None: ...


def isolate_db(walk: Walk) -> None:
    walk.policy("one", spec("db", "web", 80))


def both(walk: Walk) -> None:
    isolate_db(walk)
    walk.policy("two", spec("db", "api", 5432))


CHANGES: dict[str, tuple[Callable[[Walk], None], Callable[[Walk], None]]] = {
    "created": (nothing, isolate_db),
    "deleted": (isolate_db, lambda walk: walk.delete("one")),
    "one of two deleted": (both, lambda walk: walk.delete("one")),
    "another port": (isolate_db, lambda walk: walk.policy("one", spec("db", "web", 5432))),
    "other peers": (isolate_db, lambda walk: walk.policy("one", spec("db", "api", 80))),
    "fewer peers": (
        lambda walk: walk.policy("one", spec("db") | {"ingress": [{"from": [{"namespaceSelector": {}}]}]}),
        lambda walk: walk.policy("one", spec("db", "web")),
    ),
    "other pods and other peers": (both, lambda walk: walk.policy("one", spec("log", "api", 80))),
    "other pods, which a second policy isolates": (
        lambda walk: (isolate_db(walk), walk.policy("two", spec("")))[0],
        lambda walk: walk.policy("one", spec("log", "api", 5432)),
    ),
    "the other direction, too": (
        isolate_db,
        lambda walk: walk.policy("one", spec("db", "web", 80, policyTypes=["Ingress", "Egress"])),
    ),
    "a peer becomes another": (isolate_db, lambda walk: walk.relabel("web", "api")),
    "a peer and the policy's peers change places": (
        isolate_db,
        lambda walk: (walk.relabel("web", "api"), walk.policy("one", spec("db", "api", 80)))[0],
    ),
    "an isolated pod becomes a peer": (both, lambda walk: walk.relabel("db", "web")),
    "two policies change pods": (
        lambda walk: (walk.policy("one", spec("db", "web")), walk.policy("two", spec("log", "api")))[0],
        lambda walk: (walk.policy("one", spec("log", "web", 80)), walk.policy("two", spec("db", "api", 80)))[0],
    ),
}


@pytest.mark.parametrize("way", [Walk.converge, Walk.crawl])
@pytest.mark.parametrize("change", CHANGES)
def test_no_step_of_a_change_opens_what_both_ends_of_it_close(
    change: str, way: Callable[[Walk], Iterator[tuple[str, Open]]]
) -> None:
    walk = Walk()
    before, after = CHANGES[change]
    before(walk)
    list(walk.converge())
    old = walk.open()
    after(walk)
    states = list(way(walk))
    new = walk.open()

    assert states
    opened = {(call, flow) for call, found in states for flow in found - old - new}
    assert opened == set()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_order_is_caught(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong, change = MISTAKES[mistake]
    monkeypatch.setattr(Policed, name, wrong)
    walk = Walk()
    before, after = CHANGES[change]
    before(walk)
    list(walk.converge())
    old = walk.open()
    after(walk)
    states = list(walk.converge())
    new = walk.open()

    assert {call for call, found in states if found - old - new}


@pytest.mark.parametrize("way", [Walk.converge, Walk.crawl])
@pytest.mark.parametrize(
    "change", ["created", "another port", "other peers", "fewer peers", "deleted", "a peer becomes another"]
)
def test_what_both_ends_of_a_change_leave_open_stays_open(
    change: str, way: Callable[[Walk], Iterator[tuple[str, Open]]]
) -> None:
    walk = Walk()
    before, after = CHANGES[change]
    before(walk)
    list(walk.converge())
    old = walk.open()
    after(walk)
    states = list(way(walk))
    new = walk.open()

    closed = {(call, flow) for call, found in states for flow in (old & new) - found}
    assert closed == set()


def test_old_rules_wait_for_ports_to_become_peers_also_where_an_engine_died_in_between() -> None:
    """The next engine finds the new rules there: what they name has no members yet."""
    walk = Walk()
    before, after = CHANGES["fewer peers"]
    before(walk)
    list(walk.converge())
    after(walk)
    walk.crawl_until(lambda: walk.states[-1][0] == "POST /security-group-rules")

    plan = walk.site.difference().plan

    assert [step.key for step in plan if step.kind is Kind.PORT] == ["port/pod/web"]
    old = [step for step in plan if step.key.startswith("security-group-rule/policy-ingress/")]
    assert [(step.action, step.after) for step in old] == [(Action.DELETE, ("port/pod/web",))] * 2
