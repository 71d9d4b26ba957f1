"""The OpenStack side: observe and apply. The only importer of `openstack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuryrctl.cloud.neutron import Audit, Neutron, Observation
from kuryrctl.cloud.transport import Response, Transport
from kuryrctl.core.cloud import QuotaUse

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

__all__ = ["Audit", "Neutron", "Observation", "QuotaUse", "Response", "Transport", "connect"]


def connect(cloud: str | None = None, *, region: CloudRegion | None = None, audit: Audit | None = None) -> Neutron:
    """Neutron of a cloud in clouds.yaml (None: ``OS_CLOUD``, ``OS_*``), or of a region that OpenStackClient has read.

    `audit` is told of every mutation. Raises Invalid (no such cloud, refused credential) and Unavailable.
    """
    from kuryrctl.cloud.session import open_session

    return Neutron(open_session(cloud, region), audit=audit)
