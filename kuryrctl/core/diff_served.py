"""The difference for one pod or one node: its port and its assignment (KuryrPort, KuryrNode).

At most one step for each object at a time; what follows from its outcome is a later difference. Does not know: the
shared objects' differences, how many deletions are too many.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import replace

from kuryrctl.core.assign import NODE_INTERFACE, interface
from kuryrctl.core.cloud import Port
from kuryrctl.core.cluster import Interface, KuryrNode, KuryrPort, Node, Pod
from kuryrctl.core.desired import kuryr_node_key, kuryr_port_key, node_key, pod_key
from kuryrctl.core.diff_groups import Order, Policed
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.index import Own, Ports
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import Proof
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.specs import Key, KuryrNodeSpec, KuryrPortSpec, PortSpec, Spec


def serve_pod(
    pod: Pod,
    specs: Mapping[Key, Spec],
    *,
    held: KuryrPort | None,
    previous: KuryrPort | None,
    ports: Ports,
    own: Own,
    policed: Policed,
) -> Iterator[Step]:
    """The steps for a pod on the pod network.

    `held` is the pod's own KuryrPort; `previous` the one under its name, which may be an earlier pod's.
    """
    who = f"pod {pod.full_name}"
    port_spec, assignment = _port_spec(specs[pod_key(pod.uid)]), specs[kuryr_port_key(pod.namespace, pod.name, pod.uid)]
    assert isinstance(assignment, KuryrPortSpec)
    preferred = held.interfaces[0].port_id if held and held.interfaces else ""
    found = ports.of(port_spec.key, preferred)
    port = found[0] if found else None
    missing = f"{who} has no port" if not held else f"the port of {who} is gone; it comes back as it was"
    changes = tuple(_port_changes(port_spec, port, policed.key_of)) if port else ()
    port_steps = list(_port_steps(port_spec, port, changes, ports=ports, who=who, missing=missing))
    order = policed.order_of_port(pod.uid, port) if port_steps else Order()
    port_steps = [replace(step, needs=order.needs, after=order.after) for step in port_steps]
    yield from port_steps
    yield from _doubles(found[1:], port_spec.key, who, (assignment.key,))

    needs = tuple(step.key for step in port_steps)  # also of a change: its final groups come before its interface
    if held is None:
        if previous is not None:
            yield _delete_kuryr_port(previous, f"its pod is gone; a new {who} has taken the name")
            needs += (kuryr_port_key(previous.namespace, previous.name, previous.pod_uid),)
        yield Step(
            action=Action.CREATE,
            kind=Kind.KURYR_PORT,
            key=assignment.key,
            reason=f"node {pod.node} is not told yet which port {who} has",
            subject=who,
            spec=assignment,
            needs=needs,
        )
        return
    told = _assignment_changes(held.interfaces, port_interface(port, own) if port else None)
    if held.node != pod.node:
        told += (FieldChange("node", held.node, pod.node),)
    if told:
        yield Step(
            action=Action.UPDATE,
            kind=Kind.KURYR_PORT,
            key=assignment.key,
            reason=f"node {pod.node} is to be told of the changed port of {who}: {_told(told)}",
            subject=who,
            id=held.uid,
            spec=assignment,
            changes=told,
            needs=needs,
        )


def release_pod(
    uid: str, pod: Pod | None, held: KuryrPort | None, ports: Ports, gone: bool
) -> Iterator[Step | Finding]:
    """The steps for a pod that holds no place on the pod network: first its KuryrPort goes, then its port.

    `gone`: the pod's absence is proven. A pod that is there and not finished keeps what it has.
    """
    found = ports.of(pod_key(uid))
    if pod is None:
        who, why, sure = f"pod {held.namespace}/{held.name}" if held else "", "its pod is gone", gone
    else:
        finished = not pod.wants_port and bool(pod.node or pod.host_network)
        who, why, sure = f"pod {pod.full_name}", f"its pod {pod.full_name} has finished", finished
    if not sure:
        yield from (_kept(port, uid) for port in found)
        return
    needs: tuple[Key, ...] = ()
    if held:
        yield _delete_kuryr_port(held, why)
        needs = (kuryr_port_key(held.namespace, held.name, uid),)
    for port in found:
        yield _delete_port(port, pod_key(uid), who or port.description or port.name, why, needs)


def serve_node(node: Node, specs: Mapping[Key, Spec], held: KuryrNode | None, ports: Ports, own: Own) -> Iterator[Step]:
    """The steps for a node: its own port, and the KuryrNode that tells the node of it."""
    who = f"node {node.name}"
    port_spec, assignment = _port_spec(specs[node_key(node.uid)]), specs[kuryr_node_key(node.name)]
    assert isinstance(assignment, KuryrNodeSpec)
    preferred = held.node_port.port_id if held and held.node_port else ""
    found = ports.of(port_spec.key, preferred)
    port = found[0] if found else None
    keys = {thing.id: key for key, thing in own.objects.items()}
    differing = tuple(_port_changes(port_spec, port, lambda id_: keys.get(id_, id_))) if port else ()
    if held is None or not held.heartbeat_s:  # no agent, perhaps for ever: nothing there needs the port
        differing = tuple(change for change in differing if change.field != "vif_type")
    port_steps = list(_port_steps(port_spec, port, differing, ports=ports, who=who, missing=f"{who} has no port"))
    yield from port_steps
    yield from _doubles(found[1:], port_spec.key, who, (assignment.key,))
    needs = tuple(step.key for step in port_steps if step.action is Action.CREATE)
    if held is None:
        yield Step(
            action=Action.CREATE,
            kind=Kind.KURYR_NODE,
            key=assignment.key,
            reason=f"{who} is not told yet which port it has",
            subject=who,
            spec=assignment,
            needs=needs,
        )
        return
    expected = node_interface(port, own, assignment.routes) if port else None
    changes = _assignment_changes((held.node_port,) if held.node_port else (), expected)
    if changes:
        yield Step(
            action=Action.UPDATE,
            kind=Kind.KURYR_NODE,
            key=assignment.key,
            reason=f"{who} is to be told of its port: {_told(changes)}",
            subject=who,
            id=held.uid,
            spec=assignment,
            changes=changes,
            needs=needs,
        )


def release_node(uid: str, told: Iterable[KuryrNode], ports: Ports, gone: bool) -> Iterator[Step | Finding]:
    """The steps for a node that is no more (its KuryrNode: `release_kuryr_node`).

    `told` are the KuryrNodes: one that names the port goes first, for the port proves whose it is.
    """
    for port in ports.of(node_key(uid)):
        if gone:
            needs = tuple(
                kuryr_node_key(held.name) for held in told if held.node_port and held.node_port.port_id == port.id
            )
            yield _delete_port(port, node_key(uid), port.description or port.name, "its node is gone", needs)
        else:
            yield _kept(port, uid)


def release_kuryr_node(held: KuryrNode, ports: Ports, proves: Callable[[str], bool]) -> Iterator[Step]:
    """The deletion of a KuryrNode whose node is gone. A name is no proof: the uid that the node's port serves is.

    Where the port is gone as well, Kubernetes collects the KuryrNode by its owner reference, or a whole reading does.
    """
    uid = ports.claim(held.node_port.port_id).uid if held.node_port else ""
    if proves(uid):
        yield Step(
            action=Action.DELETE,
            kind=Kind.KURYR_NODE,
            key=kuryr_node_key(held.name),
            reason=f"its node {held.name} is gone",
            subject=f"node {held.name}",
            id=held.uid,
        )


def port_interface(port: Port, own: Own) -> Interface | None:
    """A pod's interface; None while the shared objects are unknown."""
    return interface(port, own.pod_subnets, own.network) if own.network else None


