"""From a pod's new label to its effect on packets, on the lab, against one bare update of a Neutron port.

A server lets in who has a label. Ours: a client gets the label, or loses it, by the Kubernetes API; the watching engine
puts its port into the peers' group, or takes it out. Bare: the lab's VM, on the client's node, comes into the same
group and leaves it by one ``PUT /ports``: the same rule, the same server, and nobody else has a hand in it. A beam of
datagrams, each a new connection, tells from when on they pass, or no longer do. Clock, not CPU time; the sides take
turns. Needs a running lab whose nodes nobody else works on.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.beam import TIMEOUT_S, Beam
from bench.command import main
from bench.measure import in_turns
from bench.result import Measure, Result
from kuryrctl.cli.settings import Settings, load
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Kube
from kuryrctl.kube.resources import RESOURCES
from kuryrctl.kube.transport import MERGE_PATCH
from kuryrctl.lab.kubernetes.node import holder_name
from kuryrctl.lab.layout import NETNS_DIR, NODES
from kuryrctl.lab.network import chassis, vm
from tests.functional.lab import Lab, addresses, wait_for

GOAL_RATIO: Final = 2.0
CLIENT, SERVER, PORT = "client", "server", 8081
FRIEND, STRANGER = "friend", "stranger"
CLIENT_NODE, SERVER_NODE = vm.NODE, next(node for node in NODES if node != vm.NODE)
OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {{name: client, labels: {{role: stranger}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {client_node}}}
  terminationGracePeriodSeconds: 0
  containers: [{{name: pause, image: {image}, imagePullPolicy: Never, args: [pause]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: server, labels: {{role: server}}}}
spec:
  nodeSelector: {{kubernetes.io/hostname: {server_node}}}
  terminationGracePeriodSeconds: 0
  containers: [{{name: serve, image: {image}, imagePullPolicy: Never, args: [netexec, --udp-port=8081]}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: friends}}
spec:
  podSelector: {{matchLabels: {{role: server}}}}
  ingress: [{{from: [{{podSelector: {{matchLabels: {{role: friend}}}}}}]}}]
"""
Change = Callable[[bool], None]
"""Lets the client in (True), or no longer."""


def run(size: int, repeat: int) -> Result:
    """Let in and out `repeat` times on each side; `size` has no meaning. Raises where no lab is up, TimeoutError where
    something does not take effect."""
    with site() as sides:
        in_turns(sides, 1)  # warm
        runs = in_turns(sides, repeat)
    found = {
        side: {what: statistics.median(each[what] for each in runs[side]) for what in ("open", "close")}
        for side in sides
    }
    ours, bare = found["ours"], found["bare"]
    ratio = sum(ours.values()) / sum(bare.values())
    measures = [Measure(f"label to {what} / port update to {what}", ours[what] / bare[what], "", GOAL_RATIO)
                for what in ("open", "close")]  # fmt: skip
    measures += [Measure(f"{side}: {what} after", found[side][what], "ms") for side in sides for what in found[side]]
    return Result("effective", size, repeat, ratio, "a new label to its effect / a port update to its", tuple(measures))


@contextmanager
def site() -> Iterator[dict[str, Callable[[], dict[str, float]]]]:
    """Both sides, in a namespace of their own: each lets its client in and out once, and gives the milliseconds."""
    lab = Lab()
    config, origins = load(None, lab.env, {})
    kube = Settings(config, origins, lab.env["OS_CLOUD"], kubeconfig=lab.env["KUBECONFIG"]).kube()
    with lab.namespace() as namespace:
        made = OBJECTS.format(image=lab.image, client_node=CLIENT_NODE.name, server_node=SERVER_NODE.name)
        lab.kubectl("apply", "-n", namespace, "-f", "-", stdin=made)
        pods = {pod["metadata"]["name"]: pod for pod in lab.wait_ready(namespace, 2, TIMEOUT_S * 5)}
        target = next(text for text in addresses(pods[SERVER]) if ":" not in text)
        client_port = port_of(lab, pods[CLIENT])
        labelling = by_label(kube, namespace)
        group = peers_group(lab, client_port, labelling)
        client = Beam(netns_of(lab, client_port), target, PORT)
        stranger = Beam(NETNS_DIR / vm.NETNS, target, PORT)
        updating = by_update(lab, group)
        with client, stranger:
            yield {"ours": lambda: in_and_out(client, labelling), "bare": lambda: in_and_out(stranger, updating)}
    kube.close()


def in_and_out(beam: Beam, change: Change) -> dict[str, float]:
    """Milliseconds from the call's start to the first datagram that passes, then to the first that no longer does."""
    return {"open": beam.opened_ms(lambda: change(True)), "close": beam.closed_ms(lambda: change(False))}


def by_label(kube: Kube, namespace: str) -> Change:
    """By the client's label."""
    path = RESOURCES[Kind.POD].path(CLIENT, namespace)

    def change(let_in: bool) -> None:
        body = {"metadata": {"labels": {"role": FRIEND if let_in else STRANGER}}}
        kube.api.call("PATCH", path, "relabel the client", body=body, content_type=MERGE_PATCH)

    return change


def by_update(lab: Lab, group: str) -> Change:
    """By the groups of the VM's port."""
    network = lab.cloud("admin").network
    (port,) = network.get("/ports", params={"name": vm.NAME, "device_owner": vm.DEVICE_OWNER}).json()["ports"]
    own = [each for each in port["security_groups"] if each != group]

    def change(let_in: bool) -> None:
        body = {"port": {"security_groups": [*own, group] if let_in else own}}
        answer = network.put(f"/ports/{port['id']}", json=body)
        assert answer.status_code == 200, answer.text

    return change


def peers_group(lab: Lab, port_id: str, labelling: Change) -> str:
    """The group that the client's port gets by the label."""
    before = groups_of(lab, port_id)
    labelling(True)
    wait_for(lambda: groups_of(lab, port_id) != before, TIMEOUT_S)
    (group,) = groups_of(lab, port_id) - before
    labelling(False)
    wait_for(lambda: groups_of(lab, port_id) == before, TIMEOUT_S)
    return group


def groups_of(lab: Lab, port_id: str) -> set[str]:
    return set(lab.cloud("admin").network.get(f"/ports/{port_id}").json()["port"]["security_groups"])


def port_of(lab: Lab, pod: dict[str, Any]) -> str:
    """The id of the pod's port."""
    (port,) = (each for each in lab.pod_ports() if each["device_id"] == pod["metadata"]["uid"])
    return str(port["id"])


def netns_of(lab: Lab, port_id: str) -> Path:
    """The client's network namespace, as it can be entered from here: it is mounted inside its node only."""
    node = chassis.Chassis(CLIENT_NODE.name, CLIENT_NODE)
    told = chassis.vsctl(lab.layout, node, "get", "Interface", f"tap{port_id[:11]}", "external_ids:kuryr-netns")
    return Path(f"/proc/{lab.pid(holder_name(CLIENT_NODE))}/root{told.strip().strip(chr(34))}")


if __name__ == "__main__":
    main(run, "a new label's effect on packets against that of a bare port update, on the lab", size=1, repeat=10)
