"""Services in the index: who may reach which VIP, which pods reach themselves through one.

Does not know: how a policy's own peers are found (`index`), how one endpoint is judged (`clients`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from kuryrctl.core.policy.allowance import Span
from kuryrctl.core.policy.clients import (
    Client,
    Door,
    allowed,
    opens_by_address,
    own_fronts,
    own_key,
    reachable,
    sorted_out,
)
from kuryrctl.core.policy.entries import Parsed
from kuryrctl.core.policy.index import Changes, Index
from kuryrctl.core.policy.vips import Address, Gate, Services, Translation, View
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.specs import Key

OwnGate: TypeAlias = tuple[Address, Gate, Span]
"""A pod's address, the gate by which it reaches itself, the port behind it."""


class Reach:
    """The Services, and what policies make of them. `own`: by group, the gates by which one pod reaches itself.

    Most policies open no Service: its openers are those that may allow its first endpoint, and only they are asked on.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._services = Services()
        self._hairpins: dict[Key, set[str]] = defaultdict(set)
        self._hairpins_of: dict[str, set[Key]] = {}
        self._open_to: dict[str, set[str]] = defaultdict(set)
        self._openers: dict[str, set[str]] = {}
        self._doors: dict[str, tuple[Door, ...]] = {}
        self.own: dict[Key, tuple[OwnGate, ...]] = {}

    def put(self, thing: Service | EndpointSlice, changes: Changes) -> None:
        """A Service or a slice of its endpoints came or changed."""
        changes.services |= self._services.put(thing)

    def drop(self, thing: Service | EndpointSlice, changes: Changes) -> None:
        """A Service or a slice of its endpoints went."""
        changes.services |= self._services.drop(thing)

    def gates(self, client: Client) -> list[Gate]:
        """All VIPs' ports that a client may reach."""
        if client.gates is None:
            names = {name for policy in client.policies for name in self._open_to[policy]}
            client.gates = {name: self._reachable(client, name) for name in names}
        return [gate for gates in client.gates.values() for gate in gates]

    def hairpins(self, key: Key) -> list[tuple[Address, Span]]:
        """The VIPs as which those who carry an ingress group see themselves, and on which ports."""
        views = map(self._services.of, self._hairpins.get(key, ()))
        return [(vip, target) for view in views for (vip, _), target in view.targets]

    def translations(self) -> Iterable[Translation]:
        """What any Service's VIP turns which port into."""
        return self._services.translations()

    def settle(self, changes: Changes) -> None:
        """Look again at what the changes concern. The last thing to do for every change."""
        self._doors.clear()
        for where in changes.addresses:
            changes.services.update(self._services.at(where))
        if changes.namespaces:
            names = self._services.names()
            changes.services.update(name for name in names if name.partition("/")[0] in changes.namespaces)
        for name in changes.services:
            self._look(name, changes)
        others = [name for name in self._services.names() if name not in changes.services] if changes.policies else []
        for policy in changes.policies:
            self._turn_openers(policy, changes.services, others)
        for uid in changes.endpoints:
            self._turn_own(uid, changes)

    def _turn_openers(self, policy: str, looked_at: set[str], others: list[str]) -> None:
        """Find what a policy that came, changed or went opens now, of the `others`: those that were not looked at."""
        opened = set(self._find_openers(policy, others)) | self._open_to[policy] & looked_at
        for name in self._open_to[policy] - opened:
            self._openers[name].discard(policy)
        for name in opened:
            self._openers[name].add(policy)
        self._open_to[policy] = opened

    def _find_openers(self, policy: str, services: list[str]) -> Iterator[str]:
        parsed = self._index.policies.get(policy)
        if parsed is None:
            return
        for name in services:
            firsts = [front.backends[0] for front in self._services.of(name).fronts if front.backends]
            if any(allowed([parsed], self._index.peers, self._index.classes_at, *first) for first in firsts):
                yield name

    def _openers_of(self, view: View) -> set[str]:
        """The policies that may allow the first endpoint of one of the fronts."""
        found: set[str] = set()
        for front in view.fronts:
            for _, where in front.backends[:1]:
                for pods in self._index.classes_at(where):
                    found |= self._index.peers.naming(pods)
        for how, policies in self._index.by_address.items():
            if policies and opens_by_address(how, view):
                found |= policies
        return found

    def _look(self, name: str, changes: Changes) -> None:
        before, now, turned = self._services.look(name)
        for where in before.endpoints | now.endpoints:
            changes.endpoints.update(self._index.pods_at(where))
        self._turn_hairpins(name, before, now, changes)
        openers, before_openers = self._openers_of(now), self._openers.get(name, set())
        self._openers[name] = openers
        for policy in before_openers - openers:
            self._open_to[policy].discard(name)
        for policy in openers:
            self._open_to[policy].add(name)
        for client in {each for policy in openers | before_openers for each in self._index.clients_of(policy)}:
            if client.gates is None:
                changes.groups.add(client.key)
                continue
            gates = self._reachable(client, name)
            if gates != client.gates.get(name, ()):
                changes.groups.add(client.key)
            client.gates[name] = gates
        for version, span, _ in turned:
            for each in self._index.policies.values():
                if each.wide(version, span):
                    self._index.touch_egress(each.policy.full_name, changes)

    def _turn_hairpins(self, name: str, before: View, now: View, changes: Changes) -> None:
        old = self._hairpins_of.get(name, set())
        classes = [pods for where in now.endpoints for pods in self._index.classes_at(where)] if now.targets else []
        new = {key for pods in classes for key in pods.ingress_groups}
        changes.groups |= old ^ new if before.targets == now.targets else old | new
        for key in old - new:
            self._hairpins[key].discard(name)
        for key in new - old:
            self._hairpins[key].add(name)
        self._hairpins_of[name] = new

    def _turn_own(self, uid: str, changes: Changes) -> None:
        pods, key = self._index.class_of(uid), own_key(uid)
        before = self.own.pop(key, ())
        now: tuple[OwnGate, ...] = ()
        if pods is not None and pods.client is not None:
            now = tuple(
                (where, gate, span)
                for where in self._index.addresses(uid)
                for name in sorted(self._services.at(where))
                for gate, span in own_fronts(
                    self._services.of(name), where, self._parsed(pods.egress), self._index.peers, self._index.classes_at
                )
            )
        if now:
            self.own[key] = now
        if now != before:
            changes.groups.add(key)
        if bool(now) != bool(before):
            changes.pods.add(uid)

    def _reachable(self, client: Client, name: str) -> tuple[Gate, ...]:
        if name not in self._doors:
            self._doors[name] = sorted_out(self._services.of(name), self._index.classes_at)
        return reachable(self._doors[name], self._parsed(client.policies), self._index.peers)

    def _parsed(self, policies: Iterable[str]) -> list[Parsed]:
        return [self._index.policies[name] for name in policies]
