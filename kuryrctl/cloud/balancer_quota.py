"""Octavia's quotas: which one is used up, its limit, and how much of it is used.

Octavia tells limits (``/quotas/PROJECT``) and, in its refusal, the resource; the use is counted from its lists.
Does not know: what is made.
"""

from __future__ import annotations

import re
from typing import Any

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.meanings import BALANCER_QUOTA, OCTAVIA
from kuryrctl.cloud.octavia_wire import BALANCERS, LISTENERS, MONITORS, POOLS
from kuryrctl.cloud.wire import Resource
from kuryrctl.core.errors import KuryrError, Owner, Quota

_BY_RESOURCE: tuple[Resource[Any], ...] = (BALANCERS, LISTENERS, POOLS, MONITORS)
_LISTS = {each.singular: each for each in _BY_RESOURCE}
_MEMBER = "member"


def refusal(client: Client, refused: Refused, what: str) -> KuryrError:
    """What a refused creation means; of a used-up quota with its limit and use, if they can be read."""
    met = re.search(r"resources?: (\w[\w ]*)", refused.message)
    if refused.code != BALANCER_QUOTA or met is None:
        return refused.error(what)
    name = re.sub(r"[ _]", "", met[1]).lower()
    try:
        limits = wire.decode_plain(client.call("GET", f"/quotas/{client.project_id}").body, "quota", OCTAVIA)
        used = _used(client, name)
    except (Refused, KuryrError):
        return refused.error(what)
    return Quota(
        f'{what}: quota "{name}" of project {client.project_id} is used up ({used} of {limits.get(name)})',
        code=BALANCER_QUOTA,
        owner=Owner.OCTAVIA,
        hint=f"openstack loadbalancer quota set --{name} raises it",
        request_id=refused.request_id,
    )


def _used(client: Client, name: str) -> int:
    mine = [("project_id", client.project_id)]
    if name == _MEMBER:
        return sum(len(pool.members) for pool in client.list(POOLS, mine))
    return len(client.list(_LISTS[name], mine))
