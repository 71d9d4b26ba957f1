"""The CNI entry and a running agent, held to the specification: every verb, every version, every circumstance.

One node for all: a real Open vSwitch, real namespaces; the test plays cluster, ovn-controller and runtime.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.core.cluster import Interface, KuryrPort
from kuryrctl.core.errors import Owner, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Down
from kuryrctl.node import changes, cni, namespaces
from kuryrctl.node.netlink import Netlink
from tests.functional.node import spec
from tests.functional.node.calls import (
    EXISTING,
    LACKING,
    Call,
    check_failure,
    check_success,
    has_interface,
    made,
    renamed,
    sandbox_of,
    without,
)
from tests.functional.node.conftest import interface_of
from tests.functional.node.switch import Controller, Switch, eventually
from tests.functional.node.world import Cluster, RunningAgent, Runtime, Sandbox

Count = Callable[[str, object], None]
AT_ONCE = 20


class Site:
    """A node, its agent, and containers on it."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.cluster = Cluster()
        self.runtime = Runtime(switch.folder)
        self.controller = Controller(switch.ovsdb)
        self.agent = self.start()
        self._numbers = itertools.cycle(range(1, 200))
        self._namespaces: list[str] = []

    def start(self) -> RunningAgent:
        """It tidies up at its start only: what a test breaks, nobody repairs before it was looked at."""
        return RunningAgent(self.runtime.socket, self.switch.ovsdb, self.cluster, tick_s=600)

    def restart(self) -> None:
        self.agent.stop()
        self.agent = self.start()

    def container(self, *, assigned: bool = True) -> Sandbox:
        """A new container with a namespace, and a port that waits for it."""
        number = next(self._numbers)
        self._namespaces.append(f"kc-{os.getpid()}-{len(self._namespaces)}")
        pod = sandbox_of(number, str(namespaces.create(self._namespaces[-1])))
        if assigned:
            self.cluster.assign(pod.pod, pod.uid, interface_of(number))
        return pod

    def containers(self, count: int) -> list[Sandbox]:
        return [self.container() for _ in range(count)]

    def before(self, call: Call, pods: list[Sandbox]) -> list[Any]:
        """What was added before the call, for each container."""
        if not call.needs_add:
            return [None] * len(pods)
        version = max(call.version, "0.4.0")
        answers = [made(self.runtime, Call("ADD", version), pod) for pod in pods]
        assert [code for code, _ in answers] == [0] * len(pods), answers
        return [added for _, added in answers]

    def check_after(self, call: Call, pods: list[Sandbox]) -> None:
        """The world is as the call should leave it; and nothing that it should have removed is left anywhere."""
        taps = sorted(self.tap(pod) for pod in pods) if call.adds or call.verb == "CHECK" else []
        assert sorted(self.switch.ports()) == taps
        assert self.devices() == taps
        if taps:
            assert [self.runtime.check(pod) for pod in pods] == [(0, None)] * len(pods)
        assert [has_interface(pod) for pod in pods] == [bool(taps)] * len(pods)

    def tap(self, pod: Sandbox) -> str:
        (interface,) = self.cluster.ports[pod.pod].interfaces
        return f"tap{interface.port_id[:11]}"

    def assigned(self, pod: Sandbox) -> KuryrPort:
        """The pod's KuryrPort as the agent knows it."""
        known = self.agent.agent.assignments.of(pod.pod)
        assert known is not None
        return known

    def devices(self) -> list[str]:
        """The node's ends of pods' interfaces."""
        with Netlink() as host:
            return sorted(link.name for link in host.links() if link.name.startswith("tap"))

    def clear(self) -> None:
        """End every container, as a runtime does; nothing may be left."""
        for known in self.agent.ovsdb.attachments():
            pod = Sandbox(known.pod, known.pod_uid, known.sandbox, known.netns)
            assert self.runtime.delete(pod) == (0, None)
        left = self.switch.ports(), self.devices()
        self.switch.clear()
        for name in self._namespaces:
            namespaces.delete(name)
        self._namespaces.clear()
        for pod in self.cluster.ports.values():
            self.cluster.kube.delete_kuryr_port(pod.namespace, pod.name, pod.uid)
        assert left == ([], [])

    def stop(self) -> None:
        self.agent.stop()
        self.controller.stop()


