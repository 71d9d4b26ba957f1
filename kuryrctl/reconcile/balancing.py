"""The part of the observed state that load balancers are about: their trees, floating IPs, and Services by uid.

It answers which subjects a change concerns: a Service's own, and the one whose endpoints a slice holds. Owned by the
turn thread. Does not know: what should exist, threads, calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from kuryrctl.core.balancer_index import Balancers, Thing
from kuryrctl.core.balancers import FloatingIP, LoadBalancer, Pool
from kuryrctl.core.cloud import CloudState
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import Identity
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.subjects import BALANCER_KINDS, Subject, service_subject
from kuryrctl.reconcile.absences import Absences
from kuryrctl.reconcile.moments import Moments
from kuryrctl.reconcile.policing import Policing

BALANCING_KINDS = BALANCER_KINDS | {Kind.FLOATING_IP}
"""What Services have in the cloud."""
_TOUCHED = "balancer"


class Balancing:
    """See the module. `services` are those that exist, by uid."""

    def __init__(self) -> None:
        self.index = Balancers(Identity("", "", ""))
        self.services: dict[str, Service] = {}
        self._uids: dict[str, str] = {}

    @property
    def pending(self) -> bool:
        """Whether Octavia is at work on a load balancer of ours."""
        found = (thing for thing, claim in self.index if claim.ours)
        return any(isinstance(thing, LoadBalancer) and thing.pending for thing in found)

    # -- the cluster

    def take(self, services: Iterable[Service]) -> None:
        """These Services exist, and no others."""
        self.services = {each.uid: each for each in services}
        self._uids = {each.full_name: each.uid for each in self.services.values()}

    def change(
        self, service: Service, policing: Policing, absences: Absences, moments: Moments, *, deleted: bool
    ) -> set[Subject]:
        """A Service was added, changed or deleted; whom that concerns.

        One whose absence is proven never comes back, and a newer one proves it of its predecessor.
        """
        concerned = {service_subject(service.uid)}
        if service.uid in absences.gone and not deleted:
            return concerned
        known = policing.services.get(service.full_name)
        concerned |= policing.change(service, deleted=deleted, moments=moments)
        if deleted:
            self._drop(service)
            absences.went(service.uid)
        elif policing.services.get(service.full_name) is service:
            if known is not None and known.uid != service.uid:
                self._drop(known)
                absences.went(known.uid)
                concerned.add(service_subject(known.uid))
            self.services[service.uid] = service
            self._uids[service.full_name] = service.uid
        return concerned

    def served_by(self, *slices: EndpointSlice | None) -> set[Subject]:
        """The Services whose endpoints these slices hold."""
        names = {f"{each.namespace}/{each.service}" for each in slices if each is not None}
        return {service_subject(self._uids[name]) for name in names if name in self._uids}

    # -- the cloud

    def take_cloud(self, observed: CloudState, identity: Identity, moments: Moments, mark: int) -> None:
        """Replace what is held by an observation that began at `mark`, but what changed since, and what it lacks."""
        known = self.index
        held = [thing for thing, _ in known]
        balancers: Iterable[LoadBalancer] = observed.load_balancers.values()
        if Kind.LOAD_BALANCER not in observed.complete:
            balancers = [thing for thing in held if isinstance(thing, LoadBalancer)]
        floating_ips: Iterable[FloatingIP] = observed.floating_ips.values()
        if Kind.FLOATING_IP not in observed.complete:
            floating_ips = [thing for thing in held if isinstance(thing, FloatingIP)]
        self.index = Balancers(identity, balancers, floating_ips)
        for id_ in moments.changed(_TOUCHED, mark):
            self.index.drop(id_)
            ours = known.by_id(id_)
            if ours is not None:
                self.index.put(ours)

    def fold(self, outcome: Outcome, moments: Moments) -> set[Subject]:
        """Take the result of a step on a load balancer, on what is below it, or on a floating IP; who else cares."""
        step, thing = outcome.step, outcome.object
        match thing:
            case LoadBalancer() | FloatingIP():
                self._now(thing, moments)
            case None if step.action is Action.DELETE and step.kind in (Kind.LOAD_BALANCER, Kind.FLOATING_IP):
                self.index.drop(step.id)
                moments.touch(f"{_TOUCHED}/{step.id}")
            case None if step.action is Action.DELETE:  # it was gone already
                for tree in [each for each, _ in self.index if isinstance(each, LoadBalancer)]:
                    rest = _without(tree, step)
                    if rest is not tree:
                        self._now(rest, moments)
        return set()

    def ids(self, steps: Iterable[Step]) -> Mapping[str, str]:
        """The ids of what the Services of these steps have in the cloud, by key."""
        uids = {step.key.split("/")[2] for step in steps}
        return {key: id_ for uid in uids for key, id_ in self.index.ids_of(uid).items()}

    def _drop(self, service: Service) -> None:
        self.services.pop(service.uid, None)
        if self._uids.get(service.full_name) == service.uid:
            del self._uids[service.full_name]

    def _now(self, thing: Thing, moments: Moments) -> None:
        self.index.put(thing)
        moments.touch(f"{_TOUCHED}/{thing.id}")


def _without(tree: LoadBalancer, step: Step) -> LoadBalancer:
    """The tree without the part that a step was to delete; the same one where it has no such part."""
    match step.kind:
        case Kind.LISTENER if any(each.id == step.id for each in tree.listeners):
            rest = tuple(each for each in tree.listeners if each.id != step.id)
            return msgspec.structs.replace(tree, listeners=rest)
        case Kind.POOL if any(each.id == step.id for each in tree.pools):
            return msgspec.structs.replace(tree, pools=tuple(each for each in tree.pools if each.id != step.id))
        case Kind.HEALTH_MONITOR if any(_watched_by(each, step.id) for each in tree.pools):
            pools = (
                msgspec.structs.replace(each, health_monitor=None) if _watched_by(each, step.id) else each
                for each in tree.pools
            )
            return msgspec.structs.replace(tree, pools=tuple(pools))
    return tree


def _watched_by(pool: Pool, id_: str) -> bool:
    return pool.health_monitor is not None and pool.health_monitor.id == id_
