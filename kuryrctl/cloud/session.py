"""The Transport to a real Neutron: openstacksdk's configuration, authentication, catalogue and HTTP session.

Only this module imports openstacksdk, and only when a connection is made: ``kuryrctl --help`` must not pay for it.
Does not know: Neutron's API beyond its service type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kuryrctl.cloud.transport import Response
from kuryrctl.core.errors import Invalid, KuryrError, Owner, Unavailable

if TYPE_CHECKING:
    from openstack.config.cloud_region import CloudRegion
    from openstack.connection import Connection


class OpenStackTransport:
    """One project's session with Neutron. keystoneauth renews the token by itself: before it ends, and after a 401."""

    def __init__(self, connection: Connection, project_id: str) -> None:
        self._network: Any = connection.network
        self._auth_url = str(connection.config.get_auth_args().get("auth_url") or "")
        self._project_id = project_id

    @property
    def project_id(self) -> str:
        """The project of the credential."""
        return self._project_id

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Response:
        """See `Transport.request`. Nothing is repeated here: only the caller knows whether that is safe."""
        from keystoneauth1 import exceptions

        try:
            answer = self._network.request(
                path,
                method,
                data=body,
                headers=dict(headers or {}),
                timeout=timeout_s,
                raise_exc=False,
                connect_retries=0,
                status_code_retries=0,
            )
        except exceptions.ClientException as error:
            keystone = bool(self._auth_url) and self._auth_url in str(error)
            raise _fault(error, Owner.KEYSTONE if keystone else Owner.NEUTRON) from error
        return Response(
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=answer.content,
        )


def open_session(cloud: str | None, region: CloudRegion | None) -> OpenStackTransport:
    """A session with the named cloud of clouds.yaml (None: ``OS_CLOUD`` or ``OS_*``), or with a region given by OSC.

    Authenticates at once, so that a bad credential is told before anything else happens. Raises Invalid, Unavailable.
    """
    import openstack
    from keystoneauth1 import exceptions
    from openstack.exceptions import SDKException

    try:
        connection = openstack.connection.Connection(config=region) if region else openstack.connect(cloud=cloud)
        project_id = connection.session.get_project_id()
    except exceptions.ClientException as error:
        raise _fault(error, Owner.KEYSTONE) from error
    except SDKException as error:
        raise _bad_configuration(str(error)) from error
    if not project_id:
        raise _bad_configuration("the credential is not for a project")
    return OpenStackTransport(connection, project_id)


def _fault(error: Exception, owner: Owner) -> KuryrError:
    """A keystoneauth exception as our error: no answer of `owner`, a refused credential, or a bad configuration."""
    from keystoneauth1 import exceptions

    if isinstance(error, exceptions.ConnectionError | exceptions.RetriableConnectionFailure):
        return Unavailable(
            f"{owner.value.capitalize()} does not answer: {error}",
            code="NET-UNREACHABLE",
            owner=owner,
            hint="see whether it runs, and whether its address in the catalogue can be reached from here",
            after_s=2.0,
        )
    if isinstance(error, exceptions.HttpError) and (error.http_status or 0) >= 500:
        return Unavailable(
            f"Keystone does not answer: {error}",
            code="KST-UNAVAILABLE",
            owner=Owner.KEYSTONE,
            hint="see Keystone's log",
            after_s=2.0,
        )
    if isinstance(error, exceptions.HttpError):
        return Invalid(
            f"Keystone refuses the credential: {error}",
            code="KST-REFUSED",
            owner=Owner.KEYSTONE,
            hint="openstack token issue; the password, token or application credential may have been revoked",
        )
    return _bad_configuration(str(error))


def _bad_configuration(why: str) -> Invalid:
    return Invalid(
        f"no cloud to speak to: {why}",
        code="CFG-CLOUD",
        owner=Owner.USER,
        hint="set OS_CLOUD to a cloud of clouds.yaml, or OS_AUTH_URL and the other OS_* variables",
    )
