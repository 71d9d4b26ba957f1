"""Label selectors, as Kubernetes defines them (Labels and Selectors: equality-based and set-based requirements).

Does not know: whose labels they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from kuryrctl.core.errors import Invalid, Owner


class Operator(StrEnum):
    """What a requirement asks of a key."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(Struct, frozen=True, gc=False):
    """One condition on one key. `values` is empty for Exists and DoesNotExist."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet it; a missing key meets NotIn."""
        match self.operator:
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values


class Selector(Struct, frozen=True, gc=False):
    """All requirements must hold; none: everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet all requirements."""
        return all(requirement.matches(labels) for requirement in self.requirements)


_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_SET = re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)")
_EQUALITY = re.compile(rf"({_NAME})\s*(==|=|!=)\s*({_VALUE})")
_EXISTS = re.compile(rf"(!?)\s*({_NAME})")
_BETWEEN_REQUIREMENTS = re.compile(r",(?![^(]*\))")


def parse_selector(text: str) -> Selector:
    """A selector as kubectl's ``--selector`` takes it: ``app=web,tier in (a, b),env!=prod,!canary``.

    Raises Invalid naming the part that is none.
    """
    parts = [part.strip() for part in _BETWEEN_REQUIREMENTS.split(text)] if text.strip() else []
    return Selector(tuple(_requirement(part) for part in parts))


def _requirement(part: str) -> Requirement:
    if found := _SET.fullmatch(part):
        values = tuple(value.strip() for value in found[3].split(","))
        return Requirement(found[1], Operator.IN if found[2] == "in" else Operator.NOT_IN, values)
    if found := _EQUALITY.fullmatch(part):
        return Requirement(found[1], Operator.NOT_IN if found[2] == "!=" else Operator.IN, (found[3],))
    if found := _EXISTS.fullmatch(part):
        return Requirement(found[2], Operator.DOES_NOT_EXIST if found[1] else Operator.EXISTS)
    raise Invalid(
        f'"{part}" is no label requirement (KEY=VALUE, KEY!=VALUE, KEY in (A, B), KEY notin (A), KEY, !KEY)',
        code="CFG-SELECTOR",
        owner=Owner.USER,
    )
