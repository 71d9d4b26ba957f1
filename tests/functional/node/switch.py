"""A private Open vSwitch in a network namespace, and a stand-in for ovn-controller."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ovsdbapp.backend.ovs_idl import connection, event, idlutils
from ovsdbapp.schema.open_vswitch import impl_idl

from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import listens
from kuryrctl.node import namespaces
from kuryrctl.node.interfaces import internet_checksum


def openvswitch() -> Path:
    """The folder of Open vSwitch >= 3.3 and OVN: bin/, share/. The tests fail without it."""
    tree = Layout.of(os.environ).ovs
    assert (tree / "bin" / "ovs-vswitchd").exists(), f"no Open vSwitch in {tree}: kuryrctl lab up installs it"
    return tree


def eventually(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"within {timeout_s:g} s: {what}"
        time.sleep(0.01)


def ping(netns: str, address: str, timeout_s: float = 3.0) -> bool:
    """Whether the address answers an echo request (RFC 792, RFC 4443) from inside the namespace."""
    ipv6 = ":" in address
    with namespaces.entered(netns):
        probe = (
            socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            if ipv6
            else socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        )
    request, reply = (128, 129) if ipv6 else (8, 0)
    head = struct.pack("!BBHHH", request, 0, 0, os.getpid() & 0xFFFF, 1)
    checksum = 0 if ipv6 else internet_checksum(head)  # the kernel computes ICMPv6's
    deadline = time.monotonic() + timeout_s
    with probe:
        probe.settimeout(0.1)
        while time.monotonic() < deadline:
            probe.sendto(head[:2] + struct.pack("!H", checksum) + head[4:], (address, 0))
            try:
                answer, sender = probe.recvfrom(2000)
            except TimeoutError:
                continue
            if answer[0 if ipv6 else (answer[0] & 0xF) * 4] == reply and sender[0] == address:
                return True
    return False


class Switch:
    """ovsdb-server and ovs-vswitchd with an empty bridge br-int, in a namespace of its own."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder = folder
        self.namespace = namespace
        self.tree = openvswitch()
        self.ovsdb = f"unix:{folder}/db.sock"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Run it; the bridge switches by learning until a controller of the test takes it over."""
        namespaces.create(self.namespace)
        self.tool("ovsdb-tool", "create", f"{self.folder}/conf.db", f"{self.tree}/share/openvswitch/vswitch.ovsschema")
        self._start_database()
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
        self.run("ovs-vswitchd", self.ovsdb, control="vswitchd")
        self.vsctl("--timeout=10", "wait-until", "Interface", "br-int", "ofport!=[]")

    def _start_database(self) -> None:
        self.database = self.run(
            "ovsdb-server", f"{self.folder}/conf.db", f"--remote=punix:{self.folder}/db.sock", control="ovsdb"
        )
        eventually(lambda: listens(self.folder / "db.sock"), "ovsdb-server listens")

    def restart_database(self) -> None:
        """End ovsdb-server and start it again on the same data."""
        self.database.terminate()
        self.database.wait(5)
        self.processes.remove(self.database)
        (self.folder / "db.sock").unlink(missing_ok=True)
        self._start_database()

    def run(self, program: str, *arguments: str, control: str) -> subprocess.Popen[bytes]:
        """Start a daemon inside the namespace."""
        environment = os.environ | {"OVS_RUNDIR": str(self.folder), "OVN_RUNDIR": str(self.folder)}
        with (
            (self.folder / f"{control}.log").open("ab") as log,
            namespaces.entered(namespaces.path_of(self.namespace)),
        ):
            process = subprocess.Popen(
                [
                    self.tree / "bin" / program,
                    *arguments,
                    f"--unixctl={self.folder}/{control}.ctl",
                    "--no-chdir",
                    "-vconsole:warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End the daemons and the namespace."""
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        namespaces.delete(self.namespace)

    def aborts(self) -> list[int]:
        """Exit codes of daemons that a signal ended."""
        return [code for process in self.processes if (code := process.poll()) is not None and code < 0]

    def tool(self, program: str, *arguments: str) -> str:
        """What a tool of the tree prints."""
        environment = os.environ | {"OVS_RUNDIR": str(self.folder), "OVN_RUNDIR": str(self.folder)}
        done = subprocess.run(
            [self.tree / "bin" / program, *arguments], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def vsctl(self, *arguments: str) -> str:
        """What ovs-vsctl prints."""
        return self.tool("ovs-vsctl", f"--db={self.ovsdb}", *arguments)

    def ports(self) -> list[str]:
        """The ports of the bridge."""
        return self.vsctl("list-ports", "br-int").split()

    def external_ids(self, name: str) -> dict[str, str]:
        """The external_ids of an interface."""
        listed = self.vsctl("--format=json", "--columns=external_ids", "list", "Interface", name)
        return dict(json.loads(listed)["data"][0][0][1])

    def clear(self) -> None:
        """Without any port."""
        for name in self.ports():
            self.vsctl("--if-exists", "del-port", "br-int", name)


class Controller(event.RowEvent):  # type: ignore[misc]  # the library has no types
    """Says `ovn-installed` of each interface that has an `iface-id`, as ovn-controller does of those it claims.

    While `refusing`, it says nothing, as for a port that is bound to another chassis.
    """

    def __init__(self, address: str) -> None:
        super().__init__((self.ROW_CREATE, self.ROW_UPDATE), "Interface", None)
        self.event_name = "controller"
        self.refusing = False
        helper = idlutils.get_schema_helper(address, "Open_vSwitch")
        for table in ("Open_vSwitch", "Bridge", "Port", "Interface"):
            helper.register_table(table)
        handler = event.RowEventHandler()

        class Idl(connection.OvsdbIdl):  # type: ignore[misc]  # the library has no types
            def notify(self, kind: str, row: object, updates: object = None) -> None:
                handler.notify(kind, row, updates)

        handler.watch_event(self)
        self._handler = handler
        self._connection = connection.Connection(Idl(address, helper), timeout=10)
        self._api = type("Api", (impl_idl.OvsdbIdl,), {"_ovsdb_connection": None})(self._connection)

    def match_fn(self, kind: str, row: object, old: object) -> bool:
        ids = row.external_ids  # type: ignore[attr-defined]  # a row of the library
        return not self.refusing and "iface-id" in ids and "ovn-installed" not in ids

    def run(self, kind: str, row: object, old: object) -> None:
        name = row.name  # type: ignore[attr-defined]  # a row of the library
        self._api.db_set("Interface", name, ("external_ids", {"ovn-installed": "true"})).execute()

    def stop(self) -> None:
        """End it."""
        self._handler.shutdown()
        self._connection.stop(5)
