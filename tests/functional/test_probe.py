"""`reach --probe` on the lab: real pods on both nodes, the VM, and users who may and who may not."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kuryrctl.node import namespaces
from tests.functional.lab import Done, Lab, addresses

HTTP, UDP, CLOSED = 8080, 8081, 8099  # agnhost netexec answers at the first two
Pod = dict[str, Any]


@pytest.fixture(scope="module")
def pods(lab: Lab) -> Iterator[list[Pod]]:
    """One pod on each node."""
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        found = lab.wait_ready(namespace, 2)
        assert {pod["spec"]["nodeName"] for pod in found} == set(lab.nodes())
        yield found
        assert lab.get("kuryrprobes", "-n", namespace)["items"] == [], "probes were left behind"


def name(pod: Pod) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def reach(lab: Lab, source: Pod, target: str, *words: str, **options: Any) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the rows."""
    done = ask(lab, source, target, *words, "-f", "json", **options)
    assert done.returncode in (0, 20), done
    return done.returncode, json.loads(done.stdout)


def ask(lab: Lab, source: Pod, target: str, *words: str, program: tuple[str, ...] = ("kuryrctl",)) -> Done:
    return lab.run(*program, "reach", "--from", name(source), "--to", target, "--probe", *words, check=False)


def results(rows: list[dict[str, Any]]) -> list[str]:
    return [row["Result"] for row in rows]


@pytest.mark.parametrize("program", [("kuryrctl",), ("openstack", "kuryr")])
@pytest.mark.parametrize("direction", [1, -1])
def test_pods_of_two_nodes_reach_each_other_in_both_families(
    lab: Lab, pods: list[Pod], direction: int, program: tuple[str, ...]
) -> None:
    source, target = pods[::direction]

    code, rows = reach(lab, source, name(target), "--port", str(HTTP), "--count", "2", program=program)

    assert (code, results(rows)) == (0, ["reachable"] * 4)
    assert {row["Address"] for row in rows} == set(addresses(target))
    assert all(0 < row["Round Trip (ms)"] < 2000 for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "result"),
    [
        (("--port", str(CLOSED)), 20, "refused"),
        (("--port", f"{UDP}/udp"), 0, "reachable"),
        (("--port", f"{UDP}/udp", "--payload", "no word of agnhost", "--timeout", "1"), 20, "time-out"),
        (("--port", f"{CLOSED}/udp"), 20, "refused"),
        ((), 0, "reachable"),
    ],
)
def test_how_ports_answer(lab: Lab, pods: list[Pod], words: tuple[str, ...], code: int, result: str) -> None:
    assert reach(lab, pods[0], name(pods[1]), *words)[0] == code
    assert results(reach(lab, pods[0], name(pods[1]), *words)[1]) == [result] * 2


def test_a_packet_as_large_as_the_mtu_arrives_and_one_more_byte_does_not(lab: Lab, pods: list[Pod]) -> None:
    namespace, pod = name(pods[0]).split("/")
    mtu = lab.get("kuryrport", pod, "-n", namespace)["spec"]["interfaces"][0]["mtu"]

    assert reach(lab, pods[0], name(pods[1]), "--size", str(mtu))[0] == 0
    code, rows = reach(lab, pods[0], name(pods[1]), "--size", str(mtu + 1))

    assert (code, results(rows)) == (20, ["needs fragmentation"] * 2)
    assert [row["MTU"] for row in rows] == [mtu] * 2


def test_a_pod_reaches_the_vm_and_hears_when_nobody_listens(lab: Lab, pods: list[Pod]) -> None:
    for address in lab.vm_addresses:
        with namespaces.entered("/run/netns/lab-vm"):
            server = socket.create_server((address, HTTP), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        for pod in pods:
            assert reach(lab, pod, address)[0] == 0
            assert results(reach(lab, pod, address, "--port", str(HTTP))[1]) == ["reachable"]
        server.close()
        assert results(reach(lab, pods[0], address, "--port", str(HTTP))[1]) == ["refused"]


def test_an_address_that_nobody_has(lab: Lab, pods: list[Pod]) -> None:
    free = str(lab.cloud("admin").network.get("/subnets", params={"tags": f"kuryr:cluster={lab.cluster_id}"})
               .json()["subnets"][0]["allocation_pools"][0]["end"])  # fmt: skip

    code, rows = reach(lab, pods[0], free, "--port", "80", "--timeout", "1")

    assert code == 20
    assert set(results(rows)) <= {"time-out", "unreachable"}


def test_a_pod_on_its_nodes_network_has_nothing_to_probe_from(lab: Lab, pods: list[Pod]) -> None:
    namespace = pods[0]["metadata"]["namespace"]
    lab.kubectl("run", "host", "-n", namespace, f"--image={lab.image}", "--image-pull-policy=Never",
                '--overrides={"spec":{"hostNetwork":true}}', "--", "pause")  # fmt: skip
    lab.kubectl("wait", "-n", namespace, "pod/host", "--for=condition=Ready", "--timeout=60s")
    host = lab.get("pod", "host", "-n", namespace)

    done = ask(lab, host, name(pods[0]), "--port", str(HTTP))

    assert done.returncode == 2
    assert "it uses the network of its node" in done.stderr
    lab.kubectl("delete", "pod", "host", "-n", namespace, "--wait=true", "--grace-period=1")


def test_who_may_and_who_may_not(lab: Lab, pods: list[Pod], tmp_path: Path) -> None:
    namespace = pods[0]["metadata"]["namespace"]
    lab.kubectl("create", "serviceaccount", "jane", "-n", namespace)
    lab.kubectl("create", "role", "reader", "-n", namespace, "--verb=get", "--resource=pods")
    grant = ("create", "rolebinding", "-n", namespace, f"--serviceaccount={namespace}:jane")
    lab.kubectl(*grant, "reads", "--role=reader")
    kubeconfig = str(with_token(lab, lab.kubectl("create", "token", "jane", "-n", namespace).strip(), tmp_path))
    words = ("--port", str(HTTP), "--kubeconfig", kubeconfig)

    refused = ask(lab, pods[0], name(pods[1]), *words)

    assert refused.returncode == 1, refused
    assert 'cannot create resource "kuryrprobes" in API group "kuryr.openstack.org"' in refused.stderr
    assert f"kubectl create rolebinding kuryr-probe -n {namespace} --clusterrole=kuryr-probe" in refused.stderr

    lab.kubectl(*grant, "kuryr-probe", "--clusterrole=kuryr-probe")

    assert reach(lab, pods[0], name(pods[1]), *words)[0] == 0


def with_token(lab: Lab, token: str, folder: Path) -> Path:
    """The lab's cluster with a token for credential."""
    config = yaml.safe_load(Path(lab.env["KUBECONFIG"]).read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_silent_agent_is_named_and_the_answer_comes_once_it_is_back(lab: Lab, pods: list[Pod]) -> None:
    node = pods[0]["spec"]["nodeName"]
    os.kill(lab.pid(f"agent-{node}"), signal.SIGKILL)
    try:
        done = ask(lab, pods[0], name(pods[1]), "--port", str(HTTP), "--wait", "2")
    finally:
        lab.up()

    assert done.returncode == 124, done
    assert f"the agent of node {node} did not answer within 2 s; its last sign of life is" in done.stderr
    assert reach(lab, pods[0], name(pods[1]), "--port", str(HTTP))[0] == 0
