"""The groups of nodes: a pod carries its own node's, and so speaks with that node and no other one.

Source: Kubernetes, NetworkPolicy: traffic to and from the node where a pod runs is always allowed. Does not know: pods.
"""

from __future__ import annotations

from collections.abc import Iterator

from kuryrctl.core.cluster import KuryrNode, Node
from kuryrctl.core.policy.allowance import EVERY_PORT, Allowance, put_together
from kuryrctl.core.policy.lines import Lines, allowing
from kuryrctl.core.policy.model import Direction
from kuryrctl.core.policy.ranges import Range, address, union
from kuryrctl.core.specs import Key


class Nodes:
    """Nodes and their ports on the pod network, by name."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._kuryr_nodes: dict[str, KuryrNode] = {}
        self._names: dict[Key, str] = {}
        self._keys: dict[str, Key] = {}

    def put(self, thing: Node | KuryrNode) -> set[Key]:
        """Take one in; the groups that this concerns."""
        before = self._touched(thing.name)
        if isinstance(thing, Node):
            self._nodes[thing.name] = thing
            self._names.pop(self._keys.get(thing.name, ""), None)
            self._keys[thing.name] = _key(thing)
            self._names[_key(thing)] = thing.name
        else:
            self._kuryr_nodes[thing.name] = thing
        return _differing(before, self._touched(thing.name))

    def drop(self, thing: Node | KuryrNode) -> set[Key]:
        """Forget one; the groups that this concerns."""
        before = self._touched(thing.name)
        if isinstance(thing, Node):
            self._nodes.pop(thing.name, None)
            self._names.pop(self._keys.pop(thing.name, ""), None)
        else:
            self._kuryr_nodes.pop(thing.name, None)
        return _differing(before, self._touched(thing.name))

    def key(self, name: str) -> Key | None:
        """The group of a node; None: no such node was seen."""
        return self._keys.get(name)

    def keys(self) -> Iterator[Key]:
        """The groups of all nodes."""
        return iter(self._keys.values())

    def lines(self, key: Key, versions: tuple[int, ...]) -> Lines | None:
        """What the rules of a node's group say; None: no such group."""
        name = self._names.get(key, "")
        if self.key(name) != key:
            return None
        where: dict[int, list[Range]] = {version: [] for version in versions}
        for text in self._addresses(name):
            version, number = address(text)
            where.setdefault(version, []).append((number, number))
        addresses = {version: union(ranges) for version, ranges in where.items()}
        allowed = put_together([Allowance((EVERY_PORT,), addresses=addresses)])
        return Lines(line for direction in Direction for line in allowing(allowed, direction, versions))

    def _addresses(self, name: str) -> set[str]:
        known = self._kuryr_nodes.get(name)
        port = known.node_port.addresses if known and known.node_port else ()
        node = self._nodes.get(name)
        return {each.partition("/")[0] for each in (*(node.addresses if node else ()), *port)}

    def _touched(self, name: str) -> tuple[Key | None, set[str]]:
        return self.key(name), self._addresses(name)


def _key(node: Node) -> Key:
    return f"security-group/node/{node.uid}"


def _differing(before: tuple[Key | None, set[str]], now: tuple[Key | None, set[str]]) -> set[Key]:
    return {key for key in (before[0], now[0]) if key} if before != now else set()
