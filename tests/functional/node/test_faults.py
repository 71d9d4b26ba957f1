"""The agent killed, Open vSwitch's database restarted, in the middle of things."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.core.errors import Unavailable
from kuryrctl.node import cni
from kuryrctl.node.netlink import Netlink
from kuryrctl.node.ovsdb import Attachment, Ovsdb
from tests.functional.node.conftest import interface_of
from tests.functional.node.switch import Controller, Switch, eventually, ping
from tests.functional.node.world import Cluster, Process, RunningAgent, Runtime, Sandbox

PODS = 4


def taps() -> list[str]:
    """The node's ends of pods' interfaces."""
    with Netlink() as host:
        return [link.name for link in host.links() if link.name.startswith("tap")]


def sandboxes(pods: Callable[[str], Path]) -> list[Sandbox]:
    return [
        Sandbox(f"shop/web-{number}", f"uid-{number}", f"sandbox-{number}", str(pods(f"k{number}")))
        for number in range(1, PODS + 1)
    ]


@pytest.mark.usefixtures("controller")
def test_an_agent_killed_in_the_middle_of_adds(node: Switch, pods: Callable[[str], Path]) -> None:
    """A runtime deletes after a failed ADD and adds again; in the end every pod is bound once, and nothing is left."""
    runtime, all_of_them = Runtime(node.folder), sandboxes(pods)
    failed = 0
    for plugged in (1, 1, 2, 2, 3):
        agent = Process(runtime, node.ovsdb, PODS)
        with ThreadPoolExecutor(PODS) as pool:
            adds = [pool.submit(runtime.add, pod) for pod in all_of_them]
            while len(taps()) < plugged and not all(add.done() for add in adds):
                time.sleep(0.0005)
            agent.kill()
            failed += sum(add.result()[0] for add in adds)
            assert [code for code, _ in pool.map(runtime.delete, all_of_them)] == [0] * PODS
    assert failed, "no ADD was interrupted: the test proves nothing"

    agent = Process(runtime, node.ovsdb, PODS)
    eventually(lambda: node.ports() == [], "what the killed agents plugged is gone")
    eventually(lambda: taps() == [], "what the killed agents made is gone")
    for pod in all_of_them:
        with Netlink(pod.netns) as inside:
            assert inside.link("eth0") is None
        code, answer = runtime.add(pod)
        assert code == 0, answer
    assert ping(all_of_them[0].netns, f"10.65.0.{PODS}")
    agent.kill()

    notes = runtime.socket.parent / cni.DELETED_DIR
    for pod in all_of_them:
        assert runtime.delete(pod) == (0, None)
    assert len(list(notes.iterdir())) == PODS
    agent = Process(runtime, node.ovsdb, PODS)
    eventually(lambda: node.ports() == [] and list(notes.iterdir()) == [], "the noted DELs are done")
    agent.kill()


def test_a_stopped_agent_counts_as_down(node: Switch, controller: Controller, pods: Callable[[str], Path]) -> None:
    """It accepts connections, as the kernel does for it, until its backlog is full; but it says nothing."""
    runtime, pod = Runtime(node.folder), sandboxes(pods)[0]
    agent = Process(runtime, node.ovsdb, PODS)
    agent.pause()
    waiting: list[socket.socket] = []
    for fill in (False, True):
        while fill:
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].settimeout(0)
            try:
                waiting[-1].connect(str(runtime.socket))
            except BlockingIOError:
                break
        took_s = []
        for _ in range(3):
            started = time.monotonic()
            code, error = runtime.add(pod)
            took_s.append(time.monotonic() - started)
            assert (code, error["code"]) == (1, 11)
        assert min(took_s) < 2, "not once of three times in time: that is no busy machine"
    for connection in waiting:
        connection.close()
    agent.kill()


def test_the_database_restarted_beside_a_running_agent(
    node: Switch, controller: Controller, pods: Callable[[str], Path]
) -> None:
    runtime, cluster = Runtime(node.folder), Cluster()
    agent = RunningAgent(runtime.socket, node.ovsdb, cluster)
    one, other = sandboxes(pods)[:2]
    for number, pod in ((1, one), (2, other)):
        cluster.assign(pod.pod, pod.uid, interface_of(number))
    assert runtime.add(one)[0] == 0

    node.restart_database()
    node.vsctl("--no-wait", "del-port", "br-int", "tap00000001-11")  # while the agent may not be connected again

    def added() -> Any:
        code, answer = runtime.add(other)
        return code == 0 or answer["code"] == 11 or pytest.fail(str(answer))

    eventually(added, "the next pod is added", timeout_s=20)
    eventually(lambda: runtime.check(one)[1] is not None, "CHECK sees that the port is gone")
    assert "not plugged" in runtime.check(one)[1]["msg"]
    for pod in (one, other):
        assert runtime.delete(pod) == (0, None)
    agent.stop()


def test_a_database_that_hangs_holds_nobody_up_for_longer_than_its_time(node: Switch) -> None:
    ovsdb = Ovsdb(node.ovsdb, "br-int", timeout_s=1)
    there, late = (Attachment(f"tap-{name}", f"port-{name}", "02:00:00:00:00:01", pod_uid=name) for name in ("a", "b"))
    ovsdb.plug(there)
    node.database.send_signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(Unavailable, match="no answer within 1 s"):
            ovsdb.plug(late)
        assert 1 <= time.monotonic() - started < 5
        assert [known.name for known in ovsdb.attachments()] == ["tap-a"]
    finally:
        node.database.send_signal(signal.SIGCONT)

    eventually(lambda: len(ovsdb.attachments()) == 2, "what was sent is done, and seen")
    assert [ovsdb.unplug(known) for known in (there, late)] == [True, True]
    ovsdb.close()
