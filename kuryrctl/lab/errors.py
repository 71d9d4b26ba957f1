"""The one way in which the lab fails: what happened, to which part, and what to do next."""

from pathlib import Path

from kuryrctl.core.errors import KuryrError

LOG_TAIL_LINES = 15


class LabError(KuryrError):
    """A part of the lab could not be installed, started or stopped.

    `hint` is the next thing to do, `detail` what the failed part itself printed (the tail of its log or of its stderr).
    """

    def __init__(self, message: str, *, hint: str = "", detail: str = "", code: str = "LAB") -> None:
        super().__init__(message, code=code, hint=hint)
        self.detail = detail

    def __str__(self) -> str:
        return "\n".join([self.message, *("    " + line for line in self.detail.splitlines())])


class InterruptedLabError(LabError):
    """The user asked to stop while this part was working."""


def tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last `lines` lines of a log; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - 400 * lines))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
