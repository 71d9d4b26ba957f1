"""Manifests from files as the cluster that they describe: offline, with the API server's defaults and refusals.

Read are pods (also those of workloads' templates, one for each), nodes, namespaces, NetworkPolicies, Services and
EndpointSlices, alone or in a ``List``; other kinds are passed over. What a file does not say is filled in: the
namespace ``default``, a namespace that is only named, a uid that is the same for the same name, a node for a pod.
Does not know: what the manifests are for.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kuryrctl.core.cluster import ClusterState, KuryrNode, Namespace, Node, Pod
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.kinds import Kind
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.kube.policy_checks import problems, unknown_fields
from kuryrctl.kube.resources import RESOURCES
from kuryrctl.kube.wire import KubeObject

UNPLACED = "unplaced"
"""The node of a pod of which no file says where it runs: it is meant to run somewhere."""
SUFFIXES = (".yaml", ".yml", ".json")
_READ = (Kind.POD, Kind.NODE, Kind.NAMESPACE, Kind.NETWORK_POLICY, Kind.SERVICE, Kind.ENDPOINT_SLICE)
_BY_TITLE = {RESOURCES[kind].title: kind for kind in _READ}
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job")
_CLUSTER_WIDE = (Kind.NODE, Kind.NAMESPACE)
_NAME_LABEL = "kubernetes.io/metadata.name"
_IDENTITY = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_PLACED = re.compile(r"(?P<what>.*) - at `\$(?P<field>.*)`", re.DOTALL)


class Document(Struct, frozen=True):
    """One object of a file; `number` counts the file's documents from 1, `body` is as it stands there."""

    source: str
    number: int
    body: Mapping[str, Any]

    @property
    def place(self) -> str:
        """For errors: file and document."""
        return f"{self.source}, document {self.number}"

    @property
    def where(self) -> str:
        """For errors: file, document, and which object it is."""
        meta = self.body.get("metadata")
        name = meta.get("name", "") if isinstance(meta, Mapping) else ""
        what = " ".join(str(word) for word in (self.body.get("kind", ""), name) if word)
        return self.place + (f" ({what})" if what else "")


def read_files(paths: Iterable[Path]) -> ClusterState:
    """The cluster of these files; a folder stands for all manifests in it and below. Raises Invalid (MANIFEST)."""
    return cluster_of(documents(paths))


def documents(paths: Iterable[Path]) -> Iterator[Document]:
    """The objects of these files and of all manifests in these folders and below. Raises Invalid (MANIFEST)."""
    return (document for path in paths for file in _files(path) for document in _read(file))


def parse(text: str, source: str) -> ClusterState:
    """The cluster of one YAML (or JSON) text; `source` names it in errors. Raises Invalid (MANIFEST)."""
    return cluster_of(_documents(text, source))


def named_namespaces(documents: Iterable[Document]) -> frozenset[str]:
    """The namespaces that are objects of their own there, and not only named by others."""
    return frozenset(
        str(mapping(each.body.get("metadata")).get("name")) for each in documents if is_a(each, Kind.NAMESPACE)
    )


def cluster_of(documents: Iterable[Document]) -> ClusterState:
    """The cluster that these objects make; the same object in several files is one.

    Raises Invalid (MANIFEST) on a bad one, and on another one of the same name.
    """
    made: dict[tuple[Kind, str], tuple[KubeObject, Document]] = {}
    for document in documents:
        found = _decoded(document)
        if found is None:
            continue
        kind, thing = found
        key = (kind, "/".join(filter(None, (_home(thing), thing.name))))
        if key in made and not _is_copy(document, made[key][1]):
            places = f"{made[key][1].place}, and {document.place}"
            raise refused(
                f"there are two versions of {RESOURCES[kind].title} {key[1]}: {places}",
                "leave one of them out: files that are read together are one cluster",
            )
        made[key] = (thing, document)
    objects = [thing for thing, _ in made.values()]
    homes = sorted({home for home in map(_home, objects) if home})
    namespaces = {name: _namespace(Namespace(name, _uid(Kind.NAMESPACE, name))) for name in homes}
    namespaces |= {thing.name: _namespace(thing) for thing in objects if isinstance(thing, Namespace)}
    policies = [thing for thing in objects if isinstance(thing, NetworkPolicy)]
    services = [thing for thing in objects if isinstance(thing, Service)]
    slices = [thing for thing in objects if isinstance(thing, EndpointSlice)]
    return ClusterState(
        pods={thing.uid: thing for thing in objects if isinstance(thing, Pod)},
        nodes={thing.name: thing for thing in objects if isinstance(thing, Node)},
        namespaces=namespaces,
        policies={thing.full_name: thing for thing in policies},
        services={thing.full_name: thing for thing in services},
        endpoint_slices={thing.full_name: thing for thing in slices},
        complete=frozenset(_READ),
    )


