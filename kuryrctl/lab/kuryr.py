"""Our own parts as processes of the lab: one agent on each node, one engine.

Knows how they are started and found, not what they do. They run from the environment of `kuryrctl lab` itself.
"""

import sys

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import NODES, Layout, Node
from kuryrctl.lab.stages import Context, Stage

ENGINE = "engine"
ENGINE_CLOUD = "kuryr"  # the entry of clouds.yaml with the engine's own credential, not an administrator's
ENGINE_KUBECONFIG = "admin"
PROGRAM = (sys.executable, "-m", "kuryrctl.cli.app")


def agent_name(node: Node) -> str:
    return f"agent-{node.name}"


def components() -> list[str]:
    return [*(agent_name(node) for node in NODES), ENGINE]


def stages(layout: Layout) -> list[Stage]:
    """Agents and engine, for a cluster whose configuration has been written (`cluster init`)."""
    if not layout.kuryr_yaml.exists():
        return []
    return [
        *(
            Stage(
                agent_name(node),
                f"starting the agent of {node.name}",
                lambda context, node=node: start_agent(context, node),  # type: ignore[misc]  # default binds the node
                needs=(f"kubelet-{node.name}", f"chassis-{node.name}"),
            )
            for node in NODES
        ),
        Stage(ENGINE, "starting the engine", start_engine, needs=("controllers", "openstack")),
    ]


def start_agent(context: Context, node: Node) -> None:
    """The node's agent, inside the node's namespaces; it has no OpenStack credential."""
    layout = context.layout
    environment = {
        "KUBECONFIG": str(layout.kubeconfig(f"agent-{node.name}")),
        "KURYRCTL_CONFIG": str(layout.kuryr_yaml),
        "KURYRCTL_NODE_NAME": node.name,
        "KURYRCTL_NODE_SOCKET": str(layout.agent_socket(node.name)),
    }
    context.processes.start(
        agent_name(node),
        [*PROGRAM, "node", "agent", "--config", str(layout.kuryr_yaml)],
        env=environment,
        node=node.name,
    )


def start_engine(context: Context) -> None:
    """The engine in watch mode, in the root namespace, with its own credential."""
    layout = context.layout
    if not layout.kuryr_yaml.exists():
        raise LabError(f"the lab has no {layout.kuryr_yaml}", hint="kuryrctl lab up")
    environment = {
        "KUBECONFIG": str(layout.kubeconfig(ENGINE_KUBECONFIG)),
        "OS_CLOUD": ENGINE_CLOUD,
        "OS_CLIENT_CONFIG_FILE": str(layout.clouds_yaml),
        "KURYRCTL_CONFIG": str(layout.kuryr_yaml),
    }
    context.processes.start(
        ENGINE, [*PROGRAM, "reconcile", "--watch", "--config", str(layout.kuryr_yaml)], env=environment
    )


def stop_engine(context: Context) -> None:
    """The engine ends cleanly within 5 s of a TERM."""
    context.processes.stop(ENGINE, grace_s=6.0)


def down(context: Context) -> None:
    """Stop engine and agents; of the missing: nothing."""
    context.processes.stop(*components(), grace_s=6.0)
