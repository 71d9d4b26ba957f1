"""The demo's acts about a Service: its load balancer, requests to it, and a policy that divides its clients.

A request counts as answered when one of the Service's own pods said its name, as denied when curl waited in vain.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from kuryrctl.lab.demo_objects import (
    CURL,
    DEPLOYMENT,
    FRIEND,
    HTTP_PORT,
    LIST_POLICIES,
    LIST_SERVICES,
    NAMESPACE,
    POLICY,
    REPLICAS,
    STRANGER,
    Pod,
    across_nodes,
    in_pod,
    policy,
    run_client,
)
from kuryrctl.lab.narrator import Narrator, Told
from kuryrctl.lab.network.vm import NETNS as VM_NETNS

_TIMED_OUT: Final = 28
"""curl's exit code for it (curl(1)), which `kubectl exec` passes on."""
_REQUESTS: Final = 8
"""So many new connections meet one and the same of four pods once in 16,000 times."""


def show_service(narrator: Narrator, pods: list[Pod]) -> str:
    """Expose the Deployment, and have requests answered, from wherever they come; returns the Service's URL."""
    narrator.act("A Service is a load balancer of Octavia, with a floating IP")
    narrator.must(
        f"kubectl expose deployment/{DEPLOYMENT} -n {NAMESPACE} --type=LoadBalancer --port=80 --target-port={HTTP_PORT}"
    )
    told, elapsed_s = narrator.until(LIST_SERVICES, serves)
    narrator.claims(f"each of the {REPLICAS} pods is a member, and all is well, after {elapsed_s:.1f} s", serves(told))
    narrator.measured("Service created -> load balancer and floating IP", elapsed_s)
    tree = narrator.types(f"kuryrctl service show {NAMESPACE}/{DEPLOYMENT}")
    narrator.claims(
        "no link is broken, down to the pods' ports", tree.ok and all(pod.name in tree.output for pod in pods)
    )
    ((_, vip, floating_ip, *_),) = told.rows()
    names = {pod.name for pod in pods}
    one, other = across_nodes(pods)

    narrator.act("Everybody reaches it: pods on both nodes, the VM, the world outside")
    for who, command in {
        f"pod {one.name} on {one.node}": f"{in_pod(one.name)} {CURL} http://{vip}/hostname",
        f"pod {other.name} on {other.node}, by its name": f"{in_pod(other.name)} {CURL} http://{DEPLOYMENT}/hostname",
        "the VM": f"ip netns exec {VM_NETNS} {CURL} http://{vip}/hostname",
        "the world outside, at the floating IP": f"{CURL} http://{floating_ip}/hostname",
    }.items():
        told, _ = narrator.until(command, lambda told: _answered(told, names))
        narrator.claims(f"a pod of the Service answers {who}", _answered(told, names))
    told = narrator.types(f"{CURL} -H 'Connection: close' -w '\\n' http://{floating_ip}/hostname?[1-{_REQUESTS}]")
    answers = told.output.split()
    narrator.claims(
        f"several pods share {_REQUESTS} requests",
        told.ok and len(answers) == _REQUESTS and len(set(answers)) > 1 and names.issuperset(answers),
    )
    return f"http://{vip}/hostname"


def show_policy(narrator: Narrator, pods: list[Pod], url: str) -> None:
    """Have two clients of the Service at this URL answered; then, by a policy, only one of them."""
    names = {pod.name for pod in pods}
    narrator.act("A NetworkPolicy allows one client of the Service, and denies another")
    for client in (FRIEND, STRANGER):
        narrator.must(run_client(client))
    narrator.must(f"kubectl wait -n {NAMESPACE} --for=condition=Ready pod/{FRIEND} pod/{STRANGER} --timeout=60s")
    for client in (FRIEND, STRANGER):
        narrator.claims(
            f"without a policy the {client} is answered", _answered(narrator.types(_asks(client, url)), names)
        )

    began = time.monotonic()
    narrator.must("kubectl apply -f -", stdin=policy())
    told, _ = narrator.until(LIST_POLICIES, in_sync)
    elapsed_s = time.monotonic() - began
    narrator.claims(f"the cloud holds the policy after {elapsed_s:.1f} s", in_sync(told))
    narrator.measured("NetworkPolicy created -> its security groups hold it", elapsed_s)
    told, _ = narrator.until(_asks(STRANGER, url), denied)
    narrator.claims("the stranger is denied: no packet comes back", denied(told))
    narrator.claims("the friend is answered", _answered(narrator.types(_asks(FRIEND, url)), names))
    told = narrator.types(
        f"kuryrctl policy explain --from {NAMESPACE}/{STRANGER} --to {NAMESPACE}/{pods[0].name} --port {HTTP_PORT}"
    )
    narrator.claims("kuryrctl says by which policy", told.ok and "denied" in told.output and POLICY in told.output)

    narrator.must(f"kubectl delete networkpolicy {POLICY} -n {NAMESPACE}")
    told, _ = narrator.until(_asks(STRANGER, url), lambda told: _answered(told, names))
    narrator.claims("without the policy the stranger is answered again", _answered(told, names))


def serves(told: Told) -> bool:
    """Whether `LIST_SERVICES` shows the Service with an address inside and outside and all its members, well."""
    rows = told.rows()
    return (
        told.ok
        and len(rows) == 1
        and all("." in address for address in rows[0][1:3])
        and rows[0][3:] == [f"{REPLICAS}/{REPLICAS}", "ok"]
    )


def in_sync(told: Told) -> bool:
    """Whether `LIST_POLICIES` shows the one policy as held by the cloud."""
    return told.ok and [(row[1], row[-1]) for row in told.rows()] == [(POLICY, "in sync")]


def denied(told: Told) -> bool:
    """Whether a request waited in vain: another failure, such as a client that is not there, is none."""
    return told.returncode == _TIMED_OUT


def _answered(told: Told, names: Collection[str]) -> bool:
    return told.ok and told.output.strip() in names


def _asks(client: str, url: str) -> str:
    return f"{in_pod(client)} {CURL} {url}"
