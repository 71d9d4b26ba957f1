"""Failing over the load balancers of one Service, as the cluster's only writer.

Does not know: command lines, who confirmed it.
"""

from __future__ import annotations

from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.diff import Scope
from kuryrctl.core.errors import Invalid, NotFound, Owner
from kuryrctl.core.providers import PROVIDERS
from kuryrctl.reconcile.contracts import Lease
from kuryrctl.reconcile.once import leading, observe
from kuryrctl.reconcile.turn import Parts, Turn


def fail_over(parts: Parts, lease: Lease, service: str, wait_s: float = 0.0) -> tuple[LoadBalancer, ...]:
    """Have the provider make anew what carries the load balancers of a Service (``namespace/name``); as they are then.

    Raises NotFound where it has none of ours, Invalid (SVC-NO-FAILOVER) where its provider cannot, Conflict where the
    lease is not free within `wait_s` seconds, and what observing and Octavia raise. Nothing is begun where one cannot.
    """
    with leading(parts, lease, Scope.PODS, wait_s) as turn:
        observe(turn)
        turn.check()
        for fault in turn.unread:
            raise fault
        found = balancers_of(turn, service)
        for balancer in found:
            refuse_where_impossible(balancer)
        return tuple(parts.cloud.failover(each, f"somebody asked to fail over Service {service}") for each in found)


def refuse_where_impossible(balancer: LoadBalancer) -> None:
    """Raises Invalid where the provider has nothing to fail over."""
    known = next((each for each in PROVIDERS.values() if each.is_named(balancer.provider)), None)
    if known is not None and not known.failover:
        raise Invalid(
            f"load balancer {balancer.id} cannot be failed over: with {known.name} it is flows on every node, and no"
            " machine carries it",
            code="SVC-NO-FAILOVER",
            owner=Owner.OCTAVIA,
            hint="kuryrctl service show names its first broken link; what is in ERROR: kuryrctl service sync --repair",
        )


def balancers_of(turn: Turn, service: str) -> list[LoadBalancer]:
    """The load balancers of a Service, of a turn that has observed. Raises NotFound where there is none of ours."""
    world = turn.state.world()
    there = world.cluster.services.get(service)
    found = world.balancers.of(there.uid) if there else {}
    if not found:
        what = "has no load balancer of ours" if there else "does not exist"
        raise NotFound(
            f"nothing is failed over: Service {service} {what}",
            code="SVC-NOT-FOUND",
            owner=Owner.USER,
            hint="kuryrctl service list shows Services and their load balancers",
        )
    return [each for balancers in found.values() for each in balancers]
