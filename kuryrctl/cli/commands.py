"""The one table of all commands: what `kuryrctl` runs, and what setup.cfg announces to `openstack`.

A static table starts faster than a search for entry points. After a change: ``scripts/entry-points`` (it writes the
same names and classes into setup.cfg; a test compares them).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Entry(NamedTuple):
    """Where a command's class is (``module:Class``), and the first line of its docstring."""

    target: str
    summary: str


COMMANDS: Final[dict[str, Entry]] = {
    "status": Entry(
        "kuryrctl.cli.status:Status", "One screen: cluster, cloud, engine, nodes and agents, counts, and what is wrong"
    ),
    "reconcile": Entry(
        "kuryrctl.cli.reconcile:Reconcile",
        "Make the cloud hold what Kubernetes wants: once, as a dry run, or as a watch",
    ),
    "plan show": Entry(
        "kuryrctl.cli.plan:PlanShow", "Show a saved plan: what would be done to which object, why, and how much of it"
    ),
    "plan apply": Entry(
        "kuryrctl.cli.plan:PlanApply",
        "Do exactly what a saved plan says, or nothing where what it was made from has changed",
    ),
    "port list": Entry(
        "kuryrctl.cli.port:PortList",
        "List pods with their ports, and ports without pods (nodes', leaked, legacy)",
    ),
    "port show": Entry(
        "kuryrctl.cli.port:PortShow",
        "Show one pod's port: what Kubernetes, Neutron and the node say of it, and its condition",
    ),
    "reach": Entry(
        "kuryrctl.cli.reach:Reach", "Try from inside a pod whether another pod or an address answers, and how"
    ),
    "policy sync": Entry(
        "kuryrctl.cli.policy_sync:PolicySync",
        "Make security groups, their rules and the ports' group lists what NetworkPolicies ask for",
    ),
    "policy list": Entry(
        "kuryrctl.cli.policy_list:PolicyList",
        "List NetworkPolicies with the groups and rules that they become, and whether the cloud holds them",
    ),
    "policy show": Entry(
        "kuryrctl.cli.policy_list:PolicyShow",
        "Show one NetworkPolicy: its groups, rules and ports, and what differs or is still to be done",
    ),
    "policy explain": Entry(
        "kuryrctl.cli.policy_explain:PolicyExplain",
        "Tell whether a connection is allowed, and by which policy, security group and rule",
    ),
    "policy matrix": Entry(
        "kuryrctl.cli.policy_explain:PolicyMatrix",
        "Show which pods may speak to which: a table of pods by pods, as the NetworkPolicies mean it",
    ),
    "policy verify": Entry(
        "kuryrctl.cli.policy_verify:PolicyVerify",
        "Compare NetworkPolicies with the cloud's security groups, for every pair of pods and every port that matters",
    ),
    "policy diff": Entry(
        "kuryrctl.cli.policy_diff:PolicyDiff",
        "Show what applying manifests would change: connections that open or close, groups, rules, calls, quota",
    ),
    "policy lint": Entry(
        "kuryrctl.cli.policy_lint:PolicyLint",
        "Tell what is probably not meant in NetworkPolicies: of manifests, a saved world, or the live cluster",
    ),
    "service sync": Entry(
        "kuryrctl.cli.service_sync:ServiceSync",
        "Make load balancers, their members, floating IPs and Services' status what Services ask for",
    ),
    "service list": Entry(
        "kuryrctl.cli.service_list:ServiceList",
        "List Services with their VIPs, floating IPs, load balancers, members, and a condition",
    ),
    "service show": Entry(
        "kuryrctl.cli.service_list:ServiceShow",
        "Show one Service as a tree, down to its pods' ports, and name its first broken link",
    ),
    "service lint": Entry(
        "kuryrctl.cli.service_lint:ServiceLint",
        "Tell what of Services load balancers cannot do, or is probably not meant: of manifests, a world, or live",
    ),
    "service failover": Entry(
        "kuryrctl.cli.service_failover:ServiceFailover",
        "Have the provider make anew what carries a Service's load balancers; its VIPs do not answer meanwhile",
    ),
    "cluster init": Entry(
        "kuryrctl.cli.cluster:ClusterInit",
        "Make what the cluster shares: pod network, subnets, router, groups; and our kinds, policies and roles",
    ),
    "cluster credential": Entry(
        "kuryrctl.cli.cluster:ClusterCredential",
        "Print what the engine's credential needs in the cloud: a policy override for one role, or access rules",
    ),
    "cluster manifests": Entry(
        "kuryrctl.cli.cluster:ClusterManifests",
        "Print our Kubernetes objects, for people who apply by themselves: kinds, admission policies, roles",
    ),
    "world save": Entry(
        "kuryrctl.cli.world_file:WorldSave",
        "Save what Kubernetes and the cloud hold now to a file, which reading commands take with --world FILE",
    ),
    "world show": Entry(
        "kuryrctl.cli.world_file:WorldShow",
        "Show what a saved world holds: when it was made, of which cluster, and how many objects of each kind",
    ),
    "config show": Entry("kuryrctl.cli.config:ShowConfig", "Show every option, its value and where it came from"),
    "config validate": Entry("kuryrctl.cli.config:ValidateConfig", "Check a configuration file without using it"),
    "lab up": Entry(
        "kuryrctl.cli.lab:LabUp", "Install what is missing and start the lab: OpenStack, Kubernetes, two nodes"
    ),
    "lab status": Entry("kuryrctl.cli.lab:LabStatus", "List the lab's components and nodes"),
    "lab env": Entry(
        "kuryrctl.cli.lab:LabEnv",
        "Print variables for a shell, with which openstack, kubectl and kuryrctl reach the lab",
    ),
    "lab demo": Entry(
        "kuryrctl.cli.lab:LabDemo",
        "Show what kuryrctl does, by real commands on the running lab: each claim comes from a command it shows",
    ),
    "lab engine start": Entry("kuryrctl.cli.lab:LabEngineStart", "Start the lab's engine, unless it runs"),
    "lab engine stop": Entry(
        "kuryrctl.cli.lab:LabEngineStop", "Stop the lab's engine: the cluster and the cloud stay as they are"
    ),
    "lab engine status": Entry(
        "kuryrctl.cli.lab:LabEngineStatus", "Say whether the lab's engine runs; exits with 20 when it does not"
    ),
    "lab engine logs": Entry("kuryrctl.cli.lab:LabEngineLogs", "Print the end of the engine's log"),
    "lab logs": Entry("kuryrctl.cli.lab:LabLogs", "Print the end of a component's log"),
    "lab shell": Entry(
        "kuryrctl.cli.lab:LabShell", "Open a shell with the lab's environment, on this machine or inside a node"
    ),
    "lab down": Entry(
        "kuryrctl.cli.lab:LabDown",
        "End the lab and leave nothing of it running or configured; databases and installed software stay",
    ),
    "lab traces": Entry(
        "kuryrctl.cli.lab:LabTraces",
        "Print what this machine has of what a lab could leave behind, as JSON, or compare it with an earlier print",
    ),
    "lab reset": Entry(
        "kuryrctl.cli.lab:LabReset",
        "End the lab and forget its databases, configuration and logs; what is installed stays",
    ),
    "node agent": Entry(
        "kuryrctl.cli.node:RunAgent",
        "Run this node's agent: bind pods for the container runtime, keep the node port, report",
    ),
    "node install": Entry(
        "kuryrctl.cli.node:InstallEntry", "Put the CNI entry and its configuration where the container runtime looks"
    ),
    "node list": Entry(
        "kuryrctl.cli.node:ListPlugged", "List what is plugged into this node's integration bridge, for which pod"
    ),
    "node bind": Entry(
        "kuryrctl.cli.node:BindPod", "Bind a pod's assigned port into a network namespace, as the CNI entry does"
    ),
    "node unbind": Entry(
        "kuryrctl.cli.node:UnbindSandbox",
        "Take away what a sandbox has on this node, as a CNI DEL does; of the missing: success",
    ),
    "node check": Entry(
        "kuryrctl.cli.node:CheckBound",
        "Compare what is bound on this node with what was assigned; exits with 20 when something differs",
    ),
    "node gc": Entry("kuryrctl.cli.node:CollectGarbage", "Remove from this node what serves no sandbox any more"),
}


def starting_with(words: list[str]) -> list[str]:
    """The commands whose first words are these or begin with them, in the table's order."""
    return [
        name for name in COMMANDS if len(name.split()) >= len(words) and all(map(str.startswith, name.split(), words))
    ]
