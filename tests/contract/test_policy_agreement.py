"""Groups allow what policies allow, asked for a minute; every mistake is found: see tests/unit/core/policy."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from kuryrctl.core.cluster import ClusterState
from tests.unit.core.policy.agreement import agree_for, compiled, disagreements
from tests.unit.core.policy.mutants import MUTANTS, mistaken
from tests.unit.core.policy.test_compiler_changes import change_one_by_one
from tests.unit.core.policy.worlds import random_world


def test_policies_and_groups_agree_for_a_minute(record_property: Callable[[str, object], None]) -> None:
    """Random worlds until the minute is over; how many there were is printed at the end of scripts/test."""
    count = agree_for(seconds=60, examples=100)
    record_property("figure", f"policy agreement: {count}")
    assert count.worlds >= 100


def test_every_mistake_of_the_compiler_is_found(record_property: Callable[[str, object], None]) -> None:
    """Each deliberate mistake makes both judges differ in one of the first worlds."""
    worlds = [random_world(Random(seed)) for seed in range(600)]
    killed = [name for name in MUTANTS if any(_differs(name, world) for world in worlds)]
    record_property("figure", f"policy mutants: {len(killed)} of {len(MUTANTS)} killed")
    assert len(MUTANTS) >= 12
    assert killed == list(MUTANTS)


@settings(max_examples=400, database=None)
@given(st.randoms(use_true_random=False))
def test_changes_one_by_one_come_to_the_same_as_all_at_once(random: Random) -> None:
    change_one_by_one(random)


def _differs(mutant: str, world: ClusterState) -> bool:
    with mistaken(mutant):
        cloud = compiled(world)
    return bool(disagreements(world, cloud))
