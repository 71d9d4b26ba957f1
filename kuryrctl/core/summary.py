"""One cluster on one screen: what there is, how much of it is well, and what is wrong with the rest.

Does not know: how it was read, how it is printed, what time it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.conditions import Condition, PortRow
from kuryrctl.core.errors import KuryrError, Owner, Retryable
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Plan
from kuryrctl.core.service_rows import ServiceCondition, ServiceRow

STATUS_SCHEMA = "kuryrctl.status/1"
NO_OCTAVIA = "OCT-NONE"
HEARTBEAT_LATE_S = 35.0
"""An agent reports every 10 s; after three missed reports it counts as silent."""


class Severity(StrEnum):
    """How bad a problem is; a note is none."""

    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


class Problem(Struct, frozen=True):
    """One thing that is wrong: with what, whose part it is, what to do next."""

    severity: Severity
    subject: str
    message: str
    owner: Owner
    hint: str = ""


class NodeSummary(Struct, frozen=True):
    """A node: whether Kubernetes calls it ready, its agent's last report in seconds (None: never), what it holds."""

    name: str
    ready: bool
    agent_version: str
    heartbeat_age_s: float | None
    plugged: int
    addresses: tuple[str, ...]


class Summary(Struct, frozen=True, kw_only=True):
    """See the module. `engine` is the holder of the cluster's Lease, empty where nobody holds it.

    `conditions` count pods and ports, `services` Services. `plan_steps` is None where no plan could be made; `engine`,
    `pods`, `ports` and `services` are None where they could not be read (`problems` says why).
    """

    schema: str = STATUS_SCHEMA
    cluster_id: str
    kube_system_uid: str
    project_id: str
    engine: str | None
    plan_steps: int | None
    pods: int | None
    ports: int | None
    conditions: Mapping[str, int]
    services: Mapping[str, int] | None
    nodes: tuple[NodeSummary, ...]
    problems: tuple[Problem, ...]

    @property
    def worst(self) -> Severity | None:
        """The worst problem's severity, notes not counted; None: all is well."""
        severities = {problem.severity for problem in self.problems}
        return next((each for each in (Severity.FAILURE, Severity.WARNING) if each in severities), None)


class Facts(Struct, frozen=True):
    """What a summary is made of.

    `unread` says by part (``cloud``, ``cluster``, ``engine``) why it could not be read: `rows`, `services`, `engine`
    and `plan` are then None where they need it. `plan` None although all was read: `fault` says why there is none.
    """

    cluster: ClusterState
    rows: Sequence[PortRow] | None
    engine: str | None
    plan: Plan | None
    findings: Sequence[Finding] = ()
    fault: KuryrError | None = None
    errors: Mapping[Kind, KuryrError] = {}
    unread: Mapping[str, KuryrError] = {}
    services: Sequence[ServiceRow] | None = None


def summarise(cluster_id: str, project_id: str, facts: Facts, now_s: float) -> Summary:
    """The summary of one reading."""
    nodes = tuple(_nodes(facts.cluster, now_s))
    return Summary(
        cluster_id=cluster_id,
        kube_system_uid=facts.cluster.kube_system_uid,
        project_id=project_id,
        engine=facts.engine,
        plan_steps=None if facts.plan is None else len(facts.plan),
        pods=None if facts.rows is None else sum(bool(row.pod) for row in facts.rows),
        ports=None if facts.rows is None else sum(bool(row.port_id) for row in facts.rows),
        conditions=_counts(facts.rows or ()),
        services=None if facts.services is None else _counts(facts.services),
        nodes=nodes,
        problems=tuple(_problems(facts, nodes)),
    )


def _counts(rows: Iterable[PortRow | ServiceRow]) -> dict[str, int]:
    return dict(sorted(Counter(row.condition.value for row in rows).items()))


def _nodes(cluster: ClusterState, now_s: float) -> Iterator[NodeSummary]:
    for name, node in sorted(cluster.nodes.items()):
        told = cluster.kuryr_nodes.get(name)
        heartbeat_s = told.heartbeat_s if told else 0.0
        yield NodeSummary(
            name=name,
            ready=node.ready,
            agent_version=told.version if told else "",
            heartbeat_age_s=round(max(0.0, now_s - heartbeat_s), 1) if heartbeat_s else None,
            plugged=len(told.plugged) if told else 0,
            addresses=told.node_port.addresses if told and told.node_port else (),
        )


