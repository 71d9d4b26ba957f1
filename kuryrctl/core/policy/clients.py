"""Which Services the pods whose egress is isolated may reach by their VIPs, and how their packets get there.

A VIP is let out to exactly when the policies together allow every ready endpoint behind it: OVN checks the first packet
of a connection against the VIP, so a VIP's rule alone would let first datagrams through to endpoints that no policy
allows. Pods with the same egress policies share a group; where policies only say the same, they are one `Client`, and
what may be reached is found out once.
Does not know: how an endpoint is judged (`doors`), how a change is noticed, ingress.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from kuryrctl.core.policy.allowance import Allowance, Span
from kuryrctl.core.policy.doors import Rules
from kuryrctl.core.policy.entries import Egress, Parsed
from kuryrctl.core.policy.ranges import Range, Ranges, minus, union
from kuryrctl.core.policy.vips import Address, Gate
from kuryrctl.core.specs import Key


class Client:
    """Pods whose egress policies say the same, whoever's they are: `egress` and `rules` are that, `keys` their groups.

    `vips`: the addresses of the gates that they may reach, by IP version and port, once somebody has `asked`.
    """

    __slots__ = ("_gates", "_open", "asked", "egress", "keys", "rules", "vips")

    def __init__(self, egress: Iterable[Egress]) -> None:
        self.egress = tuple(egress)
        self.rules = Rules(entry for each in self.egress for entry in each.entries)
        self.keys: set[Key] = set()
        self.vips: dict[tuple[int, Span], Ranges] = {}
        self.asked = False
        self._gates: dict[str, tuple[Gate, ...]] = {}
        self._open: Counter[Gate] = Counter()

    def learn(self, gates: Mapping[str, tuple[Gate, ...]]) -> None:
        """The reachable gates of all Services, by name."""
        self.asked = True
        self._gates = dict(gates)
        self._open = Counter(gate for each in gates.values() for gate in each)
        numbers: dict[tuple[int, Span], list[Range]] = defaultdict(list)
        for (version, number), span in self._open:
            numbers[version, span].append((number, number))
        self.vips = {where: union(ranges) for where, ranges in numbers.items()}

    def turn(self, service: str, gates: tuple[Gate, ...]) -> bool:
        """The reachable gates of one Service from now on; whether they are others than before."""
        before = self._gates.get(service, ())
        if gates == before:
            return False
        self._gates[service] = gates
        self._open.update(gates)
        self._open.subtract(before)
        for gate in {*before, *gates}:
            (version, number), span = gate
            ranges = self.vips.get((version, span), ())
            one = ((number, number),)
            self.vips[version, span] = union(ranges + one) if self._open[gate] > 0 else minus(ranges, one)
        return True


def client_key(policies: Iterable[Parsed]) -> Key:
    """The key of the group of all pods that exactly these policies isolate."""
    return _vip_key("policies", *sorted(policy.policy.uid for policy in policies))


def own_key(pod_uid: str) -> Key:
    """The key of the group by which a pod reaches itself through a VIP."""
    return _vip_key("pod", pod_uid)


def at(where: Address, span: Span) -> Allowance:
    """One address, on one port."""
    version, number = where
    return Allowance((span,), addresses={version: ((number, number),)})


def _vip_key(*client: str) -> Key:
    return f"security-group/vip/{hashlib.sha256('/'.join(client).encode()).hexdigest()[:16]}"
