"""Whether what a plan makes for NetworkPolicies fits into the project's quotas: told before anything is half done.

Does not know: how quotas are read, who decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from kuryrctl.core.cloud import QuotaUse
from kuryrctl.core.errors import Owner, Quota
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step

RESOURCES = {Kind.SECURITY_GROUP: "security_group", Kind.SECURITY_GROUP_RULE: "security_group_rule"}
"""Neutron's names of the quotas that groups and rules count against."""
DEFAULT_RULES = 2
"""So many rules Neutron puts into a new group; they are deleted at once, and count until then."""
_OPTIONS = {Kind.SECURITY_GROUP: "--secgroups", Kind.SECURITY_GROUP_RULE: "--secgroup-rules"}


def shortage(steps: Iterable[Step], quotas: Mapping[str, QuotaUse], project_id: str, workers: int = 1) -> Quota | None:
    """The fault (QUOTA-SHORT) of the first quota that these steps exceed; None: all fits, or no quota is known.

    `workers` groups are made at the same time.
    """
    makes = Counter(step.kind for step in steps if step.action is Action.CREATE and step.kind in RESOURCES)
    return shortage_of(makes, quotas, project_id, workers)


def shortage_of(
    makes: Mapping[Kind, int], quotas: Mapping[str, QuotaUse], project_id: str, workers: int = 1
) -> Quota | None:
    """The same for so many groups and rules that are to be made."""
    for kind, resource in RESOURCES.items():
        needed = makes.get(kind, 0)
        if kind is Kind.SECURITY_GROUP_RULE:
            needed += DEFAULT_RULES * min(workers, makes.get(Kind.SECURITY_GROUP, 0))
        quota = quotas.get(resource)
        if needed and quota is not None and needed > quota.free:
            return Quota(
                f'no group or rule made: quota "{resource}" of project {project_id} is too small'
                f" (limit {quota.limit}, in use {quota.used + quota.reserved}, needed {needed} more)",
                code="QUOTA-SHORT",
                owner=Owner.USER,
                hint=f"openstack quota set {_OPTIONS[kind]} {quota.used + quota.reserved + needed} {project_id}",
            )
    return None
