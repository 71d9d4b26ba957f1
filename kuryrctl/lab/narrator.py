"""Commands typed for a reader: each is shown with what it printed, and claims are judged by that alone.

Knows nothing of what the commands do, and reads no more of their output than a person would.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Mapping

import msgspec

_TIMEOUT_S = 120.0

Show = Callable[[str], None]


class Told(msgspec.Struct, frozen=True):
    """What a command answered."""

    returncode: int
    output: str

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.returncode == 0

    def rows(self) -> list[list[str]]:
        """The cells of a table: cliff's with bars, without its header; kubectl's with blanks, without its header."""
        barred = [line for line in self.output.splitlines() if line.startswith("|")]
        if barred:
            return [[cell.strip() for cell in line.strip("|").split("|")] for line in barred[1:]]
        return [line.split() for line in self.output.splitlines()[1:]]


class FalseClaim(Exception):
    """A claim that its command did not bear out."""


class Narrator:
    """Runs commands in this environment on top of its own, shows them, and judges claims; waits as long as told."""

    def __init__(self, env: Mapping[str, str], show: Show, patience_s: float = 60.0) -> None:
        self._env = {**os.environ, **env}
        self._show = show
        self._patience_s = patience_s
        self._began = time.monotonic()
        self.times: list[tuple[str, float]] = []

    def act(self, title: str) -> None:
        """Open a new part of the demo."""
        self._show(f"\n[{time.monotonic() - self._began:5.1f} s] {title}")

    def types(self, command: str, *, stdin: str | None = None) -> Told:
        """Show a command, run it, show what it printed."""
        self._show(f"  $ {command}")
        told = self._run(command, stdin)
        for line in told.output.rstrip().splitlines():
            self._show(f"    {line}")
        return told

    def must(self, command: str, *, stdin: str | None = None) -> Told:
        """Type a command that has to succeed."""
        told = self.types(command, stdin=stdin)
        if not told.ok:
            self.claims(f"{command} succeeds", False)
        return told

    def until(self, command: str, holds: Callable[[Told], bool]) -> tuple[Told, float]:
        """Repeat a command until its answer holds, then show it; the answer, and the seconds it took."""
        began = time.monotonic()
        told = self._run(command, None)
        while not holds(told) and time.monotonic() - began < self._patience_s:
            time.sleep(0.2)
            told = self._run(command, None)
        elapsed_s = time.monotonic() - began
        self._show(f"  $ {command}   (repeated for {elapsed_s:.1f} s)")
        for line in told.output.rstrip().splitlines():
            self._show(f"    {line}")
        return told, elapsed_s

    def claims(self, claim: str, holds: bool) -> None:
        """Print the claim as true; raise FalseClaim when the commands did not show it."""
        if not holds:
            self._show(f"  FALSE {claim}")
            raise FalseClaim(claim)
        self._show(f"  ok    {claim}")

    def measured(self, what: str, seconds: float) -> None:
        """Keep a time for the last screen."""
        self.times.append((what, seconds))

    def show_times(self) -> None:
        """The measured times, and that of the whole demo."""
        for what, seconds in [*self.times, ("the whole demo", time.monotonic() - self._began)]:
            self._show(f"    {what:<56} {seconds:6.1f} s")

    def _run(self, command: str, stdin: str | None) -> Told:
        done = subprocess.run(
            shlex.split(command),
            env=self._env,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        return Told(done.returncode, done.stdout)
