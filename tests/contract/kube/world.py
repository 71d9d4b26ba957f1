"""What the cases need of a cluster: a namespace of their own, pods, and the garbage collector. Fake and real.

Pods of the real one are for no scheduler, and nodes have names that no lab has, so that nothing else acts on them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from kuryrctl.core.cluster import Interface, KuryrPort, Pod, Route
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.kube import Kube
from kuryrctl.kube.resources import RESOURCES
from kuryrctl.kube.transport import JSON, Response, Stream, Transport
from tests.fakes.kube import FakeKube

T = TypeVar("T")
S = TypeVar("S", NetworkPolicy, Service, EndpointSlice, Pod)
NODE_A, NODE_B = "contract-a", "contract-b"
INTERFACE = Interface(
    name="eth0",
    port_id="3f0d6b6e-8f0f-4a52-b1d5-5c1f3f3c7b10",
    mac_address="02:11:22:33:44:55",
    addresses=("10.65.0.5/22", "fd00:10:65::5/64"),
    gateways=("10.65.0.1", "fd00:10:65::1"),
    routes=(Route("10.96.0.0/16", "10.65.0.1"),),
    mtu=1442,
)


def eventually(what: Callable[[], T | None], timeout_s: float = 90.0) -> T:
    """The first true value of `what`; it fails the test when none comes."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"nothing after {timeout_s} s"
        time.sleep(0.1)


class World(Protocol):
    """A cluster, with all rights."""

    kube: Kube
    transport: Transport
    namespace: str

    def add_pod(self, name: str) -> str:
        """An unscheduled pod in the namespace; its uid."""
        ...

    def delete_pod(self, name: str) -> None:
        """It is gone, not only asked to go."""
        ...

    def add_node(self, name: str) -> str:
        """A node that takes no pods; its uid."""
        ...

    def delete_node(self, name: str) -> None:
        """It is gone."""
        ...

    def collect(self) -> None:
        """Let the garbage collector work; its effect may come later."""
        ...

    def close(self) -> None:
        """Remove what was made."""
        ...


class FakeWorld:
    """The fake."""

    def __init__(self) -> None:
        self.fake = FakeKube()
        self.transport: Transport = self.fake
        self.kube = Kube(self.fake)
        self.namespace = "contract"
        self.fake.add_namespace(self.namespace)

    def add_pod(self, name: str) -> str:
        return self.fake.add_pod(self.namespace, name)

    def delete_pod(self, name: str) -> None:
        self.fake.delete_pod(self.namespace, name)

    def add_node(self, name: str) -> str:
        return self.fake.add_node(name)

    def delete_node(self, name: str) -> None:
        self.fake.delete_node(name)

    def collect(self) -> None:
        self.fake.collect()

    def close(self) -> None:
        self.kube.close()


