"""The exit codes, the same in every shell and every output format."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of ours ends with. 130 and 141 are 128 + the signal's number, as shells say it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WARNINGS = 10
    FAILURES = 20
    DRIFT = 21
    TIMEOUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141
