"""Probes from real network namespaces: a pod, a router with a narrower link behind it, and a server. Needs root."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kuryrctl.core.kinds import Kind
from kuryrctl.core.probe import TARGETS_AT_ONCE, Attempt, KuryrProbe, Protocol, Result, Target
from kuryrctl.kube import Changed, Informer, Kube, Message
from kuryrctl.node import namespaces
from kuryrctl.node.ovsdb import Attachment
from kuryrctl.node.probe import Prober
from kuryrctl.node.probe_attempt import attempt
from tests.fakes.kube import FakeKube
from tests.functional.node.world import NODE

TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP
SERVER = {4: "10.66.1.2", 6: "fd00:66:1::2"}
NOBODY = {4: "10.66.1.9", 6: "fd00:66:1::9"}
NOWHERE = {4: "10.77.0.1", 6: "fd00:77::1"}
OPEN, CLOSED, SILENT = 8080, 8081, 8082
NEAR_MTU, FAR_MTU = 1442, 1300
PREFIX = f"kp-{os.getpid()}-probe-"
SETUP = f"""
link add near netns {{pod}} mtu {NEAR_MTU} type veth peer name near netns {{router}} mtu {NEAR_MTU}
link add far netns {{server}} mtu {FAR_MTU} type veth peer name far netns {{router}} mtu {FAR_MTU}
-n {{pod}} addr add 10.66.0.2/24 dev near
-n {{pod}} addr add fd00:66::2/64 dev near nodad
-n {{router}} addr add 10.66.0.1/24 dev near
-n {{router}} addr add fd00:66::1/64 dev near nodad
-n {{router}} addr add 10.66.1.1/24 dev far
-n {{router}} addr add fd00:66:1::1/64 dev far nodad
-n {{server}} addr add {SERVER[4]}/24 dev far
-n {{server}} addr add {SERVER[6]}/64 dev far nodad
-n {{pod}} link set near up
-n {{router}} link set near up
-n {{router}} link set far up
-n {{server}} link set far up
-n {{pod}} route add 10.66.1.0/24 via 10.66.0.1
-n {{pod}} route add fd00:66:1::/64 via fd00:66::1
-n {{server}} route add default via 10.66.1.1
-n {{server}} route add default via fd00:66:1::1
-n {{router}} neigh add {NOBODY[4]} lladdr 02:00:00:00:00:99 dev far
-n {{router}} neigh add {NOBODY[6]} lladdr 02:00:00:00:00:99 dev far
-n {{router}} route add unreachable 10.66.1.128/25
"""


@pytest.fixture(scope="module")
def pod() -> Iterator[Path]:
    """The pod's namespace, with a server behind a router."""
    names = {role: PREFIX + role for role in ("pod", "router", "server")}
    for name in names.values():
        namespaces.create(name)
    try:
        for name in names.values():
            with namespaces.entered(namespaces.path_of(name)):  # as in pods: no duplicate address detection
                Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        for line in SETUP.format(**names).strip().splitlines():
            subprocess.run(["ip", *line.split()], check=True)
        with namespaces.entered(namespaces.path_of(names["router"])):
            for setting, value in (("ip_forward", "1"), ("icmp_ratelimit", "0")):
                Path("/proc/sys/net/ipv4", setting).write_text(value)
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        with namespaces.entered(namespaces.path_of(names["server"])):
            opened = [
                *(served(family, kind, OPEN) for family in SERVER for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)),
                *(served(family, socket.SOCK_DGRAM, SILENT) for family in SERVER),
            ]
        for each in opened:
            if each.type == socket.SOCK_DGRAM and each.getsockname()[1] == OPEN:
                threading.Thread(target=echo, args=(each,), daemon=True).start()
        path = namespaces.path_of(names["pod"])
        for address in SERVER.values():  # the kernel takes a moment until all links are up
            assert any(tried(path, Target(address, ICMP), 0.5).result is Result.REACHABLE for _ in range(10))
        yield path
        for each in opened:
            each.close()
    finally:
        for name in names.values():
            namespaces.delete(name)


def served(version: int, kind: int, port: int) -> socket.socket:
    """A socket of the server, in whose namespace the caller is."""
    opened = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind)
    opened.bind((SERVER[version], port))
    if kind == socket.SOCK_STREAM:
        opened.listen()
    return opened


def echo(opened: socket.socket) -> None:
    """Answer datagrams with what they carry, until the socket is closed."""
    opened.settimeout(0.2)
    while opened.fileno() >= 0:
        try:
            opened.sendto(*opened.recvfrom(2048))
        except TimeoutError:
            continue
        except OSError:
            return


