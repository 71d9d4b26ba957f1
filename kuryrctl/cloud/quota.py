"""Quotas of the project: limit and use of each resource (extension ``quota_details``)."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import QUOTA_HINT
from kuryrctl.core.cloud import UNLIMITED, QuotaUse
from kuryrctl.core.errors import Owner, Quota


class _Detail(Struct, frozen=True):
    used: int
    limit: int
    reserved: int = 0


def quotas(client: Client) -> tuple[QuotaUse, ...]:
    """Every quota of the project, by name."""
    body = client.call("GET", f"/quotas/{client.project_id}/details").body
    details = msgspec.convert(wire.decode_plain(body, "quota"), dict[str, _Detail])
    return tuple(
        QuotaUse(resource=name, used=detail.used, limit=detail.limit, reserved=detail.reserved)
        for name, detail in sorted(details.items())
    )


def port_quota(client: Client) -> QuotaUse:
    """The quota of ports."""
    return next(
        (quota for quota in quotas(client) if quota.resource == "port"),
        QuotaUse(resource="port", used=0, limit=UNLIMITED),
    )


def quota_error(quota: QuotaUse, what: str, project_id: str, request_id: str = "") -> Quota:
    """The fault of a used-up quota, with its limit and use."""
    return Quota(
        f'{what}: quota "{quota.resource}" of project {project_id} is used up ({quota.used} of {quota.limit})',
        code="NET-QUOTA",
        owner=Owner.NEUTRON,
        hint=QUOTA_HINT,
        request_id=request_id,
    )
