"""What a change of manifests would change: connections that open or close, groups, rules, and calls to Neutron.

Both sides are whole clusters, so nothing is asked of a live one. Does not know: where they come from, who reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_network
from itertools import islice
from typing import TypeVar

import msgspec
from msgspec import Struct

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, Namespace, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.policy.compiler import Group, Policies
from kuryrctl.core.policy.endpoints import untold
from kuryrctl.core.policy.ends import is_there
from kuryrctl.core.policy.explain import PortChoice, Questions, choices_of
from kuryrctl.core.policy.flows import FAMILIES, Block, End, Flow, block_of, inside
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.policy.pieces import blocks_of, regions
from kuryrctl.core.policy.workloads import CONTROLLERS_LABELS, workload_of
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key

T = TypeVar("T", Namespace, NetworkPolicy, Service)

DIFF_SCHEMA = "kuryrctl.policy-diff/1"
SHARED_GROUPS, SHARED_RULES = 3, 8
"""What the whole cluster shares beside the policies (`desired`), with two IP versions."""


class Side(Struct, frozen=True, order=True):
    """One end of a changed connection: a pod with others like it (same namespace, labels, ports), or addresses."""

    name: str
    others: int = 0


class Pair(Struct, frozen=True, order=True):
    """Connections that open or close, in this direction, on these ports."""

    source: Side
    target: Side
    ports: tuple[PortChoice, ...]


class Count(Struct, frozen=True):
    """How many there are, and what comes and goes."""

    before: int
    after: int
    made: int
    removed: int


class PolicyDifference(Struct, frozen=True):
    """See the module. `policies` is ``+``, ``-`` or ``~`` by ``namespace/name``. `updates` are ports whose group list
    changes; `calls` is how many calls to Neutron all of it takes. `untold` are Services (``namespace/name``) of which
    nothing says who answers for them: whether anybody may reach them cannot be told."""

    policies: Mapping[str, str]
    opened: tuple[Pair, ...]
    closed: tuple[Pair, ...]
    groups: Count
    rules: Count
    updates: int
    calls: int
    untold: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.opened or self.closed or self.calls or self.policies)


def policy_difference(before: ClusterState, after: ClusterState, config: Config) -> PolicyDifference:
    """What becomes of `before` when it becomes `after`. Pods without an address are given one of the pod network."""
    old, new = placed(before, config), placed(after, config)
    opened, closed = _pairs(old, new, config)
    return PolicyDifference(_policies(old, new), opened, closed, *_cost(old, new, config), tuple(untold(new)))


def applied(base: ClusterState, manifests: ClusterState, namespaces: Collection[str] = ()) -> ClusterState:
    """The cluster after these manifests were applied: what has the same name is replaced, nothing is deleted.

    The pods that run of a workload get its template's labels and named ports. `namespaces` are those that the
    manifests declare: of the others, which they only name, the cluster's labels stay.
    """
    declared = {name: manifests.namespaces[name] for name in namespaces}
    running = {uid: workload_of(pod, manifests.pods.values()) for uid, pod in base.pods.items()}
    known = {workload.uid for workload in running.values() if workload is not None}
    pods = {uid: _templated(pod, template) if (template := running[uid]) else pod for uid, pod in base.pods.items()}
    return msgspec.structs.replace(
        base,
        pods={**{uid: pod for uid, pod in manifests.pods.items() if uid not in known}, **pods},
        nodes={**manifests.nodes, **base.nodes},
        namespaces={**manifests.namespaces, **base.namespaces, **_with_uids(declared, base.namespaces)},
        policies={**base.policies, **_with_uids(manifests.policies, base.policies)},
        services={**base.services, **_with_uids(_addressed(manifests.services, base.services), base.services)},
        endpoint_slices={**base.endpoint_slices, **manifests.endpoint_slices},
    )


def with_twins(cluster: ClusterState, workloads: Collection[str]) -> ClusterState:
    """With a second pod of each of these (``namespace/name``): the pods of one workload speak with each other, too."""
    firsts = [pod for pod in cluster.pods.values() if pod.full_name in workloads]
    twins = [msgspec.structs.replace(pod, name=f"{pod.name}-1", uid=f"{pod.uid}-1", ips=()) for pod in firsts]
    return msgspec.structs.replace(cluster, pods={**cluster.pods, **{pod.uid: pod for pod in twins}})


def without_policies(cluster: ClusterState) -> ClusterState:
    """The same cluster before any policy was applied."""
    return msgspec.structs.replace(cluster, policies={})


def placed(cluster: ClusterState, config: Config) -> ClusterState:
    """With an address of each family for every pod that has none yet: the same one in every run.

    Raises Invalid (POL-ADDRESSES) where the pod network has too few.
    """
    taken = {address for pod in cluster.pods.values() for address in pod.ips}
    free = [_addresses(cidr) for cidr in config.pod_network.cidrs]
    pods: dict[str, Pod] = {}
    for uid, pod in sorted(cluster.pods.items(), key=lambda item: item[1].full_name):
        if not pod.ips and not pod.host_network:
            ips = tuple(address for each in free for address in islice((a for a in each if a not in taken), 1))
            if len(ips) < len(free):
                raise Invalid(
                    f"pod {pod.full_name} finds no free address in {', '.join(config.pod_network.cidrs)}",
                    code="POL-ADDRESSES",
                    owner=Owner.USER,
                    hint="give pod_network.cidrs larger subnets",
                )
            pods[uid] = msgspec.structs.replace(pod, ips=ips)
        else:
            pods[uid] = pod
    return msgspec.structs.replace(cluster, pods=pods)


def _addresses(cidr: str) -> Iterator[str]:
    """Those of a subnet that a port can have, without the gateway's."""
    subnet = ip_network(cidr)
    return (str(subnet[number]) for number in range(2, subnet.num_addresses - 1))