@pytest.fixture(scope="module")
def everything() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="kc-", dir="/tmp"))
    switch = Switch(folder, namespace=f"kc-{os.getpid()}")
    try:
        switch.start()
        with namespaces.entered(namespaces.path_of(switch.namespace)):
            site = Site(switch)
            yield site
            site.stop()
        assert switch.aborts() == [], "ovs-vswitchd aborted during the tests"
    finally:
        switch.stop()
        shutil.rmtree(folder)


@pytest.fixture
def site(everything: Site) -> Iterator[Site]:
    yield everything
    everything.clear()


every_call = pytest.mark.parametrize("call", EXISTING, ids=str)


@every_call
def test_with_its_namespace(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    (added,) = site.before(call, pods)

    check_success(call, *made(site.runtime, call, pods[0], added))

    site.check_after(call, pods)
    record_property("cni-case", f"{call}: namespace there")


@every_call
def test_with_its_namespace_gone(call: Call, site: Site, record_property: Count) -> None:
    pod = site.container()
    (added,) = site.before(call, [pod])
    namespaces.delete(Path(pod.netns).name)

    code, answer = made(site.runtime, call, pod, added)

    if call.adds:
        check_failure(call, code, answer, 4)
        assert pod.netns in answer["msg"]
    elif call.verb == "CHECK":
        check_failure(call, code, answer, 101)
    else:
        check_success(call, code, answer)
    eventually(lambda: site.devices() == [], "the kernel removes the pair with the namespace")
    if call.removes or call.adds:
        assert site.switch.ports() == []
    record_property("cni-case", f"{call}: namespace gone")


@every_call
def test_repeated(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    (added,) = site.before(call, pods)

    answers = [made(site.runtime, call, pods[0], added) for _ in range(3)]

    for code, answer in answers:
        check_success(call, code, answer)
        assert answer == answers[0][1]
    site.check_after(call, pods)
    record_property("cni-case", f"{call}: repeated")


@every_call
def test_concurrent_for_one_container(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    (added,) = site.before(call, pods)

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: made(site.runtime, call, pods[0], added), range(5)))

    for code, answer in answers:
        check_success(call, code, answer)
        assert answer == answers[0][1]
    site.check_after(call, pods)
    record_property("cni-case", f"{call}: concurrent for one container")


@every_call
def test_twenty_containers_at_once(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(AT_ONCE)
    added = site.before(call, pods)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda pod, before: made(site.runtime, call, pod, before), pods, added))

    for code, answer in answers:
        check_success(call, code, answer)
    site.check_after(call, pods)
    record_property("cni-case", f"{call}: 20 containers at once")


@every_call
def test_with_the_agent_restarted_in_between(call: Call, site: Site, record_property: Count) -> None:
    """An ADD is repeated behind the restart; what was added before is known after it."""
    pods = site.containers(1)
    (added,) = site.before(call, pods)
    first = made(site.runtime, call, pods[0]) if call.adds else None
    site.restart()

    code, answer = made(site.runtime, call, pods[0], added)

    check_success(call, code, answer)
    assert first is None or first == (code, answer)
    site.check_after(call, pods)
    record_property("cni-case", f"{call}: agent restarted")


