"""Documents that commands write and read as files, with one clear sentence where that fails.

Does not know: what a plan or a page says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kuryrctl.core.errors import Invalid, Owner

if TYPE_CHECKING:
    from kuryrctl.core.saved_world import SavedWorld


def write_file(path: str, document: bytes, *, what: str, code: str) -> None:
    """Replace the file as a whole: who reads it meanwhile gets the old or the new one. Raises Invalid (`code`)."""
    target = Path(path)
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.write_bytes(document)
        partial.replace(target)
    except OSError as error:
        raise Invalid(
            f"the {what} cannot be written to {path}: {error.strerror or error}",
            code=code,
            owner=Owner.USER,
            hint="name a file in a directory that you may write to",
        ) from error


def read_file(path: str, *, what: str, code: str, hint: str) -> bytes:
    """What is in the file. Raises Invalid (`code`)."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Invalid(
            f"the {what} {path} cannot be read: {error.strerror or error}", code=code, owner=Owner.USER, hint=hint
        ) from error


def read_world(path: str) -> SavedWorld:
    """The world in a file. Raises Invalid (WORLD-FILE)."""
    from kuryrctl.core.saved_world import SAVE_ONE, decode

    return decode(read_file(path, what="world", code="WORLD-FILE", hint=SAVE_ONE), path)
