"""Our own parts in the lab, set up and started as an operator would: kinds, shared objects, agents, engine, the VM.

Knows how they are started and found, not what they do. They run from the environment of `kuryrctl lab` itself, each
with its own credential: the engine is no administrator of the cloud, an agent has no credential of the cloud at all.
"""

import os
import sys
from pathlib import Path

import msgspec

from kuryrctl.kube import connect
from kuryrctl.lab import layout as places
from kuryrctl.lab import network
from kuryrctl.lab.errors import LabError, tail
from kuryrctl.lab.install.versions import TEST_IMAGE
from kuryrctl.lab.kubernetes import api
from kuryrctl.lab.layout import NODES, Layout, Node
from kuryrctl.lab.network.chassis import ROOT
from kuryrctl.lab.network.vm import DEVICE_OWNER
from kuryrctl.lab.network.vm import NAME as VM_NAME
from kuryrctl.lab.openstack import password
from kuryrctl.lab.openstack.api import Network
from kuryrctl.lab.process import run, wait_until, write_atomically
from kuryrctl.lab.stages import Context, Stage
from kuryrctl.node.install import InstallOptions, install

ENGINE = "engine"
ENGINE_CLOUD = "kuryr"  # the entry of clouds.yaml with the engine's own credential, not an administrator's
CLUSTER_ID = "lab"
PROGRAM = (sys.executable, "-m", "kuryrctl.cli.app")
NODES_READY_TIMEOUT_S = 90.0
GRACE_S = 6.0  # engine and agents end within 5 s of a TERM


def agent_name(node: Node) -> str:
    return f"agent-{node.name}"


def components() -> list[str]:
    return [*(agent_name(node) for node in NODES), ENGINE]


def stages() -> list[Stage]:
    """From a cloud and a cluster to pods on Neutron ports."""
    return [
        Stage("kinds", "teaching Kubernetes our kinds", install_kinds, ("api-server",)),
        Stage("cluster-init", "making the pod network", init_cluster, ("kinds", "openstack")),
        Stage(ENGINE, "starting the engine", start_engine, ("cluster-init", "controllers")),
        *(
            Stage(
                agent_name(node),
                f"starting the agent of {node.name}",
                lambda context, node=node: start_agent(context, node),  # type: ignore[misc]  # default binds the node
                ("kinds", f"containerd-{node.name}", f"chassis-{node.name}"),
            )
            for node in NODES
        ),
        Stage("vm", "plugging the VM", start_vm, ("cluster-init", *(f"chassis-{node.name}" for node in NODES))),
        Stage("host-port", "plugging the control plane's host", plug_host, ("cluster-init", f"chassis-{ROOT}")),
        Stage(
            "nodes-ready",
            "waiting for both nodes",
            wait_for_nodes,
            (ENGINE, *(agent_name(node) for node in NODES), *(f"kubelet-{node.name}" for node in NODES)),
        ),
    ]


def install_kinds(context: Context) -> None:
    """Our kinds first, so that the agents need not wait for the cloud."""
    kube = connect(str(context.layout.kubeconfig()))
    try:
        kube.install()
    finally:
        kube.close()


def init_cluster(context: Context) -> None:
    """What an operator does: a configuration, then `kuryrctl cluster init`; an engine that runs keeps both itself."""
    layout = context.layout
    write_configuration(layout)
    if context.processes.running(ENGINE):
        return
    run([*PROGRAM, "cluster", "init", "--wait", "60"], env=engine_environment(layout, "admin"), timeout_s=300)


def write_configuration(layout: Layout) -> None:
    """The one file of engine and agents; what differs between nodes travels in their environment."""
    content = {
        "cluster_id": CLUSTER_ID,
        "pod_network": {"cidrs": list(places.POD_CIDRS)},
        "service_cidrs": list(places.SERVICE_CIDRS),
        "external_network": places.EXTERNAL_PHYSICAL_NETWORK,
        "audit_log": str(layout.log / "audit.jsonl"),
    }
    text = b"# Written by kuryrctl lab up.\n" + msgspec.yaml.encode(content)
    if not layout.kuryr_yaml.exists() or layout.kuryr_yaml.read_bytes() != text:
        write_atomically(layout.kuryr_yaml, text, 0o644)


def engine_environment(layout: Layout, kubeconfig: str = ENGINE) -> dict[str, str]:
    """The engine's cloud and cluster."""
    return {
        "OS_CLOUD": ENGINE_CLOUD,
        "OS_CLIENT_CONFIG_FILE": str(layout.clouds_yaml),
        "KUBECONFIG": str(layout.kubeconfig(kubeconfig)),
        "KURYRCTL_CONFIG": str(layout.kuryr_yaml),
    }


