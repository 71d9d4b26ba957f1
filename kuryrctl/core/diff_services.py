"""The difference for one Service, also one that is gone: its load balancers, its floating IPs, its status.

Octavia changes one load balancer at a time, so the steps of each are a chain. What is new is made whole: a load
balancer with all below it, a listener with its pool. What goes, goes whole. The members of a pool change in one step
that touches no listener. A load balancer in ERROR is told of, and made anew only where that is asked for.
Does not know: what a Service needs (`service_desired`), how steps are executed, whether a load balancer is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.balancer_index import Balancers
from kuryrctl.core.balancers import ERROR, LoadBalancer
from kuryrctl.core.diff_balancer import changed_below, changed_itself, others_algorithm
from kuryrctl.core.diff_floating import FloatingDifference, numbered, removal
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import Proof
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.providers import provider
from kuryrctl.core.service_desired import Wanted
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key, ListenerSpec, LoadBalancerSpec

PENDING_DELETE = "PENDING_DELETE"
Closing = Callable[[str, Iterable[ListenerSpec]], tuple[Key, ...]]
"""What has to be closed before listeners at a VIP forward (`service_order.closing`)."""


class Remedy(StrEnum):
    """What is done about a load balancer that Octavia gave up: it is told, or it is made anew."""

    TELL = "tell"
    RECREATE = "recreate"


def serve_service(
    service: Service,
    wanted: Wanted,
    balancers: Balancers,
    *,
    closing: Closing,
    guarding: tuple[Key, ...],
    remedy: Remedy,
    home: frozenset[str],
) -> Iterator[Step | Finding]:
    """The steps for a Service that exists.

    `guarding` are the keys of what has to be done before it may be reached from outside, `home` the ids of the subnets
    of Services' addresses.
    """
    yield from (_note(service, note.told) for note in wanted.notes)
    differ = _Difference(service, wanted, balancers, closing=closing, guarding=guarding, remedy=remedy, home=home)
    yield from differ.balancer_steps()
    leads = FloatingDifference(
        service, wanted.floating_ips, balancers, vip_ports=differ.vip_ports, made=differ.made, guarding=guarding
    )
    yield from leads.steps()
    yield from differ.surplus_steps(leads.cut)
    yield from _status_steps(service, wanted, tuple(leads.cut))


def release_service(uid: str, balancers: Balancers, *, gone: bool) -> Iterator[Step | Finding]:
    """The steps for a Service that is no more: its floating IPs go, then each load balancer with all below it."""
    freed: list[Key] = []
    for key, found in balancers.floating_ips_of(uid).items():
        for number, each in enumerate(found):
            if not gone:
                yield _kept(Kind.FLOATING_IP, each.id, each.floating_ip_address, uid)
            elif names.KEEP not in each.tags:
                step = removal(Kind.FLOATING_IP, numbered(key, number, each.id), each.id, "its Service is gone")
                freed.append(step.key)
                yield step
    for key, there in balancers.of(uid).items():
        for number, balancer in enumerate(there):
            if balancer.provisioning_status == PENDING_DELETE:
                continue
            if not gone:
                yield _kept(Kind.LOAD_BALANCER, balancer.id, balancer.name, uid)
                continue
            why = f"its Service is gone: {balancer.name}"
            step = removal(Kind.LOAD_BALANCER, numbered(key, number, balancer.id), balancer.id, why)
            yield replace(step, after=tuple(freed), subject=balancer.name)


class _Difference:
    """`vip_ports` are those of the load balancers that stay, `made` are the keys of those that are made."""

    def __init__(
        self,
        service: Service,
        wanted: Wanted,
        balancers: Balancers,
        *,
        closing: Closing,
        guarding: tuple[Key, ...],
        remedy: Remedy,
        home: frozenset[str],
    ) -> None:
        self._guarding = guarding
        self._service = service
        self._who = f"Service {service.full_name}"
        self._wanted = wanted
        self._balancers = balancers
        self._closing = closing
        self._remedy = remedy
        self._home = home
        self.vip_ports: dict[Key, str] = {}
        self.made: set[Key] = set()

    def balancer_steps(self) -> Iterator[Step | Finding]:
        """A chain for each load balancer."""
        wanted = {spec.key: spec for spec in self._wanted.balancers}
        for spec in wanted.values():
            chain: list[Step] = []
            for each in self._balancer(spec):
                if isinstance(each, Step):
                    chain.append(replace(each, after=(*each.after, *(step.key for step in chain[-1:]))))
                else:
                    yield each
            yield from chain

    def surplus_steps(self, cut: Iterable[Key]) -> Iterator[Step]:
        """The load balancers that are asked for no more go last, after what leads to them was cut off."""
        wanted = {spec.key for spec in self._wanted.balancers}
        for key, found in self._balancers.of(self._service.uid).items():
            if key not in wanted:
                why = f"{self._who} asks for no such load balancer any more: {key.rpartition('/')[2]}"
                for number, each in enumerate(_staying(found)):
                    yield replace(self._delete(key, number, each, why), after=tuple(cut))

    def _balancer(self, spec: LoadBalancerSpec) -> Iterator[Step | Finding]:
        found = _staying(self._balancers.balancers(spec.key))
        fitting = [each for each in found if spec.vip_address in (None, each.vip_address)]
        others = [each for each in found if each not in fitting[:1]]
        in_the_way: list[Key] = []
        for other in others:
            for each in self._other(spec, other):
                if isinstance(each, Step):
                    in_the_way.append(each.key)
                yield each
        if not fitting:
            yield self._create(spec, f"{self._who} has no load balancer for {_told(spec)}", in_the_way)
            return
        used = fitting[0]
        outage = self._outage(spec, used)
        if outage:
            old = self._delete(spec.key, 1, used, outage)
            yield old
            yield self._create(spec, outage, [*in_the_way, old.key])
            return
        self.vip_ports[spec.key] = used.vip_port_id
        if used.provisioning_status == ERROR:
            yield self._broken(used)
            return
        adopted = self._balancers.claim(used.id).proof is Proof.DERIVED
        yield from changed_itself(spec, used, self._who, lacks_tags=adopted)
        for step in changed_below(spec, used, self._who):
            yield self._closed(step, spec)

    def _other(self, spec: LoadBalancerSpec, other: LoadBalancer) -> Iterator[Step | Finding]:
        """One more with the same marks: a double, or one with another address."""
        if spec.vip_subnet and other.vip_subnet_id not in self._home:
            message = (
                f"load balancer {other.id} says that it serves {self._who}, but its address {other.vip_address} is on"
                f" subnet {other.vip_subnet_id}, not on one for Services; kuryrctl leaves it alone"
            )
            uid = self._service.uid
            yield Finding(FindingCode.SUSPICIOUS, Kind.LOAD_BALANCER, other.id, other.name, message, uid)
            return
        same = spec.vip_address in (None, other.vip_address)
        why = f"a second load balancer of {self._who}" if same else f"{self._who} has {_told(spec)}, not this address"
        yield self._delete(spec.key, 1, other, why)

    def _outage(self, spec: LoadBalancerSpec, used: LoadBalancer) -> str:
        """Why a load balancer has to be deleted and made anew; empty: it has not."""
        answers = f"{used.vip_address} does not answer until that is done"
        wanted = provider(spec.provider)
        if used.provider and not wanted.is_named(used.provider):
            return f"the provider of {self._who} changes from {used.provider} to {spec.provider}: {answers}"
        if not wanted.changes_algorithm and others_algorithm(spec, used):
            told = "can change that only by a new load balancer"
            return f"the session affinity of {self._who} changes, and {wanted.name} {told}: {answers}"
        if self._remedy is Remedy.RECREATE:
            broken = next(_in_error(used), "")
            if broken:
                return f"Octavia has given up {broken} of {self._who}, so it is made anew: {answers}"
        return ""

    def _create(self, spec: LoadBalancerSpec, why: str, needs: Iterable[Key]) -> Step:
        self.made.add(spec.key)
        before = (key for key in self._balancers.holders(spec.vip_address or "") if key != spec.key)
        step = Step(
            action=Action.CREATE,
            kind=Kind.LOAD_BALANCER,
            key=spec.key,
            reason=why,
            subject=self._who,
            spec=spec,
            needs=tuple(needs),
            after=tuple(before),
        )
        return self._closed(step, spec)

    def _closed(self, step: Step, spec: LoadBalancerSpec) -> Step:
        """The step, after what has to be closed before it makes something reachable."""
        if step.action is Action.DELETE or step.kind is Kind.HEALTH_MONITOR:
            return step
        name = step.key.rpartition("/")[2]
        listeners = [each for each in spec.listeners if step.kind is Kind.LOAD_BALANCER or each.name == name]
        rules = self._closing(spec.vip_address, listeners) if spec.vip_address else ()
        led_to = self._balancers.floating_ips_on(self.vip_ports.get(spec.key, ""))
        guards = self._guarding if led_to or not spec.vip_subnet else ()
        return replace(step, needs=(*step.needs, *rules, *guards))

    def _delete(self, key: Key, number: int, balancer: LoadBalancer, why: str) -> Step:
        step = removal(Kind.LOAD_BALANCER, numbered(key, number, balancer.id), balancer.id, why)
        return replace(step, subject=self._who)

    def _broken(self, balancer: LoadBalancer) -> Finding:
        message = (
            f"load balancer {balancer.id} of {self._who} is in ERROR: Octavia has given it up and refuses changes;"
            " next: kuryrctl service sync --repair makes it anew"
        )
        uid = self._service.uid
        return Finding(FindingCode.BROKEN, Kind.LOAD_BALANCER, balancer.id, balancer.name, message, uid)


def _status_steps(service: Service, wanted: Wanted, cut: tuple[Key, ...]) -> Iterator[Step]:
    """What the Service's status should tell. It is the witness of what leads here, so it changes after that."""
    spec = wanted.status
    told = tuple(sorted(service.ingress))
    if spec is None or spec.ingress == told:
        return
    before, after, who = ", ".join(told), ", ".join(spec.ingress), f"Service {service.full_name}"
    yield Step(
        action=Action.UPDATE,
        kind=Kind.SERVICE,
        key=spec.key,
        reason=f"the status of {who} tells {before or 'no address'}, it should tell {after or 'none'}",
        subject=who,
        id=service.uid,
        spec=spec,
        changes=(FieldChange("ingress", before, after),),
        needs=cut,
    )


def _staying(found: Iterable[LoadBalancer]) -> list[LoadBalancer]:
    """Without those that are being deleted already."""
    return [each for each in found if each.provisioning_status != PENDING_DELETE]


def _in_error(balancer: LoadBalancer) -> Iterator[str]:
    """What of a load balancer Octavia has given up, for people."""
    if balancer.provisioning_status == ERROR:
        yield "the load balancer"
    yield from (f"listener {each.name}" for each in balancer.listeners if each.provisioning_status == ERROR)
    yield from (f"pool {each.name}" for each in balancer.pools if each.provisioning_status == ERROR)


def _told(spec: LoadBalancerSpec) -> str:
    return spec.vip_address or "its address on the provider network"


def _note(service: Service, told: str) -> Finding:
    return Finding(FindingCode.REFUSED, Kind.SERVICE, service.uid, service.full_name, told, service.uid)


def _kept(kind: Kind, id_: str, name: str, uid: str) -> Finding:
    message = f"{kind} {id_} ({name}): no Service is seen that it serves; kept until that is proven"
    return Finding(FindingCode.KEPT, kind, id_, name, message, uid)
