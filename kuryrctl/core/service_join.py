"""Services joined with their load balancers into rows: the condition of each is that of its first broken link.

Does not know: how a Service becomes a load balancer, how rows are filtered or printed.
"""

from __future__ import annotations

from collections.abc import Sequence

from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.lint import Level, LintFinding
from kuryrctl.core.service_links import Layer, Link, State
from kuryrctl.core.service_rows import ServiceCondition, ServiceRow
from kuryrctl.core.service_tree import Sight, tree

_OF_STATE = {
    State.MISSING: ServiceCondition.DRIFT,
    State.DIFFERENT: ServiceCondition.DRIFT,
    State.SURPLUS: ServiceCondition.DRIFT,
    State.ERROR: ServiceCondition.ERROR,
    State.STUCK: ServiceCondition.STUCK,
    State.OFFLINE: ServiceCondition.DEGRADED,
    State.FAULTY: ServiceCondition.DEGRADED,
    State.EMPTY: ServiceCondition.NO_ENDPOINTS,
}


def service_row(sight: Sight, *, skipped: str = "", notes: Sequence[LintFinding] = ()) -> ServiceRow:
    """The row of one Service. `skipped` says why it is to have no load balancer, `notes` what it asks for in vain.

    Notes that are no more than notes, or that its user has accepted, do not count for the condition.
    """
    grown = tree(sight)
    condition, detail = _condition(grown, sight, skipped, notes)
    service = sight.service
    namespace, _, name = sight.name.partition("/")
    members = [link for link in grown.walk() if link.layer is Layer.MEMBER and link.state is not State.SURPLUS]
    found = list(sight.balancers.values())
    return ServiceRow(
        namespace=namespace,
        service=name,
        uid=service.uid if service else "",
        type=service.type if service else "",
        ports=tuple(f"{port.port}/{port.protocol}" for port in service.ports) if service else (),
        cluster_ips=service.cluster_ips if service else (),
        vips=tuple(each.vip_address for each in found),
        floating_ips=tuple(each.floating_ip_address for each in sight.floating_ips.values()),
        load_balancers=tuple(each.id for each in found),
        provider=", ".join(sorted({each.provider for each in found})),
        members_ready=sum(not link.broken for link in members),
        members_total=len(members),
        provisioning_status=_worst([each.provisioning_status for each in found], _PROVISIONING),
        operating_status=_worst([each.operating_status for each in found], _OPERATING),
        condition=condition,
        detail=detail,
        notes=tuple(notes),
        link=grown.first_broken,
        tree=grown,
    )


def foreign_row(balancer: LoadBalancer, why: str) -> ServiceRow:
    """The row of a load balancer that only looks like one of ours."""
    link = Link(Layer.LOAD_BALANCER, balancer.vip_address, balancer.id)
    return ServiceRow(
        namespace="",
        service="",
        vips=(balancer.vip_address,),
        load_balancers=(balancer.id,),
        provider=balancer.provider,
        provisioning_status=balancer.provisioning_status,
        operating_status=balancer.operating_status,
        condition=ServiceCondition.FOREIGN,
        detail=f"it carries our tags, but {why}",
        tree=link,
    )


def _condition(grown: Link, sight: Sight, skipped: str, notes: Sequence[LintFinding]) -> tuple[ServiceCondition, str]:
    """The cause before its consequences."""
    broken = grown.first_broken
    if sight.service is None:
        return ServiceCondition.NO_SERVICE, "it served a Service that does not exist any more"
    if broken is not None:
        condition = _OF_STATE[broken.state]
        if broken.layer is Layer.LOAD_BALANCER and broken.state is State.MISSING:
            condition = ServiceCondition.NO_BALANCER
        return condition, f"{broken.layer} {broken.name}: {broken.detail}"
    limits = [each.message for each in notes if not each.accepted and each.check.level is not Level.NOTE]
    if limits:
        return ServiceCondition.LIMITED, "; ".join(limits)
    if skipped:
        return ServiceCondition.SKIPPED, skipped
    waiting = next((link for link in grown.walk() if link.state is State.PENDING), None)
    if waiting is not None:
        return (
            ServiceCondition.PENDING,
            f"{waiting.layer} {waiting.name}: {waiting.provisioning_status or waiting.detail}",
        )
    return ServiceCondition.OK, ""


_PROVISIONING = ("ERROR", "PENDING_DELETE", "PENDING_CREATE", "PENDING_UPDATE", "DELETED", "ACTIVE")
_OPERATING = ("ERROR", "OFFLINE", "DEGRADED", "DRAINING", "NO_MONITOR", "ONLINE")


def _worst(words: Sequence[str], order: Sequence[str]) -> str:
    """The first of these words in this order; one that is in no order comes before all."""
    return min(words, key=lambda word: order.index(word) if word in order else -1, default="")
