"""The observed load balancers and floating IPs by Service and by key; mutable, for the one thread that owns them.

Everybody's floating IPs are held, because a Service may name its user's own one; of load balancers only those that are
ours or look like it. Does not know: which of them should exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kuryrctl.core import ownership
from kuryrctl.core.balancers import FloatingIP, Listener, LoadBalancer, Pool
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import FOREIGN, Claim, Identity, Proof
from kuryrctl.core.specs import Key

Thing = LoadBalancer | FloatingIP


def listener_name(listener: Listener) -> str:
    """The last part of a listener's key: ``tcp-80``."""
    return f"{listener.protocol.lower()}-{listener.protocol_port}"


def pools_by_name(balancer: LoadBalancer) -> dict[str, Pool]:
    """The pools of a load balancer by the last part of their keys.

    We name a pool as its listener's key ends; one with another name is the pool of the listener that uses it, if that
    has none, else it is named by its id: nobody asks for it.
    """
    wanted = {listener_name(each): each for each in balancer.listeners}
    found: dict[str, Pool] = {}
    for pool in balancer.pools:
        found.setdefault(pool.name if _is_name(pool.name) else pool.id, pool)
    for pool in balancer.pools:
        users = (name for name, each in wanted.items() if each.default_pool_id == pool.id and name not in found)
        name = next(users, "")
        if pool.id in found and name:
            found[name] = found.pop(pool.id)
    named = {pool.id for pool in found.values()}
    return found | {pool.id: pool for pool in balancer.pools if pool.id not in named}


