"""Neutron as the engine and the commands see it: observe, apply, and a few look-ups.

Does not know: what should exist, why, or in which order; how calls are authenticated (`transport`).
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from kuryrctl.cloud import quota
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused
from kuryrctl.cloud.objects import INTERFACE_OWNERS, Executor
from kuryrctl.cloud.ports import PortMaker
from kuryrctl.cloud.recording import Audit, recorder
from kuryrctl.cloud.rules import RuleMaker
from kuryrctl.cloud.transport import Transport
from kuryrctl.cloud.wire import GROUPS, NETWORKS, PORTS, ROUTERS, SUBNETS, TRUNKS, Resource
from kuryrctl.core import names
from kuryrctl.core.cloud import (
    CloudObject,
    CloudState,
    Network,
    Port,
    QuotaUse,
    Router,
    SecurityGroup,
    Subnet,
    Trunk,
)
from kuryrctl.core.errors import Conflict, KuryrError, NotFound, Owner
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key, RuleSpec

R = TypeVar("R", Network, Subnet, Router, SecurityGroup)
Result: TypeAlias = CloudObject | KuryrError | None

_HOST = "binding:host_id"
_log = logging.getLogger(__name__)


class Observation(CloudState, frozen=True):
    """A CloudState, with the fault of each kind that could not be listed in full."""

    errors: Mapping[Kind, KuryrError] = MappingProxyType({})


class Neutron:
    """The ports, networks, routers and groups of one project. Safe to use from several threads."""

    def __init__(self, transport: Transport, *, audit: Audit | None = None) -> None:
        self._client = Client(transport)
        self._log = recorder(audit)

    @property
    def project_id(self) -> str:
        """The project of the credential."""
        return self._client.project_id

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """How many calls were made, by (method, resource): ``("POST", "ports")``, ``("PUT", "ports/tags")``."""
        return self._client.calls

    def observe(self, cluster_id: str, *, networks: Sequence[str] = ()) -> Observation:
        """What exists: ports of the cluster, and the project's networks, subnets, routers with interfaces, and groups.

        Ports: those with our owner (``compute:kuryr``, tagged or not), router interfaces, and those with the cluster's
        tag whatever their owner is. `networks` are names or ids of networks that may belong to another project; they
        and their subnets are read too. A kind whose list failed is not in `complete`, and `errors` says why; once
        Neutron or Keystone does not answer, the kinds left are not asked for.
        """
        return _Observer(self._client, cluster_id, networks).observe()

    def ports(self, query: Sequence[tuple[str, str]] = ()) -> tuple[Port, ...]:
        """Every port of the project that matches Neutron's filters. Raises KuryrError."""
        return self._read(
            "ports not listed",
            lambda: self._client.list(PORTS, [("project_id", self.project_id), *query], must_show=_HOST),
        )

    def trunks(self) -> tuple[Trunk, ...]:
        """Every trunk that the credential may see; none where the cloud has no trunks at all. Raises KuryrError."""
        try:
            return self._client.list(TRUNKS, ())
        except Refused as refused:
            if refused.status == 404:  # the extension is optional
                return ()
            raise refused.error("trunks not listed") from None

    def apply(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        """Execute one batch of steps that are ready, in the order given; one outcome for each, in that order.

        All port creations travel in one call, all rule creations of a group in one call, at the place of the first.
        `ids` are the ids behind the keys that specs name; those made in this batch are added for its later steps.
        Faults of the cloud are in the outcomes, never raised.
        """
        known = dict(ids)
        results: dict[int, Result] = {}
        for index in range(len(steps)):
            if index in results:
                continue
            together = _together(steps, index)
            for position, result in zip(together, self._execute([steps[i] for i in together], known), strict=True):
                results[position] = result
                if result is not None and not isinstance(result, KuryrError):
                    known[steps[position].key] = result.id
        return [_outcome(step, results[index]) for index, step in enumerate(steps)]

    def find_network(self, name_or_id: str) -> Network:
        """The one network with this id or name, in any project that this one may see. Raises NotFound, Conflict."""
        return self._find(NETWORKS, name_or_id)

    def find_subnet(self, name_or_id: str) -> Subnet:
        """The one subnet with this id or name. Raises NotFound, Conflict."""
        return self._find(SUBNETS, name_or_id)

    def find_router(self, name_or_id: str) -> Router:
        """The one router with this id or name. Raises NotFound, Conflict."""
        return self._find(ROUTERS, name_or_id)

    def find_security_group(self, name_or_id: str) -> SecurityGroup:
        """The one group with this id or name. Raises NotFound, Conflict."""
        return self._find(GROUPS, name_or_id)

    def quota(self) -> tuple[QuotaUse, ...]:
        """Limit and use of every resource of the project. Raises KuryrError."""
        return self._read("quota not read", lambda: quota.quotas(self._client))

    def _execute(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Result]:
        """Steps that travel together, or a single one."""
        step = steps[0]
        if step.action is Action.CREATE and step.kind is Kind.PORT:
            maker = PortMaker(self._client, ids, self._log)
            maker.make(steps)
            return [maker.results[each.key] for each in steps]
        if step.action is Action.CREATE and step.kind is Kind.SECURITY_GROUP_RULE:
            rules = RuleMaker(self._client, ids, self._log).make(steps)
            return [rules[each.key] for each in steps]
        try:
            return [Executor(self._client, ids, self._log).execute(step)]
        except Refused as refused:
            resource = str(step.kind).replace("-", "_")
            return [quota.refusal(self._client, refused, resource, f"{step.action} of {_object(step)} failed")]
        except KuryrError as error:
            return [error]

    def _find(self, resource: Resource[R], name_or_id: str) -> R:
        found = self._read(
            f"{resource.kind} {name_or_id} not read", lambda: _lookup(self._client, resource, name_or_id)
        )
        if not found:
            raise NotFound(
                f'no {resource.kind} "{name_or_id}" can be seen by project {self.project_id}',
                code="NET-NOT-FOUND",
                owner=Owner.USER,
                hint=f"openstack {str(resource.kind).replace('-', ' ')} list",
            )
        if len(found) > 1:
            ids = ", ".join(sorted(item.id for item in found))
            raise Conflict(
                f'{len(found)} {resource.kind}s are named "{name_or_id}": {ids}',
                code="NET-AMBIGUOUS",
                owner=Owner.USER,
                hint="give the id",
            )
        return found[0]

    def _read(self, what: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except Refused as refused:
            raise refused.error(what) from None


T = TypeVar("T")


class _Observer:
    """One observation: one list for each kind, each failing by itself."""

    def __init__(self, client: Client, cluster_id: str, networks: Sequence[str]) -> None:
        self._client = client
        self._cluster = names.cluster_tag(cluster_id)
        self._named = networks
        self._errors: dict[Kind, KuryrError] = {}
        self._silent: KuryrError | None = None

    def observe(self) -> Observation:
        mine = [("project_id", self._client.project_id)]
        ports = self._list((Kind.PORT, Kind.ROUTER_INTERFACE), lambda: self._ports(mine))
        networks = self._list((Kind.NETWORK,), lambda: self._networks(mine))
        foreign = [id_ for id_, network in networks.items() if network.project_id != self._client.project_id]
        subnets = self._list((Kind.SUBNET,), lambda: self._subnets(mine, foreign))
        routers = self._list((Kind.ROUTER,), lambda: self._client.list(ROUTERS, mine))
        groups = self._list((Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE), lambda: self._client.list(GROUPS, mine))
        return Observation(
            project_id=self._client.project_id,
            networks=networks,
            subnets=subnets,
            routers=routers,
            security_groups=groups,
            ports=ports,
            complete=_CLOUD_KINDS - self._errors.keys(),
            quotas=self._quotas(),
            errors=self._errors,
        )

    def _quotas(self) -> tuple[QuotaUse, ...]:
        """For forecasts only: a cloud that does not tell its quotas (an extension does) refuses when it comes to it."""
        if self._silent is not None:
            return ()
        try:
            return quota.quotas(self._client)
        except (Refused, KuryrError) as error:
            _log.info("quotas not read: %s", error)
            return ()

    def _list(self, kinds: tuple[Kind, ...], read: Callable[[], Sequence[O]]) -> dict[str, O]:
        if self._silent is not None:
            self._errors |= dict.fromkeys(kinds, self._silent)
            return {}
        try:
            return {item.id: item for item in read()}
        except Refused as refused:
            error = refused.error(f"{kinds[0]}s not listed")
        except KuryrError as fault:
            error = fault
            if fault.code != "NET-ANSWER":
                self._silent = fault
        self._errors |= dict.fromkeys(kinds, error)
        return {}

    def _ports(self, mine: list[tuple[str, str]]) -> tuple[Port, ...]:
        """Two lists that share nothing but what is tagged between them; in this order no port falls between them."""
        owners = [("device_owner", owner) for owner in (names.DEVICE_OWNER, *INTERFACE_OWNERS)]
        untagged = self._client.list(PORTS, [*mine, *owners, ("not-tags", self._cluster)], must_show=_HOST)
        return untagged + self._client.list(PORTS, [*mine, ("tags", self._cluster)], must_show=_HOST)

    def _networks(self, mine: list[tuple[str, str]]) -> tuple[Network, ...]:
        found = self._client.list(NETWORKS, mine)
        for wanted in self._named:
            if all(wanted not in (network.id, network.name) for network in found):
                found += _lookup(self._client, NETWORKS, wanted)
        return found

    def _subnets(self, mine: list[tuple[str, str]], networks: Sequence[str]) -> tuple[Subnet, ...]:
        found = self._client.list(SUBNETS, mine)
        if networks:
            found += self._client.list(SUBNETS, [("network_id", id_) for id_ in networks])
        return found


O = TypeVar("O", Network, Subnet, Router, SecurityGroup, Port)  # noqa: E741  # an object
_CLOUD_KINDS = frozenset(
    {
        Kind.NETWORK,
        Kind.SUBNET,
        Kind.ROUTER,
        Kind.ROUTER_INTERFACE,
        Kind.SECURITY_GROUP,
        Kind.SECURITY_GROUP_RULE,
        Kind.PORT,
    }
)


def _lookup(client: Client, resource: Resource[R], name_or_id: str) -> tuple[R, ...]:
    """Objects with this id, else with this name."""
    if _is_uuid(name_or_id):
        found = client.list(resource, [("id", name_or_id)])
        if found:
            return found
    return client.list(resource, [("name", name_or_id)])


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _together(steps: Sequence[Step], first: int) -> list[int]:
    """The positions of the steps that share the call of the step at `first`."""
    step = steps[first]
    if step.action is not Action.CREATE or step.kind not in (Kind.PORT, Kind.SECURITY_GROUP_RULE):
        return [first]
    group = _group(step)
    return [
        index
        for index, other in enumerate(steps)
        if index >= first and other.action is Action.CREATE and other.kind is step.kind and _group(other) == group
    ]


def _group(step: Step) -> Key:
    return step.spec.group if isinstance(step.spec, RuleSpec) else ""


def _outcome(step: Step, result: Result) -> Outcome:
    return Outcome(step, error=result) if isinstance(result, KuryrError) else Outcome(step, object=result)


def _object(step: Step) -> str:
    subject = f" of {step.subject}" if step.subject else ""
    return f"{step.kind} {step.id or step.key}{subject}"
