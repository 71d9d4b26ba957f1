"""The few requests the lab itself makes of its cloud: is it answering, make the external network, make the VM's port.

The standard library only; the product's own way to the cloud is `kuryrctl.cloud`, which the lab must be able to test.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.openstack.config import CLOUDS, DOMAIN, KEYSTONE_URL, NEUTRON_URL

TIMEOUT_S = 60.0


def answers(port: int) -> bool:
    """Whether something on the loopback answers HTTP at all; a half-started server is given two seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _send(method: str, url: str, body: object, headers: Mapping[str, str]) -> tuple[Any, http.client.HTTPMessage]:
    parts = urlsplit(url)
    assert parts.hostname is not None  # all our URLs are http://127.0.0.1:PORT/…
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise LabError(f"{method} {url}: no answer ({error})", hint="kuryrctl lab status") from error
    finally:
        connection.close()
    if response.status >= 300:
        raise LabError(f"{method} {url} was answered with {response.status}", detail=text[:600])
    return (json.loads(text) if text else None), response.headers


class Network:
    """Neutron as one user of the lab: the name of a cloud in clouds.yaml."""

    def __init__(self, cloud: str, password: str) -> None:
        user, project = CLOUDS[cloud]
        domain = {"id": DOMAIN}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": password}},
        }
        body = {"auth": {"identity": identity, "scope": {"project": {"name": project, "domain": domain}}}}
        token, headers = _send("POST", f"{KEYSTONE_URL}/auth/tokens", body, {})
        self._headers = {"X-Auth-Token": headers["X-Subject-Token"]}
        self.project_id: str = token["token"]["project"]["id"]

    def find(self, collection: str, **filters: str) -> list[dict[str, Any]]:
        """All objects of a collection (`ports`, `security-groups`) that match."""
        url = f"{NEUTRON_URL}/v2.0/{collection}?{urlencode(filters)}"
        found, _ = _send("GET", url, None, self._headers)
        return list(found[collection.replace("-", "_")])

    def create(self, collection: str, **fields: object) -> dict[str, Any]:
        kind = collection.removesuffix("s").replace("-", "_")
        made, _ = _send("POST", f"{NEUTRON_URL}/v2.0/{collection}", {kind: fields}, self._headers)
        return dict(made[kind])

    def delete(self, collection: str, object_id: str) -> None:
        _send("DELETE", f"{NEUTRON_URL}/v2.0/{collection}/{object_id}", None, self._headers)
