"""What a cluster needs of us: our kinds of object, their admission policies, our roles (``manifests/*.yaml``).

Applied by the server (server-side apply), so that running it again changes nothing. Objects of the same name that do
not carry our label are not ours: a namespace is used as it is, anything else is a Conflict. Does not know: when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from kuryrctl.core.errors import Conflict, NotFound, Owner, Unavailable
from kuryrctl.kube.api import Api, decoded
from kuryrctl.kube.transport import APPLY_PATCH

FIELD_MANAGER = "kuryrctl"
TIMEOUT_S = 60.0
"""For what the API server does after it answered: serving a new kind, deleting one with all its objects."""
_LABEL, _OURS = "app.kubernetes.io/managed-by", "kuryrctl"
_PLURALS = {
    "CustomResourceDefinition": "customresourcedefinitions",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "Namespace": "namespaces",
    "ServiceAccount": "serviceaccounts",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


class Finding(Struct, frozen=True):
    """One object of ours in the cluster that is not as it should be."""

    object: str
    problem: str


class Manifest(Struct, frozen=True):
    """One object of our manifests; `body` is as in the file."""

    title: str
    kind: str
    path: str
    body: Mapping[str, Any]


def manifest_text() -> str:
    """All our manifests, as one YAML stream for people who apply by themselves."""
    return "---\n".join(_files())


def manifests() -> list[Manifest]:
    """Our manifests in the order in which they are applied."""
    import yaml

    return [_manifest(body) for text in _files() for body in yaml.safe_load_all(text)]


class Installer:
    """Applies, compares and removes our manifests."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def install(self) -> list[str]:
        """See `Kube.install`. Returns when the API server serves our kinds."""
        applied = []
        wanted = manifests()
        for manifest in wanted:
            there = self._read(manifest)
            if there and not _is_ours(there):
                if manifest.kind == "Namespace":
                    continue
                message = f"{manifest.title} exists and is not ours (no label {_LABEL}: {_OURS})"
                hint = "rename or delete it, or add the label if it is ours"
                raise Conflict(message, code="KUBE-NOT-OURS", owner=Owner.USER, hint=hint)
            path = f"{manifest.path}?fieldManager={FIELD_MANAGER}&force=true"
            self._api.call("PATCH", path, f"apply {manifest.title}", body=manifest.body, content_type=APPLY_PATCH)
            applied.append(manifest.title)
        for manifest in wanted:
            if manifest.kind == "CustomResourceDefinition":
                self._wait(manifest, self._served, "is not served")
        return applied

    def findings(self) -> list[Finding]:
        """See `Kube.installed`."""
        return [
            Finding(manifest.title, problem)
            for manifest in manifests()
            if (problem := _problem(manifest, self._read(manifest)))
        ]

    def uninstall(self) -> list[str]:
        """See `Kube.uninstall`. Returns when all of it is gone."""
        deleted: list[Manifest] = []
        for manifest in reversed(manifests()):
            there = self._read(manifest)
            if there is None or not _is_ours(there):
                continue
            try:
                self._api.call("DELETE", manifest.path, f"delete {manifest.title}")
            except NotFound:  # its namespace went first
                continue
            deleted.append(manifest)
        for manifest in deleted:
            self._wait(manifest, self._gone, "is still being deleted")
        return [manifest.title for manifest in deleted]

    def _read(self, manifest: Manifest) -> dict[str, Any] | None:
        doing = f"read {manifest.title}"
        try:
            return decoded(self._api.call("GET", manifest.path, doing), doing, dict[str, Any])
        except NotFound:
            return None

    def _served(self, manifest: Manifest) -> bool:
        return not _problem(manifest, self._read(manifest))

    def _gone(self, manifest: Manifest) -> bool:
        return self._read(manifest) is None

    def _wait(self, manifest: Manifest, done: Callable[[Manifest], bool], problem: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not done(manifest):
            if time.monotonic() > deadline:
                message = f"{manifest.title} {problem} after {TIMEOUT_S:.0f} s"
                raise Unavailable(message, code="KUBE-SLOW", owner=Owner.KUBERNETES)
            time.sleep(0.1)


def _files() -> Iterator[str]:
    folder = resources.files("kuryrctl.kube") / "manifests"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            yield file.read_text()


def _manifest(body: dict[str, Any]) -> Manifest:
    api_version, kind, meta = body["apiVersion"], body["kind"], body["metadata"]
    base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    namespace = meta.get("namespace")
    within = f"{base}/namespaces/{quote(namespace)}" if namespace else base
    title = f"{kind} {namespace + '/' if namespace else ''}{meta['name']}"
    return Manifest(title, kind, f"{within}/{_PLURALS[kind]}/{quote(meta['name'])}", body)


def _is_ours(there: Mapping[str, Any]) -> bool:
    return (there["metadata"].get("labels") or {}).get(_LABEL) == _OURS


def _problem(manifest: Manifest, there: Mapping[str, Any] | None) -> str:
    if there is None:
        return "does not exist"
    if manifest.kind == "Namespace":
        return ""
    if not _holds(manifest.body, there):
        return "differs from what this version installs"
    if manifest.kind == "CustomResourceDefinition":
        conditions = (there.get("status") or {}).get("conditions") or []
        if not any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions):
            return "is not served yet"
    return ""


def _holds(wanted: Any, there: Any) -> bool:
    """Whether `there` has all that `wanted` says; the server adds defaults, never to a list of ours."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            key in there and _holds(value, there[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(there, list) and len(wanted) == len(there) and all(map(_holds, wanted, there))
    return bool(wanted == there)
