"""An API server in memory: the protocol that `kuryrctl.kube` relies on, and the faults that real ones have.

Resource versions, lists in pages of one snapshot, watches with bookmarks and 410 after a compaction, optimistic
concurrency, uid preconditions, status as a subresource, our structural schemas. What a cluster's controllers would do
happens when a test says so (`collect`, `schedule_pod`, …). No authorization: that is only tested on real servers.
`tests/contract/kube` runs the same cases on this and on a real one.
"""

from __future__ import annotations

import copy
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kuryrctl.core.errors import Owner, Unavailable
from kuryrctl.kube.transport import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, Response
from tests.fakes.kube_schema import problems, pruned, schemas

_OURS = "apis/kuryr.openstack.org/v1"
_RBAC = "apis/rbac.authorization.k8s.io/v1"
_ADMISSION = "apis/admissionregistration.k8s.io/v1"
_PLACES = {
    "api/v1": {"namespaces": False, "nodes": False, "pods": True, "serviceaccounts": True, "services": True},
    "apis/networking.k8s.io/v1": {"networkpolicies": True},
    "apis/discovery.k8s.io/v1": {"endpointslices": True},
    _OURS: {"kuryrports": True, "kuryrnodes": False, "kuryrprobes": True},
    "apis/coordination.k8s.io/v1": {"leases": True},
    "apis/events.k8s.io/v1": {"events": True},
    "apis/apiextensions.k8s.io/v1": {"customresourcedefinitions": False},
    _ADMISSION: {"validatingadmissionpolicies": False, "validatingadmissionpolicybindings": False},
    _RBAC: {"clusterroles": False, "clusterrolebindings": False, "roles": True, "rolebindings": True},
}
"""What is served: group and version, plural, whether it has namespaces."""
_PATH = re.compile(
    r"/(?P<base>api/v1|apis/[^/]+/v[^/]+)(/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?(/(?P<subresource>status))?"
)
_CREATED = "2026-11-23T00:00:00Z"
Object = dict[str, Any]
Key = tuple[str, str, str]


class _Refused(Exception):
    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details or {},
            "code": code,
        }


@dataclass
class _Target:
    base: str
    plural: str
    namespace: str
    name: str
    subresource: str
    query: dict[str, str]

    @property
    def key(self) -> Key:
        return self.plural, self.namespace, self.name

    @property
    def details(self) -> Object:
        return {"name": self.name, "kind": self.plural}


@dataclass
class _Change:
    """One entry of the history: `old` None: added, `new` None: deleted."""

    version: int
    plural: str
    old: Object | None
    new: Object | None
    copies: int = 1


@dataclass
class Fault:
    """What becomes of the next `times` matching requests. `status` 0: no answer; `effect`: it was done all the same.

    `error`: what the transport raises instead, against its contract.
    """

    verb: str = ""
    path: str = ""
    status: int = 0
    effect: bool = False
    times: int = 1
    retry_after_s: int = 0
    error: Exception | None = None


class FakeStream:
    """One open watch."""

    def __init__(self, kube: FakeKube, target: _Target) -> None:
        self.status = 200
        self.closed = False
        self.cut: Unavailable | None = None
        self.bookmarks = 0
        self._kube = kube
        self._target = target
        self._position = int(target.query["resourceVersion"])

    def __iter__(self) -> Iterator[bytes]:
        while (line := self._next()) is not None:
            yield line

    def close(self) -> None:
        with self._kube.changed:
            self.closed = True
            self._kube.changed.notify_all()

    def _next(self) -> bytes | None:
        with self._kube.changed:
            while True:
                if self.cut:
                    raise self.cut
                if self.closed:
                    return None
                if line := self._pending():
                    return json.dumps(line).encode()
                self._kube.changed.wait()

    def _pending(self) -> Object | None:
        if self._position < self._kube.compacted:
            expired = _Refused(410, "Expired", f"too old resource version: {self._position}")
            self.closed = True
            return {"type": "ERROR", "object": expired.status}
        for change in self._kube.history:
            if change.version > self._position:
                line = self._line(change)
                if change.copies > 1:
                    change.copies -= 1
                else:
                    self._position = change.version
                if line and change.copies:
                    return line
        if self.bookmarks:
            self.bookmarks -= 1
            self._kube.changed.notify_all()
            meta = {"resourceVersion": str(self._kube.version)}
            return {"type": "BOOKMARK", "object": {"kind": "Bookmark", "metadata": meta}}
        return None

    def _line(self, change: _Change) -> Object | None:
        if change.plural != self._target.plural:
            return None
        before = change.old is not None and _selected(change.old, self._target)
        after = change.new is not None and _selected(change.new, self._target)
        match before, after:
            case False, True:
                return {"type": "ADDED", "object": change.new}
            case True, True:
                return {"type": "MODIFIED", "object": change.new}
            case True, False:
                last = copy.deepcopy(change.new or change.old)
                assert last is not None
                last["metadata"]["resourceVersion"] = str(change.version)
                return {"type": "DELETED", "object": last}
        return None


