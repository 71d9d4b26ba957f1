"""The agent and the installed CNI entry on real namespaces and a real Open vSwitch; the test plays the cluster."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kuryrctl.core.cluster import Interface, Route
from kuryrctl.core.errors import Conflict
from kuryrctl.node import changes, namespaces
from kuryrctl.node.netlink import Netlink
from kuryrctl.node.server import Server
from tests.functional.node.conftest import interface_of
from tests.functional.node.switch import Controller, Switch, eventually, ping
from tests.functional.node.world import NODE, Cluster, RunningAgent, Runtime, Sandbox, open_files

Sandboxes = Callable[[int], Sandbox]


@pytest.mark.usefixtures("agent")
def test_a_pod_from_add_to_del(cluster: Cluster, runtime: Runtime, sandbox: Sandboxes, node: Switch) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))

    code, added = runtime.add(pod)

    assert code == 0, added
    assert added == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "tap00000001-11", "mtu": 1442},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": pod.netns, "mtu": 1442},
        ],
        "ips": [
            {"address": "10.65.0.1/24", "interface": 1, "gateway": "10.65.0.254"},
            {"address": "fd00:10:65::1/64", "interface": 1, "gateway": "fd00:10:65::fffe"},
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "10.65.0.254"},
            {"dst": "::/0", "gw": "fd00:10:65::fffe"},
        ],
        "dns": {},
    }
    assert runtime.check(pod) == (0, None)
    eventually(lambda: cluster.ports[pod.pod].bound, "the KuryrPort says bound")
    assert cluster.ports[pod.pod].sandbox == pod.container
    eventually(lambda: [p.pod_uid for p in cluster.node.plugged] == [pod.uid], "the KuryrNode lists the port")

    assert runtime.delete(pod) == (0, None)
    assert runtime.delete(pod) == (0, None)
    assert node.ports() == []
    eventually(lambda: not cluster.ports[pod.pod].bound, "the KuryrPort says unbound")
    eventually(lambda: cluster.node.plugged == (), "the KuryrNode lists no port")


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
@pytest.mark.usefixtures("agent")
def test_results_have_the_form_of_the_asked_version(
    version: str, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes
) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))

    code, added = runtime.add(pod, version)

    assert code == 0, added
    assert added["cniVersion"] == version
    assert [ip.get("version") for ip in added["ips"]] == (["4", "6"] if version < "1" else [None, None])
    assert ("mtu" in added["interfaces"][0]) == (version == "1.1.0")
    assert runtime.delete(pod) == (0, None)


@pytest.mark.usefixtures("agent")
def test_add_waits_for_the_assignment_of_this_very_pod(cluster: Cluster, runtime: Runtime, sandbox: Sandboxes) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, "uid-of-the-pod-before", interface_of(9))

    with ThreadPoolExecutor(1) as pool:
        adding = pool.submit(runtime.add, pod)
        time.sleep(0.5)
        assert not adding.done()
        cluster.assign(pod.pod, pod.uid, interface_of(1))
        code, added = adding.result()

    assert code == 0, added
    assert added["ips"][0]["address"] == "10.65.0.1/24"
    runtime.delete(pod)


def test_without_an_assignment_add_says_try_again(
    node: Switch, controller: Controller, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes
) -> None:
    running = RunningAgent(runtime.socket, node.ovsdb, cluster, assignment_timeout_s=0.3)

    code, error = runtime.add(sandbox(1))

    running.stop()
    assert (code, error["code"]) == (1, 11)
    assert "shop/web-1" in error["msg"]


def test_without_an_agent(
    runtime: Runtime, node: Switch, controller: Controller, cluster: Cluster, sandbox: Sandboxes
) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))
    started = time.monotonic()

    code, error = runtime.add(pod)

    assert time.monotonic() - started < 2
    assert (code, error["code"]) == (1, 11)
    code, error = runtime.status()
    assert (code, error["code"]) == (1, 50)
    assert runtime.delete(pod) == (0, None)

    running = RunningAgent(runtime.socket, node.ovsdb, cluster)
    assert runtime.status() == (0, None)
    code, added = runtime.add(pod)
    assert code == 0, added
    running.stop()

    assert runtime.delete(pod) == (0, None)
    assert node.ports() == ["tap00000001-11"]
    again = RunningAgent(runtime.socket, node.ovsdb, cluster)
    eventually(lambda: node.ports() == [], "the DEL that found no agent is done")
    again.stop()


def test_a_restart_disturbs_no_pod(
    node: Switch, controller: Controller, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes
) -> None:
    one, other = sandbox(1), sandbox(2)
    running = RunningAgent(runtime.socket, node.ovsdb, cluster)
    for number, pod in ((1, one), (2, other)):
        cluster.assign(pod.pod, pod.uid, interface_of(number))
        assert runtime.add(pod)[0] == 0
    with Netlink() as host:
        before = host.link("tap00000001-11")

    assert running.stop() < 5
    assert ping(one.netns, "10.65.0.2")
    running = RunningAgent(runtime.socket, node.ovsdb, cluster)

    with Netlink() as host:
        assert host.link("tap00000001-11") == before
    assert runtime.check(one) == (0, None)
    assert ping(one.netns, "fd00:10:65::2")
    for pod in (one, other):
        assert runtime.delete(pod) == (0, None)
    running.stop()


@pytest.mark.usefixtures("agent")
def test_a_port_created_again_reaches_the_running_pod(
    node: Switch, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes
) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))
    assert runtime.add(pod)[0] == 0
    again = msgspec.structs.replace(interface_of(1), port_id="99999999-aaaa-4bbb-8ccc-dddddddddddd")

    cluster.assign(pod.pod, pod.uid, again)

    eventually(lambda: node.external_ids("tap00000001-11")["iface-id"] == again.port_id, "the port is re-pointed")
    eventually(lambda: [p.port_id for p in cluster.node.plugged] == [again.port_id], "the KuryrNode names the new port")
    assert runtime.check(pod) == (0, None)

    moved = msgspec.structs.replace(again, port_id="88888888-aaaa-4bbb-8ccc-dddddddddddd", addresses=("10.65.0.77/24",))
    cluster.assign(pod.pod, pod.uid, moved)
    eventually(lambda: "NODE-REASSIGNED" in cluster.ports[pod.pod].error, "the KuryrPort says why it is not re-pointed")
    assert runtime.delete(pod) == (0, None)


@pytest.mark.usefixtures("agent")
def test_a_port_in_use_is_refused_and_reported(cluster: Cluster, runtime: Runtime, sandbox: Sandboxes) -> None:
    one, thief = sandbox(1), sandbox(2)
    cluster.assign(one.pod, one.uid, interface_of(1))
    cluster.assign(thief.pod, thief.uid, interface_of(1))
    assert runtime.add(one)[0] == 0

    code, error = runtime.add(thief)

    assert (code, error["code"]) == (1, 100)
    assert "NODE-PORT-IN-USE" in error["details"]
    eventually(lambda: "in use" in cluster.ports[thief.pod].error, "the KuryrPort says why")
    assert runtime.check(one) == (0, None)
    runtime.delete(thief)
    assert runtime.check(one) == (0, None)
    runtime.delete(one)


@pytest.mark.usefixtures("agent")
def test_gc_removes_exactly_what_no_valid_attachment_names(
    node: Switch, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes
) -> None:
    kept, lost = sandbox(1), sandbox(2)
    for number, pod in ((1, kept), (2, lost)):
        cluster.assign(pod.pod, pod.uid, interface_of(number))
        assert runtime.add(pod)[0] == 0
    valid = {"cni.dev/valid-attachments": [{"containerID": kept.container, "ifname": "eth0"}]}

    assert runtime.call("GC", runtime.config("1.1.0", name="another-network", **valid)) == (0, None)
    assert len(node.ports()) == 2
    assert runtime.call("GC", runtime.config("1.1.0", **valid)) == (0, None)

    assert node.ports() == ["tap00000001-11"]
    assert runtime.check(kept) == (0, None)
    assert runtime.call("GC", runtime.config("1.1.0"))[1]["code"] == 7
    runtime.delete(kept)


def test_after_a_reboot_nothing_stale_is_left(
    node: Switch, controller: Controller, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes
) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))
    running = RunningAgent(runtime.socket, node.ovsdb, cluster)
    assert runtime.add(pod)[0] == 0
    running.stop()
    namespaces.delete(Path(pod.netns).name)
    with Netlink() as host:
        eventually(lambda: host.link("tap00000001-11") is None, "the kernel removed the pair")
    assert node.ports() == ["tap00000001-11"]

    running = RunningAgent(runtime.socket, node.ovsdb, cluster)
    eventually(lambda: node.ports() == [], "the stale port is gone")
    eventually(lambda: not cluster.ports[pod.pod].bound, "the KuryrPort says unbound")
    running.stop()


def test_the_node_port_is_kept_as_the_engine_says(cluster: Cluster, node: Switch, agent: RunningAgent) -> None:
    wanted = Interface(
        name="k8snode",
        port_id="77777777-1111-4222-8333-444444444444",
        mac_address="02:00:00:00:00:77",
        addresses=("10.65.0.200/24", "fd00:10:65::c8/64"),
        gateways=("10.65.0.254",),
        routes=(Route("10.96.0.0/16", "10.65.0.254"), Route("fd00:10:96::/112", "fd00:10:65::fffe")),
        mtu=1442,
    )

    cluster.give_node_port(wanted)

    eventually(lambda: node_port_as(wanted), "the node port is as wanted")
    assert node.external_ids("k8snode")["iface-id"] == wanted.port_id
    with Netlink() as host:
        index = host.index_of("k8snode")
        host.apply(
            changes.delete_address(index, "10.65.0.200/24"),
            changes.add_address(index, "10.65.0.201/24"),
            changes.set_link(index, mtu=1300, state=changes.State.DOWN),
        )
    eventually(lambda: node_port_as(wanted), "the node port is put right")

    changed = msgspec.structs.replace(
        wanted, port_id="66666666-1111-4222-8333-444444444444", addresses=("10.65.0.210/24",)
    )
    changed = msgspec.structs.replace(changed, routes=(Route("10.97.0.0/16", "10.65.0.254"),))
    cluster.give_node_port(changed)
    eventually(lambda: node_port_as(changed), "the node port follows")
    assert node.external_ids("k8snode")["iface-id"] == changed.port_id
    assert cluster.node.error == ""
    node.vsctl("del-port", "br-int", "k8snode")
    eventually(lambda: node_port_as(changed), "the node port is plugged again")
    cluster.give_node_port(None)
    eventually(lambda: agent.agent.assignments.kuryr_node.node_port is None, "the agent knows that there is none")
    node.vsctl("del-port", "br-int", "k8snode")


@pytest.mark.usefixtures("agent")
def test_a_caller_that_hangs_up_leaves_nothing(
    cluster: Cluster, node: Switch, controller: Controller, sandbox: Sandboxes
) -> None:
    pod, runtime = sandbox(1), Runtime(node.folder)
    request = json.dumps({"env": {"CNI_COMMAND": "ADD", **pod.environment}, "config": runtime.config("1.1.0")}).encode()
    controller.refusing = True
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(runtime.socket))
        caller.sendall(request + b"\n")
        cluster.assign(pod.pod, pod.uid, interface_of(1))
        eventually(node.ports, "the port is plugged")
    controller.refusing = False
    node.vsctl("set", "Interface", "tap00000001-11", "external_ids:ovn-installed=true")

    eventually(lambda: node.ports() == [], "what nobody waited for is undone")
    assert runtime.add(pod)[0] == 0
    assert runtime.delete(pod) == (0, None)


@pytest.mark.usefixtures("agent")
def test_only_root_is_served(runtime: Runtime) -> None:
    opened = (runtime.socket, runtime.socket.parent, runtime.socket.parent.parent)
    before = [stat.S_IMODE(path.stat().st_mode) for path in opened]
    assert before[:2] == [0o600, 0o700]
    ask = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(5); print(s.recv(9))"
    )
    command = ["/usr/bin/python3", "-IS", "-c", ask, str(runtime.socket)]

    for path in opened:
        path.chmod(0o777)  # even where the file system would let everybody in
    asked = [
        subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=True).stdout.strip()
        for user in (0, 65534)
    ]
    for path, mode in zip(opened, before, strict=True):
        path.chmod(mode)

    assert asked == ["b'taken\\n'", "b''"]


def test_a_second_agent_is_refused(agent: RunningAgent, node: Switch, cluster: Cluster, runtime: Runtime) -> None:
    with pytest.raises(Conflict, match="another agent"):
        Server(runtime.socket, agent.agent.answer).start()
    assert runtime.status() == (0, None)


def test_nothing_is_leaked(agent: RunningAgent, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))

    def round_trip() -> None:
        assert runtime.add(pod)[0] == 0
        assert runtime.check(pod) == (0, None)
        assert runtime.delete(pod) == (0, None)

    round_trip()
    time.sleep(1)  # the socket that announced is closed a little later
    files, threads = open_files(), threading.active_count()
    for _ in range(5):
        round_trip()
    eventually(lambda: open_files() <= files and threading.active_count() <= threads, "all are closed")


@pytest.mark.usefixtures("agent")
def test_the_commands_by_hand(node: Switch, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes) -> None:
    pod = sandbox(1)
    cluster.assign(pod.pod, pod.uid, interface_of(1))

    def kuryrctl(*words: str) -> tuple[int, Any]:
        command = [sys.executable, "-m", "kuryrctl.cli.app", "node", *words, "--socket", str(runtime.socket)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    code, bound = kuryrctl("bind", pod.pod, pod.netns, "-f", "json")
    assert (code, bound["Device"], bound["Addresses"]) == (0, "tap00000001-11", list(interface_of(1).addresses))
    code, rows = kuryrctl("list", "-f", "json")
    assert (code, [(row["Pod"], row["Data plane"]) for row in rows]) == (0, [(pod.pod, "ready")])
    assert kuryrctl("list", "--direct", "--ovsdb", node.ovsdb, "-f", "json") == (0, rows)
    assert kuryrctl("check", "-f", "json") == (0, [])
    with Netlink(pod.netns) as inside:
        inside.apply(changes.set_link(inside.index_of("eth0"), mtu=1300))
    code, findings = kuryrctl("check", "-f", "json")
    assert (code, [row["Part"] for row in findings]) == (20, ["mtu"])
    assert kuryrctl("gc", "-f", "json") == (0, [])
    assert kuryrctl("gc", "--keep", "by-hand-shop-web-1", "--network", "by-hand", "-f", "json") == (0, [])
    code, removed = kuryrctl("gc", "--keep", "nobody", "--network", "by-hand", "-f", "json")
    assert (code, [row["Pod"] for row in removed]) == (0, [pod.pod])
    assert node.ports() == []
    assert kuryrctl("unbind", "by-hand-shop-web-1") == (0, "by-hand-shop-web-1: nothing was bound\n")


@pytest.mark.usefixtures("agent")
def test_the_heartbeat_goes_on(cluster: Cluster) -> None:
    eventually(lambda: cluster.node.heartbeat_s > time.time() - 5, "a heartbeat")
    assert cluster.node.name == NODE
    assert cluster.node.version


def test_a_bug_in_following_a_change_up_does_not_deafen_the_agent(
    agent: RunningAgent, cluster: Cluster, runtime: Runtime, sandbox: Sandboxes, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug of the keeper")

    pod = sandbox(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(agent.agent.keeper, "look_at", broken)
        cluster.assign("shop/other", "uid-other", interface_of(2))
        eventually(lambda: "RuntimeError: a bug of the keeper" in caplog.text, "the bug is logged")

    cluster.assign(pod.pod, pod.uid, interface_of(1))
    assert runtime.add(pod)[0] == 0
    assert runtime.delete(pod)[0] == 0


@pytest.mark.usefixtures("agent")
def test_ten_pods_at_once(cluster: Cluster, node: Switch, runtime: Runtime, sandbox: Sandboxes) -> None:
    all_of_them = [sandbox(number) for number in range(1, 11)]
    for number, pod in enumerate(all_of_them, 1):
        cluster.assign(pod.pod, pod.uid, interface_of(number))

    with ThreadPoolExecutor(10) as pool:
        assert [code for code, _ in pool.map(runtime.add, all_of_them)] == [0] * 10
        eventually(lambda: all(port.bound for port in cluster.ports.values()), "all are bound")
        assert ping(all_of_them[0].netns, "10.65.0.10")
        writes = cluster.node_reports
        assert [code for code, _ in pool.map(runtime.delete, all_of_them)] == [0] * 10

    assert writes < 8, "the node's status is written for groups of pods"
    assert node.ports() == []


def node_port_as(wanted: Interface) -> bool:
    """Whether the kernel has the node port as wanted."""
    with Netlink() as host:
        link = host.link("k8snode")
        if link is None:
            return False
        addresses = {address.address for address in host.addresses(link.index) if not address.link_local}
        routes = {(r.destination, r.gateway) for r in host.routes() if r.index == link.index and r.gateway}
    return (
        (link.mac, link.mtu, link.up) == (wanted.mac_address, wanted.mtu, True)
        and addresses == set(wanted.addresses)
        and routes == {(route.destination, route.gateway) for route in wanted.routes}
    )