@every_call
def test_without_an_agent(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    (added,) = site.before(call, pods)
    site.agent.stop()

    code, answer = made(site.runtime, call, pods[0], added)
    site.agent = site.start()

    if call.verb in ("DEL", "VERSION"):
        check_success(call, code, answer)
    else:
        check_failure(call, code, answer, 50 if call.verb == "STATUS" else 11)
    eventually(lambda: call.verb != "DEL" or site.switch.ports() == [], "the noted DEL is done")
    check_success(call, *made(site.runtime, call, pods[0], added))
    site.check_after(call, pods)
    record_property("cni-case", f"{call}: no agent")


GARBAGE = {
    "nothing": "",
    "no JSON": "10-kuryr.conflist",
    "half": '{{"cniVersion":"{version}","name":"kuryr",',
    "a list": '[{{"cniVersion":"{version}"}}]',
    "no text": '{{"cniVersion":"{version}","name":"kuryr","socket":"\xff\xfe',
}


@every_call
def test_garbage_on_stdin(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    site.before(call, pods)

    for name, template in GARBAGE.items():
        stdin = template.format(version=call.version).encode("latin-1")
        code, answer = site.runtime.ended(site.runtime.begin(call.environment(pods[0])), stdin)
        assert code == 1, name
        assert spec.check_error(answer, "1.1.0") == 6, name  # of a version that nobody can read: our newest

    assert [has_interface(pod) for pod in pods] == [call.needs_add]
    record_property("cni-case", f"{call}: garbage on stdin")


NEEDED = {"ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"), "DEL": ("CNI_CONTAINERID", "CNI_IFNAME")}
NEEDED["CHECK"] = NEEDED["ADD"][:3]


@every_call
def test_without_its_environment(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    (added,) = site.before(call, pods)
    stdin, whole = call.config(site.runtime, added).encode(), call.environment(pods[0])

    for key in ("CNI_COMMAND", *NEEDED.get(call.verb, ())):
        for environment in (without(whole, key), whole | {key: ""}):
            code, answer = site.runtime.ended(site.runtime.begin(environment), stdin)
            check_failure(call, code, answer, 4)

    assert [has_interface(pod) for pod in pods] == [call.needs_add]
    record_property("cni-case", f"{call}: environment missing")


@pytest.mark.parametrize("call", LACKING, ids=str)
def test_a_verb_that_the_version_lacks(call: Call, site: Site, record_property: Count) -> None:
    pods = site.containers(1)
    (added,) = site.before(call, pods)

    check_failure(call, *made(site.runtime, call, pods[0], added), 1)

    assert [has_interface(pod) for pod in pods] == [call.needs_add]
    record_property("cni-case", f"{call}: not in this version")


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "1.2.0", "2.0.0", ""])
def test_a_version_that_we_do_not_speak(version: str, site: Site, record_property: Count) -> None:
    pod = site.container()

    code, answer = made(site.runtime, Call("ADD", version), pod)

    assert (code, spec.check_error(answer, "1.1.0")) == (1, 1)
    assert all(known in answer["details"] for known in spec.VERSIONS)
    assert not has_interface(pod)
    record_property("cni-case", f'ADD in version "{version}"')


def inside(pod: Sandbox, change: Callable[[int], changes.Change]) -> None:
    with Netlink(pod.netns) as stack:
        stack.apply(change(stack.index_of("eth0")))


def on_node(name: str, change: Callable[[int], changes.Change]) -> None:
    with Netlink() as host:
        host.apply(change(host.index_of(name)))