def tried(pod: Path, target: Target, timeout_s: float = 1.0) -> Attempt:
    return attempt(target, pod, timeout_s, lambda: False)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("protocol", "port", "result"),
    [
        (TCP, OPEN, Result.REACHABLE),
        (TCP, CLOSED, Result.REFUSED),
        (UDP, OPEN, Result.REACHABLE),
        (UDP, CLOSED, Result.REFUSED),
        (UDP, SILENT, Result.TIME_OUT),
        (ICMP, 0, Result.REACHABLE),
    ],
)
def test_what_a_peer_answers(pod: Path, version: int, protocol: Protocol, port: int, result: Result) -> None:
    found = tried(pod, Target(SERVER[version], protocol, port), 0.5)

    assert found.result is result
    assert (found.round_trip_ms is not None) == (result is Result.REACHABLE)


@pytest.mark.parametrize("protocol", list(Protocol))
def test_an_answer_that_came_while_the_thread_waited_for_a_core_counts(pod: Path, protocol: Protocol) -> None:
    def late() -> bool:
        time.sleep(0.3)
        return True

    assert attempt(Target(SERVER[4], protocol, OPEN), pod, 5.0, late).result is Result.REACHABLE


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", list(Protocol))
def test_no_way_at_all_is_unreachable_and_says_why(pod: Path, version: int, protocol: Protocol) -> None:
    found = tried(pod, Target(NOWHERE[version], protocol, OPEN))

    assert (found.result, found.detail) == (Result.UNREACHABLE, "Network is unreachable")


@pytest.mark.parametrize("protocol", list(Protocol))
def test_a_router_that_knows_no_way_is_heard(pod: Path, protocol: Protocol) -> None:
    assert tried(pod, Target("10.66.1.200", protocol, OPEN)).result is Result.UNREACHABLE


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", list(Protocol))
def test_nobody_there_is_a_time_out(pod: Path, version: int, protocol: Protocol) -> None:
    started = time.monotonic()

    assert tried(pod, Target(NOBODY[version], protocol, OPEN), 0.3).result is Result.TIME_OUT
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("size", "mtu"), [(FAR_MTU, 0), (FAR_MTU + 1, FAR_MTU), (NEAR_MTU, FAR_MTU), (NEAR_MTU + 1, NEAR_MTU)]
)
def test_a_packet_that_must_not_be_cut_finds_the_narrow_link(pod: Path, version: int, size: int, mtu: int) -> None:
    """Beyond the pod's own link the router says it, also a second time: no MTU that was learned is minded."""
    target = Target(SERVER[version], ICMP, packet_bytes=size, dont_fragment=True)
    for _ in range(2):
        subprocess.run(["ip", "-n", PREFIX + "pod", "route", "flush", "cache"], check=True)
        subprocess.run(["ip", "-6", "-n", PREFIX + "pod", "route", "flush", "cache"], check=True)
        found = tried(pod, target)
        assert (found.result, found.mtu_bytes) == ((Result.TOO_BIG, mtu) if mtu else (Result.REACHABLE, 0))


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_that_may_be_cut_arrives_whatever_its_size(pod: Path, version: int) -> None:
    assert tried(pod, Target(SERVER[version], ICMP, packet_bytes=4001)).result is Result.REACHABLE


