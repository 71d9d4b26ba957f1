"""KuryrProbe: "from this pod, try these addresses and ports", and what came of it.

The limits stand in ``kube/manifests/15-kuryrprobe.yaml`` as well: the API server enforces them. Does not know: sockets,
the API's wire shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address

from msgspec import Struct

from kuryrctl.core.cluster import FINISHED_PHASES, Pod
from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.core.names import shortened

MAX_TARGETS = 256
TARGETS_AT_ONCE = 32
"""How many a node tries at a time, of all its probes."""
MAX_COUNT = 10
MIN_PACKET_BYTES = 64
MAX_TIMEOUT_S = 10.0
MIN_TTL_S, MAX_TTL_S = 10, 3600
PAYLOAD = "echo kuryr"


class Protocol(StrEnum):
    """What is sent: a TCP connection is opened and closed, a datagram or an ICMP echo request wants an answer."""

    TCP = "TCP"
    UDP = "UDP"
    ICMP = "ICMP"


class Result(StrEnum):
    """How an attempt ended; its value is what people read.

    refused: somebody answered that nobody listens (TCP reset, ICMP port unreachable). unreachable: a router or the
    pod's own stack said so. time-out: nothing came back; for UDP also where the peer does not answer what it gets.
    """

    REACHABLE = "reachable"
    REFUSED = "refused"
    TIME_OUT = "time-out"
    UNREACHABLE = "unreachable"
    TOO_BIG = "needs fragmentation"
    NOT_TRIED = "not tried"


class Target(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One address to try. `port` is 0 for ICMP, and only there.

    `packet_bytes` (ICMP only; 0: as small as can be) is the size of the whole IP packet, so that it compares with an
    MTU; `dont_fragment` forbids to cut it. `payload` is what a UDP datagram carries: agnhost and echo servers answer
    the default.
    """

    address: str
    protocol: Protocol
    port: int = 0
    packet_bytes: int = 0
    dont_fragment: bool = False
    payload: str = PAYLOAD

    @property
    def family(self) -> str:
        """``IPv4`` or ``IPv6``. Raises ValueError where the address is none."""
        return f"IPv{ip_address(self.address).version}"


class Attempt(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One try. `round_trip_ms` is None without an answer; `mtu_bytes` (0: not said) is what would have fitted.

    `detail` is the system's own word for what went wrong.
    """

    result: Result
    round_trip_ms: float | None = None
    mtu_bytes: int = 0
    detail: str = ""


class KuryrProbe(Struct, frozen=True, weakref=True):
    """A probe (namespaced as its pod). It is run once, by the agent of the pod's node, inside the pod's namespace.

    spec (whoever asks): the pod (`pod`, `pod_uid`, `node`), `targets`, each tried `count` times with `timeout_ms`
    for each attempt; after `ttl_s` seconds it is neither run nor kept. status (the agent): `started_at`,
    `finished_at` (RFC 3339, empty until then), `attempts` of each target in the targets' order, or the `error` why
    there are none. `run` names the probes that were made together.
    """

    namespace: str
    name: str
    pod: str
    pod_uid: str
    node: str
    targets: tuple[Target, ...]
    count: int = 1
    timeout_ms: int = 2000
    ttl_s: int = 300
    run: str = ""
    uid: str = ""
    created_s: float = 0.0
    started_at: str = ""
    finished_at: str = ""
    error: str = ""
    attempts: tuple[tuple[Attempt, ...], ...] = ()

    @property
    def pod_name(self) -> str:
        """The pod as ``namespace/name``."""
        return f"{self.namespace}/{self.pod}"

    def expired(self, now_s: float) -> bool:
        """Whether its time to live is over at `now_s` (seconds since the epoch)."""
        return now_s > self.created_s + self.ttl_s


def probes_from(
    pod: Pod, targets: Sequence[Target], *, run: str, count: int = 1, timeout_s: float = 2.0, ttl_s: float = 300.0
) -> list[KuryrProbe]:
    """The probes that try all targets from a pod: one for each MAX_TARGETS of them. `run` is a word of their own.

    Raises Invalid where the pod has no network namespace to probe from.
    """
    why = _no_namespace(pod)
    if why:
        message = f"pod {pod.full_name} cannot be probed from: {why}"
        hint = "kuryrctl port list shows the pods on the pod network"
        raise Invalid(message, code="PROBE-NO-NETWORK", owner=Owner.USER, hint=hint)
    return [
        KuryrProbe(
            namespace=pod.namespace,
            name=f"{shortened(pod.name, 220)}-{run}-{first // MAX_TARGETS}",
            pod=pod.name,
            pod_uid=pod.uid,
            node=pod.node,
            targets=tuple(targets[first : first + MAX_TARGETS]),
            count=count,
            timeout_ms=round(timeout_s * 1000),
            ttl_s=round(min(max(ttl_s, MIN_TTL_S), MAX_TTL_S)),
            run=run,
        )
        for first in range(0, len(targets), MAX_TARGETS)
    ]


def longest_s(targets: int, count: int, timeout_s: float) -> float:
    """How long a node that has nothing else to try may need for so many targets when none answers."""
    return -(-targets // TARGETS_AT_ONCE) * count * timeout_s


def _no_namespace(pod: Pod) -> str:
    if not pod.node:
        return "no node runs it yet"
    if pod.host_network:
        return "it uses the network of its node"
    return f"it has ended ({pod.phase})" if pod.phase in FINISHED_PHASES else ""
