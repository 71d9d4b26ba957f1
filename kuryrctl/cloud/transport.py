"""The seam between us and a Neutron: one method.

`session.OpenStackTransport` speaks to a real one, the fake of the tests answers by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class Response(Struct, frozen=True):
    """An HTTP answer; the names of `headers` are in small letters."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Transport(Protocol):
    """A Neutron endpoint, authenticated for one project. Safe to use from several threads."""

    @property
    def project_id(self) -> str:
        """The project of the credential."""
        ...

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Response:
        """The answer to one call; `path` begins behind the version, for example ``/ports?fields=id``.

        No HTTP status of Neutron becomes an exception. Raises Unavailable where no answer came (whether the call had an
        effect is then unknown), Invalid where Keystone refuses the credential.
        """
        ...
