"""The observed state as the turn thread holds it: both worlds, kept current by messages and outcomes.

Owned by one thread, without locks. Every change answers which *subjects* (``pod/UID``, ``node/UID``) it concerns. Two
kinds of knowledge live here that one observation cannot give: whose absence is proven (`absences`), and which objects
changed after an observation began, so that it cannot take them back.
Does not know: what should exist, threads, calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from types import MappingProxyType

import msgspec

from kuryrctl.core.cloud import CloudState, Network, Port, Router, SecurityGroup, SecurityGroupRule, Subnet
from kuryrctl.core.cluster import ClusterState, KuryrNode, KuryrPort, Namespace, Node, Pod
from kuryrctl.core.config import Config
from kuryrctl.core.diff import Evidence, World, subjects
from kuryrctl.core.index import Own, Ports, find_own
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import NODE, POD, Identity
from kuryrctl.core.plan import Outcome
from kuryrctl.core.service_index import ServiceIndex
from kuryrctl.core.services import EndpointSlice, Service
from kuryrctl.core.specs import KuryrNodeSpec
from kuryrctl.core.subjects import CLUSTER, Subject, node_subject, pod_subject, subject_of_key
from kuryrctl.kube import KubeObject
from kuryrctl.reconcile import cloud_states
from kuryrctl.reconcile.absences import Absences
from kuryrctl.reconcile.balancing import BALANCING_KINDS, Balancing
from kuryrctl.reconcile.moments import Moments, older
from kuryrctl.reconcile.policing import Policing
from kuryrctl.reconcile.witnesses import progress

_EMPTY_OWN = Own(Identity("", "", ""), MappingProxyType({}))


class State:
    """See the module."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.kube_system_uid = ""
        self.complete: set[Kind] = set()
        self.pods: dict[str, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.nodes_by_uid: dict[str, Node] = {}
        self.kuryr_ports: dict[str, KuryrPort] = {}
        self.kuryr_nodes: dict[str, KuryrNode] = {}
        self.assignments: dict[str, KuryrPort] = {}
        self.cloud = CloudState()
        self.own = _EMPTY_OWN
        self.ports = Ports(_EMPTY_OWN.identity)
        self.absences = Absences()
        self._moments = Moments()
        self.policing = Policing(config, lambda: self.pods)
        self.balancing = Balancing()

    # -- views

    def world(self) -> World:
        """Both observations as the pure functions want them: live views, for use in this thread only."""
        return World(
            cluster=self.cluster(),
            own=self.own,
            ports=self.ports,
            assignments=self.assignments,
            nodes=self.nodes_by_uid,
            ports_complete=self.ports_complete,
            groups_complete=Kind.SECURITY_GROUP in self.cloud.complete,
            policed=self.policing.view(self.ports, self.own),
            balancers=self.balancing.index,
            services=ServiceIndex(self.policing.services, self.policing.endpoint_slices),
            balancers_complete=Kind.LOAD_BALANCER in self.cloud.complete,
            floating_ips_complete=Kind.FLOATING_IP in self.cloud.complete,
        )

    def cluster(self) -> ClusterState:
        """The cluster's half."""
        return ClusterState(
            kube_system_uid=self.kube_system_uid,
            pods=self.pods,
            nodes=self.nodes,
            kuryr_ports=self.kuryr_ports,
            kuryr_nodes=self.kuryr_nodes,
            namespaces=self.policing.namespaces,
            policies=self.policing.policies,
            services=self.policing.services,
            endpoint_slices=self.policing.endpoint_slices,
            complete=frozenset(self.complete),
        )

    @property
    def ports_complete(self) -> bool:
        """Whether the ports were listed in full."""
        return Kind.PORT in self.cloud.complete

    @property
    def evidence(self) -> Evidence:
        """Whose absence is proven."""
        return Evidence(self.absences.gone)

    def subjects(self) -> Iterator[Subject]:
        """Everybody whom anything observed concerns."""
        return subjects(self.world())

    def absent_owners(self) -> set[str]:
        """The uids that what is ours names and that nobody has; of unknown kinds: none."""
        absent: set[str] = set()
        if Kind.POD in self.complete:
            absent |= (self.ports.served(POD) | self.assignments.keys()) - self.pods.keys()
        if Kind.NODE in self.complete:
            absent |= self.ports.served(NODE) - self.nodes_by_uid.keys()
        if Kind.SERVICE in self.complete:
            absent |= self.balancing.index.served() - self.balancing.services.keys()
        return absent

    # -- the cluster

    def take_cluster(self, observed: ClusterState) -> None:
        """Replace the cluster's half by a whole observation."""
        self.kube_system_uid = observed.kube_system_uid
        self.complete = set(observed.complete)
        self.pods = dict(observed.pods)
        self.nodes = dict(observed.nodes)
        self.kuryr_ports = dict(observed.kuryr_ports)
        self.kuryr_nodes = dict(observed.kuryr_nodes)
        self.policing.take(observed)
        self._rebuild()
        self.absences.finished(self.pods.values())

    def take_list(self, kind: Kind, items: Iterable[KubeObject]) -> set[Subject]:
        """Replace one kind by an informer's list. It proves nobody's absence alone: `take_relist` does that."""
        listed = list(items)
        before = set(self.subjects())
        pods = {item.uid: item for item in listed if isinstance(item, Pod)}
        nodes = {item.name: item for item in listed if isinstance(item, Node)}
        match kind:
            case Kind.POD:
                self.pods = {uid: pod for uid, pod in pods.items() if uid not in self.absences.gone}
                self.absences.finished(pods.values())
            case Kind.NODE:
                self.nodes = {name: node for name, node in nodes.items() if node.uid not in self.absences.gone}
            case Kind.KURYR_PORT:
                self.kuryr_ports = {f"{i.namespace}/{i.name}": i for i in listed if isinstance(i, KuryrPort)}
            case Kind.KURYR_NODE:
                self.kuryr_nodes = {item.name: item for item in listed if isinstance(item, KuryrNode)}
            case Kind.NAMESPACE:
                found = [i.uid for i in listed if isinstance(i, Namespace) and i.name == "kube-system"]
                self.kube_system_uid = found[0] if found else ""
        self.policing.take_list(kind, [each for each in listed if each.uid not in self.absences.gone])
        self.complete.add(kind)
        self._rebuild()
        return before | set(self.subjects())

    def take_change(self, thing: KubeObject, *, deleted: bool) -> set[Subject]:
        """One object was added, changed or deleted."""
        match thing:
            case Pod():
                return self._pod(thing, deleted)
            case Node():
                return self._node(thing, deleted)
            case KuryrPort():
                return self._kuryr_port(thing, deleted)
            case KuryrNode():
                return self._kuryr_node(thing, deleted)
        return self._policed(thing, deleted)

    def take_relist(self, observed: ClusterState, mark: int) -> None:
        """Hold a second reading, begun at `mark`, against what events told: they can be lost, and a list can be stale.

        Who is in neither is gone. Who is only in what events told is gone if the reading before said so, too. What has
        progressed further wins, of two nodes with one name the newer; what changed since `mark` is kept.
        """
        services = {name: each for name, each in observed.services.items() if each.uid not in self.absences.gone}
        self.policing.take_relist(msgspec.structs.replace(observed, services=services), self._moments, mark)
        self.balancing.take(self.policing.services.values())
        if Kind.NAMESPACE in observed.complete:
            self.kube_system_uid = observed.kube_system_uid
        changed = partial(self._moments.changed_since, mark=mark)
        if Kind.POD in observed.complete:
            listed = {uid: pod for uid, pod in observed.pods.items() if uid not in self.absences.gone}
            for uid, pod in listed.items():
                known = self.pods.get(uid)
                if not changed(f"pod/{uid}") and (known is None or progress(pod) >= progress(known)):
                    self.pods[uid] = pod
            missing = {uid for uid in self.pods.keys() - listed.keys() if not changed(f"pod/{uid}")}
            proven = self.absences.missed(POD, missing)
            self.pods = {uid: pod for uid, pod in self.pods.items() if uid not in proven}
            self.absences.finished(self.pods.values())
            self.prove_absent((self.ports.served(POD) | self.assignments.keys()) - observed.pods.keys())
        if Kind.NODE in observed.complete:
            for name, node in observed.nodes.items():
                if node.uid not in self.absences.gone and not changed(f"node/{name}"):
                    self.nodes[name] = self._current(node)
            unlisted = [name for name in self.nodes if name not in observed.nodes and not changed(f"node/{name}")]
            proven = self.absences.missed(NODE, {self.nodes[name].uid for name in unlisted})
            self.nodes = {name: node for name, node in self.nodes.items() if node.uid not in proven}
            self.nodes_by_uid = {node.uid: node for node in self.nodes.values()}
            self.prove_absent(self.ports.served(NODE) - {node.uid for node in observed.nodes.values()})
        if Kind.SERVICE in observed.complete:
            self.prove_absent(self.balancing.index.served() - {each.uid for each in services.values()})
        if Kind.KURYR_PORT in observed.complete:
            self.kuryr_ports = self._moments.merged("kuryr-port", observed.kuryr_ports, self.kuryr_ports, mark)
        if Kind.KURYR_NODE in observed.complete:
            self.kuryr_nodes = self._moments.merged("kuryr-node", observed.kuryr_nodes, self.kuryr_nodes, mark)
        self._rebuild()

    def prove_absent(self, uids: Iterable[str]) -> None:
        """These owners are in no list that began after what names them was seen."""
        there = self.pods.keys() | self.nodes_by_uid.keys() | self.balancing.services.keys()
        self.absences.prove(set(uids) - there)

    # -- the cloud

    def mark(self) -> int:
        """The moment at which an observation begins; give it to `take_cloud`."""
        return self._moments.mark()

    def take_cloud(self, observed: CloudState, mark: int) -> None:
        """Replace the cloud's half by an observation that began at `mark`; what we changed since then is kept.

        Kinds that it lacks stay as they were known. Raises Invalid where the configuration names what is not there.
        """
        merged = cloud_states.newer(observed, self.cloud)
        if Kind.PORT in observed.complete:
            ports = self._moments.with_later_changes(observed.ports, self.ports, mark)
        else:
            ports = {port.id: port for port, _ in self.ports}
        self.own = find_own(msgspec.structs.replace(merged, ports=ports), self._config)
        self.cloud = merged
        if self.own.identity != self.ports.identity:
            self.ports = Ports(self.own.identity)
        self.ports.take(ports)
        self.policing.take_cloud(observed, self.own.identity, self._moments, mark)
        self.balancing.take_cloud(observed, self.own.identity, self._moments, mark)
        self._moments.forget(mark)
        self.absences.forget(self.absent_owners(), self.pods.keys())

    def fold(self, outcome: Outcome) -> set[Subject]:
        """Take the result of a step into the state."""
        step, thing = outcome.step, outcome.object
        concerned = {subject_of_key(step.key)}
        if not outcome.ok:
            return concerned
        if step.kind in (Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE) and CLUSTER not in concerned:
            return concerned | self.policing.fold(outcome, self._moments)
        if step.kind in BALANCING_KINDS:
            return concerned | self.balancing.fold(outcome, self._moments)
        match thing:
            case Port() if step.kind is Kind.PORT:
                concerned |= self._carried(thing.id, thing)
                self._moments.touch(thing.id)
            case KuryrPort() | Service():
                concerned |= self.take_change(thing, deleted=False)
            case KuryrNode():
                concerned |= self.policing.put(thing)
                self.kuryr_nodes[thing.name] = thing
                self._moments.touch(f"kuryr-node/{thing.name}")
                if isinstance(step.spec, KuryrNodeSpec):
                    concerned.add(node_subject(step.spec.node_uid))
            case Port():
                self.ports.put(thing)
                self._own_changed(self.cloud)
            case Network() | Subnet() | Router() | SecurityGroup() | SecurityGroupRule():
                self._own_changed(cloud_states.with_object(self.cloud, thing))
            case None if step.action is Action.DELETE:
                concerned |= self._fold_deletion(outcome)
        return concerned

    # -- how

    def _fold_deletion(self, outcome: Outcome) -> set[Subject]:
        step = outcome.step
        match step.kind:
            case Kind.PORT:
                self._moments.touch(step.id)
                return self._carried(step.id, None)
            case Kind.KURYR_PORT:
                held = next((kp for kp in self.kuryr_ports.values() if kp.uid == step.id), None)
                if held:
                    return self._kuryr_port(held, deleted=True)
            case Kind.KURYR_NODE:
                self.kuryr_nodes = {name: held for name, held in self.kuryr_nodes.items() if held.uid != step.id}
            case Kind.SECURITY_GROUP_RULE:
                self._own_changed(cloud_states.without_rule(self.cloud, step.id))
        return set()

    def _carried(self, id_: str, port: Port | None) -> set[Subject]:
        """The port is this now (None: gone); whom it concerns that it came into groups or left them."""
        before = self.ports.by_id(id_)
        if port is None:
            self.ports.drop(id_)
        else:
            self.ports.put(port)
        return self.policing.carried(before, port)

    def _own_changed(self, cloud: CloudState) -> None:
        ports = {port.id: port for port, _ in self.ports}
        self.own = find_own(msgspec.structs.replace(cloud, ports=ports), self._config)
        self.cloud = cloud
        if self.own.identity != self.ports.identity:
            self.ports = Ports(self.own.identity, ports.values())

    def _pod(self, pod: Pod, deleted: bool) -> set[Subject]:
        self._moments.touch(f"pod/{pod.uid}")
        concerned = {pod_subject(pod.uid)}
        if deleted:
            self.pods.pop(pod.uid, None)
            self.absences.went(pod.uid)
            concerned |= self.policing.drop(pod)
        elif pod.uid not in self.absences.gone:
            self.pods[pod.uid] = pod
            self.absences.finished((pod,))
            concerned |= self.policing.put(pod)
        return concerned

    def _node(self, node: Node, deleted: bool) -> set[Subject]:
        known = self.nodes.get(node.name)
        concerned = {node_subject(node.uid), node_subject(node.name)}
        if not deleted and self._current(node) is not node:
            return concerned
        self._moments.touch(f"node/{node.name}")
        if node.uid in self.absences.gone:
            return concerned
        if deleted:
            self.absences.went(node.uid)
            self.nodes_by_uid.pop(node.uid, None)
            if known and known.uid == node.uid:
                del self.nodes[node.name]
            return concerned | self.policing.drop(node)
        if known and known.uid != node.uid:
            self.nodes_by_uid.pop(known.uid, None)
            self.absences.went(known.uid)
            concerned.add(node_subject(known.uid))
            concerned |= self.policing.drop(known)
        self.nodes[node.name] = self.nodes_by_uid[node.uid] = node
        return concerned | self.policing.put(node)

    def _policed(self, thing: KubeObject, deleted: bool) -> set[Subject]:
        """What NetworkPolicies are about, and Services by the way."""
        match thing:
            case Service():
                return self.balancing.change(thing, self.policing, self.absences, self._moments, deleted=deleted)
            case EndpointSlice():
                known = self.policing.endpoint_slices.get(thing.full_name)
                concerned = self.policing.change(thing, deleted=deleted, moments=self._moments)
                return concerned | self.balancing.served_by(known, thing)
            case Namespace() if thing.name == "kube-system":
                self.kube_system_uid = "" if deleted else thing.uid
        return self.policing.change(thing, deleted=deleted, moments=self._moments)

    def _kuryr_port(self, port: KuryrPort, deleted: bool) -> set[Subject]:
        name = f"{port.namespace}/{port.name}"
        known = self.kuryr_ports.get(name)
        concerned = {pod_subject(port.pod_uid)}
        if known and not deleted and known.uid == port.uid and older(port.resource_version, known.resource_version):
            return concerned
        if known and deleted and known.uid != port.uid:
            return concerned
        self._moments.touch(f"kuryr-port/{name}")
        if known:
            concerned.add(pod_subject(known.pod_uid))
            self.assignments.pop(known.pod_uid, None)
        if deleted:
            self.kuryr_ports.pop(name, None)
            return concerned
        self.kuryr_ports[name] = self.assignments[port.pod_uid] = port
        return concerned

    def _kuryr_node(self, held: KuryrNode, deleted: bool) -> set[Subject]:
        known = self.kuryr_nodes.get(held.name)
        node = self.nodes.get(held.name)
        concerned = {node_subject(node.uid)} if node else set()
        self._moments.touch(f"kuryr-node/{held.name}")
        if deleted:
            if known and known.uid == held.uid:
                del self.kuryr_nodes[held.name]
                concerned |= self.policing.drop(held)
            return concerned
        if known and known.uid == held.uid and older(held.resource_version, known.resource_version):
            return set()
        self.kuryr_nodes[held.name] = held
        same_spec = known is not None and known.node_port == held.node_port
        return set() if same_spec else concerned | self.policing.put(held)  # a heartbeat concerns nobody here

    def _current(self, node: Node) -> Node:
        """It, or the known one with its name, if that is newer: a name is no proof of who is gone, its age is."""
        known = self.nodes.get(node.name)
        return known if known and older(node.resource_version, known.resource_version) else node

    def _rebuild(self) -> None:
        self.nodes_by_uid = {node.uid: node for node in self.nodes.values()}
        self.assignments = {held.pod_uid: held for held in self.kuryr_ports.values()}
        self.balancing.take(self.policing.services.values())
        self.policing.compile(self.cluster())
