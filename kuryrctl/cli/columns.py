"""Values of a table cell that stay typed for machines: a list is a list in JSON, and lines or words in a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cliff.columns import FormattableColumn

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class Joined(FormattableColumn[Sequence[str]]):
    """Several words: separated by commas for people, a list for machines."""

    def human_readable(self) -> str:
        """The words, separated by commas."""
        return ", ".join(self._value)

    def machine_readable(self) -> list[str]:
        """The words as a list."""
        return list(self._value)


class Maybe(FormattableColumn[str | int | float | None]):
    """A value that may be absent: empty for people, null for machines."""

    def human_readable(self) -> str:
        """The value, or nothing."""
        return "" if self._value is None else str(self._value)


class Age(FormattableColumn[float | None]):
    """A duration in seconds: its largest unit for people (``3m``, as kubectl does), seconds for machines."""

    def human_readable(self) -> str:
        """The largest unit, rounded down; nothing for an unknown age."""
        if self._value is None:
            return ""
        seconds = int(max(self._value, 0))
        size, unit = next((unit for unit in _UNITS if seconds >= unit[0]), _UNITS[-1])
        return f"{seconds // size}{unit}"


class Since(FormattableColumn[str | None]):
    """A moment (RFC 3339): how long ago for people (``3m``), the moment itself for machines, the same in every run."""

    def __init__(self, moment: str | None, now_s: float) -> None:
        super().__init__(moment)
        self._now_s = now_s

    def human_readable(self) -> str:
        """The largest unit since then."""
        if self._value is None:
            return ""
        return str(Age(self._now_s - datetime.fromisoformat(self._value).timestamp()).human_readable())
