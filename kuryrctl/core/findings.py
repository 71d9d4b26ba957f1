"""What an observation shows that no step of a plan can or may change: for people, Events and the doctor."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from kuryrctl.core.kinds import Kind


class FindingCode(StrEnum):
    """Stable names of findings; they are documented and printed."""

    SUSPICIOUS = "suspicious"
    """It carries marks of ours, but is not provably ours: nothing of it is changed or deleted."""
    DUPLICATE = "duplicate"
    """A second object for one key; the first is used."""
    DRIFT = "drift"
    """An object that only ``cluster init`` repairs differs from what it should be."""
    QUOTA = "quota"
    """A plan makes more than the project's quota has room for."""
    KEPT = "kept"
    """An object that nobody seems to need, but whose owner's absence is not proven."""
    BROKEN = "broken"
    """An object whose service gave up on it: it is made anew only when somebody asks for that."""
    REFUSED = "refused"
    """Something that is asked for, but cannot be had or is not allowed; the message begins with a stable code."""


class Finding(Struct, frozen=True):
    """One finding about one object; `id` is the cloud's, `owner_uid` whom the object served, where it is known."""

    code: FindingCode
    kind: Kind
    id: str
    name: str
    message: str
    owner_uid: str = ""