def _problems(facts: Facts, nodes: Iterable[NodeSummary]) -> Iterator[Problem]:
    """The cause before its consequences: what cannot be read, the engine, nodes, single ports, the plan."""
    for part, error in facts.unread.items():
        how = "unreachable" if isinstance(error, Retryable) else "cannot be read"
        yield Problem(Severity.FAILURE, part, f"{how}: {error.message}", error.owner, error.hint)
    yield from _unread_kinds(facts.errors)
    if facts.fault:
        yield Problem(Severity.FAILURE, "cluster", facts.fault.message, facts.fault.owner, facts.fault.hint)
    if facts.engine == "":
        hint = "kuryrctl reconcile --watch, or a cron job that runs kuryrctl reconcile"
        yield Problem(Severity.WARNING, "engine", "nobody reconciles this cluster now", Owner.USER, hint)
    for node in nodes:
        yield from _node_problems(node)
    rows = facts.rows or ()
    for row in rows:
        if row.condition not in (Condition.OK, Condition.PENDING):
            subject = f"{row.namespace}/{row.pod}" if row.pod else f"port {row.port_id}"
            legacy = row.condition in (Condition.LEGACY, Condition.FOREIGN)
            yield Problem(
                Severity.WARNING if legacy else Severity.FAILURE,
                subject,
                f"{row.condition.value}: {row.detail}" if row.detail else row.condition.value,
                Owner.USER if legacy else Owner.KURYRCTL,
                f"kuryrctl port show {subject}" if row.pod else f"kuryrctl port show {row.port_id}",
            )
    services = facts.services or ()
    yield from map(_service_problem, filter(lambda row: row.broken, services))
    suspicious = {row.port_id for row in rows if row.condition is Condition.FOREIGN}
    suspicious |= {id_ for row in services for id_ in row.load_balancers}
    for finding in facts.findings:
        if finding.id not in suspicious and finding.code not in _OF_ROWS:
            severity = Severity.FAILURE if finding.code is FindingCode.QUOTA else Severity.WARNING
            yield Problem(severity, finding.name or finding.id, finding.message, Owner.USER)
    if facts.plan and not facts.engine:
        hint = "kuryrctl reconcile --dry-run shows it, kuryrctl reconcile repairs it"
        yield Problem(Severity.FAILURE, "drift", f"{len(facts.plan)} changes to make", Owner.KURYRCTL, hint)


_OF_ROWS = frozenset({FindingCode.REFUSED, FindingCode.BROKEN})
"""What the rows of Services say as well, and better."""
_WARNINGS = frozenset(
    {ServiceCondition.NO_ENDPOINTS, ServiceCondition.LIMITED, ServiceCondition.FOREIGN, ServiceCondition.NO_SERVICE}
)
"""What a Service's own user asked for, or what serves nobody: nothing that works is broken by it."""


def _service_problem(row: ServiceRow) -> Problem:
    severity = Severity.WARNING if row.condition in _WARNINGS else Severity.FAILURE
    subject = f"service {row.namespace}/{row.service}" if row.service else f"load balancer {row.load_balancers[0]}"
    owner = row.link.owner if row.link and row.link.owner else Owner.USER
    hint = f"kuryrctl service show {row.namespace}/{row.service}" if row.service else "kuryrctl service list --long"
    return Problem(severity, subject, f"{row.condition}: {row.detail}", owner, hint)


def _unread_kinds(errors: Mapping[Kind, KuryrError]) -> Iterator[Problem]:
    """Kinds that could not be listed, by the reason why. A cloud without Octavia is its operator's choice."""
    told: dict[str, tuple[list[Kind], KuryrError]] = {}
    for kind, error in errors.items():
        told.setdefault(error.message, ([], error))[0].append(kind)
    for kinds, error in told.values():
        if error.code == NO_OCTAVIA:
            yield Problem(Severity.NOTE, "services", error.message, error.owner, error.hint)
        else:
            subject = ", ".join(sorted(kinds))
            yield Problem(Severity.FAILURE, subject, f"not read: {error.message}", error.owner, error.hint)


def _node_problems(node: NodeSummary) -> Iterator[Problem]:
    subject = f"node {node.name}"
    if not node.ready:
        yield Problem(Severity.FAILURE, subject, "not Ready", Owner.KUBERNETES, f"kubectl describe node {node.name}")
    if node.heartbeat_age_s is None:
        hint = "on the node: kuryrctl node install, then run kuryrctl node agent"
        yield Problem(Severity.FAILURE, subject, "its agent has never reported", Owner.NODE, hint)
    elif node.heartbeat_age_s > HEARTBEAT_LATE_S:
        message = f"its agent has been silent for {node.heartbeat_age_s:.0f} s"
        yield Problem(Severity.FAILURE, subject, message, Owner.NODE, "look at the agent's log on the node")
