"""The difference for the floating IPs of one Service: ours, and those of its user that it names.

What must not lead to a load balancer any more is cut off first. A user's own one is associated and freed, never made,
tagged or deleted. Does not know: which floating IPs a Service needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.balancers import FloatingIP
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import Proof
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.services import Service
from kuryrctl.core.specs import FloatingIPSpec, Key


class FloatingDifference:
    """See the module. `vip_ports` are those of load balancers that stay, `made` the keys of those that are made,
    `guarding` those of what has to be done before anything leads here.

    `cut`: the keys of the steps by which something leads here no more, once `steps` is through.
    """

    def __init__(
        self,
        service: Service,
        wanted: Iterable[FloatingIPSpec],
        balancers: Balancers,
        *,
        vip_ports: Mapping[Key, str],
        made: AbstractSet[Key],
        guarding: tuple[Key, ...],
    ) -> None:
        self._guarding = guarding
        self._service = service
        self._who = f"Service {service.full_name}"
        self._wanted = {spec.key: spec for spec in wanted}
        self._balancers = balancers
        self._vip_ports = vip_ports
        self._made = made
        self.cut: list[Key] = []

    def steps(self) -> Iterator[Step]:
        """First what must not lead here any more."""
        wanted = self._wanted
        for key, found in self._balancers.floating_ips_of(self._service.uid).items():
            spec = wanted.get(key)
            for number, each in enumerate(found):
                if spec is None or not spec.ours:
                    yield from self._surplus(key, number, each, f"{self._who} asks for no floating IP any more")
                elif number:
                    yield from self._surplus(key, number, each, f"a second floating IP of {self._who}")
        yield from self._borrowed(wanted.values())
        for spec in wanted.values():
            yield from self._floating_ip(spec)

    def _floating_ip(self, spec: FloatingIPSpec) -> Iterator[Step]:
        found = next(iter(self._balancers.floating_ips(spec.key)), None)
        if not spec.ours:
            found = self._balancers.floating_ip_at(spec.address or "")
        needs = self._guarding if spec.balancer else ()
        if spec.balancer in self._made:
            needs = (spec.balancer, *needs)
        if found is not None and spec.address not in (None, found.floating_ip_address):
            why = f"{self._who} asks for {spec.address}, not for {found.floating_ip_address}"
            old = replace(removal(Kind.FLOATING_IP, f"{spec.key}/{found.id}", found.id, why), subject=self._who)
            yield old
            found, needs = None, (*needs, old.key)
        if found is None:
            if spec.balancer:
                yield self._step(Action.CREATE, spec, f"{self._who} has no floating IP", None, needs=needs)
            return
        changes = tuple(self._floating_changes(spec, found))
        if spec.ours and self._balancers.claim(found.id).proof is Proof.DERIVED:
            why = f"it was made for {self._who}, but lacks our tags"
            yield self._step(Action.ADOPT, spec, why, found, changes=changes, needs=needs)
        elif changes:
            told = ", ".join(f"{each.field} {each.before or 'none'} -> {each.after or 'none'}" for each in changes)
            why = f"floating IP {found.floating_ip_address} of {self._who} differs: {told}"
            yield self._step(Action.UPDATE, spec, why, found, changes=changes, needs=needs)

    def _floating_changes(self, spec: FloatingIPSpec, found: FloatingIP) -> Iterator[FieldChange]:
        port = self._vip_ports.get(spec.balancer, "")
        if spec.balancer in self._made:
            yield FieldChange("port", found.port_id or "", "the new load balancer's")
        elif (found.port_id or "") != port:
            yield FieldChange("port", found.port_id or "", port)
        if spec.ours and (names.KEEP in found.tags) != (names.KEEP in spec.tags):
            yield FieldChange("keep", str(names.KEEP in found.tags).lower(), str(names.KEEP in spec.tags).lower())

    def _surplus(self, key: Key, number: int, found: FloatingIP, why: str) -> Iterator[Step]:
        if names.KEEP not in found.tags:
            step = removal(Kind.FLOATING_IP, numbered(key, number, found.id), found.id, why)
            self.cut.append(step.key)
            yield replace(step, subject=self._who)
        elif found.port_id:
            yield self._freed(found, why, ours=True)

    def _borrowed(self, wanted: Iterable[FloatingIPSpec]) -> Iterator[Step]:
        """A user's own floating IPs that lead here because the Service named them, which it does no more.

        The Service's status is the witness: what it does not tell was associated by somebody else.
        """
        kept = {spec.address for spec in wanted if not spec.ours and spec.balancer}
        for there in self._balancers.of(self._service.uid).values():
            for each in self._balancers.floating_ips_on(there[0].vip_port_id):
                told = each.floating_ip_address in self._service.ingress
                if told and each.floating_ip_address not in kept and not self._balancers.claim(each.id).ours:
                    yield self._freed(each, f"{self._who} asks for it no more", ours=False)

    def _freed(self, found: FloatingIP, why: str, *, ours: bool) -> Step:
        spec = FloatingIPSpec(
            key=f"floating-ip/service/{self._service.uid}/4/{found.id}",
            description=found.description,
            tags=found.tags if ours else (),
            network=found.floating_network_id,
            balancer="",
            address=found.floating_ip_address,
            ours=ours,
        )
        self.cut.append(spec.key)
        changes = (FieldChange("port", found.port_id or "", ""),)
        return self._step(Action.UPDATE, spec, f"{found.floating_ip_address}: {why}", found, changes=changes)

    def _step(
        self,
        action: Action,
        spec: FloatingIPSpec,
        why: str,
        found: FloatingIP | None,
        *,
        changes: tuple[FieldChange, ...] = (),
        needs: tuple[Key, ...] = (),
    ) -> Step:
        return Step(
            action=action,
            kind=Kind.FLOATING_IP,
            key=spec.key,
            reason=why,
            subject=self._who,
            id=found.id if found else "",
            spec=spec,
            changes=changes,
            needs=needs,
            revision=found.revision_number if found else 0,
        )


def numbered(key: Key, number: int, id_: str) -> Key:
    """The key of a step on one of several objects with the same key."""
    return f"{key}/{id_}" if number else key


def removal(kind: Kind, key: Key, id_: str, why: str) -> Step:
    """The deletion of a load balancer or a floating IP."""
    return Step(action=Action.DELETE, kind=kind, key=key, reason=why, id=id_)
