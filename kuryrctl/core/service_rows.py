"""Rows of Services, each with one named condition: what ``service list``, ``service show`` and ``status`` tell.

Does not know: how a condition is found out, how rows are filtered or printed.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from kuryrctl.core.lint import LintFinding
from kuryrctl.core.service_links import Link


class ServiceCondition(StrEnum):
    """What is right or wrong with one Service. Each word is documented; it never changes its meaning."""

    OK = "ok"
    PENDING = "pending"
    """Octavia is at work on its load balancer."""
    SKIPPED = "skipped"
    """It has no load balancer, and is not to have one."""
    NO_ENDPOINTS = "no endpoints"
    """Nobody is ready to answer."""
    NO_BALANCER = "no load balancer"
    """It is to have one that does not exist."""
    DRIFT = "drift"
    """Something of its load balancers is missing, different, or not asked for."""
    ERROR = "error"
    """Octavia has given up something of its load balancers."""
    STUCK = "stuck"
    """Its load balancer has been PENDING for longer than any change takes."""
    DEGRADED = "degraded"
    """A member does not answer, or its pod's port is not well."""
    LIMITED = "limited"
    """It asks for something that cannot be had or is not allowed; the rest of it is made."""
    FOREIGN = "foreign"
    """A load balancer carries marks of ours, but is not provably ours: nothing of it is changed."""
    NO_SERVICE = "no service"
    """A load balancer serves a Service that does not exist any more."""


FINE = frozenset({ServiceCondition.OK, ServiceCondition.PENDING, ServiceCondition.SKIPPED})


class ServiceRow(Struct, frozen=True, kw_only=True):
    """One Service, or load balancers that have none. `members_ready` of `members_total` wanted ones are there and well.

    `vips` and `load_balancers` (ids) are those that exist. The statuses are the worst of all load balancers, in
    Octavia's words; empty: there is none. `detail` is what the condition is about, `notes` what it asks for and
    does not get, `link` the first broken link.
    """

    namespace: str
    service: str
    uid: str = ""
    type: str = ""
    ports: tuple[str, ...] = ()
    cluster_ips: tuple[str, ...] = ()
    vips: tuple[str, ...] = ()
    floating_ips: tuple[str, ...] = ()
    load_balancers: tuple[str, ...] = ()
    provider: str = ""
    members_ready: int = 0
    members_total: int = 0
    provisioning_status: str = ""
    operating_status: str = ""
    condition: ServiceCondition = ServiceCondition.OK
    detail: str = ""
    notes: tuple[LintFinding, ...] = ()
    link: Link | None = None
    tree: Link

    @property
    def broken(self) -> bool:
        """Whether somebody has to look at it."""
        return self.condition not in FINE
