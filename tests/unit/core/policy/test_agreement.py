"""Groups allow what policies allow: over random worlds with every construct, by two judges that share no matching."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from kuryrctl.core.policy.flows import Flow
from kuryrctl.core.policy.groups import GroupJudge
from kuryrctl.core.policy.kubernetes import KubernetesJudge
from kuryrctl.core.policy.verify import verify
from tests.unit.core.policy.agreement import OUTSIDE, agree_for, all_flows, compiled, differing, spoilt
from tests.unit.core.policy.worlds import CONFIG, random_world


def test_policies_and_groups_agree(record_property: Callable[[str, object], None]) -> None:
    """A few seconds here; a minute among the contracts, a million worlds by bench/policy_worlds."""
    count = agree_for(seconds=3, examples=25)
    record_property("figure", f"policy agreement: {count}")
    assert count.worlds >= 10


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_a_sweep_finds_what_the_judges_find_pair_by_pair(random: Random) -> None:
    """On clouds that people spoilt, so that there is something to find."""
    world = random_world(random)
    cloud = spoilt(random, compiled(world))
    flows = all_flows(world, cloud)
    swept = {_pair(each.flow) for each in verify(world, cloud, CONFIG, outside=OUTSIDE, explain=10**9).disagreements}
    judge = KubernetesJudge(world, CONFIG)
    judged = {_pair(each.flow) for each in differing((judge, GroupJudge(cloud)), flows)}
    assert swept >= {pair for pair in judged if not pair[-1]}
    assert bool(swept) >= bool(judged)


def _pair(flow: Flow) -> tuple[object, ...]:
    ends = (flow.source, flow.target)
    return (*((end.name, end.block(flow.family)) for end in ends), flow.protocol, flow.port, bool(flow.target.fronts))
