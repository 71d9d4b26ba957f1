"""The few reads of the API server with which the lab finds out whether its cluster is ready.

Standard library only, so that `lab up` needs no client library: everything else about Kubernetes belongs to `kube`.
"""

import http.client
import ssl

import msgspec

from kuryrctl.lab.layout import API_SERVER_PORT, MANAGEMENT_HOST, Layout

TIMEOUT_S = 5.0


class Condition(msgspec.Struct, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class NodeStatus(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()


class Metadata(msgspec.Struct, frozen=True):
    name: str


class NodeObject(msgspec.Struct, frozen=True):
    """A node, as far as the lab looks at it."""

    metadata: Metadata
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions)

    @property
    def why_not(self) -> str:
        """What the kubelet says about its readiness."""
        return next((c.message or c.reason for c in self.status.conditions if c.type == "Ready"), "no status yet")


class NodeList(msgspec.Struct, frozen=True):
    items: tuple[NodeObject, ...] = ()


def get(layout: Layout, path: str) -> bytes | None:
    """The body of a 200 answer to the administrator; None for any other answer, or none within 5 s."""
    context = ssl.create_default_context(cafile=str(layout.pki / "ca.crt"))
    context.load_cert_chain(layout.pki / "admin.crt", layout.pki / "admin.key")
    connection = http.client.HTTPSConnection(MANAGEMENT_HOST, API_SERVER_PORT, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None


def ready(layout: Layout) -> bool:
    """Whether the API server serves (its own /readyz)."""
    return layout.pki.exists() and get(layout, "/readyz") is not None


def nodes(layout: Layout) -> dict[str, NodeObject]:
    """Registered nodes by name; none while the API server does not answer."""
    body = get(layout, "/api/v1/nodes") if layout.pki.exists() else None
    items = msgspec.json.decode(body, type=NodeList).items if body else ()
    return {node.metadata.name: node for node in items}


def exists(layout: Layout, path: str) -> bool:
    """Whether an object is there."""
    return get(layout, path) is not None
