"""Ports of VIPs whose load balancers were never made: they keep their addresses, and no service deletes them.

Octavia has the OVN provider make the port of a VIP, then checks what is to be below the load balancer, its quotas too,
and forgets the port where it refuses (octavia, ``LoadBalancersController.post``; ovn_octavia_provider,
``create_vip_port``). Every further creation with that address is then refused, because it is taken.
Does not know: why a creation was refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.recording import Audit, recorder
from kuryrctl.cloud.transport import Transport
from kuryrctl.cloud.wire import PORTS
from kuryrctl.core.cloud import Port
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.plan import Step

_NAME = "ovn-lb-vip-"
_OWNERS = ("ovn-lb:vip", "")
"""Of providers since and before they set one."""


class LeftVips:
    """Those of one project."""

    def __init__(self, transport: Transport, *, audit: Audit | None = None) -> None:
        self._client = Client(transport)
        self._log = recorder(audit)

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls were made, by (method, resource): ``("DELETE", "ports")``."""
        return self._client.calls

    def remove(self, step: Step, subnet: str, address: str, exists: Callable[[str], bool], least_age_s: float) -> bool:
        """Whether the port of a VIP was at this address, at least so old, of a load balancer that does not exist.

        It is deleted then. `exists` is asked with the load balancer's id. Where anything fails, nothing was removed:
        what the creation was refused for is told, and the next one comes here again.
        """
        client = self._client
        at = [("fixed_ips", f"subnet_id={subnet}"), ("fixed_ips", f"ip_address={address}")]
        try:
            found = client.list(PORTS, [("project_id", client.project_id), *at])
            left = [port for port in found if _is_vip(port) and _age_s(port) >= least_age_s]
            left = [port for port in left if not exists(port.name.removeprefix(_NAME))]
            for port in left:
                self._delete(step, port)
        except (Refused, KuryrError):
            return False
        return bool(left)

    def _delete(self, step: Step, port: Port) -> None:
        call = f"DELETE {PORTS.path}/{port.id}"
        try:
            response = self._client.call("DELETE", f"{PORTS.path}/{port.id}", revision=port.revision_number)
        except (Refused, KuryrError) as fault:
            self._log(step, port.id, call, fault)
            raise
        self._log(step, port.id, call, response)


def _is_vip(port: Port) -> bool:
    return port.name.startswith(_NAME) and port.device_owner in _OWNERS


def _age_s(port: Port) -> float:
    """By this machine's clock; Neutron's may differ by as much as a token allows. 0 where Neutron does not tell it."""
    if not port.created_at:
        return 0.0
    return time.time() - datetime.fromisoformat(port.created_at).timestamp()