def start_engine(context: Context) -> None:
    """The engine in watch mode, in the root namespace."""
    layout = context.layout
    if not layout.kuryr_yaml.exists():
        raise LabError(f"the lab has no {layout.kuryr_yaml}", hint="kuryrctl lab up")
    context.processes.start(ENGINE, [*PROGRAM, "reconcile", "--watch"], env=engine_environment(layout))


def stop_engine(context: Context) -> None:
    """The engine ends cleanly within 5 s of a TERM; one that does not is killed, and LabError says so."""
    if context.processes.stop(ENGINE, grace_s=GRACE_S):
        log = context.layout.log_file(ENGINE)
        raise LabError(_killed(ENGINE), detail=tail(log), hint=f"its lease runs out by itself; see {log}")


def _killed(name: str) -> str:
    return f"{name} did not end within {GRACE_S:g} s of TERM and was killed"


def start_agent(context: Context, node: Node) -> None:
    """The node's agent, inside the node's namespaces, and the CNI entry that asks it."""
    layout = context.layout
    if not layout.kuryr_yaml.exists():
        write_configuration(layout)
    socket = layout.agent_socket(node.name)
    install(
        InstallOptions(
            bin_dir=layout.cni_bin_dir(node.name),
            conf_dir=layout.cni_conf_dir(node.name),
            socket=socket,
            python=Path(os.path.realpath(sys.executable)),
            network=f"kuryr-{node.name}",
        )
    )
    environment = {
        "KUBECONFIG": str(layout.kubeconfig(agent_name(node))),
        "KURYRCTL_CONFIG": str(layout.kuryr_yaml),
        "KURYRCTL_NODE_SOCKET": str(socket),
        "KURYRCTL_NODE_OVSDB": f"unix:{layout.ovsdb_socket(node.name)}",
    }
    context.processes.start(
        agent_name(node), [*PROGRAM, "node", "agent", "--node", node.name], env=environment, node=node.name
    )


def start_vm(context: Context) -> None:
    """The VM-like endpoint, on the pods' network."""
    network.vm_up(context, pod_network_id(context.layout))


def plug_host(context: Context) -> None:
    """The API server's way to Services, on the pods' network."""
    network.host_up(context, pod_network_id(context.layout))


def pod_network_id(layout: Layout) -> str:
    """The id of the network that `cluster init` made."""
    found = Network("admin", password(layout)).find("networks", tags=f"kuryr:cluster={CLUSTER_ID},kuryr:kind=pods")
    if len(found) != 1:
        raise LabError(f"the cloud has {len(found)} pod networks of cluster {CLUSTER_ID}", hint="kuryrctl cluster init")
    return str(found[0]["id"])


def vm_addresses(layout: Layout) -> tuple[str, ...]:
    """The VM's addresses, IPv4 first; none before it was plugged."""
    ports = Network("admin", password(layout)).find("ports", name=VM_NAME, device_owner=DEVICE_OWNER)
    fixed = [address["ip_address"] for port in ports for address in port["fixed_ips"]]
    return tuple(sorted(fixed, key=lambda address: ":" in address))


def wait_for_nodes(context: Context) -> None:
    """Both kubelets call their nodes Ready: the CNI entry answers, the agents have synced."""

    def ready() -> bool:
        for name in components():
            if not context.processes.running(name):
                log = context.layout.log_file(name)
                raise LabError(f"{name} has ended", detail=tail(log), hint=f"see {log}")
        nodes = api.nodes(context.layout)
        waiting = [node.name for node in NODES if node.name not in nodes or not nodes[node.name].ready]
        context.report(f"not yet: {', '.join(waiting)}")
        return not waiting

    wait_until(ready, "both nodes to be Ready", NODES_READY_TIMEOUT_S, interval_s=0.2)


def prove_with_pod(context: Context) -> None:
    """Run one pod until it is Ready, and delete it again."""
    kubectl = [str(context.layout.bin / "kubectl"), f"--kubeconfig={context.layout.kubeconfig()}"]
    name = "kuryr-lab-first"
    run([*kubectl, "delete", "pod", name, "--ignore-not-found", "--wait=true"], timeout_s=60)
    run([*kubectl, "run", name, f"--image={TEST_IMAGE}", "--image-pull-policy=Never"])
    run([*kubectl, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s"], timeout_s=70)
    run([*kubectl, "delete", "pod", name, "--wait=false", "--grace-period=1"])


FIRST_POD = Stage("first-pod", "waiting for a first pod", prove_with_pod, ("nodes-ready",))
"""For `lab up --timings`: when a pod runs on a Neutron port."""


def down(context: Context) -> None:
    """Stop engine and agents, remove the VM's wire; of the missing: nothing."""
    for name in context.processes.stop(*components(), grace_s=GRACE_S):
        context.report(_killed(name))
