"""Services in the index: who may reach which VIP, which pods reach themselves through one.

Does not know: how a policy's own peers are found (`index`), how one endpoint is judged (`doors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TypeAlias

from kuryrctl.core.policy.allowance import Span
from kuryrctl.core.policy.clients import Client, own_key
from kuryrctl.core.policy.doors import Door, Rules, ajar, own_gates, reachable, sorted_out
from kuryrctl.core.policy.index import Changes, Index
from kuryrctl.core.policy.ranges import Ranges
from kuryrctl.core.policy.sets import Sets
from kuryrctl.core.policy.vips import Address, Gate, Services, Translation, View
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.specs import Key

OwnGate: TypeAlias = tuple[Address, Gate, Span]
"""A pod's address, the gate by which it reaches itself, the port behind it."""
OwnGates = Callable[[Client, str], Mapping[Address, Sequence[tuple[Gate, Span]]]]
"""The gates of a Service by which single pods of a client reach themselves, with the ports behind, by address."""


class Reach:
    """The Services, and what policies make of them. `own`: by group, the gates by which one pod reaches
    itself; `own_keys`: that pod's group, by its uid.

    Most policies open no Service: its openers (the ids of their egress) are those that may allow its first endpoint,
    and only they are asked on.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._services = Services()
        self._hairpins: Sets[Key, str] = Sets()
        self._hairpins_of: dict[str, set[Key]] = {}
        self._open_to: Sets[str, str] = Sets()
        self._openers: Sets[str, str] = Sets()
        self._doors: dict[str, tuple[Door, ...]] = {}
        self.own: dict[Key, tuple[OwnGate, ...]] = {}
        self.own_keys: dict[str, Key] = {}

    def put(self, thing: Service | EndpointSlice, changes: Changes) -> None:
        """A Service or a slice of its endpoints came or changed."""
        changes.services |= self._services.put(thing)

    def drop(self, thing: Service | EndpointSlice, changes: Changes) -> None:
        """A Service or a slice of its endpoints went."""
        changes.services |= self._services.drop(thing)

    def vips(self, client: Client) -> Mapping[tuple[int, Span], Ranges]:
        """All VIPs that a client may reach, by IP version and port."""
        if not client.asked:
            names = {name for each in client.egress for name in self._open_to.of(each.id)}
            client.learn({name: self._reachable(client, name) for name in names})
        return client.vips

    def hairpins(self, key: Key) -> list[tuple[Address, Span]]:
        """The VIPs as which those who carry an ingress group see themselves, and on which ports."""
        views = map(self._services.of, self._hairpins.of(key))
        return [(vip, target) for view in views for (vip, _), target in view.targets]

    def translations(self) -> Iterable[Translation]:
        """What any Service's VIP turns which port into."""
        return self._services.translations()

    def at(self, where: Address) -> Iterable[str]:
        """The Services that have an endpoint at this address."""
        return self._services.at(where)

    def view(self, name: str) -> View:
        """A Service as clients meet it."""
        return self._services.of(name)

    def settle(self, changes: Changes) -> None:
        """Look again at what the changes concern. The last thing to do for every change."""
        for where in changes.addresses:
            changes.services.update(self._services.at(where))
        for name in changes.services:
            self._look(name, changes)
        for id_ in changes.egress:
            self._turn_openers(id_, changes.services)
        own_gates_of = cache(self._own_gates)
        for uid in changes.endpoints:
            self._turn_own(uid, own_gates_of, changes)

    def _turn_openers(self, id_: str, looked_at: set[str]) -> None:
        """Find what an egress that came or went opens now, of the Services that were not looked at."""
        egress, peers = self._index.egress.by_id.get(id_), self._index.peers
        before = self._open_to.of(id_) - looked_at
        opened: set[str] = set()
        if egress is not None:
            rules = Rules(egress.entries)
            others = ((name, doors) for name, doors in self._doors.items() if name not in looked_at)
            opened = {name for name, doors in others if ajar(doors, rules, peers)}
        for name in before - opened:
            self._open_to.take(id_, name)
            self._openers.take(name, id_)
        for name in opened - before:
            self._open_to.put(id_, name)
            self._openers.put(name, id_)

    def _openers_of(self, view: View) -> set[str]:
        """The egress (ids) that may allow the first endpoint of one of the fronts."""
        index = self._index
        firsts = {front.backends[0] for front in view.fronts if front.backends}
        classes = {pods for _, where in firsts for pods in index.classes_at(where)}
        terms = {term for pods in classes for term in index.peers.terms_of(pods)}
        found = {id_ for term in terms for id_ in index.egress.naming.of(term)}
        return found.union(*(index.egress.opening(span, where) for span, where in firsts))

    def _look(self, name: str, changes: Changes) -> None:
        before, now, turned = self._services.look(name)
        self._doors[name] = sorted_out(now, self._index.classes_at)
        if not self._doors[name]:
            del self._doors[name]
        for where in before.endpoints | now.endpoints:
            changes.endpoints.update(self._index.pods_at(where))
        self._turn_hairpins(name, before, now, changes)
        openers, before_openers = self._openers_of(now), self._openers.of(name)
        for id_ in before_openers - openers:
            self._open_to.take(id_, name)
        for id_ in openers - before_openers:
            self._open_to.put(id_, name)
        self._openers.turn(name, openers)
        clients_of = self._index.carriers.clients_of
        for client in {each for id_ in openers | before_openers for each in clients_of(id_)}:
            if not client.asked or client.turn(name, self._reachable(client, name)):
                changes.groups |= client.keys
        for version, span, _ in turned:
            for each in self._index.egress.by_id.values():
                if each.wide(version, span):
                    self._index.touch_egress(each.id, changes)

    def _turn_hairpins(self, name: str, before: View, now: View, changes: Changes) -> None:
        old = self._hairpins_of.get(name, set())
        classes = [pods for where in now.endpoints for pods in self._index.classes_at(where)] if now.targets else []
        new = {key for pods in classes for key in pods.ingress_groups}
        changes.groups |= old ^ new if before.targets == now.targets else old | new
        for key in old - new:
            self._hairpins.take(key, name)
        for key in new - old:
            self._hairpins.put(key, name)
        self._hairpins_of[name] = new
        if not new:
            del self._hairpins_of[name]

    def _turn_own(self, uid: str, own_gates_of: OwnGates, changes: Changes) -> None:
        pods = self._index.class_of(uid)
        before = self.own.pop(self.own_keys.pop(uid, ""), ())
        now: tuple[OwnGate, ...] = ()
        if pods is not None and pods.client is not None:
            client = self._index.carriers.clients[pods.client]
            now = tuple(
                (where, gate, span)
                for where in self._index.addresses(uid)
                for name in sorted(self._services.at(where))
                for gate, span in own_gates_of(client, name).get(where, ())
            )
        if now:
            key = self.own_keys[uid] = own_key(uid)
            self.own[key] = now
        if now != before:
            changes.groups.add(own_key(uid))
        if bool(now) != bool(before):
            changes.pods.add(uid)

    def _reachable(self, client: Client, name: str) -> tuple[Gate, ...]:
        return reachable(self._doors.get(name, ()), client.rules, self._index.peers)

    def _own_gates(self, client: Client, name: str) -> Mapping[Address, Sequence[tuple[Gate, Span]]]:
        return own_gates(self._doors.get(name, ()), client.rules, self._index.peers)
