"""Services in the index: who may reach which VIP, which pods reach themselves through one.

Does not know: how a policy's own peers are found (`index`), how one endpoint is judged (`clients`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

from kuryrctl.core.policy.allowance import Span
from kuryrctl.core.policy.clients import Client, own_fronts, own_key, reachable
from kuryrctl.core.policy.entries import Parsed
from kuryrctl.core.policy.index import Changes, Index
from kuryrctl.core.policy.vips import Address, Gate, Services, Translation, View
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.specs import Key

OwnGate: TypeAlias = tuple[Address, Gate, Span]
"""A pod's address, the gate by which it reaches itself, the port behind it."""


class Reach:
    """The Services, and what policies make of them. `own`: by group, the gates by which one pod reaches itself."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._services = Services()
        self._hairpins: dict[Key, set[str]] = defaultdict(set)
        self._hairpins_of: dict[str, set[Key]] = {}
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
            client.gates = {name: self._reachable(client, name) for name in self._services.names()}
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
        for where in changes.addresses:
            changes.services.update(self._services.at(where))
        if changes.namespaces:
            names = self._services.names()
            changes.services.update(name for name in names if name.partition("/")[0] in changes.namespaces)
        for name in changes.services:
            self._look(name, changes)
        for uid in changes.endpoints:
            self._turn_own(uid, changes)

    def _look(self, name: str, changes: Changes) -> None:
        before, now, turned = self._services.look(name)
        for where in before.endpoints | now.endpoints:
            changes.endpoints |= self._index.pods_at(where)
        self._turn_hairpins(name, before, now, changes)
        for client in self._index.clients.values():
            if client.gates is None:
                changes.groups.add(client.key)
                continue
            gates = self._reachable(client, name)
            if gates != client.gates.get(name, ()):
                changes.groups.add(client.key)
            client.gates[name] = gates
        for version, span, _ in turned:
            for policy in self._index.policies.values():
                if policy.wide(version, span):
                    self._index.touch_egress(policy.policy.full_name, changes)

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
        policies = self._parsed(client.policies)
        return reachable(self._services.of(name), policies, self._index.peers, self._index.classes_at)

    def _parsed(self, policies: Iterable[str]) -> list[Parsed]:
        return [self._index.policies[name] for name in policies]