BROKEN: dict[str, tuple[Callable[[Site, Sandbox], object], str]] = {
    "IPv4 address": (
        lambda site, pod: inside(pod, lambda i: changes.delete_address(i, wanted(site, pod).addresses[0])),
        "lacks 10.65.0.",
    ),
    "IPv6 address": (
        lambda site, pod: inside(pod, lambda i: changes.delete_address(i, wanted(site, pod).addresses[1])),
        "lacks fd00:10:65::",
    ),
    "IPv4 route": (
        lambda site, pod: inside(pod, lambda i: changes.delete_route("0.0.0.0/0", index=i, gateway="10.65.0.254")),
        "lacks the route 0.0.0.0/0",
    ),
    "IPv6 route": (
        lambda site, pod: inside(pod, lambda i: changes.delete_route("::/0", index=i, gateway="fd00:10:65::fffe")),
        "lacks the route ::/0",
    ),
    "MTU": (lambda site, pod: inside(pod, lambda i: changes.set_link(i, mtu=1300)), "has MTU 1300, not 1442"),
    "MAC": (lambda site, pod: inside(pod, lambda i: changes.set_link(i, mac="02:00:00:00:ff:ff")), "not 02:00:"),
    "interface down": (
        lambda site, pod: inside(pod, lambda i: changes.set_link(i, state=changes.State.DOWN)),
        "is down in the pod",
    ),
    "interface gone": (lambda site, pod: gone(pod), "does not exist"),
    "OVS port": (lambda site, pod: site.switch.vsctl("del-port", "br-int", site.tap(pod)), "is not plugged"),
    "iface-id": (
        lambda site, pod: site.switch.vsctl("set", "Interface", site.tap(pod), "external_ids:iface-id=another"),
        "serves port another",
    ),
    "iface-id gone": (
        lambda site, pod: site.switch.vsctl("remove", "Interface", site.tap(pod), "external_ids", "iface-id"),
        "serves port none",
    ),
    "data plane": (
        lambda site, pod: site.switch.vsctl("set", "Interface", site.tap(pod), "external_ids:ovn-installed=false"),
        "has not installed port",
    ),
    "node's end down": (
        lambda site, pod: on_node(site.tap(pod), lambda i: changes.set_link(i, state=changes.State.DOWN)),
        "is down",
    ),
}


def wanted(site: Site, pod: Sandbox) -> Interface:
    (interface,) = site.cluster.ports[pod.pod].interfaces
    return interface


def gone(pod: Sandbox) -> None:
    with Netlink(pod.netns) as stack:
        assert stack.delete("eth0")


@pytest.mark.parametrize("version", spec.VERSIONS[1:])
@pytest.mark.parametrize("part", BROKEN)
def test_check_finds_what_was_broken_by_hand(part: str, version: str, site: Site, record_property: Count) -> None:
    pod, call = site.container(), Call("CHECK", version)
    (added,) = site.before(call, [pod])
    check_success(call, *made(site.runtime, call, pod, added))
    breaking, said = BROKEN[part]
    # The agent has a look at a pod whose KuryrPort changes, and mends its iface-id.
    eventually(lambda: site.assigned(pod).bound, "the agent has heard of its own report")

    breaking(site, pod)

    eventually(lambda: made(site.runtime, call, pod, added)[0], "CHECK finds it")
    code, answer = made(site.runtime, call, pod, added)
    check_failure(call, code, answer, 101)
    assert said in answer["msg"]
    again = Call("ADD", version)
    check_success(again, *made(site.runtime, again, pod))
    check_success(call, *made(site.runtime, call, pod, added))
    record_property("cni-case", f"{call}: {part} broken")


def test_gc_removes_exactly_what_no_valid_attachment_names(site: Site, record_property: Count) -> None:
    kept, lost, other_name, other_network = site.containers(4)
    for pod in (kept, lost):
        assert site.runtime.add(pod)[0] == 0
    second = {**other_name.environment, "CNI_COMMAND": "ADD"}
    config = site.runtime.config("1.1.0", name="another-network")
    assert (
        site.runtime.ended(site.runtime.begin({**other_network.environment, "CNI_COMMAND": "ADD"}), config.encode())[0]
        == 0
    )
    assert site.runtime.ended(site.runtime.begin(second), site.runtime.config("1.1.0").encode())[0] == 0
    site.switch.vsctl("add-port", "br-int", "foreign", "--", "set", "Interface", "foreign", "type=internal")
    half, foreign_pair = site.container(), site.container()
    with Netlink() as host:
        for name, pod in (("tap-half", half), ("veth-foreign", foreign_pair)):
            with namespaces.opened(pod.netns) as there:
                host.apply(changes.add_veth(changes.VethEnd(name), changes.VethEnd("eth0", there)))
    valid = [
        {"containerID": kept.container, "ifname": "eth0"},
        {"containerID": other_name.container, "ifname": "eth1"},  # the container, but not this interface of it
        {"containerID": "never-seen", "ifname": "eth0"},
    ]
    stdin = site.runtime.config("1.1.0", **{"cni.dev/valid-attachments": valid})

    with Netlink() as host:
        host.apply(changes.note_on_link("tap-half", f"kuryr:{half.container}/eth0"))
    assert site.runtime.call("GC", stdin) == (0, None)

    assert sorted(site.switch.ports()) == sorted([site.tap(kept), site.tap(other_network), "foreign"])
    assert site.devices() == sorted([site.tap(kept), site.tap(other_network)])
    assert [has_interface(pod) for pod in (kept, other_network, foreign_pair)] == [True] * 3
    assert [has_interface(pod) for pod in (lost, other_name, half)] == [False] * 3
    assert site.runtime.check(kept) == (0, None)
    assert site.runtime.check(other_network) == (0, None)
    bound = {kept.pod, other_network.pod}
    eventually(
        lambda: {name for name, port in site.cluster.ports.items() if port.bound} == bound, "the KuryrPorts say unbound"
    )
    eventually(
        lambda: {known.pod_uid for known in site.cluster.node.plugged} == {kept.uid, other_network.uid},
        "the KuryrNode lists what is left",
    )
    assert site.runtime.call("GC", stdin) == (0, None)
    assert len(site.switch.ports()) == 3
    record_property("cni-case", "GC 1.1.0: exactly what no valid attachment names")
    site.switch.vsctl("del-port", "br-int", "foreign")
    with Netlink() as host:
        host.delete("veth-foreign")


