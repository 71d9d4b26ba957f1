"""Links, addresses, routes and namespaces, by ip(8) in batches.

The one place of the lab that speaks to the kernel's network. Everything here is idempotent; removing the missing works.
"""

import array
import fcntl
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.layout import NETNS_DIR
from kuryrctl.lab.process import run

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


def ip(*commands: str, netns: str | None = None) -> None:
    """Run commands of ip(8), one transaction after the other, in a namespace or in the root one.

    Raises LabError at the first that fails.
    """
    where = ["-n", netns] if netns else []
    run(["ip", *where, "-batch", "-"], stdin="".join(command + "\n" for command in commands))


def exists(name: str, netns: str | None = None) -> bool:
    """Whether a link of that name is there."""
    if netns is not None:
        return name in names(netns)
    return name in {known for _, known in socket.if_nameindex()}


def names(netns: str) -> set[str]:
    """Names of all links in a namespace; empty when there is no such namespace."""
    if not namespace_exists(netns):
        return set()
    lines = run(["ip", "-n", netns, "-o", "link"]).splitlines()
    return {line.split(":")[1].strip().partition("@")[0] for line in lines}


def namespace_exists(name: str) -> bool:
    """Whether it is a namespace, and not the plain file that is left where its mount is gone."""
    path = NETNS_DIR / name
    return path.exists() and path.stat().st_dev != NETNS_DIR.stat().st_dev


def mounts_of_namespaces() -> int:
    """How often the folder of named namespaces is a mount of its own: ip(8) makes it one with the first namespace."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(line.split()[4] == str(NETNS_DIR) for line in lines)


def unmount_namespaces(leave: int) -> None:
    """Undo that mount down to `leave` times, if no namespace is left in it."""
    while mounts_of_namespaces() > leave and not any(NETNS_DIR.iterdir()):
        run(["umount", NETNS_DIR])


def ensure_namespace(name: str) -> bool:
    """Make a namespace with its loopback up; whether it was made now."""
    made = not namespace_exists(name)
    if made:
        (NETNS_DIR / name).unlink(missing_ok=True)
        ip(f"netns add {name}")
    ip("link set lo up", netns=name)
    return made


def remove_namespace(name: str) -> None:
    """Remove a namespace and every link in it."""
    if namespace_exists(name):
        ip(f"netns del {name}")
    (NETNS_DIR / name).unlink(missing_ok=True)


def remove_links(wanted: Iterable[str]) -> None:
    """Remove links of the root namespace."""
    for name in wanted:
        if exists(name):
            _remove(name)


def _remove(name: str) -> None:
    try:
        ip(f"link del {name}")
    except LabError:
        if exists(name):  # its peer's namespace, being destroyed, may have taken it
            raise


def ensure_veth(name: str, peer: str, netns: str, *, peer_setup: Iterable[str] = ()) -> bool:
    """A veth from the root namespace to `peer` inside `netns`, without checksum offload; whether it was made now.

    With offload on, ping crosses the userspace datapath and TCP and UDP silently don't: nobody completes the checksums.
    """
    if exists(name) and exists(peer, netns):
        return False
    remove_links([name])
    outside = f"{name[:13]}-p"  # the peer's name until it has moved
    remove_links([outside])
    ip(f"link add {name} type veth peer name {outside}")
    for end in (name, outside):
        checksum_offload_off(end)
    ip(f"link set {outside} netns {netns} name {peer}")
    ip(*peer_setup, netns=netns)
    return True


def checksum_offload_off(name: str) -> None:
    """What `ethtool -K NAME tx off` does (ethtool's ioctl); it survives a move to another namespace."""
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control.fileno(), SIOCETHTOOL, request)


def sysctl(netns: str, **settings: int) -> None:
    """Set sysctls of one namespace (`net__ipv4__ip_forward=1`); those of the root namespace are never touched."""
    for name, value in settings.items():
        path = "/proc/sys/" + name.replace("__", "/")
        run(["nsenter", f"--net={NETNS_DIR / netns}", "--", "tee", path], stdin=f"{value}\n")


def keep_to_itself(name: str) -> None:
    """Let a link of the root namespace answer for its own addresses only, and take none from a router."""
    for setting, value in (("ipv4/conf/{}/arp_ignore", 1), ("ipv6/conf/{}/accept_ra", 0)):
        Path("/proc/sys/net", setting.format(name)).write_text(f"{value}\n")
