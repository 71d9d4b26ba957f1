"""Observed cloud objects by the keys of the desired state.

Two halves: what the whole cluster shares (`Own`: network, subnets, router, groups; ours or adopted by the
configuration) and the ports that serve one pod or one node (`Ports`, kept up to date one object at a time, because
there are thousands). Does not know: what should exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from types import MappingProxyType
from typing import TypeVar

from msgspec import Struct

from kuryrctl.core import names, ownership
from kuryrctl.core.cloud import CloudState, Network, Port, Router, SecurityGroup, Subnet
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import POLICY_ROLES, Claim, Identity, Proof
from kuryrctl.core.specs import Key

NETWORK_ROLES = ("pods", "services")
SUBNET_ROLES = ("pods-4", "pods-6", "services-4", "services-6")
ROUTER_ROLES = ("pods",)
GROUP_ROLES = ("open-ingress", "open-egress", "nodes")
ROUTER_INTERFACE_OWNERS = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)

OwnObject = Network | Subnet | Router | SecurityGroup | Port
_T = TypeVar("_T", Network, Subnet, Router, SecurityGroup)


class Own(Struct, frozen=True):
    """What the whole cluster shares, as observed.

    `objects` by key. `adopted` are the keys that the configuration gave us: never changed (but for the guard tag), nor
    deleted. `untagged` are ours, but lack our tags. `external_network_id` is empty where none is configured.
    `pod_subnets` are the pods' by id, IPv4 first.
    """

    identity: Identity
    objects: Mapping[Key, OwnObject]
    adopted: frozenset[Key] = frozenset()
    untagged: frozenset[Key] = frozenset()
    external_network_id: str = ""
    findings: tuple[Finding, ...] = ()
    pod_subnets: Mapping[str, Subnet] = MappingProxyType({})

    @property
    def ids(self) -> Mapping[Key, str]:
        """The id of each object by its key (a router interface's is its port's)."""
        return {key: thing.id for key, thing in self.objects.items()}

    @property
    def pod_versions(self) -> tuple[int, ...]:
        """The IP versions in which pods get addresses."""
        return tuple(subnet.ip_version for subnet in self.pod_subnets.values())

    @property
    def network(self) -> Network | None:
        """The pod network."""
        found = self.objects.get("network/pods")
        return found if isinstance(found, Network) else None


def find_own(cloud: CloudState, config: Config) -> Own:
    """The shared objects among all observed ones.

    Raises Invalid where the configuration names something that is not there, or that is not unique.
    """
    identity = Identity(config.cluster_id, cloud.project_id, "")
    finder = _Finder(identity)
    adopted: dict[Key, OwnObject] = {}
    if config.pod_network.name:
        network = _named(cloud.networks.values(), config.pod_network.name, "pod_network.name", "network")
        adopted["network/pods"] = network
        adopted.update(_adopted_subnets(network, cloud, config))
    if config.router:
        adopted["router/pods"] = _named(cloud.routers.values(), config.router, "router", "router")
    finder.claim(Kind.NETWORK, NETWORK_ROLES, cloud.networks.values(), adopted)
    finder.claim(Kind.SUBNET, SUBNET_ROLES, cloud.subnets.values(), adopted)
    finder.claim(Kind.ROUTER, ROUTER_ROLES, cloud.routers.values(), adopted)
    shared = [group for group in cloud.security_groups.values() if names.role_of(group.tags) not in POLICY_ROLES]
    finder.claim(Kind.SECURITY_GROUP, GROUP_ROLES, shared, adopted)
    objects = finder.objects | adopted
    objects |= _interfaces(objects, cloud.ports.values())
    external = ""
    if config.external_network and not config.router:
        external = _named(cloud.networks.values(), config.external_network, "external_network", "network").id
    pods = objects.get("network/pods")
    return Own(
        identity=Identity(config.cluster_id, cloud.project_id, pods.id if pods else ""),
        objects=MappingProxyType(objects),
        adopted=frozenset(adopted),
        untagged=frozenset(finder.untagged),
        external_network_id=external,
        findings=tuple(finder.findings),
        pod_subnets={s.id: s for s in map(objects.get, ("subnet/pods-4", "subnet/pods-6")) if isinstance(s, Subnet)},
    )


class Ports:
    """The ports that serve one pod or node, by key; mutable, for the one thread that owns the observed state."""

    def __init__(self, identity: Identity, ports: Iterable[Port] = ()) -> None:
        self.identity = identity
        self._by_id: dict[str, tuple[Port, Claim]] = {}
        self._by_key: dict[Key, tuple[Port, ...]] = {}
        self._carriers: dict[str, dict[str, None]] = {}  # of thousands, a set takes 2.5 times a dict's memory
        for port in ports:
            self.put(port)

    def take(self, ports: Mapping[str, Port]) -> None:
        """Hold these and no others. A port that is held already is not looked at again."""
        for id_ in self._by_id.keys() - ports.keys():
            self.drop(id_)
        for id_, port in ports.items():
            if self.by_id(id_) is not port:
                self.put(port)

    def put(self, port: Port) -> Claim:
        """Take this as the newest observation of the port with its id."""
        self.drop(port.id)
        claim = ownership.claim_port(port, self.identity)
        self._by_id[port.id] = (port, claim)
        if claim.ours:
            self._by_key[claim.key] = (*self._by_key.get(claim.key, ()), port)
            for group in port.security_groups:
                self._carriers.setdefault(group, {})[port.id] = None
        return claim

    def drop(self, id_: str) -> None:
        """The port is gone."""
        port, claim = self._by_id.pop(id_, (None, ownership.FOREIGN))
        if port is None or not claim.ours:
            return
        for group in port.security_groups:
            self._carriers[group].pop(id_, None)
            if not self._carriers[group]:
                del self._carriers[group]
        rest = tuple(other for other in self._by_key[claim.key] if other.id != id_)
        if rest:
            self._by_key[claim.key] = rest
        else:
            del self._by_key[claim.key]

    def by_id(self, id_: str) -> Port | None:
        """The port with this id, whosever it is."""
        return self._by_id.get(id_, (None,))[0]

    def claim(self, id_: str) -> Claim:
        """Whose port this is; foreign where it is unknown."""
        return self._by_id.get(id_, (None, ownership.FOREIGN))[1]

    def served(self, role: str) -> set[str]:
        """The uids of all pods (or nodes) that a port of ours names."""
        prefix = f"port/{role}/"
        return {key.removeprefix(prefix) for key in self._by_key if key.startswith(prefix)}

    def carriers(self, group_id: str) -> frozenset[str]:
        """The keys of our ports that list this group."""
        return frozenset(self.claim(id_).key for id_ in self._carriers.get(group_id, ()))

    def of(self, key: Key, preferred_id: str = "") -> tuple[Port, ...]:
        """The ports of one key: first the one to use (`preferred_id`, else the oldest), then doubles."""
        found = self._by_key.get(key, ())
        if len(found) < 2:
            return found
        return tuple(sorted(found, key=lambda port: (port.id != preferred_id, port.created_at, port.id)))

    def __iter__(self) -> Iterator[tuple[Port, Claim]]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def count_ours(self) -> int:
        """How many ports are ours."""
        return sum(len(found) for found in self._by_key.values())

    def suspicious(self) -> tuple[Finding, ...]:
        """The ports that carry our tags, but are not provably ours."""
        return tuple(
            _suspicious(Kind.PORT, port.id, port.name, claim)
            for port, claim in self._by_id.values()
            if claim.proof is Proof.SUSPICIOUS
        )


class _Finder:
    """Collects what is ours of each kind, the best proven first."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.objects: dict[Key, OwnObject] = {}
        self.untagged: set[Key] = set()
        self.findings: list[Finding] = []

    def claim(self, kind: Kind, roles: tuple[str, ...], things: Iterable[_T], adopted: Mapping[Key, OwnObject]) -> None:
        claims = [(ownership.claim_own(thing, self.identity, kind, roles), thing) for thing in things]
        chosen_by_us = [(claim, thing) for claim, thing in claims if claim.key not in adopted]
        for claim, thing in sorted(chosen_by_us, key=_doubt):
            if claim.proof is Proof.SUSPICIOUS:
                self.findings.append(_suspicious(kind, thing.id, thing.name, claim))
            elif claim.ours and claim.key in self.objects:
                message = f"a second {claim.key}: {self.objects[claim.key].id} is used, this one is not"
                self.findings.append(Finding(FindingCode.DUPLICATE, kind, thing.id, thing.name, message))
            elif claim.ours:
                self.objects[claim.key] = thing
                if claim.proof is Proof.DERIVED:
                    self.untagged.add(claim.key)


