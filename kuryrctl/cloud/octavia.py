"""Octavia as the engine and the commands see it: whole load balancers, steps on them, failover.

Does not know: what should exist or in which order; floating IPs, which are Neutron's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from kuryrctl.cloud.balancer_parts import Parts, is_gone
from kuryrctl.cloud.balancer_quota import refusal
from kuryrctl.cloud.balancers import Balancers
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.left_vips import LeftVips
from kuryrctl.cloud.meanings import OCTAVIA
from kuryrctl.cloud.octavia_wire import BALANCERS
from kuryrctl.cloud.recording import Audit, recorder
from kuryrctl.cloud.transport import Transport
from kuryrctl.cloud.trees import Trees
from kuryrctl.cloud.waiting import WAIT_S, Waiter
from kuryrctl.core import names
from kuryrctl.core.balancers import BalancerHead, LoadBalancer
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key, LoadBalancerSpec


class Octavia:
    """The load balancers of one project. Safe to use from several threads. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        transport: Transport,
        left_vips: LeftVips,
        *,
        audit: Audit | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wait_s: float = WAIT_S,
    ) -> None:
        self._client = Client(transport, OCTAVIA)
        self._left_vips = left_vips
        self._log = recorder(audit)
        self._trees = Trees(self._client, clock)
        self._waiter = Waiter(self._client, clock, sleep, wait_s)

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls were made, by (method, resource): ``("PUT", "pools/members")``."""
        return self._client.calls

    def observe(self, cluster_id: str) -> tuple[LoadBalancer, ...]:
        """The cluster's load balancers, by tag or else by description, as whole trees. Raises KuryrError."""

        def ours(row: BalancerHead) -> bool:
            marked = names.cluster_of(row.tags) or names.cluster_of(names.described(row.description))
            return marked == cluster_id

        try:
            return self._trees.all(ours)
        except Refused as refused:
            raise refused.error("load balancers not listed") from None

    def apply(self, step: Step, ids: Mapping[Key, str]) -> Outcome:
        """Execute one step and wait until it is effective; the whole load balancer afterwards, None after its deletion.

        `ids` are the ids behind the keys that the spec names. Faults of the cloud are in the outcome, never raised.
        """
        try:
            return Outcome(step, object=self._execute(step, ids))
        except Refused as refused:
            if is_gone(refused, step):
                return Outcome(step)
            what = f"{step.action} of {_object(step)} failed"
            return Outcome(step, error=refusal(self._client, refused, what))
        except KuryrError as error:
            return Outcome(step, error=error)

    def failover(self, balancer: LoadBalancer, reason: str) -> LoadBalancer:
        """Have the provider make anew what carries a load balancer of ours. Raises KuryrError (OCT-UNSUPPORTED)."""
        key = f"{Kind.LOAD_BALANCER}/{balancer.id}"
        step = Step(action=Action.UPDATE, kind=Kind.LOAD_BALANCER, key=key, id=balancer.id, reason=reason)
        try:
            return self._balancers({}).failover(step)
        except Refused as refused:
            raise refused.error(f"failover of load balancer {balancer.id} failed") from None

    def vip_port(self, balancer_id: str) -> str:
        """The id of the port that has the load balancer's address. Raises KuryrError."""
        try:
            return self._client.get(BALANCERS, balancer_id).vip_port_id
        except Refused as refused:
            raise refused.error(f"load balancer {balancer_id} not read") from None

    def _execute(self, step: Step, ids: Mapping[Key, str]) -> LoadBalancer | None:
        balancers = self._balancers(ids)
        if step.kind is not Kind.LOAD_BALANCER:
            return Parts(self._client, self._trees, balancers, ids).execute(step)
        match step.action, step.spec:
            case Action.CREATE, LoadBalancerSpec() as spec:
                return balancers.create(step, spec)
            case Action.DELETE, _:
                balancers.delete(step)
                return None
            case _, LoadBalancerSpec() as spec:
                return balancers.update(step, spec)
        raise TypeError(f"{step.key} has no LoadBalancerSpec")

    def _balancers(self, ids: Mapping[Key, str]) -> Balancers:
        return Balancers(self._client, self._trees, self._waiter, ids, self._log, left_vips=self._left_vips)


def _object(step: Step) -> str:
    subject = f" of {step.subject}" if step.subject else ""
    return f"{step.kind} {step.id or step.key}{subject}"
