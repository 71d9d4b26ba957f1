"""The scenes of the fault matrix: what happens to a site, which calls of the cloud that takes, and what settled means.

A scene is prepared without faults; what the engine then does about it meets them. Does not know: the faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct

from kuryrctl.cloud import Neutron
from kuryrctl.core.cloud import CloudState
from kuryrctl.core.cluster import ClusterState, KuryrPort, Plugged
from kuryrctl.core.errors import KuryrError, Retryable
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Outcome, Step
from kuryrctl.core.specs import Key
from kuryrctl.core.subjects import uid_of_key
from kuryrctl.kube import Kube
from kuryrctl.reconcile import AuditLog, Parts, Report, Scope
from kuryrctl.reconcile.contracts import Cloud
from tests.fakes.kube import FakeKube
from tests.faults.transport import Faulty
from tests.unit.reconcile.site import NODES, Site

FORECAST = "GET quotas/details"
"""Read with the lists, and nothing depends on it."""
LISTS = ("GET ports", "GET networks", "GET subnets", "GET routers", "GET security-groups")


class Witness:
    """The cloud as the engine uses it; the site's `wrongs` is what it did that no engine ever may.

    Faults may be tried again after a moment: what is looked at is what comes of them, not when.
    """

    def __init__(self, site: FaultySite, cloud: Cloud) -> None:
        self._site, self._cloud = site, cloud

    def observe(self, cluster_id: str, *, networks: Sequence[str] = ()) -> CloudState:
        found = self._cloud.observe(cluster_id, networks=networks)
        errors: Mapping[Kind, KuryrError] = getattr(found, "errors", {})
        for error in errors.values():
            _hurry(error)
        return found

    def apply(self, steps: Sequence[Step], ids: Mapping[Key, str]) -> list[Outcome]:
        for step in steps:
            if step.action is Action.DELETE and step.kind is Kind.PORT:
                self._site.wrongs += self._deleting(step)
        outcomes = self._cloud.apply(steps, ids)
        for outcome in outcomes:
            _hurry(outcome.error)
        return outcomes

    def telling(self, port: KuryrPort) -> None:
        """A node is told of a port: no other pod may still have it plugged."""
        for node in self._site.kube.objects("kuryrnodes").values():
            for plugged in node.get("status", {}).get("plugged", ()):
                if plugged["portId"] == port.interfaces[0].port_id and plugged["podUid"] != port.pod_uid:
                    self._site.wrongs.append(
                        f"port {plugged['portId']} was given away before its node reported it free"
                    )

    def _deleting(self, step: Step) -> Iterator[str]:
        pods = {pod["metadata"]["uid"] for pod in self._site.kube.objects("pods").values()}
        if uid_of_key(step.key) in pods:
            yield f"the port of a pod that runs was deleted: {step.summary}"
        for told in self._site.kube.objects("kuryrports").values():
            if told["spec"]["interfaces"][0]["portId"] == step.id:
                yield f"a port was deleted while its node was told to use it: {step.summary}"


class Listening(Kube):
    """The cluster, whose writes the witness hears of."""

    witness: Witness

    def observe(self) -> tuple[ClusterState, Mapping[Kind, KuryrError]]:
        found, errors = super().observe()
        for error in errors.values():
            _hurry(error)
        return found, errors

    def write_kuryr_port(self, port: KuryrPort) -> KuryrPort:
        self.witness.telling(port)
        return super().write_kuryr_port(port)


class Engine(Struct, frozen=True):
    """What the engine is made of. A test of the matrix itself puts wrong parts in their places."""

    cloud: Callable[[Neutron], Cloud] = lambda neutron: neutron
    cluster: Callable[[FakeKube], Listening] = Listening


class FaultySite(Site):
    """A site whose engine speaks to the cloud through `faulty`."""

    def __init__(self, **options: Any) -> None:
        self.engine = Engine()
        self.wrongs: list[str] = []
        super().__init__(**options)

    @cached_property
    def faulty(self) -> Faulty:
        """What stands between the engine and the cloud."""
        return Faulty(self.cloud)

    def parts(self, **limits: Any) -> Parts:
        audit = AuditLog(None, "test", clock=lambda: 0.0)
        self.neutron = Neutron(self.faulty)
        self.client = listening = self.engine.cluster(self.kube)
        listening.witness = witness = Witness(self, self.engine.cloud(self.neutron))
        return Parts(self.config, witness, listening, audit, **{"first_rest_s": 0.002, **limits})


class Scene(Struct, frozen=True):
    """What happens, and the kinds of call (beside the lists of an observation) that the engine makes about it.

    `lift` takes away what no engine can (a used-up quota), and what is said of it has the code `obstacle`. `skip`: the
    first so many calls of a kind are an observation's. `scope` CLUSTER: it is `cluster init` that is run.
    """

    name: str
    prepare: Callable[[FaultySite], None]
    kinds: tuple[str, ...]
    options: Mapping[str, Any] = {}
    scope: Scope = Scope.PODS
    skip: Mapping[str, int] = {}
    obstacle: str = ""
    lift: Callable[[FaultySite], None] = lambda _: None

    def site(self, engine: Engine | None = None) -> FaultySite:
        """A site on which the scene has happened, and the engine not yet run."""
        site = FaultySite(converged=self.scope is Scope.PODS, **self.options)
        self.prepare(site)
        site.faulty = Faulty(site.cloud)
        site.engine = engine or Engine()
        return site

    def run(self, site: FaultySite) -> Report:
        """One run of the engine."""
        return site.init() if self.scope is Scope.CLUSTER else site.run()


def settled(site: FaultySite) -> None:
    """Everybody is served, nothing leaked, nothing doubled, nothing left to do: asked of what the servers hold."""
    pods = {pod["metadata"]["uid"] for pod in site.kube.objects("pods").values()}
    nodes = {node["metadata"]["uid"] for node in site.kube.objects("nodes").values()}
    ours = [port for port in site.cloud.objects("ports") if port["device_owner"] == "compute:kuryr"]
    told = [held["spec"] for held in site.kube.objects("kuryrports").values()]
    names = Counter(
        (collection, each["name"])
        for collection in ("networks", "subnets", "routers", "security_groups")
        for each in site.cloud.objects(collection)
    )
    left = site.difference()
    must_be_equal(
        {
            "what no engine may do": (site.wrongs, []),
            "owners of ports": (Counter(port["device_id"] for port in ours), Counter([*pods, *nodes])),
            "pods whose node is told": (Counter(held["podUid"] for held in told), Counter(pods)),
            "ports that nodes are told of": (
                {held["interfaces"][0]["portId"] for held in told},
                {port["id"] for port in ours if port["device_id"] in pods},
            ),
            "ports without our tag": ([port for port in ours if "kuryr:cluster=kuryr" not in port["tags"]], []),
            "made twice": ([name for name, count in names.items() if count > 1], []),
            "left to do": ([step.summary for step in left.plan], []),
            "findings": (left.findings, ()),
            "left to do for the whole cluster": (site.plan(Scope.CLUSTER), []),
        }
    )


def must_be_equal(pairs: Mapping[str, tuple[object, object]]) -> None:
    """Fails with the name of each pair that differs, and with what it is and should be."""
    wrong = {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}
    assert not wrong, "; ".join(f"{what}: {found}, not {wanted}" for what, (found, wanted) in wrong.items())


def _hurry(error: KuryrError | None) -> None:
    if isinstance(error, Retryable):
        error.after_s = min(error.after_s, 0.002)


def _rollout(site: FaultySite) -> None:
    for n in range(6):
        site.kube.add_pod("shop", f"web-{n}", node=NODES[n % 2])


def _rollout_without_tags(site: FaultySite) -> None:
    site.cloud.cloud.rules.keep_post_tags = False
    _rollout(site)


def _rolled_out(site: FaultySite) -> None:
    _rollout(site)
    assert site.run().ok


def _changed_by_hand(site: FaultySite) -> None:
    _rolled_out(site)
    first, second, *_ = site.ports()
    site.cloud.change("ports", first.id, security_groups=[])
    site.set_tags(second.id, [])


def _removal(site: FaultySite) -> None:
    """Three pods go, and two come, while the nodes still have the interfaces of those that went."""
    _rolled_out(site)
    for node in site.client.observe()[0].kuryr_nodes.values():
        plugged = tuple(Plugged(port.id, port.device_id, "sandbox") for port in site.ports() if port.host == node.name)
        site.client.write_kuryr_node_status(msgspec.structs.replace(node, plugged=plugged))
    for n in range(3):
        site.kube.delete_pod("shop", f"web-{n}")
    for n in range(2):
        site.kube.add_pod("shop", f"late-{n}", node=NODES[n])


def _port_deleted_by_hand(site: FaultySite) -> None:
    _rolled_out(site)
    site.delete_port(site.ports()[0].id)


def _quota_used_up(site: FaultySite) -> None:
    site.cloud.set_quota("port", len(site.cloud.objects("ports")) + 4)
    _rollout(site)


def _more_quota(site: FaultySite) -> None:
    site.cloud.set_quota("port", 1000)


def _subnet_full(site: FaultySite) -> None:
    for _ in range(8):
        site.foreign_port(name="squatter")
    _rollout(site)


def _free_addresses(site: FaultySite) -> None:
    for port in site.cloud.objects("ports"):
        if port["name"] == "squatter":
            site.delete_port(port["id"])


def _before_init(site: FaultySite) -> None:
    site.cloud.external_network()


def _shared_objects_changed(site: FaultySite) -> None:
    _before_init(site)
    assert site.init().ok
    router = site.cloud.objects("routers")[0]
    site.cloud.change("routers", router["id"], external_gateway_info=None)
    for collection in ("networks", "subnets", "security_groups"):
        mine = next(each for each in site.cloud.objects(collection) if each["name"].startswith("kuryr-"))
        site.set_tags(mine["id"], [], collection)
    groups = [each for each in site.cloud.objects("security_groups") if each["name"].startswith("kuryr-")]
    rules = site.cloud.cloud.rules
    gone = groups[-1]["security_group_rules"][0]["id"]
    assert site.cloud.request("DELETE", f"/security-group-rules/{gone}").status == 204
    body = {"security_group_id": groups[-1]["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "udp"}
    rules.create_rules("project-a", [body])


def _policy_comes(site: FaultySite) -> None:
    _rolled_out(site)
    peers = [{"podSelector": {"matchLabels": {"app": "a"}}}]
    rules = [{"from": peers, "ports": [{"protocol": "TCP", "port": 80}]}]
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": rules}
    site.kube.apply("networkpolicies", "shop", "only-a", spec=spec)


def _policy_goes(site: FaultySite) -> None:
    _policy_comes(site)
    assert site.run().ok
    site.kube.remove("networkpolicies", "shop", "only-a")


EXTERNAL = {"external_network": "public"}
SMALL = {"pod_network": {"cidrs": ["10.65.0.0/28"]}}
SCENES = (
    Scene("rollout", _rollout, ("POST ports", FORECAST)),
    Scene("tags dropped", _rollout_without_tags, ("POST ports", "PUT ports/tags")),
    Scene("changed by hand", _changed_by_hand, ("PUT ports", "PUT ports/tags")),
    Scene("removal", _removal, ("POST ports", "DELETE ports")),
    Scene("port deleted by hand", _port_deleted_by_hand, ("POST ports",)),
    Scene(
        "quota used up",
        _quota_used_up,
        ("POST ports", FORECAST),
        skip={FORECAST: 1},
        obstacle="NET-QUOTA",
        lift=_more_quota,
    ),
    Scene(
        "subnet full",
        _subnet_full,
        ("POST ports", "GET subnets"),
        SMALL,
        skip={"GET subnets": 1},
        obstacle="NET-NO-ADDRESS",
        lift=_free_addresses,
    ),
    Scene(
        "policy comes",
        _policy_comes,
        (
            "POST security-groups",
            "DELETE security-group-rules",
            "PUT security-groups/tags",
            "POST security-group-rules",
            "PUT ports",
        ),
    ),
    Scene("policy goes", _policy_goes, ("PUT ports", "DELETE security-groups")),
    Scene(
        "cluster init",
        _before_init,
        (
            "POST networks",
            "PUT networks/tags",
            "POST subnets",
            "PUT subnets/tags",
            "POST routers",
            "PUT routers/tags",
            "PUT routers/add_router_interface",
            "POST security-groups",
            "DELETE security-group-rules",
            "PUT security-groups/tags",
            "POST security-group-rules",
        ),
        EXTERNAL,
        Scope.CLUSTER,
    ),
    Scene(
        "shared objects changed",
        _shared_objects_changed,
        (
            "PUT routers",
            "PUT networks/tags",
            "PUT subnets/tags",
            "PUT security-groups/tags",
            "POST security-group-rules",
            "DELETE security-group-rules",
        ),
        EXTERNAL,
        Scope.CLUSTER,
    ),
)


def scene_named(name: str) -> Scene:
    """The scene of that name."""
    return next(scene for scene in SCENES if scene.name == name)
