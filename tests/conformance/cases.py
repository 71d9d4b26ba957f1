"""What the suite's JUnit document says of each case that ran, and which cases this machine cannot run.

Does not know: how the suite is started.
"""

from __future__ import annotations

import socket
from xml.etree import ElementTree

from msgspec import Struct

SCTP = "SCTPConnectivity"
"""The feature of the cases whose servers need the kernel's SCTP sockets."""
CASE = "[It]"
"""Begins the name of a case; others are the suite's own parts."""


class Outcome(Struct, frozen=True):
    """A case that ran. `message` is why it failed; empty: it passed."""

    name: str
    seconds: float
    message: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.message)

    def __str__(self) -> str:
        word, why = ("FAILED", f"\n    {self.message}") if self.failed else ("passed", "")
        return f"{word} {self.seconds:5.0f} s  {self.name}{why}"


def read(document: str) -> list[Outcome]:
    """The cases that ran, by name; the suite's own set-up is one of them where it failed."""
    outcomes = []
    for case in ElementTree.fromstring(document).iter("testcase"):
        kind, _, name = case.get("name", "").partition(" ")
        status = case.get("status", "")
        if status == "skipped" or (status == "passed" and kind != CASE):
            continue
        found = case.find("failure") if case.find("failure") is not None else case.find("error")
        message = "" if status == "passed" else (found is not None and found.get("message")) or status
        seconds = float(case.get("time", 0))
        outcomes.append(Outcome(name or kind, seconds, " ".join(message.split())))
    return sorted(outcomes, key=lambda outcome: outcome.name)


def skipped_here() -> list[str]:
    """Features whose cases cannot run on this kernel."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return [SCTP]
    return []