def test_many_echoes_to_one_address_do_not_take_each_others_answers(pod: Path) -> None:
    """Half of them fit: each hears of its own packet only."""
    results: dict[int, Attempt] = {}

    def one(size: int) -> None:
        results[size] = tried(pod, Target(SERVER[4], ICMP, packet_bytes=size, dont_fragment=True), 3.0)

    threads = [threading.Thread(target=one, args=(size,)) for size in range(FAR_MTU - 9, FAR_MTU + 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fitted = {size for size, found in results.items() if found.result is Result.REACHABLE}
    refused = {size for size, found in results.items() if (found.result, found.mtu_bytes) == (Result.TOO_BIG, FAR_MTU)}
    assert (fitted, refused) == (set(range(FAR_MTU - 9, FAR_MTU + 1)), set(range(FAR_MTU + 1, FAR_MTU + 11)))


def test_an_address_that_is_none_and_a_namespace_that_is_gone(pod: Path) -> None:
    assert tried(pod, Target("1.2.3", TCP, OPEN)) == Attempt(Result.UNREACHABLE, detail="not an IP address")
    with pytest.raises(Exception, match="does not exist"):
        tried(pod.with_name("no-such-namespace"), Target(SERVER[4], TCP, OPEN))


class Scene:
    """The prober of a node with one pod bound, on an API server in memory."""

    def __init__(self, netns: Path) -> None:
        self.fake = FakeKube()
        self.kube = Kube(self.fake)
        self.fake.add_namespace("shop")
        self.uid = self.fake.add_pod("shop", "web-0", node=NODE)
        self.attached = [Attachment("tap0", "p", "m", pod_uid=self.uid, pod="shop/web-0", netns=str(netns))]
        self.skew_s = 0.0
        self.prober = Prober(NODE, self.kube.probes, lambda: self.attached, now=self.now)
        self._out: queue.Queue[Message] = queue.Queue()
        self._informer = Informer(self.kube, Kind.KURYR_PROBE, self._out, node=NODE)
        self._informer.start()
        threading.Thread(target=self._read, daemon=True).start()
        (self.created_s,) = {self.kube.probes.create(self.probe("probe-0", node="elsewhere")).created_s}

    def now(self) -> float:
        return self.created_s + 1.0 + self.skew_s

    def probe(self, name: str, *targets: Target, **parts: object) -> KuryrProbe:
        settings = {"pod_uid": self.uid, "node": NODE, "timeout_ms": 500, "run": name, **parts}
        return KuryrProbe("shop", name, "web-0", targets=targets or (Target(SERVER[4], TCP, OPEN),), **settings)  # type: ignore[arg-type]

    def ask(self, name: str, *targets: Target, **parts: object) -> KuryrProbe:
        (answer,) = self.kube.probes.ask([self.probe(name, *targets, **parts)], 10)
        return answer

    def end(self) -> None:
        self._informer.stop()
        self.prober.stop()
        self.kube.close()

    def _read(self) -> None:
        while True:
            self.prober.take(self._out.get())


@pytest.fixture
def scene(pod: Path) -> Iterator[Scene]:
    made = Scene(pod)
    yield made
    made.end()


def test_one_probe_tries_all_its_targets_and_answers_in_their_order(scene: Scene) -> None:
    asked = [Target(SERVER[v], TCP, port) for v in SERVER for port in (OPEN, CLOSED)] * 30

    answer = scene.ask("many", *asked, count=2)

    assert len(answer.targets) == len(answer.attempts) == len(asked) > TARGETS_AT_ONCE
    expected = [Result.REACHABLE if target.port == OPEN else Result.REFUSED for target in asked]
    assert [[one.result for one in each] for each in answer.attempts] == [[result] * 2 for result in expected]
    assert answer.error == ""
    assert answer.finished_at
    assert scene.fake.objects("kuryrprobes").keys() == {"shop/probe-0"}


def test_a_pod_that_is_not_bound_here_under_that_uid_is_not_probed_from(scene: Scene) -> None:
    answer = scene.ask("other", pod_uid="another-uid")

    assert "pod shop/web-0 (uid another-uid) is not bound on node node1 [PROBE-NOT-BOUND]" in answer.error
    assert answer.attempts == ()


def test_a_probe_of_another_node_and_an_old_one_are_not_run(scene: Scene) -> None:
    scene.skew_s = 1000.0

    answer = scene.ask("old", ttl_s=60)

    assert "1001 s old by the clock of node node1, its time to live is 60 s" in answer.error
    assert "status" not in scene.fake.objects("kuryrprobes")["shop/probe-0"]


def test_a_probe_is_run_once_however_often_it_is_told(scene: Scene) -> None:
    probe = scene.kube.probes.create(scene.probe("once", Target(SERVER[4], UDP, SILENT)))
    for _ in range(3):
        scene.prober.take(Changed(Kind.KURYR_PROBE, probe))

    deadline = time.monotonic() + 10
    while not scene.fake.objects("kuryrprobes")["shop/once"].get("status") and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.8)  # longer than a second run would take

    assert sum(method == "PATCH" for method, _ in scene.fake.requests) == 1


def test_what_is_not_tried_in_time_is_said_to_be_so(scene: Scene) -> None:
    """The probe is nine of its ten seconds old when it is taken up."""
    scene.skew_s = 8.0

    answer = scene.ask("slow", Target(NOBODY[4], UDP, OPEN), count=4, timeout_ms=600, ttl_s=10)

    assert [one.result for one in answer.attempts[0]] == [Result.TIME_OUT] * 2 + [Result.NOT_TRIED] * 2


def test_an_agent_that_ends_does_not_wait_for_slow_targets(scene: Scene) -> None:
    probe = scene.probe("ending", *[Target(NOBODY[4], UDP, OPEN)] * 100, timeout_ms=10000, count=10)
    scene.kube.probes.create(probe)
    time.sleep(0.5)

    started = time.monotonic()
    scene.prober.stop()

    assert time.monotonic() - started < 3
    assert "status" not in scene.fake.objects("kuryrprobes")["shop/ending"]


def test_the_agents_pods_probe_each_other_while_the_server_forgets_the_watch(scene: Scene) -> None:
    scene.fake.compact()
    scene.fake.cut_watches()

    assert scene.ask("after").attempts[0][0].result is Result.REACHABLE
