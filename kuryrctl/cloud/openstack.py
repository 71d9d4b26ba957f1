"""Neutron and Octavia as one cloud: what the engine and the commands are given.

Each step goes to the service that has its kind; one service that is missing or silent leaves the other one's kinds as
they are. Does not know: what either does with a step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TypeVar

import msgspec

from kuryrctl.cloud.floating_ips import FloatingIPs
from kuryrctl.cloud.left_vips import LeftVips
from kuryrctl.cloud.neutron import Neutron, Observation
from kuryrctl.cloud.octavia import Octavia
from kuryrctl.cloud.recording import Audit
from kuryrctl.cloud.transport import Transport
from kuryrctl.core.balancers import FloatingIP, LoadBalancer
from kuryrctl.core.cloud import CloudObject, Port, QuotaUse, Trunk
from kuryrctl.core.errors import Invalid, KuryrError, Owner
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key
from kuryrctl.core.subjects import BALANCER_KINDS

T = TypeVar("T", LoadBalancer, FloatingIP)


class OpenStack:
    """One project of a cloud, by its Transports. Safe to use from several threads.

    `load_balancer` None: the cloud has no Octavia, and its kinds are unknown. `clock` (monotonic, in seconds) and
    `sleep` are what load balancers are waited for by.
    """

    def __init__(
        self,
        network: Transport,
        load_balancer: Transport | None = None,
        *,
        audit: Audit | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.neutron = Neutron(network, audit=audit)
        self._left_vips = LeftVips(network, audit=audit)
        self.octavia: Octavia | None = None
        if load_balancer:
            self.octavia = Octavia(load_balancer, self._left_vips, audit=audit, clock=clock, sleep=sleep)
        self._floating_ips = FloatingIPs(network, self._vip_port, audit=audit)

    @property
    def project_id(self) -> str:
        """The project of the credential."""
        return self.neutron.project_id

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls were made so far, by (method, resource), over both services."""
        balancers = self.octavia.calls if self.octavia else Counter()
        return self.neutron.calls + self._floating_ips.calls + self._left_vips.calls + balancers

    def observe(self, cluster_id: str, *, networks: Sequence[str] = ()) -> Observation:
        """What exists: see `Neutron.observe`; beside it the project's floating IPs and the cluster's load balancers."""
        found = self.neutron.observe(cluster_id, networks=networks)
        errors: dict[Kind, KuryrError] = dict(found.errors)
        floating_ips = _listed(self._floating_ips.observe, {Kind.FLOATING_IP}, errors)
        balancers = _listed(lambda: self._octavia().observe(cluster_id), BALANCER_KINDS, errors)
        return msgspec.structs.replace(
            found,
            floating_ips=floating_ips,
            load_balancers=balancers,
            complete=(found.complete | BALANCER_KINDS | {Kind.FLOATING_IP}) - errors.keys(),
            errors=errors,
        )

    def apply(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        """Execute one batch of steps that are ready, in the order given; one outcome for each, in that order.

        `ids` are the ids behind the keys that specs name; those made in this batch are added for its later steps.
        Faults of the cloud are in the outcomes, never raised.
        """
        known = dict(ids)
        outcomes: list[Outcome] = []
        for apply, batch in groupby(steps, key=self._service):
            done = apply(list(batch), known)
            known |= _made(done)
            outcomes += done
        return outcomes

    def ports(self, query: Sequence[tuple[str, str]] = ()) -> tuple[Port, ...]:
        """Every port of the project that matches Neutron's filters. Raises KuryrError."""
        return self.neutron.ports(query)

    def trunks(self) -> tuple[Trunk, ...]:
        """Every trunk that the credential may see. Raises KuryrError."""
        return self.neutron.trunks()

    def quota(self) -> tuple[QuotaUse, ...]:
        """Limit and use of every resource that Neutron counts. Raises KuryrError."""
        return self.neutron.quota()

    def failover(self, balancer: LoadBalancer, reason: str) -> LoadBalancer:
        """See `Octavia.failover`."""
        return self._octavia().failover(balancer, reason)

    def _service(self, step: Step) -> Callable[[Sequence[Step], Mapping[Key, str]], list[Outcome]]:
        if step.kind is Kind.FLOATING_IP:
            return self._apply_floating_ips
        return self._apply_balancers if step.kind in BALANCER_KINDS else self.neutron.apply

    def _apply_floating_ips(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        return [self._floating_ips.apply(step, ids) for step in steps]

    def _apply_balancers(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        try:
            octavia = self._octavia()
        except KuryrError as error:
            return [Outcome(step, error=error) for step in steps]
        known = dict(ids)
        outcomes: list[Outcome] = []
        for step in steps:
            outcomes.append(octavia.apply(step, known))
            known |= _made(outcomes[-1:])
        return outcomes

    def _vip_port(self, balancer_id: str) -> str:
        return self._octavia().vip_port(balancer_id)

    def _octavia(self) -> Octavia:
        if self.octavia is None:
            raise Invalid(
                "the cloud's catalogue has no load-balancer service: Services get no load balancers",
                code="OCT-NONE",
                owner=Owner.OCTAVIA,
                hint="openstack catalog list; pods and policies need none",
            )
        return self.octavia


def _made(outcomes: Sequence[Outcome]) -> dict[Key, str]:
    """The ids of what was made. What is below a load balancer has no outcome of its own: that is the whole tree."""
    own = [each for each in outcomes if each.step.kind not in BALANCER_KINDS - {Kind.LOAD_BALANCER}]
    return {each.step.key: each.object.id for each in own if isinstance(each.object, CloudObject)}


def _listed(
    read: Callable[[], Sequence[T]], kinds: frozenset[Kind] | set[Kind], errors: dict[Kind, KuryrError]
) -> dict[str, T]:
    try:
        return {item.id: item for item in read()}
    except KuryrError as error:
        errors |= dict.fromkeys(kinds, error)
        return {}
