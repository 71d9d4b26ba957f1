"""Who carries the groups that exist while somebody does: of ingress, and those by which clients reach Services.

Does not know: why a pod carries one.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from kuryrctl.core.policy.clients import Client
from kuryrctl.core.policy.entries import Egress
from kuryrctl.core.policy.peers import PodClass
from kuryrctl.core.policy.sets import Sets
from kuryrctl.core.specs import Key


class Carriers:
    """`classes` by group. `clients` by their groups: where policies say the same, several groups are one client's."""

    def __init__(self) -> None:
        self.classes: Sets[Key, PodClass] = Sets()
        self.clients: dict[Key, Client] = {}
        self._alike: dict[tuple[str, ...], Client] = {}
        self._clients_of: Sets[str, Client] = Sets()

    def clients_of(self, egress: str) -> Set[Client]:
        """The clients of whom this egress (its id) is a part."""
        return self._clients_of.of(egress)

    def carry(self, pods: PodClass, before: Iterable[Key | None], egress: Iterable[Egress]) -> set[Key]:
        """Note which of these groups pods carry, who carried those of `before`; `egress` is what isolates them.

        What is returned are the groups that came or went, or are another client's now.
        """
        now = set(filter(None, (*pods.ingress_groups, pods.client))) if pods.pods else set()
        gone = {key for key in set(filter(None, before)) - now if self.classes.take(key, pods)}
        for key in gone:
            self._unlink(key)
        come = {key for key in now if self.classes.put(key, pods)}
        if pods.client in now and self._link(pods.client, {each.id: each for each in egress}):
            come.add(pods.client)
        return gone | come

    def _link(self, key: Key, egress: dict[str, Egress]) -> bool:
        """Note which client a group is for; whether it was another one's."""
        ids = tuple(sorted(egress))
        client = self._alike.get(ids)
        if client is not None and self.clients.get(key) is client:
            return False
        if client is None:
            client = self._alike[ids] = Client(egress[id_] for id_ in ids)
            for id_ in ids:
                self._clients_of.put(id_, client)
        self._unlink(key)
        self.clients[key] = client
        client.keys.add(key)
        return True

    def _unlink(self, key: Key) -> None:
        """Forget which client a group is for, and the client with its last group."""
        client = self.clients.pop(key, None)
        if client is None:
            return
        client.keys.discard(key)
        if not client.keys:
            del self._alike[tuple(each.id for each in client.egress)]
            for each in client.egress:
                self._clients_of.take(each.id, client)