def node_interface(port: Port, own: Own, routes: tuple[str, ...]) -> Interface | None:
    """A node's interface; None while the shared objects are unknown."""
    return interface(port, own.pod_subnets, own.network, NODE_INTERFACE, routes) if own.network else None


def _port_spec(spec: Spec) -> PortSpec:
    assert isinstance(spec, PortSpec)
    return spec


def _port_steps(
    spec: PortSpec, port: Port | None, changes: tuple[FieldChange, ...], *, ports: Ports, who: str, missing: str
) -> Iterator[Step]:
    if port is None:
        yield Step(action=Action.CREATE, kind=Kind.PORT, key=spec.key, reason=missing, subject=who, spec=spec)
        return
    if ports.claim(port.id).proof is Proof.DERIVED:
        action, reason = Action.ADOPT, f"it was made for {who}, but lacks our tags"
    elif changes:
        action, reason = Action.UPDATE, f"the port of {who} differs: {_told(changes)}"
    else:
        return
    yield Step(
        action=action,
        kind=Kind.PORT,
        key=spec.key,
        reason=reason,
        subject=who,
        id=port.id,
        spec=spec,
        changes=changes,
    )


def _port_changes(spec: PortSpec, port: Port, key_of: Callable[[str], Key]) -> Iterator[FieldChange]:
    """MAC and addresses of a port that exists are never changed: what it has is what its pod is told."""
    if port.host != spec.host:
        yield FieldChange("host", port.host, spec.host)
    elif port.unbound:
        yield FieldChange("vif_type", port.vif_type, f"bound to {spec.host}")
    if port.device_owner != spec.device_owner:
        yield FieldChange("device_owner", port.device_owner, spec.device_owner)
    if port.device_id != spec.device_id:
        yield FieldChange("device_id", port.device_id, spec.device_id)
    carried = set(map(key_of, port.security_groups))
    if carried != set(spec.security_groups):
        yield FieldChange("security_groups", _short(carried), _short(spec.security_groups))