def _doubt(found: tuple[Claim, OwnObject]) -> tuple[bool, bool, str]:
    """What makes one of two objects with the same marks the lesser one: tags can be copied, the description as well."""
    claim, thing = found
    return claim.proof is not Proof.TAGGED, thing.description != names.description(thing.tags), thing.id


def _suspicious(kind: Kind, id_: str, name: str, claim: Claim) -> Finding:
    message = f"{kind} {id_} carries our tags, but {claim.why}; kuryrctl leaves it alone"
    return Finding(FindingCode.SUSPICIOUS, kind, id_, name, message, claim.uid)


def _interfaces(objects: Mapping[Key, OwnObject], ports: Iterable[Port]) -> dict[Key, OwnObject]:
    """The router's legs by key. A leg of whatever router counts for an adopted subnet: it is routed."""
    router = objects.get("router/pods")
    subnets = {thing.id: key for key, thing in objects.items() if isinstance(thing, Subnet)}
    found: dict[Key, OwnObject] = {}
    for port in ports:
        if port.device_owner not in ROUTER_INTERFACE_OWNERS or (router and port.device_id != router.id):
            continue
        for address in port.fixed_ips:
            if address.subnet_id in subnets:
                found[f"router-interface/{subnets[address.subnet_id].removeprefix('subnet/')}"] = port
    return found


