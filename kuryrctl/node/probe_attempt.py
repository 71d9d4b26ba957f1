"""One attempt of a probe: open a TCP connection, have a datagram answered, have an ICMP echo answered.

The socket is made in the pod's network namespace and stays there; the thread comes back at once. Sources: ip(7),
ipv6(7), linux/errqueue.h, RFC 792, RFC 4443. Does not know: pods, the cluster, threads.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from kuryrctl.core.probe import MIN_PACKET_BYTES, Attempt, Protocol, Result, Target
from kuryrctl.node import namespaces
from kuryrctl.node.interfaces import internet_checksum

_SLICE_S: Final = 0.25
"""How long a wait may take no notice of being stopped."""
_ICMP_HEADER: Final = struct.Struct("!BBHHH")
_TOKEN_BYTES: Final = 8
_QUOTED_BYTES: Final = 128
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_LOCAL: Final = 1
_PMTUDISC_DONT, _PMTUDISC_PROBE = 0, 3  # probe: forbid fragments and mind no MTU that was learned, as tracepath does
_RESULTS: Final = {
    0: Result.REACHABLE,
    errno.ECONNREFUSED: Result.REFUSED,
    errno.ECONNRESET: Result.REFUSED,
    errno.ETIMEDOUT: Result.TIME_OUT,
    errno.EMSGSIZE: Result.TOO_BIG,
}


class _Stack(NamedTuple):
    """The numbers in which IPv4 and IPv6 differ; `mtu_discover`, `mtu` and `receive_errors` are socket options."""

    family: int
    level: int
    icmp: int
    request: int
    reply: int
    header_bytes: int
    mtu_discover: int
    mtu: int
    receive_errors: int


_STACKS: Final = {
    4: _Stack(socket.AF_INET, socket.IPPROTO_IP, socket.IPPROTO_ICMP, 8, 0, 20, 10, 14, 11),
    6: _Stack(socket.AF_INET6, socket.IPPROTO_IPV6, socket.IPPROTO_ICMPV6, 128, 129, 40, 23, 24, 25),
}


def attempt(target: Target, netns: int | Path | str, timeout_s: float, stopped: Callable[[], bool]) -> Attempt:
    """Try once from inside the namespace, for at most `timeout_s` seconds, or until `stopped`.

    Whatever the network says is an Attempt. Raises NotFound or OSError where the namespace cannot be entered.
    """
    try:
        stack = _STACKS[ip_address(target.address).version]
    except ValueError:
        return Attempt(Result.UNREACHABLE, detail="not an IP address")
    kinds = {Protocol.TCP: socket.SOCK_STREAM, Protocol.UDP: socket.SOCK_DGRAM, Protocol.ICMP: socket.SOCK_RAW}
    with namespaces.entered(netns):
        opened = socket.socket(
            stack.family,
            kinds[target.protocol] | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            stack.icmp if target.protocol is Protocol.ICMP else 0,
        )
    with opened:
        trial = _Trial(opened, stack, target, timeout_s, stopped)
        try:
            return {Protocol.TCP: trial.tcp, Protocol.UDP: trial.udp, Protocol.ICMP: trial.icmp}[target.protocol]()
        except OSError as error:
            return trial.judged(error.errno or errno.EIO)


class _Trial:
    """One socket and one target. Methods raise the OSErrors of the socket."""

    def __init__(
        self, opened: socket.socket, stack: _Stack, target: Target, timeout_s: float, stopped: Callable[[], bool]
    ) -> None:
        self._socket = opened
        self._stack = stack
        self._target = target
        self._stopped = stopped
        self._started = time.monotonic()
        self._until = self._started + timeout_s

    def tcp(self) -> Attempt:
        number = self._socket.connect_ex((self._target.address, self._target.port))
        if number == errno.EINPROGRESS:
            if not self._wait(select.POLLOUT):
                return Attempt(Result.TIME_OUT)
            number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return self.judged(number)

    def udp(self) -> Attempt:
        self._socket.setsockopt(self._stack.level, self._stack.receive_errors, 1)
        self._socket.connect((self._target.address, self._target.port))
        self._socket.send(self._target.payload.encode())
        if not self._wait(select.POLLIN):
            return Attempt(Result.TIME_OUT)
        self._socket.recv(1)
        return self.judged(0)

    def icmp(self) -> Attempt:
        level = self._stack.level
        self._socket.setsockopt(level, self._stack.receive_errors, 1)
        discover = _PMTUDISC_PROBE if self._target.dont_fragment else _PMTUDISC_DONT
        self._socket.setsockopt(level, self._stack.mtu_discover, discover)
        self._socket.connect((self._target.address, 0))
        identity, token = os.urandom(2), os.urandom(_TOKEN_BYTES)
        request = _echo_request(self._stack, identity, token, self._target.packet_bytes)
        try:
            self._socket.send(request)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return self.judged(errno.EMSGSIZE, self._socket.getsockopt(level, self._stack.mtu))
        while self._wait(select.POLLIN):
            error_number, mtu_bytes = self._error_of(identity, token)
            if error_number == errno.EMSGSIZE and not self._target.dont_fragment:
                self._socket.send(request)  # no router cuts an IPv6 packet: the kernel does, now that it was told
            elif error_number:
                return self.judged(error_number, mtu_bytes)
            if self._answered(identity, token):
                return self.judged(0)
        return Attempt(Result.TIME_OUT)

    def judged(self, number: int, mtu_bytes: int = 0) -> Attempt:
        """The attempt that ends with this error number (0: an answer)."""
        result = _RESULTS.get(number, Result.UNREACHABLE)
        if result is Result.REACHABLE:
            return Attempt(result, round_trip_ms=round((time.monotonic() - self._started) * 1000, 3))
        if result is Result.TOO_BIG:
            return Attempt(result, mtu_bytes=mtu_bytes)
        return Attempt(result, detail=os.strerror(number) if result is Result.UNREACHABLE else "")

    def _wait(self, events: int) -> bool:
        """Whether the socket is ready, or has an error to tell, before the time is over.

        It looks once more at the end: on a busy machine the answer may have come while this thread waited for a core.
        """
        poll = select.poll()
        poll.register(self._socket, events)
        while (left := self._until - time.monotonic()) > 0 and not self._stopped():
            if poll.poll(min(left, _SLICE_S) * 1000):
                return True
        return bool(poll.poll(0))

    def _answered(self, identity: bytes, token: bytes) -> bool:
        """Whether the next packet is the answer: a raw socket hears every ICMP packet of its peer."""
        try:
            packet = self._socket.recv(65535)
        except OSError:  # nothing (any more), or an error: that comes by the error queue
            return False
        if self._stack.family == socket.AF_INET:
            packet = packet[(packet[0] & 0xF) * 4 :]
        body = packet[_ICMP_HEADER.size :]
        return packet[0] == self._stack.reply and packet[4:6] == identity and body.startswith(token)

    def _error_of(self, identity: bytes, token: bytes) -> tuple[int, int]:
        """What a router or the peer said of our packet: error number (0: nothing) and, where it was too big, the MTU.

        The error queue also holds what was said of other echo requests to this address from this namespace. The least
        that is quoted of a packet is its ICMP header; for IPv6 the kernel leaves the IP header in front.
        """
        try:
            quoted, ancillary, _, _ = self._socket.recvmsg(_QUOTED_BYTES, 512, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            return 0, 0
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        ours = token in quoted or quoted[4:6] == identity
        for level, kind, data in ancillary:
            if ours and (level, kind) == (self._stack.level, self._stack.receive_errors):
                number, origin, _, _, _, info, _ = _EXTENDED_ERROR.unpack_from(data)
                if origin != _ORIGIN_LOCAL:
                    return number, info
        return 0, 0


def _echo_request(stack: _Stack, identity: bytes, token: bytes, packet_bytes: int) -> bytes:
    """An ICMP echo request, such that the IP packet has `packet_bytes`. Of ICMPv6 the kernel fills in the checksum."""
    size = max(packet_bytes, MIN_PACKET_BYTES) - stack.header_bytes - _ICMP_HEADER.size
    body = token.ljust(size, b"k")
    number = int.from_bytes(identity)
    header = _ICMP_HEADER.pack(stack.request, 0, 0, number, 1)
    whole = header + body
    checksum = internet_checksum(whole + bytes(len(whole) % 2)) if stack.family == socket.AF_INET else 0
    return _ICMP_HEADER.pack(stack.request, 0, checksum, number, 1) + body
