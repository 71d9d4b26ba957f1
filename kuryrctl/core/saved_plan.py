"""A plan as a document: its steps, and what was observed of every object that they touch, to be applied later.

A saved plan is compared with a newer observation field by field, in the fields that we manage. Revision numbers are no
part of it: they move by themselves. Does not know: files, how the comparison's observation was made, what is done next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from kuryrctl.core import saved_services
from kuryrctl.core.cloud import Network, Port, Router, SecurityGroup, SecurityGroupRule, Subnet
from kuryrctl.core.cluster import Interface, KuryrNode, KuryrPort, Node, Pod
from kuryrctl.core.diff import Difference, World
from kuryrctl.core.errors import Conflict, Invalid, Owner
from kuryrctl.core.findings import Finding
from kuryrctl.core.index import OwnObject
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Plan, Step
from kuryrctl.core.rules import content, content_of_spec, text
from kuryrctl.core.specs import Key, KuryrNodeSpec, KuryrPortSpec, PortSpec, Spec
from kuryrctl.core.subjects import CLUSTER, subject_of_key, uid_of_key

SAVED_SCHEMA = "kuryrctl.saved-plan/1"
MAKE_ONE = "make a new plan: kuryrctl reconcile --save-plan FILE"
_OURS = "kuryr:"

Fields = Mapping[str, str]
StepIdentity = tuple[Key, Action, str]
Thing = OwnObject | SecurityGroupRule | KuryrPort | KuryrNode | Pod | Node


class Seen(Struct, frozen=True):
    """One object as the plan's maker saw it: the fields that matter to the plan, as text; none where it did not exist.

    `key` is the desired state's key; for whom a step serves, the subject (``pod/UID``, ``node/UID``).
    """

    kind: Kind
    key: Key
    id: str = ""
    exists: bool = False
    fields: dict[str, str] = {}


class SavedPlan(Struct, frozen=True, kw_only=True):
    """The document. `made_at` is RFC 3339 in UTC, `made_by` names the person and the machine, for people.

    `only` are the kinds that the plan was narrowed to; empty: all.
    """

    schema: str = SAVED_SCHEMA
    cluster_id: str
    kube_system_uid: str
    project_id: str
    made_at: str
    made_by: str
    only: tuple[Kind, ...] = ()
    steps: tuple[Step, ...] = ()
    observed: tuple[Seen, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def plan(self) -> Plan:
        """The steps as a plan."""
        return Plan(self.steps)


class Stale(Struct, frozen=True):
    """One reason why a saved plan must not be applied: `what` is the object, `why` what is different now."""

    what: str
    why: str


class _Head(Struct):
    schema: str = ""


def identity(step: Step) -> StepIdentity:
    """What makes two steps the same step."""
    return step.key, step.action, step.id


def saved_plan(
    world: World, difference: Difference, *, made_at: str, made_by: str, only: Iterable[Kind] = ()
) -> SavedPlan:
    """A plan with what was observed of the objects that it touches, uses or serves."""
    steps = difference.plan.steps
    seen = {(each.kind, each.key, each.id): each for step in steps for each in _of_step(step, world)}
    return SavedPlan(
        cluster_id=world.own.identity.cluster_id,
        kube_system_uid=world.cluster.kube_system_uid,
        project_id=world.own.identity.project_id,
        made_at=made_at,
        made_by=made_by,
        only=tuple(only),
        steps=steps,
        observed=tuple(seen.values()),
        findings=difference.findings,
    )


def encode(saved: SavedPlan) -> bytes:
    """The document, indented: people review it, too."""
    return msgspec.json.format(msgspec.json.encode(saved)) + b"\n"


def decode(data: bytes, source: str) -> SavedPlan:
    """The document of a file; `source` names it in errors. Raises Invalid (PLAN-FILE)."""
    try:
        schema = msgspec.json.decode(data, type=_Head).schema
    except msgspec.DecodeError as error:
        raise _bad(f"{source} is no saved plan: it is not a JSON object with a schema ({error})") from error
    if schema != SAVED_SCHEMA:
        raise _bad(f'{source} is no saved plan that this version reads: its schema is "{schema}", not "{SAVED_SCHEMA}"')
    try:
        saved = msgspec.json.decode(data, type=SavedPlan)
    except msgspec.DecodeError as error:
        raise _bad(f"{source} is a damaged plan: {error}") from error
    known = {(each.kind, each.key, each.id) for each in saved.observed}
    for step in saved.steps:
        if (step.kind, step.key, step.id) not in known:
            raise _bad(f"{source} is a damaged plan: it does not say what was observed of {step.key}")
    return saved


def same_cluster(saved: SavedPlan, *, cluster_id: str, kube_system_uid: str = "", project_id: str = "") -> None:
    """Raises Invalid (PLAN-CLUSTER) where the plan is another cluster's, or another project's. Empty: not known yet."""
    told = (
        ("cluster", saved.cluster_id, cluster_id),
        ("the Kubernetes cluster whose kube-system is", saved.kube_system_uid, kube_system_uid),
        ("project", saved.project_id, project_id),
    )
    for noun, planned, here in told:
        if here and planned != here:
            raise Invalid(
                f"plan not applied, nothing done: it was made for {noun} {planned or '(unknown)'}, this is {here}",
                code="PLAN-CLUSTER",
                owner=Owner.USER,
                hint="use the kubeconfig, cloud and cluster id that it was made with, or make a plan for this cluster",
            )


def refuse(stale: Iterable[Stale]) -> None:
    """Raises Conflict (PLAN-STALE) with the first reason, before anything is done."""
    reasons = list(stale)
    if reasons:
        others = len(reasons) - 1
        more = f" (and {others} more difference{'s' * (others > 1)})" if others else ""
        raise stale_error(f"plan not applied, nothing done: {reasons[0].what}: {reasons[0].why}{more}")


def stale_error(message: str) -> Conflict:
    """A plan, or one step of it, that does not fit what is there any more."""
    return Conflict(message, code="PLAN-STALE", owner=Owner.USER, hint=MAKE_ONE)


def changed(seen: Iterable[Seen], world: World) -> Iterator[Stale]:
    """What of these objects is different now: existence first, then field by field."""
    for then in seen:
        now = _fields(then.kind, then.key, then.id, world)
        what = f"{then.key} ({then.id})" if then.id else then.key
        if now is None and then.exists:
            yield Stale(what, "it existed when the plan was made, and is gone now")
        elif now is not None and not then.exists:
            yield Stale(what, "it did not exist when the plan was made, and does now")
        elif now is not None:
            for field in sorted(then.fields.keys() | now.keys()):
                before, after = then.fields.get(field, ""), now.get(field, "")
                if before != after:
                    yield Stale(what, _was(field, before, after))


def unwanted(steps: Iterable[Step], fresh: Plan) -> Iterator[Stale]:
    """The steps that a plan made now would not contain in the same form."""
    planned = list(steps)
    by_key = {step.key: step for step in fresh}
    chosen = {step.key for step in planned}
    for step in planned:
        now = by_key.get(step.key)
        if now is None:
            yield Stale(step.key, f"the plan would {step.action} it, and nothing asks for that any more")
        elif identity(now) != identity(step) or now.kind is not step.kind:
            yield Stale(step.key, f"the plan would {step.action} it, and what it needs now is: {now.summary}")
        elif now.spec != step.spec:
            yield Stale(step.key, _spec_difference(step.spec, now.spec))
        elif now.changes != step.changes:
            told = {change.field: change for change in step.changes}
            other = next((c for c in now.changes if told.get(c.field) != c), None)
            was = told.get(other.field) if other else None
            field = other.field if other else step.changes[0].field
            yield Stale(step.key, _was(f"the planned {field}", was.after if was else "", other.after if other else ""))
        else:
            lacking = [key for key in now.needs if key in by_key and key not in chosen]
            if lacking:
                yield Stale(step.key, f"it needs {lacking[0]} to be done first, which the plan does not contain")


def exists(step: Step, world: World) -> bool:
    """Whether the object that the step is about exists now."""
    return _fields(step.kind, step.key, step.id, world) is not None


# -- how


def _of_step(step: Step, world: World) -> Iterator[Seen]:
    """The object of a step, whom it serves, and the objects that its spec names."""
    yield _seen(step.kind, step.key, step.id, world)
    subject = subject_of_key(step.key)
    if subject != CLUSTER:
        yield _seen(Kind(subject.partition("/")[0]), subject, "", world)
    for key in _references(step.spec):
        yield _seen(Kind(key.partition("/")[0]), key, "", world)


def _references(spec: Spec | None) -> tuple[Key, ...]:
    match spec:
        case PortSpec():
            return (spec.network, *(address.subnet for address in spec.addresses), *spec.security_groups)
        case KuryrPortSpec() | KuryrNodeSpec():
            return ("network/pods", spec.port)
    return saved_services.references(spec)


def _seen(kind: Kind, key: Key, id_: str, world: World) -> Seen:
    fields = _fields(kind, key, id_, world)
    return Seen(kind, key, id_, fields is not None, dict(fields or {}))


def _fields(kind: Kind, key: Key, id_: str, world: World) -> Fields | None:
    """What matters of the object, or None where it does not exist. With an id, it must be the one with this id."""
    if kind in saved_services.KINDS:
        return saved_services.fields(kind, key, id_, world)
    thing = _find(kind, key, id_, world)
    return None if thing is None else _managed(thing)


def _find(kind: Kind, key: Key, id_: str, world: World) -> Thing | None:
    uid = uid_of_key(key)
    match kind:
        case Kind.PORT:
            return world.ports.by_id(id_) if id_ else next(iter(world.ports.of(key)), None)
        case Kind.KURYR_PORT:
            held = world.assignments.get(uid)
            return held if held and id_ in ("", held.uid) else None
        case Kind.KURYR_NODE:
            node = world.cluster.kuryr_nodes.get(key.partition("/")[2])
            return node if node and id_ in ("", node.uid) else None
        case Kind.POD:
            return world.cluster.pods.get(key.partition("/")[2])
        case Kind.NODE:
            name = key.partition("/")[2]
            return world.nodes.get(name) or world.cluster.nodes.get(name)
    return _find_policed(kind, key, id_, world) if subject_of_key(key) != CLUSTER else world.own.objects.get(key)


def _find_policed(kind: Kind, key: Key, id_: str, world: World) -> Thing | None:
    """A group of the NetworkPolicies, or one of its rules."""
    if kind is Kind.SECURITY_GROUP_RULE:
        return _find_rule(key, id_, world)
    found = world.policed.groups.of(subject_of_key(key))
    return next((group for group in found if id_ in ("", group.id)), None)


def _find_rule(key: Key, id_: str, world: World) -> SecurityGroupRule | None:
    """The rule with this id, or (without one) the rule that says what the one with this key should."""
    policed, subject = world.policed, subject_of_key(key)
    rules = [rule for group in policed.groups.of(subject)[:1] for rule in group.security_group_rules]
    if id_:
        return next((rule for rule in rules if rule.id == id_), None)
    group = policed.policies.group(subject)
    said = {content_of_spec(spec, policed.id_of) for spec in (group.rules if group else ()) if spec.key == key}
    return next((rule for rule in rules if content(rule) in said), None)


def _managed(thing: Thing) -> Fields:
    fields: Fields
    match thing:
        case Port():
            fields = _of_port(thing)
        case KuryrPort():
            fields = {"uid": thing.uid, "podUid": thing.pod_uid, "node": thing.node, **_interfaces(thing.interfaces)}
        case KuryrNode():
            fields = {"uid": thing.uid, **_interfaces((thing.node_port,) if thing.node_port else ())}
        case Pod():
            fields = {"node": thing.node, "wants a port": "yes" if thing.wants_port else "no"}
        case Node():
            fields = {"uid": thing.uid, "name": thing.name}
        case Network():
            fields = {"id": thing.id, "mtu": str(thing.mtu)}
        case Subnet():
            fields = {"id": thing.id, "cidr": thing.cidr, "gateway_ip": thing.gateway_ip or ""}
        case SecurityGroup():
            rules = sorted(text(content(rule)) for rule in thing.security_group_rules)
            fields = {"id": thing.id, "rules": "; ".join(rules)}
        case SecurityGroupRule():
            fields = {"id": thing.id, "says": text(content(thing))}
        case Router():
            fields = {"id": thing.id}
    return fields


def _of_port(port: Port) -> Fields:
    return {
        "id": port.id,
        "name": port.name,
        "network_id": port.network_id,
        "mac_address": port.mac_address,
        "addresses": _set(fixed.ip_address for fixed in port.fixed_ips),
        "security_groups": _set(port.security_groups),
        "device_owner": port.device_owner,
        "device_id": port.device_id,
        "host": port.host,
        "vif_type": port.vif_type,
        "description": port.description,
        "tags": _set(tag for tag in port.tags if tag.startswith(_OURS)),
    }


def _interfaces(interfaces: tuple[Interface, ...]) -> Fields:
    return {
        f"interfaces[{index}].{name}": _text(getattr(interface, name))
        for index, interface in enumerate(interfaces)
        for name in Interface.__struct_fields__
    }


def _set(texts: Iterable[str]) -> str:
    return " ".join(sorted(texts))


def _text(value: object) -> str:
    if isinstance(value, Struct):
        return ",".join(_text(getattr(value, name)) for name in value.__struct_fields__)
    return " ".join(map(_text, value)) if isinstance(value, tuple) else str(value)


def _was(field: str, before: str, after: str) -> str:
    return f"{field} was {before or 'not set'} when the plan was made, and is {after or 'not set'} now"


def _spec_difference(then: Spec | None, now: Spec | None) -> str:
    if then is None or now is None or type(then) is not type(now):
        return "what it should become is different now"
    field = next(name for name in then.__struct_fields__ if getattr(then, name) != getattr(now, name))
    return _was(f"the planned {field}", _text(getattr(then, field)), _text(getattr(now, field)))


def _bad(message: str) -> Invalid:
    return Invalid(message, code="PLAN-FILE", owner=Owner.USER, hint=MAKE_ONE)
