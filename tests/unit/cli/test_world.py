"""Reading both sides at once."""

from __future__ import annotations

import threading
from typing import NoReturn

from kuryrctl.cli.settings import Settings
from kuryrctl.cli.world import look
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Unavailable


class Unreachable(Settings):
    """Notes in which thread each side's library would be imported."""

    def kube(self, on_mutation: object = None) -> NoReturn:
        raise Unavailable(threading.current_thread().name, code="KUBE")

    def cloud(self, audit: object = None) -> NoReturn:
        raise Unavailable(threading.current_thread().name, code="CLOUD")


def test_both_libraries_are_imported_by_one_thread() -> None:
    """Two threads that imported `requests` at the same time met a half-made module: ImportError, 1 in hundreds."""
    reading = look(Unreachable(Config(), {}))

    assert {side: error.message for side, error in reading.unread.items()} == {
        "cloud": threading.current_thread().name,
        "cluster": threading.current_thread().name,
    }
