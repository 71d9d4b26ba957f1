"""Kubernetes: list and watch into core types, our two objects, leases, events, what is installed for us.

The only importer of `kubernetes`, and only when a connection is made. Does not know: OpenStack, what should exist.
"""

from __future__ import annotations

from collections.abc import Callable

from kuryrctl.kube.api import Mutation
from kuryrctl.kube.client import Kube, Listed
from kuryrctl.kube.errors import Gone
from kuryrctl.kube.events import ObjectRef
from kuryrctl.kube.informer import Changed, Down, Informer, Message
from kuryrctl.kube.install import Finding, manifest_text
from kuryrctl.kube.lease import Holder, Lease, own_identity
from kuryrctl.kube.watch import EventType, Watch, WatchEvent
from kuryrctl.kube.wire import KubeObject

__all__ = [
    "Changed",
    "Down",
    "EventType",
    "Finding",
    "Gone",
    "Holder",
    "Informer",
    "Kube",
    "KubeObject",
    "Lease",
    "Listed",
    "Message",
    "Mutation",
    "ObjectRef",
    "Watch",
    "WatchEvent",
    "connect",
    "manifest_text",
    "own_identity",
]


def connect(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    on_mutation: Callable[[Mutation], None] | None = None,
) -> Kube:
    """The cluster of a kubeconfig (given, $KUBECONFIG, ~/.kube/config), else of our own pod's service account.

    Connects on the first call, not here. Raises Invalid when the kubeconfig cannot be used.
    """
    from kuryrctl.kube.http import connected

    return Kube(connected(kubeconfig, context), on_mutation=on_mutation)
