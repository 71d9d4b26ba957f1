"""One world that works, one thing broken in it, the word for it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from kuryrctl.core import names
from kuryrctl.core.cloud import CloudState, FixedIP, Network, Port, SecurityGroup, Subnet, SubPort, Trunk
from kuryrctl.core.cluster import ClusterState, Interface, KuryrNode, KuryrPort, Node, Plugged, Pod
from kuryrctl.core.conditions import Condition, PortRow, port_rows
from kuryrctl.core.config import Config

CONFIG = Config(external_network=None)
NETWORK = Network("net", "kuryr-kuryr-pods", "p", tags=names.tags("kuryr", "pods"))
SUBNET = Subnet("sub", "net", "10.65.0.0/22", 4, project_id="p", tags=names.tags("kuryr", "pods-4"))
POD = Pod("shop", "web-0", "w", node="node1", phase="Running", labels={"app": "web"}, ips=("10.65.0.5",))
PORT = Port(
    "port",
    "net",
    names.mac_address("kuryr", "pod", "w"),
    name="kuryr/shop/web-0",
    project_id="p",
    fixed_ips=(FixedIP("sub", "10.65.0.5"),),
    security_groups=("sg",),
    device_owner="compute:kuryr",
    device_id="w",
    status="ACTIVE",
    host="node1",
    vif_type="ovs",
    tags=names.tags("kuryr", "pod", "w"),
)
HELD = KuryrPort(
    "shop", "web-0", "w", "node1", (Interface("eth0", "port", PORT.mac_address, ("10.65.0.5/22",)),), bound=True
)


class World(SimpleNamespace):
    """What a case changes: `pod`, `port`, `held` (None: it does not exist), `node`, `others`' ports, `trunks`."""

    def rows(self) -> list[PortRow]:
        pods = {self.pod.uid: self.pod} if self.pod else {}
        held = {"shop/web-0": self.held} if self.held else {}
        ports = {port.id: port for port in (self.port, *self.others) if port}
        cluster = ClusterState(pods=pods, kuryr_ports=held, kuryr_nodes={node.name: node for node in self.told})
        cloud = CloudState(
            project_id="p",
            networks={"net": NETWORK},
            subnets={"sub": SUBNET},
            security_groups={"sg": SecurityGroup("sg", "kuryr-kuryr-open-egress", "p")},
            ports=ports,
            trunks={trunk.id: trunk for trunk in self.trunks},
        )
        return port_rows(cluster, cloud, CONFIG)


def world(**changes: Any) -> World:
    return World(**({"pod": POD, "port": PORT, "held": HELD, "told": (), "others": (), "trunks": ()} | changes))


def plugged(node: str, uid: str) -> tuple[KuryrNode, ...]:
    return (KuryrNode(node, plugged=(Plugged("port", uid),)),)


def foreign(**fields: Any) -> Port:
    return Port("other", "net", "fa:16:3e:00:00:01", **({"project_id": "p"} | fields))


CASES = {
    "ok": (world(), Condition.OK, ""),
    "it has no node": (world(pod=replace(POD, node=""), port=None, held=None), Condition.PENDING, "no node yet"),
    "no port yet": (
        world(pod=replace(POD, phase="Pending", ips=()), port=None, held=None),
        Condition.PENDING,
        "not made yet",
    ),
    "node not told": (world(held=None), Condition.PENDING, "node1 is not told"),
    "not plugged yet": (
        world(pod=replace(POD, phase="Pending"), held=replace(HELD, bound=False)),
        Condition.PENDING,
        "not plugged",
    ),
    "agent failed": (
        world(held=replace(HELD, bound=False, error="no bridge br-int")),
        Condition.UNBOUND,
        "no bridge br-int",
    ),
    "neutron failed": (world(port=replace(PORT, vif_type="binding_failed")), Condition.UNBOUND, "binding_failed"),
    "pod gone": (world(pod=None), Condition.NO_POD, "does not exist any more"),
    "pod finished": (world(pod=replace(POD, phase="Succeeded")), Condition.NO_POD, "finished"),
    "port gone": (world(port=None), Condition.NO_PORT, "does not exist"),
    "port never made, pod runs": (world(port=None, held=None), Condition.NO_PORT, "does not exist"),
    "address taken": (
        world(port=None, others=(foreign(name="squatter", fixed_ips=(FixedIP("sub", "10.65.0.5"),)),)),
        Condition.ADDRESS_TAKEN,
        "10.65.0.5 is held by port other (squatter)",
    ),
    "wrong host": (world(port=replace(PORT, host="node2")), Condition.WRONG_HOST, "bound to node2"),
    "plugged for another": (world(told=plugged("node1", "x")), Condition.IN_USE_ELSEWHERE, "for pod x"),
    "plugged on another node": (world(told=plugged("node2", "w")), Condition.IN_USE_ELSEWHERE, "node node2"),
    "down": (world(port=replace(PORT, status="DOWN")), Condition.DOWN, "not seen it come up"),
    "set down": (world(port=replace(PORT, admin_state_up=False)), Condition.DOWN, "administrative"),
}