class Balancers:
    """See the module."""

    def __init__(
        self,
        identity: Identity,
        load_balancers: Iterable[LoadBalancer] = (),
        floating_ips: Iterable[FloatingIP] = (),
    ) -> None:
        self.identity = identity
        self._by_id: dict[str, tuple[Thing, Claim]] = {}
        self._by_key: dict[Key, list[str]] = {}
        self._by_uid: dict[str, dict[Key, None]] = {}
        self._vips: dict[str, dict[Key, None]] = {}
        self._at: dict[str, FloatingIP] = {}
        self._on: dict[str, dict[str, FloatingIP]] = {}
        for balancer in load_balancers:
            self.put(balancer)
        for floating_ip in floating_ips:
            self.put(floating_ip)

    def put(self, thing: Thing) -> Claim:
        """Take this as the newest observation of the load balancer (the whole tree) or floating IP with its id."""
        self.drop(thing.id)
        if isinstance(thing, LoadBalancer):
            claim = ownership.claim_balancer(thing, self.identity)
            if claim.proof is Proof.FOREIGN:
                return claim
        else:
            claim = ownership.claim_floating_ip(thing, self.identity)
            self._at[thing.floating_ip_address] = thing
            if thing.port_id:
                self._on.setdefault(thing.port_id, {})[thing.id] = thing
        self._by_id[thing.id] = (thing, claim)
        if claim.ours:
            if isinstance(thing, LoadBalancer):
                self._vips.setdefault(thing.vip_address, {})[claim.key] = None
            self._by_key.setdefault(claim.key, []).append(thing.id)
            self._by_uid.setdefault(claim.uid, {})[claim.key] = None
        return claim

    def drop(self, id_: str) -> None:
        """It is gone, with all that was below it."""
        thing, claim = self._by_id.pop(id_, (None, FOREIGN))
        if isinstance(thing, FloatingIP):
            self._at.pop(thing.floating_ip_address, None)
            there = self._on.get(thing.port_id or "", {})
            there.pop(id_, None)
            if thing.port_id and not there:
                self._on.pop(thing.port_id, None)
        if not claim.ours:
            return
        if isinstance(thing, LoadBalancer):
            self._vips[thing.vip_address].pop(claim.key, None)
            if not self._vips[thing.vip_address]:
                del self._vips[thing.vip_address]
        self._by_key[claim.key].remove(id_)
        if not self._by_key[claim.key]:
            del self._by_key[claim.key]
            del self._by_uid[claim.uid][claim.key]
            if not self._by_uid[claim.uid]:
                del self._by_uid[claim.uid]

    def by_id(self, id_: str) -> Thing | None:
        """The load balancer or floating IP with this id."""
        return self._by_id.get(id_, (None,))[0]

    def claim(self, id_: str) -> Claim:
        """Whose it is; foreign where it is unknown."""
        return self._by_id.get(id_, (None, FOREIGN))[1]

    def of(self, uid: str) -> dict[Key, tuple[LoadBalancer, ...]]:
        """The load balancers of one Service by key: first the one to use, then doubles."""
        found = ((key, self.balancers(key)) for key in sorted(self._by_uid.get(uid, ())))
        return {key: there for key, there in found if there}

    def floating_ips_of(self, uid: str) -> dict[Key, tuple[FloatingIP, ...]]:
        """Our floating IPs of one Service by key: first the one to use, then doubles."""
        found = ((key, self.floating_ips(key)) for key in sorted(self._by_uid.get(uid, ())))
        return {key: there for key, there in found if there}

    def balancers(self, key: Key) -> tuple[LoadBalancer, ...]:
        """The load balancers of one key: tagged ones first, then by id."""
        return tuple(thing for thing in self._of(key) if isinstance(thing, LoadBalancer))

    def floating_ips(self, key: Key) -> tuple[FloatingIP, ...]:
        """Our floating IPs of one key: those in use first, then tagged ones, then by id."""
        found = [thing for thing in self._of(key) if isinstance(thing, FloatingIP)]
        return tuple(sorted(found, key=lambda each: each.port_id is None))

    def holders(self, vip: str) -> tuple[Key, ...]:
        """The keys of our load balancers at an address: of a Service before, as a rule, that had it."""
        return tuple(self._vips.get(vip, ()))

    def floating_ip_at(self, address: str) -> FloatingIP | None:
        """The floating IP with this address, whosever it is."""
        return self._at.get(address)

    def floating_ips_on(self, port_id: str) -> tuple[FloatingIP, ...]:
        """The floating IPs that lead to a port, whosever they are."""
        return tuple(self._on.get(port_id, {}).values())

    def ids_of(self, uid: str) -> dict[Key, str]:
        """The ids of what one Service has, by key: load balancers and all below them, floating IPs."""
        found: dict[Key, str] = {key: there[0].id for key, there in self.floating_ips_of(uid).items()}
        for key, there in self.of(uid).items():
            found |= tree_ids(key, there[0])
        return found

    @property
    def ids(self) -> Mapping[Key, str]:
        """The ids of everything of ours by key, those of the ones to use."""
        found: dict[Key, str] = {}
        for uid in self._by_uid:
            found |= self.ids_of(uid)
        return found

    def served(self) -> set[str]:
        """The uids of all Services that a load balancer or floating IP of ours names."""
        return set(self._by_uid)

    def count_ours(self, kind: Kind = Kind.LOAD_BALANCER) -> int:
        """How many load balancers (or floating IPs) are ours."""
        return sum(len(ids) for key, ids in self._by_key.items() if key.startswith(f"{kind}/"))

    def __iter__(self) -> Iterator[tuple[Thing, Claim]]:
        return iter(self._by_id.values())

    def suspicious(self) -> tuple[Finding, ...]:
        """What carries our tags, but is not provably ours."""
        return tuple(
            Finding(
                FindingCode.SUSPICIOUS,
                kind_of_thing(thing),
                thing.id,
                thing.name if isinstance(thing, LoadBalancer) else thing.floating_ip_address,
                f"{kind_of_thing(thing)} {thing.id} carries our tags, but {claim.why}; kuryrctl leaves it alone",
                claim.uid,
            )
            for thing, claim in self._by_id.values()
            if claim.proof is Proof.SUSPICIOUS
        )

    def _of(self, key: Key) -> list[Thing]:
        found = [self._by_id[id_] for id_ in self._by_key.get(key, ())]
        found.sort(key=lambda pair: (pair[1].proof is not Proof.TAGGED, pair[0].id))
        return [thing for thing, _ in found]


def kind_of_thing(thing: Thing) -> Kind:
    """Its kind."""
    return Kind.LOAD_BALANCER if isinstance(thing, LoadBalancer) else Kind.FLOATING_IP


def tree_ids(key: Key, balancer: LoadBalancer) -> dict[Key, str]:
    """The ids of a load balancer with this key and of all below it, by key; of members their pool's."""
    below = key.partition("/")[2]
    found = {key: balancer.id}
    found |= {f"listener/{below}/{listener_name(each)}": each.id for each in balancer.listeners}
    for name, pool in pools_by_name(balancer).items():
        found[f"pool/{below}/{name}"] = found[f"member/{below}/{name}"] = pool.id
        if pool.health_monitor:
            found[f"health-monitor/{below}/{name}"] = pool.health_monitor.id
    return found


def _is_name(name: str) -> bool:
    protocol, _, port = name.partition("-")
    return protocol in ("tcp", "udp", "sctp") and port.isdigit()
