"""What a plan needs of the quotas: so many more, also while groups are being made."""

from __future__ import annotations

import pytest

from kuryrctl.core.cloud import QuotaUse
from kuryrctl.core.forecast import shortage
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step


def steps(kind: Kind, count: int) -> list[Step]:
    return [Step(action=Action.CREATE, kind=kind, key=f"{kind}/{n}", reason="") for n in range(count)]


@pytest.mark.parametrize(
    ("groups", "rules", "workers", "needed"),
    [(1, 3, 4, 5), (5, 3, 2, 7), (5, 0, 4, 8), (0, 3, 4, 3)],
    ids=["fewer groups than workers", "fewer workers than groups", "no rules of their own", "no new group"],
)
def test_each_group_in_the_making_has_its_default_rules(groups: int, rules: int, workers: int, needed: int) -> None:
    plan = [*steps(Kind.SECURITY_GROUP, groups), *steps(Kind.SECURITY_GROUP_RULE, rules)]
    room = {"security_group_rule": QuotaUse("security_group_rule", 10, 10 + needed)}
    tight = {"security_group_rule": QuotaUse("security_group_rule", 10, 9 + needed)}

    assert shortage(plan, room, "project", workers) is None
    short = shortage(plan, tight, "project", workers)
    assert short is not None
    assert f"needed {needed} more" in short.message
