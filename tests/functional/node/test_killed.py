"""Every call of the CNI killed in the middle: the entry by its runtime, and the agent. Then the call is made again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.node import cni
from kuryrctl.node.netlink import Netlink
from tests.functional.node.calls import (
    EXISTING,
    Call,
    check_failure,
    check_success,
    has_interface,
    made,
    sandbox_of,
)
from tests.functional.node.switch import Controller, Switch, eventually
from tests.functional.node.world import Process, Runtime, Sandbox

Count = Callable[[str, object], None]
TAP = "tap00000001-11"
every_call = pytest.mark.parametrize("call", EXISTING, ids=str)


class Site:
    """A node with an agent that can be killed, and one container."""

    def __init__(self, node: Switch, controller: Controller, pod: Sandbox) -> None:
        self.node, self.controller, self.pod = node, controller, pod
        self.runtime = Runtime(node.folder)
        self.agent = self.start()

    def start(self) -> Process:
        return Process(self.runtime, self.node.ovsdb, 1)

    def before(self, call: Call) -> Any:
        """What was added before the call."""
        if not call.needs_add:
            return None
        code, added = made(self.runtime, Call("ADD", max(call.version, "0.4.0")), self.pod)
        assert code == 0, added
        return added

    def in_the_middle(self, call: Call, added: Any) -> subprocess.Popen[bytes]:
        """An entry whose call is under way: an ADD waits for the data plane, a VERSION for its configuration, and the
        agent has the other requests, but is held up before it looks at them."""
        stdin = call.config(self.runtime, added).encode()
        if call.adds:
            self.controller.refusing = True
        else:
            self.agent.pause()
        entry = self.runtime.begin(call.environment(self.pod))
        assert entry.stdin is not None
        if call.verb != "VERSION":
            entry.stdin.write(stdin)
            entry.stdin.close()
            entry.stdin = None
        if call.adds:
            eventually(self.node.ports, "the port is plugged")
        else:
            waiting = "pipe_read" if call.verb == "VERSION" else "poll"
            eventually(lambda: waiting in sleeps_in(entry), "the entry waits")
        return entry

    def check_after(self, call: Call) -> None:
        """The world is as the call should leave it."""
        there = [TAP] if call.adds or call.verb == "CHECK" else []
        assert self.node.ports() == there
        assert taps() == there
        assert has_interface(self.pod) is bool(there)

    def end(self) -> None:
        try:
            self.agent.go_on()
            assert self.runtime.delete(self.pod) == (0, None)
            eventually(lambda: (self.node.ports(), taps()) == ([], []), "nothing is left")
        finally:
            self.agent.kill()


def sleeps_in(entry: subprocess.Popen[bytes]) -> str:
    """The kernel's function in which the process sleeps: it reads its stdin, or polls the agent's socket."""
    return Path(f"/proc/{entry.pid}/wchan").read_text()


def taps() -> list[str]:
    """The node's ends of pods' interfaces."""
    with Netlink() as host:
        return [link.name for link in host.links() if link.name.startswith("tap")]


@pytest.fixture
def site(node: Switch, controller: Controller, pods: Callable[[str], Path]) -> Iterator[Site]:
    made = Site(node, controller, sandbox_of(1, str(pods("k1"))))
    yield made
    made.end()


def go_on(site: Site) -> None:
    """What held the agent up is over."""
    site.agent.go_on()
    if site.controller.refusing:
        site.controller.refusing = False
        for name in site.node.ports():
            site.node.vsctl("--if-exists", "set", "Interface", name, "external_ids:ovn-installed=true")


@every_call
def test_the_entry_is_killed(call: Call, site: Site, record_property: Count) -> None:
    """What the runtime did not wait for is done in full or not at all."""
    added = site.before(call)
    entry = site.in_the_middle(call, added)

    entry.kill()
    entry.communicate(timeout=10)
    assert entry.returncode < 0
    go_on(site)

    if call.adds:
        eventually(lambda: (site.node.ports(), taps()) == ([], []), "the port is gone")
    check_success(call, *made(site.runtime, call, site.pod, added))
    site.check_after(call)
    record_property("cni-case", f"{call}: entry killed in the middle")


@every_call
def test_the_agent_is_killed(call: Call, site: Site, record_property: Count) -> None:
    """The runtime learns of it, and what it asked for is made good when the next agent is there."""
    added = site.before(call)
    entry = site.in_the_middle(call, added)

    site.agent.kill()
    stdin = call.config(site.runtime, added).encode() if call.verb == "VERSION" else None
    code, answer = site.runtime.ended(entry, stdin)

    if call.verb in ("DEL", "VERSION"):
        check_success(call, code, answer)
    else:
        check_failure(call, code, answer, 50 if call.verb == "STATUS" else 11)
    site.controller.refusing = False
    notes = list((site.runtime.socket.parent / cni.DELETED_DIR).iterdir())
    assert len(notes) == (call.verb == "DEL")
    site.agent = site.start()
    eventually(lambda: call.verb != "DEL" or site.node.ports() == [], "the noted DEL is done")
    check_success(call, *made(site.runtime, call, site.pod, added))
    site.check_after(call)
    record_property("cni-case", f"{call}: agent killed in the middle")


@pytest.mark.parametrize("call", [each for each in EXISTING if each.adds], ids=str)
def test_the_agent_is_killed_and_the_runtime_deletes(call: Call, site: Site, record_property: Count) -> None:
    """As a runtime does after a failed ADD: nothing is left, with the namespace or without."""
    entry = site.in_the_middle(call, None)
    site.agent.kill()
    check_failure(call, *site.runtime.ended(entry), 11)
    assert site.runtime.delete(site.pod) == (0, None)
    site.controller.refusing = False

    site.agent = site.start()

    eventually(lambda: (site.node.ports(), taps()) == ([], []), "what was half made is gone")
    assert not has_interface(site.pod)
    record_property("cni-case", f"{call}: agent killed, then DEL")
