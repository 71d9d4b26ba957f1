"""What a newcomer should see, shown by real commands on the running lab.

Each act shows its commands and what they printed, then a claim, judged by that output alone. The first false claim ends
the demo. Knows no Kubernetes and no Neutron API: it types commands and reads what a person would read.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kuryrctl.lab.demo_objects import (
    CURL,
    DEPLOYMENT,
    HTTP_PORT,
    LIST_PODS,
    LIST_PORTS,
    LIST_SERVICES,
    NAMESPACE,
    REMOVE,
    REPLICAS,
    Pod,
    across_nodes,
    deployment,
    in_pod,
)
from kuryrctl.lab.demo_service import show_policy, show_service
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.kuryr import ENGINE, vm_addresses
from kuryrctl.lab.lab import environment
from kuryrctl.lab.narrator import Narrator, Show, Told
from kuryrctl.lab.network.vm import NETNS as VM_NETNS
from kuryrctl.lab.stages import Context


def run_demo(context: Context, show: Show) -> None:
    """Play the demo on the running lab. Raises FalseClaim at the first claim that is not so."""
    if not context.processes.running(ENGINE):
        raise LabError("the lab's engine does not run", hint="kuryrctl lab up")
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    play(Narrator(environment(context.layout, path), show), vm_addresses(context.layout))


def play(narrator: Narrator, vm: Sequence[str]) -> None:
    """All acts, with the VM at these addresses; nothing of them stays, however they end."""
    try:
        pods = _rollout(narrator)
        _look(narrator, pods)
        _talk(narrator, pods, vm)
        _repair(narrator, pods)
        url = show_service(narrator, pods)
        show_policy(narrator, pods, url)
        _last_screen(narrator, pods, vm, url)
    except BaseException:  # Ctrl-C is one, too
        narrator.types(f"{REMOVE} --wait=false")
        raise
    _remove(narrator)
    narrator.show_times()


def _rollout(narrator: Narrator) -> list[Pod]:
    narrator.act(f"A Deployment of {REPLICAS} pods over both nodes")
    narrator.must(REMOVE)
    narrator.must("kubectl apply -f -", stdin=deployment())
    began = time.monotonic()
    done = narrator.types(f"kubectl rollout status deployment/{DEPLOYMENT} -n {NAMESPACE} --timeout=60s")
    elapsed_s = time.monotonic() - began
    narrator.claims(f"{REPLICAS} pods Running and Ready after {elapsed_s:.1f} s", done.ok)
    narrator.measured(f"{REPLICAS} pods created -> all Ready", elapsed_s)
    pods = _pods(narrator)
    nodes = sorted({pod.node for pod in pods})
    narrator.claims(f"they run on both nodes: {', '.join(nodes)}", len(nodes) == 2 and len(pods) == REPLICAS)
    families = [sorted(":" in ip for ip in pod.ips) for pod in pods]
    narrator.claims("each has an IPv4 and an IPv6 address", all(each == [False, True] for each in families))
    return pods


def _look(narrator: Narrator, pods: list[Pod]) -> None:
    narrator.act("Each pod is a Neutron port")
    told, _ = narrator.until(LIST_PORTS, _all_well)
    shown = {row[0]: (row[1], row[2]) for row in told.rows()}
    narrator.claims("each pod has an ACTIVE Neutron port on its node, and all is well", _all_well(told))
    narrator.claims(
        "with the pod's addresses",
        shown == {pod.name: (pod.node, f"{pod.v4}, {pod.v6}") for pod in pods},
    )


def _talk(narrator: Narrator, pods: list[Pod], vm: Sequence[str]) -> None:
    one, other = across_nodes(pods)
    narrator.act(f"Pod to pod across nodes: {one.name} on {one.node}, {other.name} on {other.node}")
    for source, target, address in ((one, other, other.v4), (other, one, one.v6)):
        narrator.claims(f"{target.name} answers {source.name}", narrator.types(_ping(source, address)).ok)
    answer = narrator.types(f"{in_pod(one.name)} {CURL} http://{other.v4}:{HTTP_PORT}/hostname")
    narrator.claims("and serves HTTP under its own name", answer.ok and answer.output.strip() == other.name)
    narrator.act("Pod and VM share one network")
    for address in vm:
        narrator.claims("the VM answers the pod", narrator.types(_ping(one, address)).ok)
    answer = narrator.types(f"ip netns exec {VM_NETNS} busybox ping -c 1 -W 3 {one.v4}")
    narrator.claims("the pod answers the VM", answer.ok)


def _repair(narrator: Narrator, pods: list[Pod]) -> None:
    victim, witness = pods[0], pods[1]
    narrator.act("A dry run says what is wrong before anything is done")
    narrator.must("kuryrctl lab engine stop")
    try:
        narrator.claims("converged: exit code 0", narrator.types("kuryrctl reconcile --dry-run").ok)
        told = narrator.must(f"kuryrctl port show {NAMESPACE}/{victim.name} -c port_id -f value")
        narrator.must(f"openstack port delete {told.output.strip()}")
        drift = narrator.types("kuryrctl reconcile --dry-run")
        narrator.claims(
            "drift: exit code 21, and it names the pod", drift.returncode == 21 and victim.name in drift.output
        )
        lost, _ = narrator.until(_ping(witness, victim.v4), lambda told: not told.ok)
        narrator.claims(f"{victim.name} has lost its network", not lost.ok)
        narrator.act("A watch repairs it, without re-creating the pod")
    finally:
        narrator.types("kuryrctl lab engine start")
    answer, elapsed_s = narrator.until(_ping(witness, victim.v4), lambda told: told.ok)
    narrator.claims(f"{victim.name} has network again, at the same address, after {elapsed_s:.1f} s", answer.ok)
    narrator.measured("engine started -> a deleted port is back under its pod", elapsed_s)
    narrator.claims("it is the same pod, and no container was restarted", victim in _pods(narrator))


def _last_screen(narrator: Narrator, pods: list[Pod], vm: Sequence[str], url: str) -> None:
    one, other = across_nodes(pods)
    narrator.act("To sum up")
    told, _ = narrator.until(LIST_PORTS, _all_well)
    narrator.claims("pods on both nodes have ACTIVE Neutron ports", _all_well(told))
    narrator.claims("pod reaches pod across nodes", narrator.types(_ping(one, other.v4)).ok)
    narrator.claims("pod reaches VM", narrator.types(_ping(other, vm[0])).ok)
    answer = narrator.types(f"ip netns exec {VM_NETNS} {CURL} {url}")
    narrator.claims("VM reaches Service", answer.ok and answer.output.strip() in {pod.name for pod in pods})


def _remove(narrator: Narrator) -> None:
    narrator.act("What leaves Kubernetes leaves the cloud")
    narrator.must(f"{REMOVE} --wait=false")
    for command, what in ((LIST_PORTS, "ports"), (LIST_SERVICES, "load balancers")):
        told, _ = narrator.until(command, _nothing)
        narrator.claims(f"no {what} are left", _nothing(told))
    told, _ = narrator.until("kuryrctl reconcile --dry-run", lambda told: told.ok)
    narrator.claims("nor anything else that nobody asks for: converged", told.ok)
    narrator.must(f"kubectl wait --for=delete namespace/{NAMESPACE} --timeout=60s")


def _nothing(told: Told) -> bool:
    return told.ok and not told.rows()


def _all_well(told: Told) -> bool:
    rows = told.rows()
    return told.ok and len(rows) >= REPLICAS and all(row[3:] == ["ACTIVE", "ok"] for row in rows)


def _pods(narrator: Narrator) -> list[Pod]:
    rows = narrator.must(LIST_PODS).rows()
    return sorted(
        (Pod(name, node, tuple(ips.split(",")), uid, restarts) for name, node, ips, uid, restarts in rows),
        key=lambda pod: (pod.node, pod.name),
    )


def _ping(pod: Pod, address: str) -> str:
    return f"{in_pod(pod.name)} ping -c 1 -W 2 {address}"
