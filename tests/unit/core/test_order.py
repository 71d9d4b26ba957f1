"""The order of a plan: additions, changes, deletions, and before each step whatever it needs or follows."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from kuryrctl.core.diff import ordered
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step


def step(action: Action, kind: Kind, name: str, *, needs: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Step:
    return Step(action=action, kind=kind, key=f"{kind}/{name}", reason="", needs=needs, after=after)


def test_a_vip_is_freed_before_it_is_taken() -> None:
    old = step(Action.DELETE, Kind.LOAD_BALANCER, "service/u/4/lb1")
    new = step(Action.CREATE, Kind.LOAD_BALANCER, "service/u/4", needs=(old.key,))
    port = step(Action.CREATE, Kind.PORT, "pod/p")
    other = step(Action.DELETE, Kind.LOAD_BALANCER, "service/v/4")
    assert [each.key for each in ordered([other, new, old, port])] == [port.key, old.key, new.key, other.key]


def test_a_load_balancer_comes_after_rules_that_wait_for_ports() -> None:
    port = step(Action.UPDATE, Kind.PORT, "pod/p")
    rule = step(Action.DELETE, Kind.SECURITY_GROUP_RULE, "policy-egress/g/r", after=(port.key,))
    new = step(Action.CREATE, Kind.LOAD_BALANCER, "service/u/4", needs=(rule.key,))
    assert [each.key for each in ordered([new, rule, port])] == [port.key, rule.key, new.key]


def test_a_circle_ends() -> None:
    one = step(Action.UPDATE, Kind.PORT, "pod/1", after=("port/pod/2",))
    two = step(Action.UPDATE, Kind.PORT, "pod/2", after=("port/pod/1",))
    assert {each.key for each in ordered([one, two])} == {one.key, two.key}


@given(st.integers(min_value=0, max_value=2**32))
def test_nothing_comes_before_what_it_waits_for(seed: int) -> None:
    random = Random(seed)
    keys = [f"{random.choice(list(Kind))}/{number}" for number in range(random.randint(1, 30))]
    steps = [
        Step(
            action=random.choice(list(Action)),
            kind=Kind(key.partition("/")[0]),
            key=key,
            reason="",
            needs=tuple(random.sample(keys[:number], min(number, random.randint(0, 2)))),
            after=tuple(random.sample(keys[:number], min(number, random.randint(0, 2)))),
        )
        for number, key in enumerate(keys)
    ]
    random.shuffle(steps)
    placed = list(ordered(steps))
    assert sorted(each.key for each in placed) == sorted(keys)
    for number, each in enumerate(placed):
        before = {earlier.key for earlier in placed[:number]}
        assert before.issuperset((*each.needs, *each.after))
