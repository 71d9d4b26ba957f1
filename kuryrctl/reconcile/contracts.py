"""What the engine needs of the cloud, of the cluster and of leadership: three small protocols.

`cloud.Neutron`, `kube.Kube` and `kube.Lease` fulfil them. Does not know: any of them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, Interface, KuryrNode, KuryrPort
from kuryrctl.core.errors import KuryrError
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key
from kuryrctl.kube import ObjectRef


class Cloud(Protocol):
    """The OpenStack side. Faults are values, never raised but by `failover`."""

    def observe(self, cluster_id: str, *, networks: Sequence[str] = ()) -> CloudState: ...

    def apply(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]: ...

    def failover(self, balancer: LoadBalancer, reason: str) -> LoadBalancer: ...


class Cluster(Protocol):
    """The Kubernetes side. Every method but `observe` and `event` may raise KuryrErrors."""

    def observe(self) -> tuple[ClusterState, Mapping[Kind, KuryrError]]: ...

    def write_kuryr_port(self, port: KuryrPort) -> KuryrPort: ...

    def delete_kuryr_port(self, namespace: str, name: str, uid: str) -> None: ...

    def write_kuryr_node(self, name: str, node_uid: str, node_port: Interface | None) -> KuryrNode: ...

    def delete_kuryr_node(self, name: str, uid: str) -> None: ...

    def write_service_status(self, namespace: str, name: str, uid: str, ingress: Sequence[str]) -> Service: ...

    def delete_expired_probes(self, now_s: float) -> None: ...

    def event(self, obj: ObjectRef, type: str, reason: str, message: str, component: str = "kuryrctl") -> None: ...


class Lease(Protocol):
    """Leadership. All but `valid` are one thread's."""

    def acquire(self, wait_s: float = 0.0, stop: threading.Event | None = None) -> None: ...

    def renew(self) -> None: ...

    def release(self) -> None: ...

    def valid(self) -> bool: ...
