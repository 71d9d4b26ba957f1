"""What the reading commands read: both sides, the cloud first, with what could not be read.

Does not know: how it is joined (`core.conditions`) or printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from kuryrctl.cli.settings import Settings
from kuryrctl.core.cloud import CloudState, Port
from kuryrctl.core.cluster import ClusterState
from kuryrctl.core.config import Config
from kuryrctl.core.errors import Invalid, KuryrError, Owner
from kuryrctl.core.index import find_own
from kuryrctl.core.kinds import Kind
from kuryrctl.reconcile.once import networks

if TYPE_CHECKING:
    from kuryrctl.kube import Kube

LEGACY_OWNERS: Final = ("kuryr", "compute:kuryr", "compute:kuryr:sriov", "trunk:subport", "")


class Reading(Struct, frozen=True):
    """One reading of both sides.

    `errors` by kind: what is not in full. `unread` by side (``cloud``, ``cluster``): why nothing can be told of it, or
    not enough to join it with the other one.
    """

    cluster: ClusterState
    cloud: CloudState
    errors: Mapping[Kind, KuryrError]
    unread: Mapping[str, KuryrError]


def read(settings: Settings) -> Reading:
    """Pods and ports now. Raises what makes either side unreadable as a whole (no cloud, no cluster, refused)."""
    reading = look(settings)
    for fault in reading.unread.values():
        raise fault
    return reading


def look(settings: Settings) -> Reading:
    """Pods and ports now, or as much of them as can be read; raises no KuryrError.

    Ports: all of the pod network (one of somebody else may hold a pod's address), and those of the project whose owner
    is ours or kuryr-kubernetes'. Trunks: all, because a subport does not name its own. Both sides are read at the same
    time. A saved world is what it is.
    """
    if settings.world is not None:
        world = settings.world
        return Reading(world.cluster, world.cloud, world.errors, {})
    kube = _kube(settings)  # here: two threads that import at the same time meet half-made modules
    with ThreadPoolExecutor(1) as pool:
        cluster_read = pool.submit(_cluster, kube)
        cloud, cloud_errors = _cloud(settings)
        cluster, cluster_errors = cluster_read.result()
    unread: dict[str, KuryrError] = {}
    if isinstance(cloud, KuryrError):
        unread["cloud"], cloud = cloud, CloudState()
    if isinstance(cluster, KuryrError):
        unread["cluster"], cluster = cluster, ClusterState()
    return Reading(cluster, cloud, {**cluster_errors, **cloud_errors}, unread)


def read_cluster(settings: Settings) -> ClusterState:
    """The cluster's side alone, in full. Raises KuryrError where a kind cannot be listed."""
    if settings.world is not None:
        return settings.world.cluster
    cluster, errors = settings.kube().observe()
    for fault in errors.values():
        raise fault
    return cluster


def known_namespace(cluster: ClusterState, name: str | None) -> None:
    """Raises Invalid where a namespace is asked for that the cluster does not have."""
    homes = {pod.namespace for pod in cluster.pods.values()} | {each.namespace for each in cluster.policies.values()}
    if name is not None and name not in homes and name not in cluster.namespaces:
        raise Invalid(
            f'there is no namespace "{name}"', code="USAGE", owner=Owner.USER, hint="kubectl get namespaces lists them"
        )


def _kube(settings: Settings) -> Kube | KuryrError:
    """The cluster, with all of its library imported; nothing is asked yet."""
    try:
        return settings.kube()
    except KuryrError as error:
        return error


def _cluster(kube: Kube | KuryrError) -> tuple[ClusterState | KuryrError, Mapping[Kind, KuryrError]]:
    if isinstance(kube, KuryrError):
        return kube, {}
    try:
        cluster, errors = kube.observe()
    except KuryrError as error:
        return error, {}
    fault = next((errors[kind] for kind in (Kind.POD, Kind.NODE) if kind in errors), None)
    return (cluster, errors) if fault is None else (fault, {})


def _cloud(settings: Settings) -> tuple[CloudState | KuryrError, Mapping[Kind, KuryrError]]:
    try:
        return _read_cloud(settings)
    except KuryrError as error:
        return error, {}


def _read_cloud(settings: Settings) -> tuple[CloudState, Mapping[Kind, KuryrError]]:
    config: Config = settings.config
    neutron = settings.cloud()
    observed = neutron.observe(config.cluster_id, networks=networks(config))
    if Kind.PORT in observed.errors:
        raise observed.errors[Kind.PORT]
    ports: dict[str, Port] = dict(observed.ports)
    pods = find_own(observed, msgspec.structs.replace(config, external_network=None)).network
    queries = [[("device_owner", owner) for owner in LEGACY_OWNERS]]
    if pods:
        queries.append([("network_id", pods.id)])
    for query in queries:
        ports |= {port.id: port for port in neutron.ports(query)}
    trunks = {trunk.id: trunk for trunk in neutron.trunks()}
    return msgspec.structs.replace(observed, ports=ports, trunks=trunks), observed.errors
