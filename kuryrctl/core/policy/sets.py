"""Sets by key, of which none is empty; small ones as tuples. Does not know: what is in them."""

from __future__ import annotations

from collections.abc import Hashable, Set
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Sets(dict[K, set[V]]):
    """A key is there while something is in its set."""

    def put(self, key: K, member: V) -> bool:
        """Put it into a set; whether it is the first there."""
        if key in self:
            self[key].add(member)
            return False
        self[key] = {member}
        return True

    def take(self, key: K, member: V) -> bool:
        """Take it out of a set, if it is there; whether it was the last."""
        members = self.get(key)
        if members is None:
            return False
        members.discard(member)
        if members:
            return False
        del self[key]
        return True

    def turn(self, key: K, members: set[V]) -> None:
        """Have these in a set, and no others."""
        if members:
            self[key] = members
        else:
            self.pop(key, None)

    def of(self, key: K) -> Set[V]:
        """What is in a set."""
        return self.get(key, frozenset())


class Few(dict[K, tuple[V, ...]]):
    """The same where hardly any set has two members: a tuple takes a quarter of the memory, and no collection."""

    def put(self, key: K, member: V) -> None:
        """Put it into a set."""
        self[key] = (*self.get(key, ()), member)

    def take(self, key: K, member: V) -> None:
        """Take it out of a set."""
        left = tuple(other for other in self[key] if other != member)
        if left:
            self[key] = left
        else:
            del self[key]

    def of(self, key: K) -> tuple[V, ...]:
        """What is in a set, in the order in which it came."""
        return self.get(key, ())
