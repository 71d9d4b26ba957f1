"""KuryrProbes for those who ask: make them, wait for what the agents say, remove them. And who removes the forgotten.

The maker deletes its probes; what a maker left behind ends with its pod (owner reference), or after its time to live
by the engine. Does not know: what is asked for, what an answer means.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final
from urllib.parse import urlencode

from kuryrctl.core.cluster import Pod
from kuryrctl.core.errors import Invalid, KuryrError, NotFound, Owner, Retryable
from kuryrctl.core.kinds import Kind
from kuryrctl.core.probe import KuryrProbe
from kuryrctl.kube.api import Api, decoded
from kuryrctl.kube.probe_wire import RUN_LABEL, KuryrProbeWire, kuryr_probe_body, status_of
from kuryrctl.kube.resources import RESOURCES
from kuryrctl.kube.wire import KuryrNodeWire, Page, PodWire

FIRST_LOOK_S: Final = 0.1
SLOWEST_LOOK_S: Final = 1.0
ROLE: Final = "kuryr-probe"
"""The ClusterRole (``manifests/40-rbac.yaml``) with all that asking needs, to be bound in the pod's namespace."""
_log = logging.getLogger(__name__)
_RESOURCE: Final = RESOURCES[Kind.KURYR_PROBE]


class Probes:
    """The probes of one cluster. Thread-safe. Every method raises KuryrErrors with codes ``KUBE-…``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def ask(self, probes: Sequence[KuryrProbe], wait_s: float) -> list[KuryrProbe]:
        """Make them, wait until all are finished or `wait_s` is over, and delete them; each as it was last, in order.

        All must carry the same `run`. One that no agent took up in time has no `finished_at`.
        """
        with ExitStack() as removal:
            made = []
            for probe in probes:
                there = self.create(probe)
                removal.callback(self._remove, there)
                made.append(there)
            return self._finished(made, time.monotonic() + wait_s)

    def pod(self, namespace: str, name: str) -> Pod:
        """The pod. Raises NotFound; KuryrError (KUBE-FORBIDDEN) naming the right that lacks."""
        doing = f"read pod {namespace}/{name}"
        try:
            found = self._api.get(RESOURCES[Kind.POD].path(name, namespace), doing, PodWire)
        except Invalid as error:
            raise _with_role(error, namespace) from error
        if found is None:
            message, hint = f"there is no pod {namespace}/{name}", f"kubectl get pods -n {namespace} lists them"
            raise NotFound(message, code="PROBE-NO-POD", owner=Owner.USER, hint=hint)
        return found.core()

    def heartbeat_s(self, node: str) -> float | None:
        """When that node's agent last gave a sign of life (seconds since the epoch, 0: never); None: we may not ask."""
        try:
            found = self._api.get(RESOURCES[Kind.KURYR_NODE].path(node), f"read KuryrNode {node}", KuryrNodeWire)
        except Invalid:
            return None
        return found.core().heartbeat_s if found else 0.0

    def create(self, probe: KuryrProbe) -> KuryrProbe:
        """Make it. Raises Conflict where the name is taken, KuryrError (KUBE-FORBIDDEN) naming the right that lacks."""
        doing = f"probe from pod {probe.pod_name}"
        try:
            response = self._api.call("POST", _RESOURCE.path("", probe.namespace), doing, body=kuryr_probe_body(probe))
        except Invalid as error:
            raise _with_role(error, probe.namespace) from error
        return decoded(response, doing, KuryrProbeWire).core()

    def delete(self, probe: KuryrProbe) -> None:
        """Delete this very one; of the missing: success."""
        doing = f"delete KuryrProbe {probe.namespace}/{probe.name}"
        self._api.delete(_RESOURCE.path(probe.name, probe.namespace), doing, probe.uid)

    def report(self, probe: KuryrProbe) -> None:
        """Write its status, as its node's agent. Raises NotFound when it is gone, Conflict when another replaced it."""
        doing = f"report on KuryrProbe {probe.namespace}/{probe.name}"
        path = _RESOURCE.path(probe.name, probe.namespace, "status")
        self._api.report(path, doing, probe.uid, status_of(probe))

    def _finished(self, probes: list[KuryrProbe], until: float) -> list[KuryrProbe]:
        """Ask less and less often: one list of the run's probes in each namespace, however many they are."""
        latest = {probe.uid: probe for probe in probes}
        pause_s = FIRST_LOOK_S
        while True:
            open_ = sorted({probe.namespace for probe in latest.values() if not probe.finished_at})
            if not open_ or time.monotonic() >= until:
                return [latest[probe.uid] for probe in probes]
            time.sleep(max(0.0, min(pause_s, until - time.monotonic())))
            pause_s = min(SLOWEST_LOOK_S, pause_s * 1.5)
            try:
                for namespace in open_:
                    found = self._of_run(namespace, probes[0].run)
                    latest |= {probe.uid: probe for probe in found if probe.uid in latest}
            except Retryable as error:
                if time.monotonic() + error.after_s >= until:
                    raise

    def _of_run(self, namespace: str, run: str) -> list[KuryrProbe]:
        doing = f"read KuryrProbes of namespace {namespace}"
        selected = urlencode({"labelSelector": f"{RUN_LABEL}={run}"})
        try:
            response = self._api.call("GET", f"{_RESOURCE.path('', namespace)}?{selected}", doing)
        except Invalid as error:
            raise _with_role(error, namespace) from error
        return [item.core() for item in decoded(response, doing, Page[KuryrProbeWire]).items or ()]

    def _remove(self, probe: KuryrProbe) -> None:
        try:
            self.delete(probe)
        except KuryrError as error:  # what it answered counts all the same
            _log.warning("KuryrProbe %s/%s stays for now: %s", probe.namespace, probe.name, error.message)


def _with_role(error: Invalid, namespace: str) -> KuryrError:
    """A right that lacks is nothing that the request could do better: who gives it is told."""
    if error.code != "KUBE-FORBIDDEN":
        return error
    hint = (
        f"an administrator may allow it: kubectl create rolebinding {ROLE} -n {namespace} --clusterrole={ROLE} --user=…"
    )
    return KuryrError(error.message, code=error.code, owner=error.owner, hint=hint, request_id=error.request_id)
