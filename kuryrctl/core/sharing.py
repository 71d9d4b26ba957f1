"""One object in memory for equal ones: what thousands of objects have in common, and what is read again every minute.

For what is never changed, so that nobody can tell. Does not know: any kind of object, by whom it is held.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct
from msgspec.structs import force_setattr

T = TypeVar("T", bound=Hashable)
S = TypeVar("S", bound=Struct)

MOST = 4096
"""So many different values are remembered, those met last: labels come and go with every rollout."""


@lru_cache(MOST)
def one(value: T) -> T:
    """The first value that was equal to this one. For tuples of texts and structs: to Python, 1 equals True."""
    return value


def one_mapping(given: Mapping[str, str] | None) -> Mapping[str, str]:
    """These labels, the same mapping for all that have them; empty where there are none."""
    return _mapping(tuple(given.items()) if given else ())


def share_texts(thing: Struct, fields: Iterable[str]) -> None:
    """Make these fields of a struct that was just made one with all equal texts. None stays None."""
    for field in fields:
        text = getattr(thing, field)
        if text is not None:
            force_setattr(thing, field, sys.intern(text))


class Held(Generic[S]):
    """The structs of one kind that somebody holds, by id. Nothing is held by this itself. Safe to use from threads."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[str, S] = WeakValueDictionary()

    def one(self, id_: str, thing: S) -> S:
        """The struct that is held for this id, if it equals `thing`; else `thing`, from now on."""
        held = self._held.get(id_)
        if held is not None and held == thing:
            return held
        self._held[id_] = thing
        return thing


@lru_cache(MOST)
def _mapping(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return dict(items)
