"""Floating IPs on the VIPs of load balancers, in Neutron.

Neutron takes no tags with their creation: they get a description that tells whose they are, and their tags at once
afterwards. A floating IP of a user's is only ever associated. Does not know: which Services want one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import quote

from kuryrctl.cloud import quota, wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.recording import Audit, recorder
from kuryrctl.cloud.transport import Transport
from kuryrctl.cloud.wire import FLOATING_IPS, NETWORKS, Body
from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP
from kuryrctl.core.errors import Conflict, KuryrError, NotFound, Owner
from kuryrctl.core.kinds import Action
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import FloatingIPSpec, Key


class FloatingIPs:
    """The floating IPs of one project. `vip_port` gives the id of a load balancer's port by its id, or raises."""

    def __init__(self, transport: Transport, vip_port: Callable[[str], str], *, audit: Audit | None = None) -> None:
        self._client = Client(transport)
        self._vip_port = vip_port
        self._log = recorder(audit)

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls were made, by (method, resource): ``("POST", "floatingips")``."""
        return self._client.calls

    def observe(self) -> tuple[FloatingIP, ...]:
        """Every floating IP of the project: a Service may name one of its user's. Raises KuryrError."""
        try:
            return self._client.list(FLOATING_IPS, [("project_id", self._client.project_id)])
        except Refused as refused:
            raise refused.error("floating IPs not listed") from None

    def apply(self, step: Step, ids: Mapping[Key, str]) -> Outcome:
        """Execute one step. Faults of the cloud are in the outcome, never raised."""
        try:
            return Outcome(step, object=self._execute(step, ids))
        except Refused as refused:
            return Outcome(step, error=self._error(step, refused))
        except KuryrError as error:
            return Outcome(step, error=error)

    def _execute(self, step: Step, ids: Mapping[Key, str]) -> FloatingIP | None:
        if step.action is Action.DELETE:
            self._delete(step)
            return None
        spec = step.spec
        if not isinstance(spec, FloatingIPSpec):
            raise TypeError(f"{step.key} has no FloatingIPSpec")
        port = self._vip_port(wire.resolve(ids, spec.balancer)) if spec.balancer else None
        if not spec.ours:
            return self._lend(step, spec, port)
        if step.action is Action.CREATE:
            return self._create(step, spec, port)
        existing = self._client.get(FLOATING_IPS, step.id)
        if not self._is_ours(existing):
            raise _not_ours(step, existing)
        if names.KEEP in existing.tags and names.KEEP not in spec.tags:
            path = f"{FLOATING_IPS.path}/{existing.id}/tags/{quote(names.KEEP, safe='')}"
            self._call(step, existing.id, "DELETE", path)
            existing = self._client.get(FLOATING_IPS, existing.id)
        return self._tagged(step, self._on_port(step, existing, port), spec)

    def _create(self, step: Step, spec: FloatingIPSpec, port: str | None) -> FloatingIP:
        """A floating IP, also where an earlier call has made it: never a second one."""
        call = f"POST {FLOATING_IPS.path}"
        try:
            response = self._client.call("POST", FLOATING_IPS.path, {FLOATING_IPS.singular: _body(spec, port)})
            made = wire.decode_one(FLOATING_IPS, response.body)
        except (Refused, KuryrError) as fault:
            self._log(step, "", call, fault)
            if isinstance(fault, Refused) and not (fault.effect_unknown or fault.status == 409):
                raise
            described = [("project_id", self._client.project_id), ("description", spec.description)]
            found = self._client.list(FLOATING_IPS, described)
            if len(found) != 1:
                raise
            return self._tagged(step, self._on_port(step, found[0], port), spec)
        self._log(step, made.id, call, response)
        return self._tagged(step, made, spec)

    def _lend(self, step: Step, spec: FloatingIPSpec, port: str | None) -> FloatingIP:
        """Associate a user's floating IP, if nothing else has it."""
        query = [("project_id", self._client.project_id), ("floating_ip_address", str(spec.address))]
        found = next(iter(self._client.list(FLOATING_IPS, query)), None)
        if found is None:
            raise NotFound(
                f"{_what(step)}: the project has no floating IP {spec.address}",
                code="NET-NOT-FOUND",
                owner=Owner.USER,
                hint=f"openstack floating ip create --floating-ip-address {spec.address}, or name another address",
            )
        if port is not None and found.port_id not in (None, port):
            raise Conflict(
                f"{_what(step)}: floating IP {spec.address} is associated with port {found.port_id}",
                code="NET-IN-USE",
                owner=Owner.USER,
                hint=f"openstack floating ip unset --port {found.id}, or name another address",
            )
        led_to = next((change.before for change in step.changes if change.field == "port"), "")
        if port is None and found.port_id != led_to:
            return found  # its user has taken it elsewhere
        return self._on_port(step, found, port)

    def _on_port(self, step: Step, existing: FloatingIP, port: str | None) -> FloatingIP:
        """Associated with this port, or with nothing."""
        if existing.port_id == port:
            return existing
        path, body = f"{FLOATING_IPS.path}/{existing.id}", {FLOATING_IPS.singular: {"port_id": port}}
        return wire.decode_one(FLOATING_IPS, self._call(step, existing.id, "PUT", path, body))

    def _tagged(self, step: Step, existing: FloatingIP, spec: FloatingIPSpec) -> FloatingIP:
        call = f"PUT {FLOATING_IPS.path}/{existing.id}/tags"
        try:
            response = self._client.add_tags(FLOATING_IPS, existing.id, existing.tags, spec.tags)
        except (Refused, KuryrError) as fault:
            self._log(step, existing.id, call, fault)
            raise
        if response is None:
            return existing
        self._log(step, existing.id, call, response)
        return self._client.get(FLOATING_IPS, existing.id)

    def _delete(self, step: Step) -> None:
        """Delete one that carries our mark. One that is gone is fine."""
        try:
            existing = self._client.get(FLOATING_IPS, step.id)
            if not self._is_ours(existing):
                raise _not_ours(step, existing)
            self._call(step, step.id, "DELETE", f"{FLOATING_IPS.path}/{step.id}")
        except Refused as refused:
            if refused.status != 404:
                raise

    def _is_ours(self, existing: FloatingIP) -> bool:
        marks = existing.tags if names.cluster_of(existing.tags) else names.described(existing.description)
        return existing.project_id == self._client.project_id and bool(names.cluster_of(marks))

    def _call(self, step: Step, id_: str, method: str, path: str, body: Body | None = None) -> bytes:
        call = f"{method} {path}"
        try:
            response = self._client.call(method, path, body)
        except (Refused, KuryrError) as fault:
            self._log(step, id_, call, fault)
            raise
        self._log(step, id_, call, response)
        return response.body

    def _error(self, step: Step, refused: Refused) -> KuryrError:
        if refused.code == "NET-NO-ADDRESS" and isinstance(step.spec, FloatingIPSpec):
            return Conflict(
                f"{_what(step)}: no free address on {self._network(step.spec.network)}",
                code=refused.code,
                owner=Owner.USER,
                hint="openstack subnet set --allocation-pool adds addresses; openstack floating ip list --status DOWN"
                " shows those that nobody uses",
                request_id=refused.request_id,
            )
        return quota.refusal(self._client, refused, FLOATING_IPS.singular, _what(step))

    def _network(self, id_: str) -> str:
        try:
            return f'network "{self._client.get(NETWORKS, id_).name}" ({id_})'
        except (Refused, KuryrError):
            return f"network {id_}"


def _body(spec: FloatingIPSpec, port: str | None) -> Body:
    body: Body = {"floating_network_id": spec.network, "description": spec.description}
    optional = {"floating_ip_address": spec.address, "subnet_id": spec.subnet, "port_id": port}
    return body | {field: value for field, value in optional.items() if value}


def _what(step: Step) -> str:
    return f"{step.action} of floating IP of {step.subject or step.key} failed"


def _not_ours(step: Step, existing: FloatingIP) -> Conflict:
    return Conflict(
        f"{_what(step)}: floating IP {existing.floating_ip_address} ({existing.id}) carries no mark of this cluster",
        code="NET-NOT-OURS",
        owner=Owner.USER,
        hint="it was changed by somebody; the next turn looks again",
    )
