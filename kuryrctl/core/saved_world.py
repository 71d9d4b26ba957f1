"""A world as a document: one observation of both sides, which every reading command takes in place of them.

What is in it is what the observed types hold, and nothing else of any object: no annotation but our own and those that
load balancers know, no environment, Secret or credential is ever read into them. Does not know: files, how the
observation was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, KuryrError, Owner
from kuryrctl.core.kinds import Kind

WORLD_SCHEMA = "kuryrctl.world/1"
SAVE_ONE = "save one with: kuryrctl world save FILE"


class Unread(Struct, frozen=True):
    """Why a kind is not in the world in full."""

    message: str
    code: str
    owner: Owner


class SavedWorld(Struct, frozen=True, kw_only=True):
    """The document. `made_at` is in UTC; `engine` is who held the cluster's Lease then, empty: nobody.

    `config` is the configuration that the observation was made with; what is derived from the world uses it, too.
    """

    schema: str = WORLD_SCHEMA
    made_at: datetime
    made_by: str
    config: Config
    engine: str = ""
    unread: dict[Kind, Unread] = {}
    cluster: ClusterState
    cloud: CloudState

    @property
    def errors(self) -> Mapping[Kind, KuryrError]:
        """What was not read in full, as the error that it was."""
        return {kind: KuryrError(why.message, code=why.code, owner=why.owner) for kind, why in self.unread.items()}


class _Head(Struct):
    schema: str = ""


def encode(world: SavedWorld) -> bytes:
    """The document, indented and in a fixed order: people read and compare it, too."""
    plain = msgspec.json.encode(world, order="deterministic", enc_hook=_plain)
    return msgspec.json.format(plain, indent=1) + b"\n"


def decode(data: bytes, source: str) -> SavedWorld:
    """The document of a file; `source` names it in errors. Raises Invalid (WORLD-FILE)."""
    try:
        schema = msgspec.json.decode(data, type=_Head).schema
    except msgspec.DecodeError as error:
        raise _bad(f"{source} is no saved world: it is not a JSON object with a schema ({error})") from error
    if schema != WORLD_SCHEMA:
        raise _bad(
            f'{source} is no saved world that this version reads: its schema is "{schema}", not "{WORLD_SCHEMA}"'
        )
    try:
        return msgspec.json.decode(data, type=SavedWorld)
    except msgspec.DecodeError as error:
        raise _bad(f"{source} is a damaged world: {error}") from error


def _plain(value: object) -> object:
    """What msgspec does not know: the empty mapping that fields default to."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a world holds no {type(value).__name__}")


def _bad(message: str) -> Invalid:
    return Invalid(message, code="WORLD-FILE", owner=Owner.USER, hint=SAVE_ONE)
