"""What the commands about Services read: rows of both sides, or of a saved world.

Does not know: how rows are joined (`core.service_sights`) or printed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from kuryrctl.cli.engine import planning_parts
from kuryrctl.cli.settings import Settings
from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.conditions import port_rows
from kuryrctl.core.diff import Scope
from kuryrctl.core.errors import NotFound, Owner, Unavailable
from kuryrctl.core.plan import Plan, Step
from kuryrctl.core.service_rows import ServiceRow
from kuryrctl.core.service_sights import Moment, rows_of
from kuryrctl.reconcile import Part
from kuryrctl.reconcile.failover import balancers_of
from kuryrctl.reconcile.once import looking
from kuryrctl.reconcile.turn import Turn


def read_rows(settings: Settings) -> list[ServiceRow]:
    """All Services now, and what is left of others. Raises KuryrError, also where load balancers cannot be read."""
    with looking(planning_parts(settings), Scope.PODS) as turn:
        demand_octavia(turn)
        return rows_now(settings, turn, turn.difference().plan)


def read_balancers(settings: Settings, service: str) -> list[LoadBalancer]:
    """The load balancers of a Service (``namespace/name``) now. Raises NotFound where there is none of ours."""
    with looking(planning_parts(settings), Scope.PODS) as turn:
        demand_octavia(turn)
        return balancers_of(turn, service)


def rows_now(settings: Settings, turn: Turn, plan: Plan) -> list[ServiceRow]:
    """The rows of a turn that has observed, and plans this."""
    world = turn.state.world()
    cloud = msgspec.structs.replace(turn.state.cloud, ports={port.id: port for port, _ in world.ports})
    ports = port_rows(world.cluster, cloud, settings.config)
    now_s = settings.world.made_at.timestamp() if settings.world else time.time()
    return rows_of(Moment(world, settings.config, plan.steps, tuple(ports), now_s))


def demand_octavia(turn: Turn) -> None:
    """Raises why load balancers cannot be told of, where they cannot."""
    for fault in turn.unread:
        raise fault
    if not turn.state.world().services_known:
        raise Unavailable(
            "load balancers and floating IPs were not read in full",
            code="OCT-UNREAD",
            owner=Owner.OCTAVIA,
            hint="kuryrctl status says why; a saved world may be older than this version",
        )


def demanding_octavia(part: Part) -> Part:
    """The part of a run, which ends by an error where load balancers cannot be told of."""

    def narrow(turn: Turn) -> None:
        part(turn)
        choose = turn.choose

        def checked(steps: Iterable[Step]) -> list[Step]:
            demand_octavia(turn)
            return choose(steps)

        turn.choose = checked

    return narrow


def find(rows: Iterable[ServiceRow], wanted: str) -> ServiceRow:
    """The row of ``namespace/name``, or of a name in namespace default. Raises NotFound."""
    name = wanted if "/" in wanted else f"default/{wanted}"
    found = next((row for row in rows if f"{row.namespace}/{row.service}" == name), None)
    if found is None:
        raise NotFound(
            f"there is no Service {name}",
            code="SVC-NOT-FOUND",
            owner=Owner.USER,
            hint="kuryrctl service list shows them; one is named NAMESPACE/NAME",
        )
    return found