def _templated(pod: Pod, template: Pod) -> Pod:
    """The pod with its template's labels and ports; what a controller labels its pods with, it keeps."""
    kept = {key: value for key, value in pod.labels.items() if key in CONTROLLERS_LABELS}
    return msgspec.structs.replace(pod, labels={**kept, **template.labels}, ports=template.ports)


def _with_uids(declared: Mapping[str, T], known: Mapping[str, T]) -> Mapping[str, T]:
    """Objects of manifests with the uids that they have in the cluster: by these their groups are called."""
    return {
        name: msgspec.structs.replace(each, uid=known[name].uid) if name in known else each
        for name, each in declared.items()
    }


def _addressed(declared: Mapping[str, Service], known: Mapping[str, Service]) -> Mapping[str, Service]:
    """Services of manifests with the addresses that they have in the cluster, where they name none."""
    return {
        name: msgspec.structs.replace(each, cluster_ips=known[name].cluster_ips)
        if name in known and not each.cluster_ips
        else each
        for name, each in declared.items()
    }


def _policies(old: ClusterState, new: ClusterState) -> Mapping[str, str]:
    changes = {}
    for name in sorted({*old.policies, *new.policies}):
        was, is_ = old.policies.get(name), new.policies.get(name)
        if was is None or is_ is None:
            changes[name] = "+" if was is None else "-"
        elif msgspec.structs.replace(was, uid="") != msgspec.structs.replace(is_, uid=""):
            changes[name] = "~"
    return changes


# -- connections


def _pairs(old: ClusterState, new: ClusterState, config: Config) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """Pods of one class are judged once: nothing that a policy can say tells them apart but their own address."""
    before, after = Questions(old, CloudState(), config), Questions(new, CloudState(), config)
    blocks = blocks_of((*old.policies.values(), *new.policies.values()))
    pods = list(_classes(new, after, blocks))
    ends = [*pods, *_addresses_outside(blocks, after)]
    asked = [end for _, end, _ in ends]
    choices = choices_of(before.named(asked, asked) | after.named(asked, asked))
    found = _Found()
    for source, one, twin in ends:
        for target, end, _ in ends:
            other = twin if end == one else end
            for choice in choices:
                found.note(
                    source, target, choice, _allowed(before, one, other, choice), _allowed(after, one, other, choice)
                )
    for was, is_ in _services(before, after):
        for choice in sorted({PortChoice(front.protocol, front.port) for front in is_.fronts}):
            for source, one, _ in pods:
                found.note(
                    source,
                    Side(str(is_)),
                    choice,
                    _allowed(before, one, was, choice),
                    _allowed(after, one, is_, choice),
                )
    return found.opened, found.closed