class RealWorld:
    """The API server of $KUBECONFIG, as its user."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.transport = kube.api.transport
        self.namespace = f"contract-{secrets.token_hex(4)}"
        self._nodes: set[str] = set()
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        kube.api.call("POST", "/api/v1/namespaces", "make the cases' namespace", body=body)
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        eventually(lambda: kube.api.get(account, "wait for the service account", dict[str, Any]))

    def add_pod(self, name: str, *, node: str = "", namespace: str = "", account: str = "default") -> str:
        namespace = namespace or self.namespace
        spec: dict[str, Any] = {
            "containers": [{"name": "c", "image": "none"}],
            "schedulerName": "nobody",
            "terminationGracePeriodSeconds": 0,
            "serviceAccountName": account,
        }
        spec |= {"nodeName": node} if node else {}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        path = f"/api/v1/namespaces/{namespace}/pods"
        made = self.transport.request("POST", path, body=msgspec.json.encode(body))
        assert made.status == 201, made.body
        return str(msgspec.json.decode(made.body)["metadata"]["uid"])

    def delete_pod(self, name: str, *, namespace: str = "") -> None:
        path = f"/api/v1/namespaces/{namespace or self.namespace}/pods/{quote(name)}?gracePeriodSeconds=0"
        self.kube.api.call("DELETE", path, "delete a case's pod")

    def add_node(self, name: str) -> str:
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"unschedulable": True}}
        made = self.transport.request("POST", "/api/v1/nodes", body=msgspec.json.encode(body))
        assert made.status == 201, made.body
        self._nodes.add(name)
        return str(msgspec.json.decode(made.body)["metadata"]["uid"])

    def delete_node(self, name: str) -> None:
        self._nodes.discard(name)
        self.kube.api.call("DELETE", f"/api/v1/nodes/{name}", "delete a case's node")

    def collect(self) -> None:
        """Its controller manager does."""

    def as_user(self, name: str, group: str = "", extra: Mapping[str, str] | None = None) -> Kube:
        """The same cluster as another user; `extra` as a token's claims become."""
        return Kube(Impersonation(self.transport, name, group, extra or {}))

    def give_everything_here(self, name: str) -> None:
        """All verbs on all kinds, in the cases' namespace."""
        base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        role_name = f"everything-{secrets.token_hex(3)}"
        api_version, meta = "rbac.authorization.k8s.io/v1", {"name": role_name}
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role_name}
        subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]
        role = {"apiVersion": api_version, "kind": "Role", "metadata": meta, "rules": rules}
        binding = {"apiVersion": api_version, "kind": "RoleBinding", "metadata": meta, "roleRef": reference}
        self.kube.api.call("POST", f"{base}/roles", "make a role", body=role)
        self.kube.api.call("POST", f"{base}/rolebindings", "bind it", body=binding | {"subjects": subjects})

    def close(self) -> None:
        for name in sorted(self._nodes):
            self.delete_node(name)
        self.kube.api.call("DELETE", f"/api/v1/namespaces/{self.namespace}", "delete the cases' namespace")


class Impersonation:
    """A transport that speaks as somebody else (API: user impersonation)."""

    def __init__(self, transport: Transport, user: str, group: str, extra: Mapping[str, str]) -> None:
        self._transport = transport
        self._headers = {"Impersonate-User": user} | ({"Impersonate-Group": group} if group else {})
        self._headers |= {f"Impersonate-Extra-{quote(key, safe='.')}": value for key, value in extra.items()}

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str = JSON,
        timeout_s: float = 30.0,
    ) -> Response:
        both = {**(headers or {}), **self._headers}
        return self._transport.request(
            method, path, body=body, headers=both, content_type=content_type, timeout_s=timeout_s
        )

    def stream(self, path: str, *, timeout_s: float) -> Stream:
        raise NotImplementedError("no case watches as somebody else")

    def close(self) -> None:
        self._transport.close()


def kuryr_port(world: World, name: str, pod_uid: str, node: str = NODE_A) -> KuryrPort:
    """An assignment that is not written yet."""
    return KuryrPort(world.namespace, name, pod_uid, node, (INTERFACE,))


def store(world: World, kind: Kind, name: str, **parts: Any) -> None:
    """Make an object of this kind, as anybody does: ``spec=…``, ``labels=…``, ``annotations=…``."""
    resource = RESOURCES[kind]
    meta = {"name": name, "labels": parts.pop("labels", {}), "annotations": parts.pop("annotations", {})}
    body = {
        "apiVersion": resource.base.removeprefix("/apis/").removeprefix("/api/"),
        "kind": resource.title,
        "metadata": meta,
        **parts,
    }
    answer = world.transport.request("POST", resource.path("", world.namespace), body=msgspec.json.encode(body))
    assert answer.status == 201, answer.body


def stored(world: World, kind: Kind, type_: type[S], name: str) -> S:
    """It, as a list has it."""
    (found,) = [
        item
        for item in world.kube.list_kind(kind).items
        if isinstance(item, type_) and (item.namespace, item.name) == (world.namespace, name)
    ]
    assert found.uid
    return found


def refusal(call: Callable[[], object]) -> KuryrError:
    """The error of a call that must fail."""
    try:
        done = call()
    except KuryrError as error:
        return error
    raise AssertionError(f"not refused: {done}")
