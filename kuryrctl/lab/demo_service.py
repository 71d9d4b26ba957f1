"""The demo's acts about a Service: its load balancer, requests to it, and a policy that divides its clients.

A request counts as answered when one of the Service's own pods said its name, as denied when curl waited in vain.
"""

from __future__ import annotations

import time
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
    """Expose the Deployment, and have requests answered, wherever they come from; returns the Service's URL."""
    narrator.act("A Service is a load balancer of Octavia, with a floating IP")
    narrator.must(
        f"kubectl expose deployment/{DEPLOYMENT} -n {NAMESPACE} --type=LoadBalancer --port=80 --target-port={HTTP_PORT}"
    )
    began = time.monotonic()
    for client in (FRIEND, STRANGER):  # they start while the load balancer is made
        narrator.must(run_client(client))
    told, _ = narrator.until(LIST_SERVICES, serves)
    elapsed_s = time.monotonic() - began
    narrator.claims(f"each of the {REPLICAS} pods is a member, and all is well, after {elapsed_s:.1f} s", serves(told))
    narrator.measured("Service created -> load balancer and floating IP", elapsed_s)
    tree = narrator.types(f"kuryrctl service show {NAMESPACE}/{DEPLOYMENT}")
    narrator.claims(
        "no link is broken, down to the pods' ports", tree.ok and all(pod.name in tree.output for pod in pods)
    )
    ((_, vip, floating_ip, *_),) = told.rows()
    _ask_from_everywhere(narrator, pods, vip, floating_ip)
    return _url(vip)


def _ask_from_everywhere(narrator: Narrator, pods: list[Pod], vip: str, floating_ip: str) -> None:
    narrator.act("Everybody reaches it: pods, the VM, the world outside")
    narrator.must(f"kubectl wait -n {NAMESPACE} --for=condition=Ready pod/{FRIEND} pod/{STRANGER} --timeout=60s")
    for who, command in {
        "a pod, by the Service's name": f"{in_pod(FRIEND)} {CURL} {_url(DEPLOYMENT)}",
        "another pod": f"{in_pod(STRANGER)} {CURL} {_url(vip)}",
        "the VM": f"ip netns exec {VM_NETNS} {CURL} {_url(vip)}",
        "the world outside, at the floating IP": f"{CURL} {_url(floating_ip)}",
    }.items():
        told, _ = narrator.until(command, lambda told: _answered(told, pods))
        narrator.claims(f"the Service answers {who}", _answered(told, pods))
    told = narrator.types(f"{CURL} -H 'Connection: close' -w '\\n' {_url(floating_ip)}?[1-{_REQUESTS}]")
    answers = told.output.split()
    narrator.claims(
        f"several pods share {_REQUESTS} requests",
        told.ok and len(answers) == _REQUESTS and len(set(answers)) > 1 and {p.name for p in pods}.issuperset(answers),
    )


def show_policy(narrator: Narrator, pods: list[Pod], url: str) -> None:
    """Of the two clients of the Service at this URL, have a policy allow one and deny the other; then remove it."""
    narrator.act("A NetworkPolicy allows one client of the Service, and denies another")
    friend, stranger = (f"{in_pod(client)} {CURL} {url}" for client in (FRIEND, STRANGER))
    narrator.must("kubectl apply -f -", stdin=policy())
    narrator.must(f"kubectl get networkpolicy {POLICY} -n {NAMESPACE} -o jsonpath={{.spec}}")
    told, elapsed_s = narrator.until(LIST_POLICIES, in_sync)
    narrator.claims(f"the cloud holds the policy after {elapsed_s:.1f} s", in_sync(told))
    narrator.measured("NetworkPolicy created -> the cloud holds it", elapsed_s)
    told, _ = narrator.until(stranger, denied)
    narrator.claims(f"the {STRANGER} is denied: nothing comes back", denied(told))
    narrator.claims(f"the {FRIEND} is answered", _answered(narrator.types(friend), pods))
    told = narrator.types(
        f"kuryrctl policy explain --from {NAMESPACE}/{STRANGER} --to {NAMESPACE}/{pods[0].name} --port {HTTP_PORT}"
    )
    narrator.claims("and it is said by which policy", told.ok and "denied" in told.output and POLICY in told.output)
    narrator.must(f"kubectl delete networkpolicy {POLICY} -n {NAMESPACE}")
    told, _ = narrator.until(stranger, lambda told: _answered(told, pods))
    narrator.claims(f"without the policy the {STRANGER} is answered again", _answered(told, pods))


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


def _answered(told: Told, pods: list[Pod]) -> bool:
    return told.ok and told.output.strip() in {pod.name for pod in pods}


def _url(host: str) -> str:
    return f"http://{host}/hostname"
