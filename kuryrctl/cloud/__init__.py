"""The OpenStack side: observe and apply. The only importer of `openstack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kuryrctl.cloud.neutron import Neutron, Observation
from kuryrctl.cloud.octavia import Octavia
from kuryrctl.cloud.openstack import OpenStack
from kuryrctl.cloud.recording import Audit
from kuryrctl.cloud.transport import Response, Transport
from kuryrctl.core.cloud import QuotaUse

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion

__all__ = [
    "Audit",
    "Neutron",
    "Observation",
    "Octavia",
    "OpenStack",
    "QuotaUse",
    "Response",
    "Transport",
    "connect",
]


def connect(cloud: str | None = None, *, region: CloudRegion | None = None, audit: Audit | None = None) -> OpenStack:
    """A cloud of clouds.yaml (None: ``OS_CLOUD``, ``OS_*``), or of a region that OpenStackClient has read.

    `audit` is told of every mutation. Raises Invalid (no such cloud, refused credential) and Unavailable.
    """
    from kuryrctl.cloud.session import open_session

    session = open_session(cloud, region)
    return OpenStack(session.neutron, session.octavia, audit=audit)