@dataclass
class FakeKube:
    """See the module. It is a `kuryrctl.kube.transport.Transport`. `requests` are all calls: (method, path)."""

    requests: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    history: list[_Change] = field(default_factory=list)
    version: int = 100
    compacted: int = 100
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._snapshots: dict[int, list[Object]] = {}
        self._frozen: dict[Key, Object] | None = None
        self._streams: list[FakeStream] = []
        self._copies = 1
        self._schemas = schemas()
        for name in ("default", "kube-system"):
            self.add_namespace(name)

    # -- Transport

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
        with self.changed:
            self.requests.append((method, path))
            audit = {"audit-id": f"audit-{len(self.requests)}"}
            fault = self._fault(method, path)
            if fault and not fault.effect:
                return self._faulty(fault, audit)
            try:
                answer = self._serve(method, _target(path), json.loads(body) if body else {}, content_type)
                response = Response(201 if method == "POST" else 200, json.dumps(answer).encode(), audit)
            except _Refused as refused:
                response = Response(refused.code, json.dumps(refused.status).encode(), audit)
            return self._faulty(fault, audit) if fault else response

    def stream(self, path: str, *, timeout_s: float) -> FakeStream:
        with self.changed:
            self.requests.append(("WATCH", path))
            if fault := self._fault("WATCH", path):
                self._faulty(fault, {})
            target = _target(path)
            assert target.query.get("watch") == "true", path
            stream = FakeStream(self, target)
            self._streams.append(stream)
            return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.close()

    # -- what happens in a cluster

    def add_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """Its uid."""
        return self._made(("namespaces", "", name), {"metadata": {"labels": dict(labels or {})}})

    def add_node(self, name: str, *addresses: str, ready: bool = True) -> str:
        """Its uid."""
        status = {
            "addresses": [{"type": "InternalIP", "address": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        return self._made(("nodes", "", name), {"metadata": {}, "status": status})

    def add_pod(
        self,
        namespace: str,
        name: str,
        *,
        node: str = "",
        host_network: bool = False,
        labels: Mapping[str, str] | None = None,
        phase: str = "Pending",
        ips: tuple[str, ...] = (),
        uid: str = "",
        ports: Mapping[str, int] | None = None,
    ) -> str:
        """A pod, scheduled already where `node` is given; `ports` are its named TCP ports. Its uid."""
        named = [{"name": port, "containerPort": number, "protocol": "TCP"} for port, number in (ports or {}).items()]
        spec: Object = {"containers": [{"name": "c", "image": "i"} | ({"ports": named} if named else {})]}
        spec |= ({"nodeName": node} if node else {}) | ({"hostNetwork": True} if host_network else {})
        status = {"phase": phase, "podIPs": [{"ip": ip} for ip in ips]}
        body = {"metadata": {"labels": dict(labels or {}), "uid": uid}, "spec": spec, "status": status}
        return self._made(("pods", namespace, name), body)

    def apply(self, plural: str, namespace: str, name: str, **parts: Any) -> str:
        """An object of this kind as it should be, made or changed (``spec=…``, ``labels=…``); its uid.

        A Service keeps the status that was written on it.
        """
        meta = {"labels": parts.pop("labels", {}), "annotations": parts.pop("annotations", {})}
        with self.changed:
            there = self._objects.get((plural, namespace, name))
            if plural == "services":
                parts = {"status": there["status"] if there else {"loadBalancer": {}}, **parts}
            if there is None:
                return self._made((plural, namespace, name), {"metadata": meta, **parts})
            meta = {**there["metadata"], **meta}
            self._store((plural, namespace, name), {"metadata": meta, **parts})
            return str(meta["uid"])

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """The object is gone."""
        with self.changed:
            self._remove((plural, namespace, name))

    def relabel(self, plural: str, namespace: str, name: str, labels: Mapping[str, str]) -> None:
        """Its labels are these now."""
        with self.changed:
            there = copy.deepcopy(self._objects[plural, namespace, name])
            there["metadata"]["labels"] = dict(labels)
            self._store((plural, namespace, name), there)

    def schedule_pod(self, namespace: str, name: str, node: str) -> None:
        """The scheduler binds it: possible once."""
        pod = self._pod(namespace, name)
        assert "nodeName" not in pod["spec"], "a pod is scheduled once; another node needs another pod"
        pod["spec"]["nodeName"] = node
        self._store(("pods", namespace, name), pod)

    def run_pod(self, namespace: str, name: str, *ips: str) -> None:
        """The kubelet reports it Running, at these addresses."""
        pod = self._pod(namespace, name)
        pod["status"] |= {"phase": "Running", "podIPs": [{"ip": ip} for ip in ips]}
        self._store(("pods", namespace, name), pod)

    def finish_pod(self, namespace: str, name: str, phase: str = "Succeeded") -> None:
        """Its containers ended for good."""
        pod = self._pod(namespace, name)
        pod["status"]["phase"] = phase
        self._store(("pods", namespace, name), pod)

    def terminate_pod(self, namespace: str, name: str) -> None:
        """Somebody asked for its deletion; it is still there."""
        pod = self._pod(namespace, name)
        pod["metadata"]["deletionTimestamp"] = _CREATED
        self._store(("pods", namespace, name), pod)

    def delete_pod(self, namespace: str, name: str) -> None:
        """It is gone. What it owned stays until `collect`."""
        with self.changed:
            self._remove(("pods", namespace, name))

    def delete_node(self, name: str) -> None:
        """It is gone. What it owned stays until `collect`."""
        with self.changed:
            self._remove(("nodes", "", name))

    def collect(self) -> list[str]:
        """The garbage collector: deletes our objects whose owners do not exist; their names."""
        with self.changed:
            uids = {obj["metadata"]["uid"] for obj in self._objects.values()}
            lost = [
                key
                for key, obj in self._objects.items()
                if (owners := obj["metadata"].get("ownerReferences")) and not any(o["uid"] in uids for o in owners)
            ]
            for key in lost:
                self._remove(key)
            return sorted(key[2] for key in lost)

    # -- faults

    def fail(self, status: int = 0, times: int = 1, *, verb: str = "", path: str = "", effect: bool = False) -> None:
        """The next `times` matching requests are refused, or not answered (0); with `effect`, after they worked.

        `verb` is an HTTP method or WATCH; `path` is searched for. Empty: any.
        """
        self.faults.append(Fault(verb, path, status, effect, times))

    def break_once(self, *, verb: str = "", path: str = "") -> None:
        """The next matching request meets a bug: the transport raises what no transport may raise."""
        self.faults.append(Fault(verb, path, error=RuntimeError("a bug of the transport")))

    def compact(self) -> None:
        """Forget all history: open watches and unfinished lists get 410."""
        with self.changed:
            self.compacted = self.version
            self.history.clear()
            self._snapshots.clear()
            self.changed.notify_all()

    def cut_watches(self, *, cleanly: bool = False) -> None:
        """End every open watch, as a server that restarts does, or (`cleanly`) as after its timeoutSeconds."""
        with self.changed:
            for stream in self._streams:
                stream.closed = True
                stream.cut = None if cleanly else _unavailable()
            self._streams.clear()
            self.changed.notify_all()

    def send_bookmarks(self) -> None:
        """A bookmark on every open watch; returns when their readers have it."""
        with self.changed:
            for stream in self._streams:
                stream.bookmarks += 1
            self.changed.notify_all()
            taken = self.changed.wait_for(lambda: all(s.closed or not s.bookmarks for s in self._streams), timeout=10)
            assert taken, "nobody reads a watch"

    def freeze_lists(self) -> None:
        """From now on every list is as of now: a stale read."""
        self._frozen = copy.deepcopy(self._objects)

    def thaw_lists(self) -> None:
        """End of `freeze_lists`."""
        self._frozen = None

    def send_events(self, copies: int) -> None:
        """From now on each change is sent this often: 0 loses it, 2 doubles it, 1 is right."""
        self._copies = copies

    def open_watches(self) -> int:
        """How many watches are open."""
        return sum(not stream.closed for stream in self._streams)

    def names(self) -> set[Key]:
        """What exists: (plural, namespace, name)."""
        return set(self._objects)

    def objects(self, plural: str) -> dict[str, Object]:
        """All objects, by ``namespace/name`` or name."""
        found = ((key, obj) for key, obj in sorted(self._objects.items()) if key[0] == plural)
        return {"/".join(filter(None, key[1:])): copy.deepcopy(obj) for key, obj in found}

    # -- how

    def _serve(self, method: str, target: _Target, body: Any, content_type: str) -> Object:
        if method == "PATCH":
            method = {MERGE_PATCH: "MERGE", JSON_PATCH: "JSON", APPLY_PATCH: "APPLY"}.get(content_type, content_type)
        whole: dict[str, Callable[[_Target, Any], Object]] = {"GET": self._page, "POST": self._create}
        single: dict[str, Callable[[_Target, Any], Object]] = {
            "GET": self._read,
            "PUT": self._replace,
            "MERGE": self._patch,
            "JSON": self._patch_by_steps,
            "APPLY": self._apply,
            "DELETE": self._delete,
        }
        serve = (single if target.name else whole).get(method)
        if serve is None:
            raise _Refused(405, "MethodNotAllowed", f"{method} on {target.plural}")
        return serve(target, body)

    def _read(self, target: _Target, _body: Object) -> Object:
        return self._there(target)

    def _there(self, target: _Target) -> Object:
        if target.key not in self._objects:
            raise _Refused(404, "NotFound", f'{target.plural} "{target.name}" not found', target.details)
        return copy.deepcopy(self._objects[target.key])

    def _page(self, target: _Target, _body: Object) -> Object:
        limit = int(target.query.get("limit", 0))
        version, begin = self.version, 0
        if token := target.query.get("continue"):
            version, begin = map(int, token.split(":"))
            if version not in self._snapshots:
                raise _Refused(410, "Expired", "The provided continue parameter is too old")
            items = self._snapshots[version]
        else:
            source = self._objects if self._frozen is None else self._frozen
            items = [
                copy.deepcopy(obj)
                for key, obj in sorted(source.items(), key=lambda item: item[0])
                if key[0] == target.plural and target.namespace in ("", key[1]) and _selected(obj, target)
            ]
        end = begin + limit if limit else len(items)
        meta = {"resourceVersion": str(version)}
        if end < len(items):
            self._snapshots[version] = items
            meta["continue"] = f"{version}:{end}"
        return {"kind": "List", "metadata": meta, "items": items[begin:end]}

    def _create(self, target: _Target, body: Object) -> Object:
        target.name = body["metadata"]["name"]
        if body.get("apiVersion") != target.base.partition("/")[2] or "kind" not in body:
            raise _Refused(400, "BadRequest", f"apiVersion and kind do not fit {target.base}/{target.plural}")
        if target.namespace and ("namespaces", "", target.namespace) not in self._objects:
            details = {"name": target.namespace, "kind": "namespaces"}
            raise _Refused(404, "NotFound", f'namespaces "{target.namespace}" not found', details)
        if body["metadata"].get("namespace", target.namespace) != target.namespace:
            raise _Refused(400, "BadRequest", "the namespace of the object does not match the path")
        if target.key in self._objects:
            raise _Refused(409, "AlreadyExists", f'{target.plural} "{target.name}" already exists', target.details)
        if _has_status(target):
            body.pop("status", None)
        if target.plural == "services":
            body["status"] = {"loadBalancer": {}}
        self._made(target.key, self._validated(target, body, None))
        return self._there(target)

    def _replace(self, target: _Target, body: Object) -> Object:
        old = self._there(target)
        if "resourceVersion" not in body["metadata"]:
            message = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"
            raise _Refused(422, "Invalid", message, target.details)
        self._require(target, old, body["metadata"])
        kept = {name: old["metadata"][name] for name in ("uid", "creationTimestamp")}
        new = {**body, "metadata": {**body["metadata"], **kept}}
        return self._updated(target, old, new)

    def _patch(self, target: _Target, body: Object) -> Object:
        old = self._there(target)
        meta = body.get("metadata", {})
        self._require(target, old, {"resourceVersion": meta.get("resourceVersion")})
        if not target.subresource and meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            raise _Refused(422, "Invalid", "metadata.uid: Invalid value: field is immutable", target.details)
        return self._updated(target, old, _merged(old, body))

    def _patch_by_steps(self, target: _Target, steps: list[Object]) -> Object:
        """JSON patch (RFC 6902), of which we use: test a field of the metadata, add a section or a part of one."""
        old = self._there(target)
        new = copy.deepcopy(old)
        for step in steps:
            match step["op"], step["path"].split("/")[1:]:
                case "test", [section, name]:
                    if old[section][name] != step["value"]:
                        message = "the server rejected our request due to an error in our request"
                        raise _Refused(422, "Invalid", message)
                case "add", [*sections, name]:
                    within = new
                    for section in sections:
                        if section not in within:
                            raise _Refused(
                                422, "Invalid", f"add operation does not apply: doc is missing path {section}"
                            )
                        within = within[section]
                    within[name] = step["value"]
                case other:
                    raise NotImplementedError(f"the fake does not patch by {other}")
        return self._updated(target, old, new)

    def _apply(self, target: _Target, body: Object) -> Object:
        assert target.query.get("fieldManager"), "server-side apply needs a field manager"
        if target.key not in self._objects:
            if target.plural == "customresourcedefinitions":
                body["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
            return self._create(target, body)
        old = self._there(target)
        return self._updated(target, old, _merged(old, body))

    def _delete(self, target: _Target, options: Object) -> Object:
        there = self._there(target)
        self._require(target, there, options.get("preconditions", {}))
        self._remove(target.key)
        if target.plural == "namespaces":
            for key in [key for key in self._objects if key[1] == target.name]:
                self._remove(key)
        return {"kind": "Status", "status": "Success"}

    def _updated(self, target: _Target, old: Object, new: Object) -> Object:
        if _has_status(target):
            part = "status" if target.subresource else "spec"
            other = "spec" if target.subresource else "status"
            new = {**new, other: old.get(other)} if other in old else {k: v for k, v in new.items() if k != other}
            if part == "status":
                new["metadata"] = old["metadata"]
            new = self._validated(target, new, old)
        new["metadata"] = {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
        if new != old:
            self._store(target.key, new)
        return self._there(target)

    def _validated(self, target: _Target, obj: Object, old: Object | None) -> Object:
        if target.plural == "events" and len(obj["note"].encode()) > 1024:
            raise _Refused(422, "Invalid", "message: can have at most 1024 characters", target.details)
        if target.plural == "services" and target.subresource and (wrong := _bad_ingress(obj)):
            raise _Refused(422, "Invalid", f'Service "{target.name}" is invalid: {wrong}', target.details)
        if target.base != _OURS:
            return obj
        schema = self._schemas[target.plural]
        content = {name: part for name, part in obj.items() if name in ("spec", "status")}
        content = pruned(schema, content)
        if found := list(problems(schema, content, old, "")):
            message = f'{target.plural} "{target.name}" is invalid: {"; ".join(found)}'
            raise _Refused(422, "Invalid", message, target.details)
        return {**obj, **content}

    def _require(self, target: _Target, there: Object, wanted: Object) -> None:
        """Preconditions: a given uid or resource version must be that of the stored object."""
        for name in ("uid", "resourceVersion"):
            if wanted.get(name) not in (None, "", there["metadata"][name]):
                message = f'Operation cannot be fulfilled on {target.plural} "{target.name}": {name} differs'
                raise _Refused(409, "Conflict", message, target.details)

    def _made(self, key: Key, body: Object) -> str:
        _, namespace, name = key
        with self.changed:
            assert key not in self._objects, f"{key} exists"
            assert not namespace or ("namespaces", "", namespace) in self._objects, f"no namespace {namespace}"
            meta = body["metadata"]
            meta |= {"name": name, "uid": meta.get("uid") or str(uuid.uuid4()), "creationTimestamp": _CREATED}
            meta |= {"namespace": namespace} if namespace else {}
            self._store(key, body)
            return str(meta["uid"])

    def _pod(self, namespace: str, name: str) -> Object:
        return copy.deepcopy(self._objects["pods", namespace, name])

    def _store(self, key: Key, new: Object) -> None:
        with self.changed:
            old = self._objects.get(key)
            new = copy.deepcopy(new)
            self.version += 1
            new["metadata"]["resourceVersion"] = str(self.version)
            self._objects[key] = new
            self._record(_Change(self.version, key[0], old, new, self._copies))

    def _remove(self, key: Key) -> None:
        old = self._objects.pop(key)
        self.version += 1
        self._record(_Change(self.version, key[0], old, None, self._copies))

    def _record(self, change: _Change) -> None:
        self.history.append(change)
        self.changed.notify_all()

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.verb in ("", method) and fault.path in path:
                fault.times -= 1
                return fault
        return None

    def _faulty(self, fault: Fault, headers: dict[str, str]) -> Response:
        if fault.error:
            raise fault.error
        if not fault.status:
            raise _unavailable()
        refused = _Refused(fault.status, "InternalError", "a fault of the fake")
        if fault.retry_after_s:
            headers["retry-after"] = str(fault.retry_after_s)
        return Response(fault.status, json.dumps(refused.status).encode(), headers)


def _target(path: str) -> _Target:
    parts = urlsplit(path)
    match = _PATH.fullmatch(parts.path)
    places = _PLACES.get(match["base"], {}) if match else {}
    if not match or match["plural"] not in places:
        raise _Refused(404, "NotFound", "the server could not find the requested resource")
    namespace, name = unquote(match["namespace"] or ""), unquote(match["name"] or "")
    namespaced = places[match["plural"]]
    if (namespace and not namespaced) or (name and namespaced and not namespace):
        raise _Refused(404, "NotFound", "the server could not find the requested resource")
    query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    return _Target(match["base"], match["plural"], namespace, name, match["subresource"] or "", query)


def _selected(obj: Object, target: _Target) -> bool:
    """Selectors of the form ``name=value``, the only one that we use."""
    label, _, value = target.query.get("labelSelector", "").partition("=")
    if label and (obj["metadata"].get("labels") or {}).get(label) != value:
        return False
    where, _, value = target.query.get("fieldSelector", "").partition("=")
    if not where:
        return True
    assert (target.plural, where) in {
        ("pods", "spec.nodeName"),
        ("nodes", "metadata.name"),
        ("kuryrnodes", "metadata.name"),
        ("kuryrports", "metadata.name"),
    }, f"{target.plural} cannot be selected by {where}"
    section, name = where.split(".")
    return bool(obj[section].get(name, "") == value)


def _merged(there: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(there) if isinstance(there, dict) else {}
    for name, part in patch.items():
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), part)
    return merged


def _has_status(target: _Target) -> bool:
    """Whether its status is a subresource that we write."""
    return target.base == _OURS or target.plural == "services"


def _bad_ingress(service: Object) -> str:
    """What an API server refuses of a Service's status; empty: nothing."""
    ingress = service["status"]["loadBalancer"].get("ingress") or []
    if ingress and service["spec"].get("type") != "LoadBalancer":
        return "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is LoadBalancer"
    for index, each in enumerate(ingress):
        try:
            ip_address(each["ip"])
        except ValueError:
            return f'status.loadBalancer.ingress[{index}].ip: Invalid value: "{each["ip"]}": must be a valid IP address'
    return ""


def _unavailable() -> Unavailable:
    return Unavailable("the fake does not answer", code="KUBE-UNAVAILABLE", owner=Owner.KUBERNETES)
