"""Services by uid, and EndpointSlices by the Service that they belong to, sorted out when first asked for.

For one moment: mappings that change afterwards are not looked at again. Does not know: load balancers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from kuryrctl.core.services import EndpointSlice, Service


class ServiceIndex:
    """See the module. Both mappings are by ``namespace/name``."""

    def __init__(self, services: Mapping[str, Service], slices: Mapping[str, EndpointSlice]) -> None:
        self._services = services
        self._slices = slices

    def by_uid(self, uid: str) -> Service | None:
        """The Service with this uid."""
        return self._by_uid.get(uid)

    def slices_of(self, service: Service) -> tuple[EndpointSlice, ...]:
        """The slices of one Service, by name."""
        return tuple(self._by_service.get(service.full_name, ()))

    @cached_property
    def _by_uid(self) -> dict[str, Service]:
        return {service.uid: service for service in self._services.values()}

    @cached_property
    def _by_service(self) -> dict[str, list[EndpointSlice]]:
        found: dict[str, list[EndpointSlice]] = {}
        for name in sorted(self._slices):
            each = self._slices[name]
            found.setdefault(f"{each.namespace}/{each.service}", []).append(each)
        return found