def _assignment_changes(there: tuple[Interface, ...], expected: Interface | None) -> tuple[FieldChange, ...]:
    """What of an assignment changes. Without an expected one, its port is still to be made or changed."""
    if expected is None:
        return (FieldChange("portId", there[0].port_id if there else "", "the new port's"),)
    if there == (expected,):
        return ()
    if len(there) != 1:
        return (FieldChange("interfaces", str(len(there)), "1"),)
    fields = {"port_id": "portId", "mac_address": "macAddress"}
    return tuple(
        FieldChange(fields.get(name, name), _text(getattr(there[0], name)), _text(getattr(expected, name)))
        for name in Interface.__struct_fields__
        if getattr(there[0], name) != getattr(expected, name)
    )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _short(groups: Iterable[Key]) -> str:
    return " ".join(sorted(key.removeprefix("security-group/") for key in groups))


def _told(changes: tuple[FieldChange, ...]) -> str:
    return ", ".join(f"{each.field} {each.before or 'not set'} -> {each.after or 'none'}" for each in changes)


def _delete_kuryr_port(held: KuryrPort, why: str) -> Step:
    return Step(
        action=Action.DELETE,
        kind=Kind.KURYR_PORT,
        key=kuryr_port_key(held.namespace, held.name, held.pod_uid),
        reason=why,
        subject=f"pod {held.namespace}/{held.name}",
        id=held.uid,
    )


def _delete_port(port: Port, key: Key, who: str, why: str, needs: tuple[Key, ...]) -> Step:
    return Step(
        action=Action.DELETE,
        kind=Kind.PORT,
        key=key,
        reason=why,
        subject=who,
        id=port.id,
        needs=needs,
    )


def _doubles(surplus: tuple[Port, ...], key: Key, who: str, needs: tuple[Key, ...]) -> Iterator[Step]:
    for port in surplus:
        yield _delete_port(port, f"{key}/{port.id}", who, f"a second port of {who}", needs)


def _kept(port: Port, uid: str) -> Finding:
    message = (
        f"port {port.id} ({port.description or port.name}): nobody is seen that it serves; kept until that is proven"
    )
    return Finding(FindingCode.KEPT, Kind.PORT, port.id, port.name, message, uid)
