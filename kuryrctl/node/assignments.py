"""What the engine assigned to this node: its KuryrPorts and its KuryrNode, as the watch last told.

A copy that threads may wait on. Knows nothing of where messages come from but their types, nor of what is plugged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from kuryrctl.core.cluster import KuryrNode, KuryrPort
from kuryrctl.core.errors import Owner, Retryable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Changed, Down, Listed, Message

KINDS: Final = (Kind.KURYR_PORT, Kind.KURYR_NODE)
_ASK_S = 0.5


class Assignments:
    """The newest KuryrPort of each pod (by ``namespace/name``) and the KuryrNode of this node."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._changed = threading.Condition()
        self._ports: dict[str, KuryrPort] = {}
        self._kuryr_node: KuryrNode | None = None
        self._listed: set[Kind] = set()
        self._down: dict[Kind, str] = {}

    # --- written by the watch ---
    def put(self, message: Message) -> list[str]:
        """Take a message in; the pods whose KuryrPort it may have changed."""
        with self._changed:
            pods = self._take(message)
            self._changed.notify_all()
        return pods

    def _take(self, message: Message) -> list[str]:
        if isinstance(message, Down):
            self._down[message.kind] = message.error.message
            return []
        self._down.pop(message.kind, None)
        if isinstance(message, Listed):
            self._listed.add(message.kind)
            if message.kind is Kind.KURYR_NODE:
                self._kuryr_node = next((each for each in message.items if isinstance(each, KuryrNode)), None)
                return []
            before = set(self._ports)
            self._ports = {_pod(each): each for each in message.items if isinstance(each, KuryrPort)}
            return sorted(before | set(self._ports))
        return self._take_one(message)

    def _take_one(self, message: Changed) -> list[str]:
        changed = message.object
        if isinstance(changed, KuryrNode):
            self._kuryr_node = None if message.deleted else changed
            return []
        if not isinstance(changed, KuryrPort):
            return []
        if message.deleted or changed.node != self._node:
            self._ports.pop(_pod(changed), None)
        else:
            self._ports[_pod(changed)] = changed
        return [_pod(changed)]

    # --- read by everybody else ---
    @property
    def synced(self) -> bool:
        """Whether both kinds were listed once."""
        with self._changed:
            return self._listed.issuperset(KINDS)

    @property
    def trouble(self) -> str:
        """Why a watch is not being followed at the moment; empty: all are."""
        with self._changed:
            return "; ".join(self._down.values())

    @property
    def kuryr_node(self) -> KuryrNode | None:
        """This node's KuryrNode."""
        with self._changed:
            return self._kuryr_node

    def of(self, pod: str) -> KuryrPort | None:
        """The KuryrPort of a pod."""
        with self._changed:
            return self._ports.get(pod)

    def all(self) -> list[KuryrPort]:
        """Every KuryrPort of this node."""
        with self._changed:
            return list(self._ports.values())

    def wait(self, pod: str, uid: str, timeout_s: float, given_up: Callable[[], bool]) -> KuryrPort:
        """The KuryrPort of the pod with that uid, as soon as it is there. An empty uid: whatever pod has the name.

        Raises Retryable (NODE-NO-ASSIGNMENT) when the time is over, or nobody waits any more.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = self._ports.get(pod)
                if found is not None and uid in ("", found.pod_uid) and found.interfaces:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or given_up():
                    raise self._none(pod, uid, found, timeout_s - left)
                self._changed.wait(min(left, _ASK_S))

    def _none(self, pod: str, uid: str, found: KuryrPort | None, waited_s: float) -> Retryable:
        of_another = f"; the one there is of an earlier pod (uid {found.pod_uid})" if found is not None else ""
        down = f"; the watch is down: {'; '.join(self._down.values())}" if self._down else ""
        return Retryable(
            f"pod {pod} (uid {uid}) has no KuryrPort on node {self._node} after {waited_s:.0f} s{of_another}{down}",
            code="NODE-NO-ASSIGNMENT",
            owner=Owner.KURYRCTL,
            hint="does the engine run? kuryrctl status; kubectl describe pod shows what it said",
        )


def _pod(port: KuryrPort) -> str:
    return f"{port.namespace}/{port.name}"