@pytest.mark.parametrize(("case", "condition", "detail"), CASES.values(), ids=CASES)
def test_of_a_pod(case: World, condition: Condition, detail: str) -> None:
    row = case.rows()[0]
    assert row.condition is condition
    assert detail in row.detail


def test_a_row_has_everything_of_one_pod() -> None:
    (row,) = world(trunks=(Trunk("trunk", "parent-of-another-network", (SubPort("port", 101),)),)).rows()
    assert row == PortRow(
        namespace="shop",
        pod="web-0",
        pod_uid="w",
        role="pod",
        node="node1",
        port_id="port",
        name="kuryr/shop/web-0",
        addresses=("10.65.0.5",),
        mac_address=PORT.mac_address,
        status="ACTIVE",
        host="node1",
        vlan=101,
        trunk="trunk",
        security_groups=("kuryr-kuryr-open-egress",),
        labels={"app": "web"},
    )


@pytest.mark.parametrize(
    ("port", "condition"),
    [
        (foreign(device_owner="compute:kuryr"), Condition.LEGACY),
        (foreign(device_owner="compute:kuryr:sriov"), Condition.LEGACY),
        (foreign(device_owner="kuryr"), Condition.LEGACY),
        (foreign(device_owner="trunk:subport"), Condition.LEGACY),
        (foreign(name="kuryr-pool-port"), Condition.LEGACY),
        (foreign(tags=("openshiftClusterID=x",)), Condition.LEGACY),
        (foreign(name="kuryr-pool-port", tags=("openshiftClusterID=x",)), Condition.LEGACY),
        (foreign(name="vip-of-the-shop", tags=("team=shop",)), None),
        (foreign(name="kuryr-pool-port-2"), None),
        (foreign(device_owner="compute:kuryr", tags=names.tags("kuryr", "pod", "w")), Condition.FOREIGN),
        (foreign(device_owner="compute:nova"), None),
        (foreign(device_owner="network:router_interface"), None),
        (foreign(), None),
        (foreign(device_owner="compute:kuryr", tags=names.tags("other", "pod", "w")), None),
    ],
)
def test_of_ports_of_others(port: Port, condition: Condition | None) -> None:
    rows = world(others=(port,)).rows()[1:]
    assert [row.condition for row in rows] == ([condition] if condition else [])


def test_pods_on_the_host_network_have_no_row() -> None:
    assert world(pod=replace(POD, host_network=True), port=None, held=None).rows() == []


NODE_PORT = replace(
    PORT, id="np", mac_address=names.mac_address("kuryr", "node", "n"), tags=names.tags("kuryr", "node", "n")
)
NODE_TOLD = KuryrNode("node1", Interface("kuryr-node", "np", NODE_PORT.mac_address, ("10.65.0.9/22",)))


@pytest.mark.parametrize(
    ("port", "told", "condition"),
    [
        (NODE_PORT, NODE_TOLD, Condition.OK),
        (None, None, Condition.PENDING),
        (None, NODE_TOLD, Condition.NO_PORT),
        (NODE_PORT, None, Condition.PENDING),
        (replace(NODE_PORT, host="node2"), NODE_TOLD, Condition.WRONG_HOST),
        (NODE_PORT, replace(NODE_TOLD, error="no bridge"), Condition.UNBOUND),
        (replace(NODE_PORT, status="DOWN"), NODE_TOLD, Condition.DOWN),
    ],
)
def test_of_a_node(port: Port | None, told: KuryrNode | None, condition: Condition) -> None:
    cluster = ClusterState(nodes={"node1": Node("node1", "n")}, kuryr_nodes={"node1": told} if told else {})
    cloud = CloudState(
        project_id="p", networks={"net": NETWORK}, subnets={"sub": SUBNET}, ports={"np": port} if port else {}
    )
    (row,) = port_rows(cluster, cloud, CONFIG)
    assert (row.role, row.node, row.condition) == ("node", "node1", condition)


def test_every_word_has_a_case() -> None:
    named: list[Callable[..., Any] | Condition] = [condition for _, condition, _ in CASES.values()]
    assert {*named, Condition.LEGACY, Condition.FOREIGN} == set(Condition)
