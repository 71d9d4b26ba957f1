"""What the watch asks of its allocator."""

from __future__ import annotations

import platform

from kuryrctl.reconcile.memory import give_back_large_blocks


def test_glibc_takes_the_setting() -> None:
    assert give_back_large_blocks() is (platform.libc_ver()[0] == "glibc")
