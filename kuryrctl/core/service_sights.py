"""A whole world as rows of Services: what each needs, what the cloud has of it, and what a run would do.

Does not know: conditions and links (`service_join`, `service_tree`), how a plan is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from kuryrctl.core import names
from kuryrctl.core.balancers import FloatingIP, LoadBalancer
from kuryrctl.core.conditions import PortRow
from kuryrctl.core.config import Config
from kuryrctl.core.diff import World, service_wanted
from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import Proof
from kuryrctl.core.plan import Step
from kuryrctl.core.service_join import foreign_row, service_row
from kuryrctl.core.service_lint import findings
from kuryrctl.core.service_rows import ServiceRow
from kuryrctl.core.service_tree import Sight
from kuryrctl.core.services import Service
from kuryrctl.core.specs import FloatingIPSpec, Key, LoadBalancerSpec
from kuryrctl.core.subjects import subject_of_key


class Moment(Struct, frozen=True):
    """One reading. `steps` is the plan of a run now, `ports` are rows of pods and their ports."""

    world: World
    config: Config
    steps: tuple[Step, ...]
    ports: tuple[PortRow, ...]
    now_s: float


def rows_of(moment: Moment) -> list[ServiceRow]:
    """Every Service by name, then load balancers whose Service is gone, then those that only look like ours."""
    seen = _Seen(moment)
    services = sorted(moment.world.cluster.services.values(), key=lambda service: service.full_name)
    return [*map(seen.served, services), *seen.left(), *seen.foreign()]


class _Seen:
    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._balancers = moment.world.balancers
        self._ports = {row.pod_uid: row for row in moment.ports if row.pod}
        self._steps: dict[str, dict[Key, Step]] = {}
        for step in moment.steps:
            role, _, uid = subject_of_key(step.key).partition("/")
            if role == Kind.SERVICE:
                self._steps.setdefault(uid, {})[step.key] = step

    def served(self, service: Service) -> ServiceRow:
        """The row of a Service that exists."""
        world = self._moment.world
        wanted = service_wanted(service, world, self._moment.config)
        sight = Sight(
            name=service.full_name,
            service=service,
            balancer_specs=wanted.balancers,
            floating_specs=wanted.floating_ips,
            balancers=self._there(service.uid, wanted.balancers),
            floating_ips=self._floating(service.uid, wanted.floating_ips),
            steps=self._steps.get(service.uid, {}),
            slices=world.services.slices_of(service),
            pods=world.cluster.pods,
            port_rows=self._ports,
            now_s=self._moment.now_s,
        )
        return service_row(sight, skipped=wanted.skipped, notes=findings(service, wanted.notes))

    def left(self) -> Iterator[ServiceRow]:
        """The rows of Services that are gone, named as their load balancers are. A kept floating IP is no leftover."""
        for uid in sorted(self._balancers.served()):
            if self._moment.world.services.by_uid(uid) is not None:
                continue
            balancers = self._there(uid, ())
            floating = {key: each for key, each in self._floating(uid, ()).items() if names.KEEP not in each.tags}
            if balancers or floating:
                name = next((each.name.partition("/")[2] for each in balancers.values()), "")
                sight = Sight(name=name, service=None, balancers=balancers, floating_ips=floating)
                yield service_row(sight)

    def foreign(self) -> Iterator[ServiceRow]:
        """The rows of what carries our tags and is not provably ours."""
        for thing, claim in sorted(self._balancers, key=lambda pair: pair[0].id):
            if isinstance(thing, LoadBalancer) and claim.proof is Proof.SUSPICIOUS:
                yield foreign_row(thing, claim.why)

    def _there(self, uid: str, specs: Iterable[LoadBalancerSpec]) -> dict[Key, LoadBalancer]:
        """The load balancers of a Service: by its key the one that serves it, the others by one of their own."""
        wanted = {spec.key: spec.vip_address for spec in specs}
        found: dict[Key, LoadBalancer] = {}
        for key, there in self._balancers.of(uid).items():
            address = wanted.get(key)
            for each in there:
                fits = key not in found and address in (None, each.vip_address)
                found[key if fits else f"{key}/{each.id}"] = each
        return found

    def _floating(self, uid: str, specs: Iterable[FloatingIPSpec]) -> Mapping[Key, FloatingIP]:
        """Its floating IPs, those of its user that it names among them."""
        found = {key: there[0] for key, there in self._balancers.floating_ips_of(uid).items()}
        for spec in specs:
            named = None if spec.ours else self._balancers.floating_ip_at(spec.address or "")
            if named is not None:
                found[spec.key] = named
        return found
