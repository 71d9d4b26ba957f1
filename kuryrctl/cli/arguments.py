"""Values of options that more than one command takes, refused by a sentence.

What argparse says by itself names our functions ("invalid count value"). Does not know: commands.
"""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """A whole number of 0 or more: seconds to wait, a limit. Raises ArgumentTypeError, which argparse prints."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number') from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative; give 0 or more")
    return value