def test_gc_without_a_list_removes_nothing(site: Site, record_property: Count) -> None:
    (pod,) = site.containers(1)
    assert site.runtime.add(pod)[0] == 0

    check_failure(Call("GC", "1.1.0"), *site.runtime.call("GC", site.runtime.config("1.1.0")), 7)

    assert site.runtime.check(pod) == (0, None)
    record_property("cni-case", "GC 1.1.0: no list")


def test_status_is_50_only_while_unreachable_or_never_synced(site: Site, record_property: Count) -> None:
    status = Call("STATUS", "1.1.0")
    assert site.runtime.status() == (0, None)
    lost = Unavailable("the API server does not answer", code="KUBE-DOWN", owner=Owner.KUBERNETES)
    for kind in (Kind.KURYR_PORT, Kind.KURYR_NODE):
        site.agent.agent.assignments.put(Down(kind, lost))
    assert site.runtime.status() == (0, None), "a watch that is lost is no reason to take the node out"
    record_property("cni-case", f"{status}: watch lost")

    site.agent.stop()
    check_failure(status, *site.runtime.status(), 50)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(site.cluster, "followers", lambda out: [])
        site.agent = RunningAgent(site.runtime.socket, site.switch.ovsdb, site.cluster, synced=False)
        check_failure(status, *site.runtime.status(), 50)
        site.agent.stop()
    site.agent = site.start()
    assert site.runtime.status() == (0, None)
    record_property("cni-case", f"{status}: never synced")


@pytest.mark.parametrize("key", ["CNI_CONTAINERID", "CNI_IFNAME"])
@pytest.mark.parametrize("value", ["../../etc", "..", "a b", "a/b", "a:b", "x" * 16 + "/"])
def test_names_that_are_none(key: str, value: str, site: Site, record_property: Count) -> None:
    pod, call = site.container(), Call("ADD", "1.1.0")
    environment = call.environment(pod) | {key: value}

    answer = site.runtime.ended(site.runtime.begin(environment), call.config(site.runtime).encode())

    check_failure(call, *answer, 4)
    record_property("cni-case", f'{call}: {key} is "{value}"')


def test_a_del_that_names_another_container_takes_nothing(site: Site, record_property: Count) -> None:
    (pod,) = site.containers(1)
    assert site.runtime.add(pod)[0] == 0

    assert site.runtime.delete(renamed(pod, "another")) == (0, None)

    assert site.runtime.check(pod) == (0, None)
    assert list((site.runtime.socket.parent / cni.DELETED_DIR).iterdir()) == []
    record_property("cni-case", "DEL 1.1.0: another container")
