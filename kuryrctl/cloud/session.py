"""The Transports to a real cloud: openstacksdk's configuration, authentication, catalogue and HTTP session.

Only this module imports openstacksdk, and only when a connection is made: ``kuryrctl --help`` must not pay for it.
Does not know: the services' APIs beyond their service types.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from kuryrctl.cloud.meanings import NEUTRON, OCTAVIA, Service
from kuryrctl.cloud.transport import Response
from kuryrctl.core.errors import Invalid, KuryrError, Owner, Unavailable

if TYPE_CHECKING:
    import requests
    from keystoneauth1.adapter import Adapter
    from openstack.config.cloud_region import CloudRegion


PIECE = 1 << 20
"""Bytes that are read at once."""
KEYSTONE = Service("Keystone", Owner.KEYSTONE, "NET")
AUTH_TIMEOUT_S = 20.0
"""How long a token is waited for where clouds.yaml has no api_timeout: keystoneauth itself would wait for ever."""


class OpenStackTransport:
    """One project's session with a service. keystoneauth renews the token by itself: before its end, after a 401."""

    def __init__(self, adapter: Adapter, project_id: str, auth_url: str, service: Service = NEUTRON) -> None:
        self._adapter = adapter
        self._project_id = project_id
        self._auth_url = auth_url
        self._service = service

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
        from requests import RequestException

        try:
            answer = self._adapter.request(
                path,
                method,
                data=body,
                headers=dict(headers or {}),
                timeout=timeout_s,
                raise_exc=False,
                connect_retries=0,
                status_code_retries=0,
                stream=True,
            )
            content = _whole(answer)
        except exceptions.ClientException as error:
            keystone = bool(self._auth_url) and self._auth_url in str(error)
            raise _fault(error, KEYSTONE if keystone else self._service) from error
        except RequestException as error:  # the answer ended early: after its head, keystoneauth no longer listens
            raise _fault(exceptions.ConnectFailure(str(error)), self._service) from error
        return Response(
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=content,
        )


class Session(Struct, frozen=True):
    """The Transports of one project; `octavia` is None where the catalogue has no load-balancer service."""

    neutron: OpenStackTransport
    octavia: OpenStackTransport | None


def open_session(cloud: str | None, region: CloudRegion | None) -> Session:
    """A session with the named cloud of clouds.yaml (None: ``OS_CLOUD`` or ``OS_*``), or with a region given by OSC.

    Authenticates at once, so that a bad credential is told before anything else happens. Raises Invalid, Unavailable.
    """
    from keystoneauth1 import exceptions
    from openstack.config import get_cloud_region
    from openstack.exceptions import SDKException

    try:
        # openstacksdk 4.22 warns of an InfluxDB configuration although there is none.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Support for InfluxDB")
            region = region or get_cloud_region(cloud=cloud)
        network, load_balancer = _adapter(region, "network"), _adapter(region, "load-balancer")
        project_id = network.get_project_id()
        endpoint, octavia = _endpoint(network), _endpoint(load_balancer)
    except exceptions.ClientException as error:
        raise _fault(error, KEYSTONE) from error
    except SDKException as error:
        raise _bad_configuration(str(error)) from error
    if not project_id:
        raise _bad_configuration("the credential is not for a project")
    if not endpoint:
        raise _bad_configuration("the catalogue has no network service in this region")
    network.endpoint_override = _versioned(endpoint, "/v2.0")
    load_balancer.endpoint_override = _versioned(octavia, "/v2") + "/lbaas" if octavia else None
    auth_url = str(region.get_auth_args().get("auth_url") or "")
    return Session(
        OpenStackTransport(network, project_id, auth_url),
        OpenStackTransport(load_balancer, project_id, auth_url, OCTAVIA) if octavia else None,
    )


def _adapter(region: CloudRegion, service_type: str) -> Adapter:
    """A bare adapter: openstacksdk's proxy adds caches and metrics, and warns of its own deprecated parts."""
    from keystoneauth1.adapter import Adapter

    session = region.get_session()
    session.timeout = session.timeout or AUTH_TIMEOUT_S
    return Adapter(
        session,
        service_type=region.get_service_type(service_type),
        interface=region.get_interface(service_type),
        region_name=region.get_region_name(service_type),
        endpoint_override=region.get_endpoint(service_type),
    )


def _endpoint(adapter: Adapter) -> str | None:
    """The service's address in the catalogue; None: the catalogue has none. (Some plugins say that by an exception.)"""
    from keystoneauth1 import exceptions

    try:
        found: str | None = adapter.get_endpoint()
    except exceptions.EndpointNotFound:
        return None
    return found


def _whole(answer: requests.Response) -> bytes:
    """The body, in memory once: `content` joins thousands of small pieces, and a list of 10,000 ports has 10 MB."""
    body = io.BytesIO()
    for piece in answer.iter_content(PIECE):
        body.write(piece)
    return body.getvalue()


def _versioned(endpoint: str, version: str) -> str:
    """The address of the API's version: catalogues name a service with or without one."""
    address = endpoint.rstrip("/")
    return address if address.endswith(("/v2", "/v2.0")) else f"{address}{version}"


def _fault(error: Exception, service: Service) -> KuryrError:
    """A keystoneauth exception as our error: no answer of a service, a refused credential, or a bad configuration."""
    from keystoneauth1 import exceptions

    if isinstance(error, exceptions.DiscoveryFailure) and isinstance(error.__context__, exceptions.ClientException):
        # With an auth_url without version keystoneauth says "check that your auth_url is correct" of a Keystone that is
        # down; why it could not ask it is the exception that it was handling (identity/generic/base.py).
        cause = _fault(error.__context__, KEYSTONE)
        return cause if isinstance(cause, Unavailable) else _bad_configuration(str(error))
    if isinstance(error, exceptions.ConnectionError | exceptions.RetriableConnectionFailure):
        return Unavailable(
            f"{service.name} does not answer: {error}",
            code=f"{service.prefix}-UNREACHABLE",
            owner=service.owner,
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
