"""What this machine has of processes, namespaces, links, addresses, packet filters, mounts, control groups, settings.

Serves three questions: is anything in the way of the lab, does it leave anything behind, how much memory does it take.
Reads only.
"""

import ipaddress
import os
import re
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from kuryrctl.lab import layout as places
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.kubernetes import cgroups
from kuryrctl.lab.layout import NODES, Layout
from kuryrctl.lab.pids import ProcessId, identity, marked_processes
from kuryrctl.lab.process import run

OUR_LINKS = (
    places.MANAGEMENT_BRIDGE,
    places.UNDERLAY_BRIDGE,
    places.EXTERNAL_BRIDGE,
    places.HOST_LINK,
    "br-int",
    "ovs-netdev",
    *(name for node in NODES for name in (node.netns, node.underlay_link)),
)
OUR_NETWORKS = (
    places.MANAGEMENT_CIDR,
    places.UNDERLAY_CIDR,
    places.EXTERNAL_CIDR,
    *places.POD_CIDRS,
    *places.SERVICE_CIDRS,
)
OUR_PORTS = {
    "etcd": places.ETCD_PORT,
    "etcd (peers)": places.ETCD_PEER_PORT,
    "kube-controller-manager": places.CONTROLLER_MANAGER_PORT,
    "kube-scheduler": places.SCHEDULER_PORT,
    "keystone": places.KEYSTONE_PORT,
    "neutron": places.NEUTRON_PORT,
    "octavia": places.OCTAVIA_PORT,
}
PACKET_COUNTS = re.compile(r" \[\d+:\d+\]| packets \d+ bytes \d+")
FILTER_TOOLS = {"nft": ("list", "ruleset"), "iptables-save": (), "ip6tables-save": ()}
WATCHED_SYSCTLS = (
    "vm.overcommit_memory",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.hostname",
    "net.ipv4.ip_forward",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv6.conf.all.forwarding",
)


class Snapshot(msgspec.Struct, frozen=True):
    """The machine at one moment. Everything is a set of readable lines, so that a difference reads by itself."""

    processes: frozenset[str]
    netns: frozenset[str]
    links: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    filters: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    sysctls: frozenset[str]


def snapshot_of_machine(layout: Layout) -> Snapshot:
    """Everything the lab could leave behind.

    Of the processes only those that have to do with this lab: its mark in their environment, its state folder in their
    command line. Of the control groups only the topmost, below which a lab keeps all of its own. What else a machine
    runs comes and goes by itself.
    """
    return Snapshot(
        processes=frozenset(_lab_processes(layout)),
        netns=frozenset(_names(places.NETNS_DIR)),
        links=frozenset(_names(Path("/sys/class/net"))),
        addresses=frozenset(_without_lifetimes(run(["ip", "-o", "address"]))),
        routes=frozenset(run(["ip", "route", "show", "table", "all"]).splitlines()),
        filters=frozenset(_filters()),
        mounts=frozenset(" ".join(line.split()[1:3]) for line in _lines("/proc/self/mounts")),
        cgroups=frozenset(f"{top} {name}" for top in cgroups.hierarchies() for name in _folders(top)),
        sysctls=frozenset(f"{name}={_sysctl(name)}" for name in WATCHED_SYSCTLS),
    )


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """What came and what went, one line each; empty when nothing did."""
    lines = []
    for field in before.__struct_fields__:
        had, has = getattr(before, field), getattr(after, field)
        lines += [f"{field}: + {line}" for line in sorted(has - had)]
        lines += [f"{field}: - {line}" for line in sorted(had - has)]
    return lines


