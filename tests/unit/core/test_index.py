"""Which of two objects with the same marks is used, and which is only told of."""

from __future__ import annotations

from kuryrctl.core import names
from kuryrctl.core.cloud import CloudState, SecurityGroup
from kuryrctl.core.config import Config
from kuryrctl.core.findings import FindingCode
from kuryrctl.core.index import find_own

TAGS = names.tags("k", "open-ingress")


def group(id_: str, description: str) -> SecurityGroup:
    return SecurityGroup(id_, "kuryr-k-open-ingress", "project", description, tags=TAGS)


def test_a_copy_of_a_group_is_not_used_though_its_id_comes_first() -> None:
    copy, mine = group("a", "somebody else's"), group("b", names.description(TAGS))
    own = find_own(
        CloudState(project_id="project", security_groups={each.id: each for each in (copy, mine)}),
        Config(cluster_id="k", external_network=None),
    )
    assert own.objects["security-group/open-ingress"] is mine
    (told,) = own.findings
    assert (told.code, told.id) == (FindingCode.DUPLICATE, "a")
