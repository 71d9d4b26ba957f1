"""The lab's cluster: a control plane in the root namespace and two nodes in namespaces of their own.

Knows nothing of Neutron: a node becomes Ready when somebody gives it a CNI configuration.
"""

from collections.abc import Callable

from kuryrctl.lab.kubernetes import cgroups, control_plane, dns, node
from kuryrctl.lab.layout import NODES, Node
from kuryrctl.lab.pids import command_of, marked_processes, signal_all
from kuryrctl.lab.stages import Context, Stage

__all__ = ["components", "down", "stages"]


def stages() -> list[Stage]:
    """Control plane and nodes. Needs the network namespaces and the management bridge of stage `node-networks`.

    `api-server` is done when the API server is ready, `controllers` when pods can be made, `kubelet-NODE` when the node
    is registered, `dns-ready` when CoreDNS has read the cluster: it is a pod, and waits for our part's `nodes-ready`.
    """
    programs = ("install-programs", "node-networks")
    return [
        Stage("api-server", "starting etcd and the API server", control_plane.start_api_server, needs=programs),
        Stage(
            "controllers",
            "starting controller manager and scheduler",
            control_plane.start_controllers,
            needs=("api-server",),
        ),
        *(stage for member in NODES for stage in _node_stages(member)),
        Stage("dns", "telling Kubernetes of its DNS", dns.install, needs=("api-server",)),
        Stage("dns-ready", "waiting for the cluster's DNS", dns.wait_ready, needs=("dns", "nodes-ready")),
    ]


def _node_stages(member: Node) -> list[Stage]:
    name = member.name

    def for_node(job: Callable[[Context, Node], None]) -> Callable[[Context], None]:
        return lambda context: job(context, member)

    return [
        Stage(f"holder-{name}", f"making the namespaces of {name}", for_node(node.hold), needs=("node-networks",)),
        Stage(
            f"containerd-{name}",
            f"starting containerd on {name}",
            for_node(node.start_containerd),
            needs=(f"holder-{name}", "install-programs", "install-images"),
        ),
        Stage(
            f"kubelet-{name}",
            f"starting the kubelet on {name}",
            for_node(node.start_kubelet),
            needs=(f"containerd-{name}", "api-server"),
        ),
    ]


def components() -> list[str]:
    """Names of this half's daemons, in the order in which one would look at them."""
    return [
        *control_plane.COMPONENTS,
        *(name(member) for member in NODES for name in (node.holder_name, node.containerd_name, node.kubelet_name)),
    ]


def down(context: Context) -> None:
    """Stop the cluster and remove its control groups; of the missing: nothing. Data stay.

    Kubelets first, so that no container is started again; their containers are killed meanwhile. etcd ends after its
    clients. Shims outlive their containerd and ignore TERM.
    """
    processes = context.processes
    kubelets = [node.kubelet_name(member) for member in NODES]
    clients = [control_plane.API_SERVER, control_plane.CONTROLLER_MANAGER, control_plane.SCHEDULER]
    processes.stop(*kubelets, grace_s=1.0)
    for member in NODES:
        node.kill_containers(context.layout, member)
    processes.stop(*clients, *(node.containerd_name(member) for member in NODES), grace_s=2.0)
    shims = [each for each in marked_processes(context.layout) if command_of(each).startswith("containerd-shim")]
    signal_all(shims, grace_s=0.0)
    processes.stop(control_plane.ETCD)
    for member in NODES:
        cgroups.remove(context.layout.cgroup(member.name))
        processes.stop(node.holder_name(member), grace_s=1.0)