class _Found:
    """The ports of every pair on which something opens, or closes."""

    def __init__(self) -> None:
        self._ports: dict[bool, dict[tuple[Side, Side], list[PortChoice]]] = {True: {}, False: {}}

    def note(self, source: Side, target: Side, choice: PortChoice, before: list[bool], after: list[bool]) -> None:
        """What was allowed, and what is, for each IP version."""
        for is_ in {is_ for was, is_ in zip(before, after, strict=True) if was is not is_}:
            self._ports[is_].setdefault((source, target), []).append(choice)

    @property
    def opened(self) -> tuple[Pair, ...]:
        """What opens, sorted."""
        return self._pairs(True)

    @property
    def closed(self) -> tuple[Pair, ...]:
        """What closes, sorted."""
        return self._pairs(False)

    def _pairs(self, way: bool) -> tuple[Pair, ...]:
        return tuple(sorted(Pair(*sides, tuple(ports)) for sides, ports in self._ports[way].items()))


def _services(before: Questions, after: Questions) -> Iterator[tuple[End, End]]:
    """Every Service with an address as it was and as it is; a new one was as it is: it has no policy of its own."""
    for name, service in sorted(after.cluster.services.items()):
        if service.cluster_ips:
            is_ = after.ends.service(service)
            known = before.cluster.services.get(name)
            yield (before.ends.service(known) if known is not None and known.cluster_ips else is_), is_


def _allowed(questions: Questions, source: End, target: End, choice: PortChoice) -> list[bool]:
    """Whether it is allowed, for each IP version that both have."""
    flows = [
        Flow(source, target, family, choice.protocol, choice.port)
        for family in FAMILIES
        if source.block(family) and target.block(family)
    ]
    return [questions.policies.verdict(flow).allowed for flow in flows]


def _classes(cluster: ClusterState, questions: Questions, blocks: set[Block]) -> Iterator[tuple[Side, End, End]]:
    """Each class with one of its pods and, where it has more, another: a pod always reaches itself, not its like."""
    found: dict[object, list[Pod]] = {}
    for pod in sorted(cluster.pods.values(), key=lambda pod: pod.full_name):
        if is_there(pod) and not pod.host_network:
            addresses = [block_of(text) for text in pod.ips]
            homes = frozenset(block for block in blocks if any(inside(each, block) for each in addresses))
            found.setdefault((pod.namespace, frozenset(pod.labels.items()), pod.ports, homes), []).append(pod)
    for pods in found.values():
        yield Side(pods[0].full_name, len(pods) - 1), questions.ends.pod(pods[0]), questions.ends.pod(pods[-1])


def _addresses_outside(blocks: set[Block], questions: Questions) -> Iterator[tuple[Side, End, End]]:
    """One address, which nobody has, of those that the same CIDRs hold."""
    for region in regions(blocks):
        stranger = questions.ends.stranger(region.first)
        if stranger is not None:
            yield Side(region.name), stranger, stranger


# -- what it costs


def _cost(old: ClusterState, new: ClusterState, config: Config) -> tuple[Count, Count, int, int]:
    was, is_ = _compiled(old, config), _compiled(new, config)
    before, after = _groups(was), _groups(is_)
    made, removed = after.keys() - before.keys(), before.keys() - after.keys()
    rules_before = {(key, rule.key) for key, group in before.items() for rule in group.rules}
    rules_after = {(key, rule.key) for key, group in after.items() for rule in group.rules}
    added, gone = rules_after - rules_before, rules_before - rules_after
    vanished = {rule for rule in gone if rule[0] in removed}  # Neutron deletes them with their group
    updates = sum(
        was.groups_of(old.pods[uid]) != is_.groups_of(pod)
        for uid, pod in new.pods.items()
        if uid in old.pods and pod.wants_port
    )
    calls = 2 * len(made) + len({key for key, _ in added}) + len(gone - vanished) + len(removed) + updates
    return (
        Count(len(before) + SHARED_GROUPS, len(after) + SHARED_GROUPS, len(made), len(removed)),
        Count(len(rules_before) + SHARED_RULES, len(rules_after) + SHARED_RULES, len(added), len(gone)),
        updates,
        calls,
    )


def _compiled(cluster: ClusterState, config: Config) -> Policies:
    policies = Policies(config)
    policies.replace(cluster)
    return policies


def _groups(policies: Policies) -> dict[Key, Group]:
    return {key: group for key in list(policies.keys()) if (group := policies.group(key))}
