"""What a process that runs for months does about its memory. Does not know: what the memory holds."""

from __future__ import annotations

import ctypes

LARGE = 128 * 1024
"""Bytes; glibc's own first value."""
_M_MMAP_THRESHOLD = -3


def give_back_large_blocks() -> bool:
    """Have freed blocks of `LARGE` and more given back to the system at once; whether this C library can.

    An answer with 10,000 ports has 10 MB. glibc learns from the first such block to keep as much for ever, in each
    thread's arena; setting the threshold turns the learning off (mallopt(3), M_MMAP_THRESHOLD). musl never learns.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, LARGE))