def refuse_collisions(layout: Layout) -> None:
    """Raise LabError when something that is not the lab's has a link, an address or a port which the lab needs.

    Only for a machine on which no lab is up: else these things are the lab's own.
    """
    found = [f"a network link {name}" for name in OUR_LINKS if (Path("/sys/class/net") / name).exists()]
    found += [f"a network namespace {n.netns}" for n in NODES if (places.NETNS_DIR / n.netns).exists()]
    found += [f"a route to {cidr}, which overlaps {ours}" for cidr, ours in _overlaps()]
    found += [f"a listener on port {port}, which {name} needs" for name, port in OUR_PORTS.items() if _taken(port)]
    if found:
        raise LabError(
            f"this machine already has {'; '.join(found)}",
            hint="the lab's names, addresses and ports are fixed: remove these, or use another machine",
        )


def _overlaps() -> list[tuple[str, str]]:
    routes: list[dict[str, Any]] = []
    for family in ("-4", "-6"):
        routes += msgspec.json.decode(run(["ip", family, "-j", "route", "show", "table", "all"]) or "[]")
    taken = set()
    for route in routes:
        try:
            network = ipaddress.ip_network(route["dst"])
        except ValueError:  # "default", and names of multicast
            continue
        if network.prefixlen >= 8 and not network.is_multicast and not network.is_loopback:
            taken.add(network)
    ours = [ipaddress.ip_network(cidr) for cidr in OUR_NETWORKS]
    return sorted((str(a), str(b)) for a in taken for b in ours if a.version == b.version and a.overlaps(b))


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def memory_bytes(layout: Layout) -> int:
    """Proportional set size of everything the lab runs: its processes and its containers' (proc(5), smaps_rollup)."""
    processes = {*marked_processes(layout), *(p for node in NODES for p in cgroups.members(layout.cgroup(node.name)))}
    return 1024 * sum(_pss_kib(process) for process in processes)


def _pss_kib(process: ProcessId) -> int:
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else 0


def _lab_processes(layout: Layout) -> Iterable[str]:
    marked = {process.pid for process in marked_processes(layout)}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        own = int(entry.name) in marked or f"{layout.state}/" in command
        if own and identity(int(entry.name)):
            yield f"{entry.name} {command[:120]}"


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def _folders(top: Path) -> list[str]:
    return [path.name for path in top.iterdir() if path.is_dir()]


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _filters() -> Iterable[str]:
    """Packet filters of the root namespace, as each of the machine's own tools shows them: nft, and both iptables.

    A kubelet and other parts of a cluster make KUBE-* chains where they run. A tool that fails is told as such a line.
    """
    for tool, command in FILTER_TOOLS.items():
        if shutil.which(tool) is None:
            continue
        try:
            text = run([tool, *command])
        except LabError as error:
            yield f"{tool}: {error.detail or error.message}"
            continue
        yield from (f"{tool}: {rule}" for rule in (nft_rules(text) if tool == "nft" else iptables_rules(text)))


def nft_rules(text: str) -> list[str]:
    """Every line of `nft list ruleset` after the blocks it stands in, without counts of packets."""
    rules = []
    blocks: list[str] = []
    for line in (raw.strip() for raw in text.splitlines()):
        if line.endswith("{"):
            blocks.append(line.removesuffix("{").strip())
            rules.append(" / ".join(blocks))
        elif line == "}":
            blocks.pop()
        elif line and not line.startswith("#"):
            rules.append(" / ".join([*blocks, PACKET_COUNTS.sub("", line)]))
    return rules


def iptables_rules(text: str) -> list[str]:
    """Rules, chains and policies of `iptables-save` after their table, without counts of packets.

    A built-in chain that lets everything pass is no trace: looking at a table is enough to make it.
    """
    rules = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith((":", "-")) and " ACCEPT [" not in line:
            rules.append(f"{table} {PACKET_COUNTS.sub('', line)}")
    return rules


def _without_lifetimes(text: str) -> list[str]:
    return [re.sub(r"\\ .*", "", " ".join(line.split())) for line in text.splitlines()]


def _sysctl(name: str) -> str:
    path = Path("/proc/sys") / name.replace(".", "/")
    return path.read_text().strip() if path.exists() else ""
