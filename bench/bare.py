"""The least that a CNI ADD can be: the same kernel and database work by one process that checks and keeps nothing.

A veth pair with its far end in the pod's namespace, plugged; addresses and routes when ovn-controller is ready;
announced. OVSDB is spoken as RFC 7047 has it, over a plain socket. The netlink messages are the product's own: what
is compared is what it does around them. `python -m bench.bare ADDRESS` does one ADD for each line of its stdin.
"""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Any

import msgspec
from msgspec import Struct

from bench.serving import ROOT
from kuryrctl.core.cluster import Interface
from kuryrctl.node import changes, interfaces, namespaces
from kuryrctl.node.binder import routes_of
from kuryrctl.node.netlink import Netlink


class Add(Struct, frozen=True):
    """What is asked of the process by a line of JSON."""

    wanted: Interface
    netns: str


class BareProcess:
    """`Bare` in a process of its own, in the namespace of the calling thread: no other thread takes its time."""

    def __init__(self, address: str) -> None:
        command = [sys.executable, "-m", "bench.bare", address]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def add(self, wanted: Interface, netns: str) -> dict[str, float]:
        """Give the namespace its interface; milliseconds of each part. RuntimeError when the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(Add(wanted, netns)) + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the bare script has ended with {self._process.wait()}")
        return msgspec.json.decode(answer, type=dict[str, float])

    def stop(self) -> None:
        """End it."""
        self._process.communicate()


class Bare:
    """One connection to the database at `address` (``unix:PATH``), for the bridge ``br-int``."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(address.removeprefix("unix:"))
        self._data = b""
        self._decoder = json.JSONDecoder()
        self._bridge = self._ask("transact", ["Open_vSwitch", _select("Bridge", "br-int")])[0]["rows"][0]["_uuid"]
        self._ask("monitor", ["Open_vSwitch", None, {"Interface": {"columns": ["name", "external_ids"]}}])

    def __enter__(self) -> Bare:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def add(self, wanted: Interface, netns: str) -> dict[str, float]:
        """Give the namespace its interface; milliseconds of each part."""
        name = f"tap{wanted.port_id[:11]}"
        times = [time.perf_counter()]
        with Netlink() as host, namespaces.opened(netns) as there, Netlink(there) as pod:
            host.apply(
                changes.add_veth(
                    changes.VethEnd(name, mtu=wanted.mtu, arp=changes.Arp.OFF),
                    changes.VethEnd(wanted.name, there, mac=wanted.mac_address, mtu=wanted.mtu),
                ),
                changes.set_link_named(name, state=changes.State.UP),
            )
            interfaces.keep_silent(name)
            interfaces.checksum_offload_off(name)
            with namespaces.entered(there):
                interfaces.checksum_offload_off(wanted.name)
                interfaces.static_ipv6(wanted.name)
            times.append(time.perf_counter())
            self._plug(name, wanted)
            times.append(time.perf_counter())
            self._installed(name)
            times.append(time.perf_counter())
            index = pod.index_of(wanted.name)
            pod.apply(
                pod.loopback_up(),
                *(changes.add_address(index, address) for address in wanted.addresses),
                changes.set_link(index, state=changes.State.UP),
                *(
                    changes.add_route(route.destination, index=index, gateway=route.gateway)
                    for route in routes_of(wanted)
                ),
            )
            times.append(time.perf_counter())
            with namespaces.entered(there):
                interfaces.announce(wanted.name, wanted.mac_address, wanted.addresses)
            times.append(time.perf_counter())
        made, plugged, ready, configured, announced = ((end - start) * 1e3 for start, end in itertools.pairwise(times))
        return {
            "ms": (times[-1] - times[0]) * 1e3,
            "netlink": made + configured,
            "ovsdb": plugged,
            "ovn-installed": ready,
            "announce": announced,
        }

    def _plug(self, name: str, wanted: Interface) -> None:
        ids = {"iface-id": wanted.port_id, "attached-mac": wanted.mac_address, "iface-status": "active"}
        interface = {"name": name, "external_ids": ["map", list(ids.items())]}
        port = {"name": name, "interfaces": ["named-uuid", "interface"]}
        answers = self._ask(
            "transact",
            [
                "Open_vSwitch",
                {"op": "insert", "table": "Interface", "row": interface, "uuid-name": "interface"},
                {"op": "insert", "table": "Port", "row": port, "uuid-name": "port"},
                {
                    "op": "mutate",
                    "table": "Bridge",
                    "where": [["_uuid", "==", self._bridge]],
                    "mutations": [["ports", "insert", ["named-uuid", "port"]]],
                },
            ],
        )
        refused = [answer for answer in answers if answer and "error" in answer]
        if refused:
            raise RuntimeError(f"Open vSwitch refused {name}: {refused}")

    def _installed(self, name: str) -> None:
        """Read what the database tells until the interface is ready."""
        while True:
            message = self._message()
            if message.get("method") != "update":
                continue
            for change in message["params"][1]["Interface"].values():
                row = change.get("new", {})
                if row.get("name") == name and ["ovn-installed", "true"] in row["external_ids"][1]:
                    return

    def _ask(self, method: str, params: list[Any]) -> Any:
        self._send({"method": method, "params": params, "id": method})
        while (message := self._message()).get("id") != method:
            pass
        if message["error"]:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _message(self) -> dict[str, Any]:
        """The next message that is no echo request; those are answered."""
        while True:
            try:
                message, end = self._decoder.raw_decode(self._data.decode())
            except ValueError:
                self._data += self._socket.recv(1 << 20)
                continue
            self._data = self._data.decode()[end:].encode()
            if message.get("method") != "echo":
                found: dict[str, Any] = message
                return found
            self._send({"result": message["params"], "error": None, "id": message["id"]})

    def _send(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode())


def _select(table: str, name: str) -> dict[str, Any]:
    return {"op": "select", "table": table, "where": [["name", "==", name]], "columns": ["_uuid"]}


def main() -> None:
    """Do what the lines of stdin ask for, with the database at the address given."""
    with Bare(sys.argv[1]) as bare:
        for line in sys.stdin.buffer:
            asked = msgspec.json.decode(line, type=Add)
            print(json.dumps(bare.add(asked.wanted, asked.netns)), flush=True)


if __name__ == "__main__":
    main()
