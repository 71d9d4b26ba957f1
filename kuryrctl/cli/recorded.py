"""A saved world in place of the cloud and the cluster: it answers what the engine observes, and refuses to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from kuryrctl.cloud import Observation
from kuryrctl.core.balancers import LoadBalancer
from kuryrctl.core.cluster import ClusterState, Interface, KuryrNode, KuryrPort
from kuryrctl.core.errors import Invalid, KuryrError, Owner
from kuryrctl.core.kinds import Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.saved_world import SavedWorld
from kuryrctl.core.services import Service
from kuryrctl.core.specs import Key
from kuryrctl.kube import ObjectRef


class RecordedCloud:
    """The cloud as it was."""

    def __init__(self, world: SavedWorld) -> None:
        self._world = world

    def observe(self, cluster_id: str, *, networks: Sequence[str] = ()) -> Observation:
        """What was observed then, whatever is asked for."""
        seen = self._world.cloud
        fields = {name: getattr(seen, name) for name in seen.__struct_fields__}
        return Observation(**fields, errors=self._world.errors)

    def apply(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        """Refused."""
        raise _read_only()

    def failover(self, balancer: LoadBalancer, reason: str) -> NoReturn:
        """Refused."""
        raise _read_only()


class RecordedCluster:
    """The cluster as it was."""

    def __init__(self, world: SavedWorld) -> None:
        self._world = world

    def observe(self) -> tuple[ClusterState, Mapping[Kind, KuryrError]]:
        """What was observed then."""
        return self._world.cluster, self._world.errors

    def write_kuryr_port(self, port: KuryrPort) -> KuryrPort:
        """Refused."""
        raise _read_only()

    def delete_kuryr_port(self, namespace: str, name: str, uid: str) -> None:
        """Refused."""
        raise _read_only()

    def write_kuryr_node(self, name: str, node_uid: str, node_port: Interface | None) -> KuryrNode:
        """Refused."""
        raise _read_only()

    def delete_kuryr_node(self, name: str, uid: str) -> None:
        """Refused."""
        raise _read_only()

    def write_service_status(self, namespace: str, name: str, uid: str, ingress: Sequence[str]) -> Service:
        """Refused."""
        raise _read_only()

    def delete_expired_probes(self, now_s: float) -> None:
        """Refused."""
        raise _read_only()

    def event(self, obj: ObjectRef, type: str, reason: str, message: str, component: str = "kuryrctl") -> NoReturn:
        """Refused."""
        raise _read_only()


def _read_only() -> Invalid:
    return Invalid("a saved world cannot be changed", code="WORLD-READ-ONLY", owner=Owner.KURYRCTL)
