"""Quotas of the project: limit and use of each resource (extension ``quota_details``)."""

from __future__ import annotations

from msgspec import Struct

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.meanings import OVER_QUOTA, QUOTA_HINT
from kuryrctl.core.cloud import UNLIMITED, QuotaUse
from kuryrctl.core.decoding import convert
from kuryrctl.core.errors import KuryrError, Owner, Quota


class _Detail(Struct, frozen=True):
    used: int
    limit: int
    reserved: int = 0


def quotas(client: Client) -> tuple[QuotaUse, ...]:
    """Every quota of the project, by name."""
    body = client.call("GET", f"/quotas/{client.project_id}/details").body
    details = convert(wire.decode_plain(body, "quota"), dict[str, _Detail])
    return tuple(
        QuotaUse(resource=name, used=detail.used, limit=detail.limit, reserved=detail.reserved)
        for name, detail in sorted(details.items())
    )


def quota_of(client: Client, resource: str) -> QuotaUse:
    """The quota of one resource (``port``)."""
    return next(
        (quota for quota in quotas(client) if quota.resource == resource),
        QuotaUse(resource=resource, used=0, limit=UNLIMITED),
    )


def refusal(client: Client, refused: Refused, resource: str, what: str) -> KuryrError:
    """What a refused creation of this resource means; a used-up quota is told with limit and use if they can be read.

    `what` names what was not done, as for `Refused.error`.
    """
    if refused.type != OVER_QUOTA:
        return refused.error(what)
    try:
        return quota_error(quota_of(client, resource), what, client.project_id, refused.request_id)
    except (Refused, KuryrError):
        return refused.error(what)


def quota_error(quota: QuotaUse, what: str, project_id: str, request_id: str = "") -> Quota:
    """The fault of a used-up quota, with its limit and use."""
    return Quota(
        f'{what}: quota "{quota.resource}" of project {project_id} is used up ({quota.used} of {quota.limit})',
        code="NET-QUOTA",
        owner=Owner.NEUTRON,
        hint=QUOTA_HINT if quota.resource == "port" else "openstack quota set raises it",
        request_id=request_id,
    )
