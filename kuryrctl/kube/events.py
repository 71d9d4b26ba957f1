"""Events: what people see in ``kubectl describe`` of an object of theirs.

The same event again is counted on the first one (a series), and written at most once a minute. An Event is a courtesy:
one that cannot be written is logged, and never an error. Does not know: what is worth telling.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote

from msgspec import Struct

from kuryrctl.core.cluster import KuryrNode, KuryrPort, Node, Pod
from kuryrctl.core.errors import KuryrError, NotFound
from kuryrctl.core.names import shortened
from kuryrctl.core.policy.model import NetworkPolicy
from kuryrctl.core.services import Service
from kuryrctl.kube.api import Api
from kuryrctl.kube.transport import MERGE_PATCH
from kuryrctl.kube.wire import API_VERSION, micro_time

SERIES_INTERVAL_S = 60.0
SERIES_END_S = 360.0
_REMEMBERED = 1000
_TIMEOUT_S = 5.0
_NAME_MAX = 220
_NOTE_MAX_BYTES = 1024
_log = logging.getLogger(__name__)


class ObjectRef(Struct, frozen=True, rename="camel"):
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, obj: Pod | Node | KuryrPort | KuryrNode | NetworkPolicy | Service) -> ObjectRef:
        """The reference to an observed object."""
        match obj:
            case Pod():
                return cls("v1", "Pod", obj.namespace, obj.name, obj.uid)
            case Node():
                # The kubelet and kubectl know a node's events by its name in the place of its uid.
                return cls("v1", "Node", "", obj.name, obj.name)
            case KuryrPort():
                return cls(API_VERSION, "KuryrPort", obj.namespace, obj.name, obj.uid)
            case KuryrNode():
                return cls(API_VERSION, "KuryrNode", "", obj.name, obj.uid)
            case NetworkPolicy():
                return cls("networking.k8s.io/v1", "NetworkPolicy", obj.namespace, obj.name, obj.uid)
            case Service():
                return cls("v1", "Service", obj.namespace, obj.name, obj.uid)


class _Told(Struct, frozen=True):
    obj: ObjectRef
    type: str
    reason: str
    message: str
    component: str


class _Series(Struct):
    path: str
    count: int
    last_s: float
    written_s: float


class EventRecorder:
    """Writes events.k8s.io/v1 Events. Thread-safe; a call takes at most one request of at most 5 s."""

    def __init__(self, api: Api, clock: Callable[[], float] = time.time) -> None:
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._series: OrderedDict[_Told, _Series] = OrderedDict()

    def record(self, obj: ObjectRef, type_: str, reason: str, message: str, component: str) -> None:
        """Tell, or count, this event of this object."""
        now = self._clock()
        told = _Told(obj, type_, reason, message, component)
        with self._lock:
            series = self._repeated(told, now)
            if series and now - series.written_s < SERIES_INTERVAL_S:
                return
            if series:
                series.written_s = now
            else:
                name = f"{shortened(obj.name, _NAME_MAX)}.{int(now * 1e6):x}"
                base = f"/apis/events.k8s.io/v1/namespaces/{quote(obj.namespace or 'default')}/events"
                series = self._series[told] = _Series(f"{base}/{name}", 1, now, now)
                if len(self._series) > _REMEMBERED:
                    self._series.popitem(last=False)
        try:
            if series.count > 1 and self._count(series):
                return
            self._create(series, told)
        except KuryrError as error:
            _log.warning("event not written: %s: %s (%s)", reason, message, error.message)

    def _repeated(self, told: _Told, now: float) -> _Series | None:
        series = self._series.get(told)
        if series is None or now - series.last_s > SERIES_END_S:
            return None
        series.count += 1
        series.last_s = now
        return series

    def _count(self, series: _Series) -> bool:
        """Whether the first event could be counted up; it is kept for an hour only."""
        body = {"series": {"count": series.count, "lastObservedTime": micro_time(series.last_s)}}
        try:
            self._api.call(
                "PATCH", series.path, "count event", body=body, content_type=MERGE_PATCH, timeout_s=_TIMEOUT_S
            )
        except NotFound:
            return False
        return True

    def _create(self, series: _Series, told: _Told) -> None:
        collection, _, name = series.path.rpartition("/")
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": told.obj.namespace or "default"},
            "eventTime": micro_time(series.last_s),
            "reportingController": f"kuryr.openstack.org/{told.component}",
            "reportingInstance": f"{told.component}-{socket.gethostname()}"[:128],
            "action": told.reason,
            "reason": told.reason,
            "type": told.type,
            "regarding": told.obj,
            "note": _cut(told.message),
        }
        self._api.call("POST", collection, f"write event {told.reason}", body=body, timeout_s=_TIMEOUT_S)


def _cut(text: str) -> str:
    raw = text.encode()
    if len(raw) <= _NOTE_MAX_BYTES:
        return text
    return raw[: _NOTE_MAX_BYTES - 3].decode(errors="ignore") + "…"