def _named(things: Iterable[_T], wanted: str, option: str, noun: str) -> _T:
    """The one thing with this id or name."""
    found = [thing for thing in things if wanted in (thing.id, thing.name)]
    found = [thing for thing in found if thing.id == wanted] or found
    if len(found) == 1:
        return found[0]
    what = f"there are {len(found)} with this name" if found else "there is none"
    raise Invalid(
        f'{option}: no single {noun} "{wanted}" in the cloud: {what}',
        code="CFG-NOT-FOUND",
        owner=Owner.USER,
        hint=f"give the {noun}'s id; openstack {noun} list shows those that this project can use",
    )


def _adopted_subnets(network: Network, cloud: CloudState, config: Config) -> dict[Key, OwnObject]:
    """Of each IP version the subnet with the configured CIDR, else the only one that the adopted network has."""
    wanted = {ip_network(cidr) for cidr in config.pod_network.cidrs}
    found: dict[Key, OwnObject] = {}
    for version in (4, 6):
        there = [s for s in cloud.subnets.values() if s.network_id == network.id and s.ip_version == version]
        there = [subnet for subnet in there if ip_network(subnet.cidr) in wanted] or there
        if len(there) > 1:
            raise Invalid(
                f"pod_network.cidrs: network {network.name or network.id} has {len(there)} IPv{version} subnets, and"
                " none is the configured one",
                code="CFG-AMBIGUOUS",
                owner=Owner.USER,
                hint=f"name one in pod_network.cidrs: {', '.join(sorted(subnet.cidr for subnet in there))}",
            )
        if there:
            found[f"subnet/pods-{version}"] = there[0]
    if not found:
        raise Invalid(
            f"pod_network.name: network {network.name or network.id} has no subnet",
            code="CFG-NOT-FOUND",
            owner=Owner.USER,
            hint="make one with: openstack subnet create",
        )
    return found
