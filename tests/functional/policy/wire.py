"""Connections from and to network namespaces of the lab that are no pods': the VM's, and the nodes' own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from kuryrctl.lab.layout import NETNS_DIR
from kuryrctl.node import namespaces

VM = "lab-vm"


def connect(netns: str, address: str, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection from inside the namespace. Raises OSError (TimeoutError) where there is none."""
    with namespaces.entered(str(NETNS_DIR / netns)):
        opened = socket.socket(_family(address), socket.SOCK_STREAM)
    opened.settimeout(timeout_s)
    try:
        opened.connect((address, port))
    except OSError:
        opened.close()
        raise
    return opened


def answers(netns: str, address: str, port: int, timeout_s: float = 2.5) -> bool:
    """Whether a TCP connection from inside the namespace is accepted; by default its first SYN may be lost."""
    with suppress(OSError):
        connect(netns, address, port, timeout_s).close()
        return True
    return False


@contextmanager
def listening(netns: str, address: str, port: int) -> Iterator[socket.socket]:
    """A TCP server inside the namespace; the kernel accepts for it."""
    with namespaces.entered(str(NETNS_DIR / netns)):
        server = socket.create_server((address, port), family=_family(address))
    with server:
        yield server


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