# -- files


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not found:
        raise refused(f"{path} holds no manifest", f"a manifest's name ends in {', '.join(SUFFIXES)}")
    yield from found


def _read(file: Path) -> Iterator[Document]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise refused(f"{file} cannot be read: {error.strerror}", "name existing files or folders") from None
    except UnicodeDecodeError as error:
        raise refused(f"{file} is no text: {error.reason} at byte {error.start}", "manifests are UTF-8") from None
    yield from _documents(text, str(file))


def _documents(text: str, source: str) -> Iterator[Document]:
    import yaml

    number = 0
    try:
        for body in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            number += 1
            if body is not None:
                yield from _single(source, number, body)
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise refused(f"{source}, document {number + 1}: this is not YAML: {told}", "correct the file") from None


def _single(source: str, number: int, body: Any) -> Iterator[Document]:
    document = Document(source, number, body if isinstance(body, Mapping) else {})
    if not isinstance(body, Mapping):
        raise _bad(document, f"an object is a mapping, not a {type(body).__name__}")
    if not isinstance(body.get("kind"), str):
        raise _bad(document, "kind: it names no kind of object")
    if body["kind"] != "List":
        yield document
        return
    items = body.get("items")
    if not isinstance(items, list):
        raise _bad(document, "items: a List needs a list of objects")
    for item in items:
        yield from _single(source, number, item)


# -- objects


def _decoded(document: Document) -> tuple[Kind, KubeObject] | None:
    """The object as a core type; None: it says nothing of the network."""
    body = document.body
    kind = _BY_TITLE.get(body["kind"])
    if kind is None:
        kind, template = Kind.POD, _template(body)
        if template is None:
            return None
        body = {"metadata": {**mapping(template.get("metadata")), **place_of(body)}, "spec": template.get("spec")}
    meta = mapping(body.get("metadata"))
    if not isinstance(meta.get("name"), str) or not meta["name"]:
        raise _bad(document, "metadata.name: the object has no name")
    if kind not in _CLUSTER_WIDE:
        meta = {**meta, "namespace": meta.get("namespace") or "default"}
    full_name = "/".join(filter(None, (meta.get("namespace"), meta["name"])))
    meta = {**meta, "uid": meta.get("uid") or _uid(kind, full_name)}
    if kind is Kind.NETWORK_POLICY:
        for problem in unknown_fields(body):
            raise _bad(document, problem)
    try:
        wire = msgspec.convert({**body, "metadata": meta}, RESOURCES[kind].item)
    except msgspec.ValidationError as error:
        raise _bad(document, _placed(str(error))) from None
    for problem in problems(wire):
        raise _bad(document, problem)
    thing = wire.core()
    if isinstance(thing, Pod) and not thing.node:
        thing = msgspec.structs.replace(thing, node=UNPLACED)
    return kind, thing


def _template(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod template of a workload."""
    spec = mapping(body.get("spec"))
    if body["kind"] == "CronJob":
        spec = mapping(mapping(spec.get("jobTemplate")).get("spec"))
    elif body["kind"] not in WORKLOADS:
        return None
    return mapping(spec.get("template"))


def is_a(document: Document, kind: Kind) -> bool:
    """Whether a document is an object of this kind."""
    return bool(document.body["kind"] == RESOURCES[kind].title)


def _is_copy(document: Document, other: Document) -> bool:
    """Whether two files hold the same object; twice in one file it is a mistake."""
    return document.source != other.source and document.body == other.body


def place_of(workload: Mapping[str, Any]) -> dict[str, Any]:
    """Of a workload's pod: it is called as the workload."""
    meta = mapping(workload.get("metadata"))
    return {name: meta[name] for name in ("name", "namespace") if name in meta}


def _namespace(namespace: Namespace) -> Namespace:
    """With the label that the API server gives every one (Kubernetes 1.22)."""
    return msgspec.structs.replace(namespace, labels={**namespace.labels, _NAME_LABEL: namespace.name})


def _home(thing: KubeObject) -> str:
    """The namespace it is in; empty: none."""
    return "" if isinstance(thing, Node | Namespace | KuryrNode) else thing.namespace


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping of a document, empty where there is none."""
    return value if isinstance(value, Mapping) else {}


def _uid(kind: Kind, full_name: str) -> str:
    return str(uuid.uuid5(_IDENTITY, f"{kind}/{full_name}"))


def _placed(error: str) -> str:
    """msgspec's sentence with the field in front."""
    found = _PLACED.fullmatch(error)
    told = (found["what"] if found else error).replace("`", "")
    field = found["field"].removeprefix(".") if found else ""
    return f"{field}: {told}" if field else told


def _bad(document: Document, what: str) -> Invalid:
    return refused(f"{document.where}: {what}", "correct the manifest; kubectl apply --dry-run=server says the same")


def refused(message: str, hint: str) -> Invalid:
    """The error of all that a manifest cannot be read for."""
    return Invalid(message, code="MANIFEST", owner=Owner.USER, hint=hint)
