"""A CloudState out of another: by a newer observation, or by the result of one step. Pure.

Does not know: ports, which `core.index.Ports` keeps, and when anything changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from kuryrctl.core.cloud import CloudState, Network, Router, SecurityGroup, SecurityGroupRule, Subnet
from kuryrctl.core.kinds import Kind

_T = TypeVar("_T")


def newer(observed: CloudState, known: CloudState) -> CloudState:
    """What was observed; kinds that it lacks stay as they were known."""
    return msgspec.structs.replace(
        CloudState(),
        project_id=observed.project_id or known.project_id,
        networks=_newer(observed.networks, known.networks, Kind.NETWORK in observed.complete),
        subnets=_newer(observed.subnets, known.subnets, Kind.SUBNET in observed.complete),
        routers=_newer(observed.routers, known.routers, Kind.ROUTER in observed.complete),
        security_groups=_newer(
            observed.security_groups, known.security_groups, Kind.SECURITY_GROUP in observed.complete
        ),
        complete=observed.complete | known.complete,
    )


def with_object(cloud: CloudState, thing: Network | Subnet | Router | SecurityGroup | SecurityGroupRule) -> CloudState:
    """With this object as it is now."""
    match thing:
        case Network():
            return msgspec.structs.replace(cloud, networks={**cloud.networks, thing.id: thing})
        case Subnet():
            return msgspec.structs.replace(cloud, subnets={**cloud.subnets, thing.id: thing})
        case Router():
            return msgspec.structs.replace(cloud, routers={**cloud.routers, thing.id: thing})
        case SecurityGroup():
            return msgspec.structs.replace(cloud, security_groups={**cloud.security_groups, thing.id: thing})
    group = cloud.security_groups.get(thing.security_group_id)
    if group is None:
        return cloud
    rules = (*(rule for rule in group.security_group_rules if rule.id != thing.id), thing)
    group = msgspec.structs.replace(group, security_group_rules=rules)
    return msgspec.structs.replace(cloud, security_groups={**cloud.security_groups, group.id: group})


def without_rule(cloud: CloudState, id_: str) -> CloudState:
    """Without the security group rule of that id."""
    groups = {
        group_id: msgspec.structs.replace(
            group, security_group_rules=tuple(rule for rule in group.security_group_rules if rule.id != id_)
        )
        for group_id, group in cloud.security_groups.items()
    }
    return msgspec.structs.replace(cloud, security_groups=groups)


def _newer(observed: Mapping[str, _T], known: Mapping[str, _T], complete: bool) -> Mapping[str, _T]:
    return observed if complete else known
