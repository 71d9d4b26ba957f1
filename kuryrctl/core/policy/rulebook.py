"""What the rules of every group say, by what is indexed: policies, their peers, nodes, and the Services behind VIPs.

Groups whose policies say the same have the same lines, which are found once until something changes.
Does not know: how a change is noticed, rules as objects of one group.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, product

from kuryrctl.core.config import Config
from kuryrctl.core.policy.allowance import Allowance, Allowed, Span, Spans, put_together, without
from kuryrctl.core.policy.clients import Client, at
from kuryrctl.core.policy.entries import Egress, Entry, span_of
from kuryrctl.core.policy.guards import Guards
from kuryrctl.core.policy.index import Changes, Index
from kuryrctl.core.policy.lines import Lines, allowing
from kuryrctl.core.policy.model import Direction
from kuryrctl.core.policy.nodes import Nodes
from kuryrctl.core.policy.peers import Term, membership_key
from kuryrctl.core.policy.ranges import Ranges, covers, network, union
from kuryrctl.core.policy.reach import Reach
from kuryrctl.core.specs import Key


class Rulebook:
    """See the module. `lines` is right for the index as it is now, if `forget` was called at every change of it."""

    def __init__(self, config: Config, index: Index, reach: Reach, nodes: Nodes, guards: Guards) -> None:
        given = {network(cidr)[0] for cidr in config.pod_network.cidrs}
        self._versions = tuple(sorted({4, 6} if config.pod_network.name else given))
        ranges = [network(cidr) for cidr in config.service_cidrs]
        self._service_ranges: dict[int, Ranges] = {
            version: union(each for other, each in ranges if other == version) for version in self._versions
        }
        self._index = index
        self._reach = reach
        self._nodes = nodes
        self._guards = guards
        self._egress: dict[str, Allowed] = {}
        self._forget_lines()

    def forget(self, changes: Changes) -> None:
        """Something changed: these groups may say something else now, those of other egress rules do not."""
        touched = filter(None, map(self._index.egress_of, changes.groups))
        for id_ in chain(changes.egress, (egress.id for egress in touched)):
            self._egress.pop(id_, None)
        self._forget_lines()

    def _forget_lines(self) -> None:
        self._egress_lines: dict[str, Lines] = {}
        self._client_lines: dict[Client, Lines] = {}
        self._vip_lines: dict[tuple[tuple[int, Span, Ranges], ...], Lines] = {}

    def lines(self, key: Key) -> Lines | None:
        """What the rules of a group say; None: there is no such group."""
        match key.split("/")[1]:
            case "peer" | "namespace":
                return Lines() if self._index.peers.has(key) else None
            case "node":
                return self._nodes.lines(key, self._versions)
            case "guard":
                return self._guards.lines(key, self._versions)
            case "vip":
                return self._of_client(key) if key in self._index.carriers.clients else self._of_itself(key)
            case "policy-ingress":
                return self._of_ingress(key)
        return self._of_egress(key)

    def _of_ingress(self, key: Key) -> Lines | None:
        found = self._index.ingress_of(key)
        if found is None:
            return None
        policy, ports = found
        allowances = [self._allowance(entry, entry.resolved(ports)) for entry in policy.ingress]
        allowances += [at(vip, target) for vip, target in self._reach.hairpins(key)]
        return Lines(allowing(put_together(allowances), Direction.INGRESS, self._versions))

    def _of_egress(self, key: Key) -> Lines | None:
        egress = self._index.egress_of(key)
        if egress is None:
            return None
        if egress.id not in self._egress_lines:
            self._egress_lines[egress.id] = Lines(allowing(self._allowed(egress), Direction.EGRESS, self._versions))
        return self._egress_lines[egress.id]

    def _allowed(self, egress: Egress) -> Allowed:
        """What egress rules allow. Service addresses only where that is right whatever they stand for."""
        if egress.id not in self._egress:
            allowed = put_together(self._allowances(egress))
            for version, ranges in self._service_ranges.items():
                leaks = tuple(span for span in allowed.anybody.get(version, ()) if self._leaks(allowed, version, span))
                allowed = without(allowed, version, ranges, leaks)
            self._egress[egress.id] = allowed
        return self._egress[egress.id]

    def _leaks(self, allowed: Allowed, version: int, span: Span) -> bool:
        """Whether some VIP turns an allowed port into one that is not: only its first packet would be let through."""
        return any(
            each == version and span.covers(port) and not allowed.to_anybody(version, target)
            for each, port, target in self._reach.translations()
        )

    def _allowances(self, egress: Egress) -> Iterator[Allowance]:
        for entry in egress.entries:
            yield self._allowance(entry, entry.spans)
            yield from self._named(entry.named, self._versions)
            for version, terms in entry.named_in.items():
                yield from self._named(terms, (version,))
            for port in entry.names if entry.addresses.keys() - entry.named_in.keys() else ():
                for number, where in self._index.named_at(port):
                    if where[0] not in entry.named_in and covers(entry.addresses.get(where[0], ()), where[1], where[1]):
                        yield at(where, span_of((*port, number)))

    def _named(self, terms: tuple[Term, ...], versions: tuple[int, ...]) -> Iterator[Allowance]:
        for term in terms:
            if term.port is not None:
                for number in self._index.peers.numbers(term):
                    key = membership_key((term.id, number))
                    yield Allowance((span_of((*term.port, number)),), groups=frozenset(product(versions, (key,))))

    def _allowance(self, entry: Entry, spans: Spans) -> Allowance:
        if not spans:
            return Allowance(())
        return Allowance(
            spans=spans,
            anybody=frozenset(self._versions if entry.anybody else ()),
            addresses=entry.addresses,
            groups=frozenset(product(self._versions, chain.from_iterable(map(self._index.peers.groups, entry.terms)))),
        )

    def _of_client(self, key: Key) -> Lines:
        client = self._index.carriers.clients[key]
        if client not in self._client_lines:
            egress = [self._allowed(each) for each in client.egress]
            vips = self._reach.vips(client).items()
            let_in = (each for each in vips if not any(allowed.to_anybody(*each[0]) for allowed in egress))
            self._client_lines[client] = self._to_vips(tuple((*where, ranges) for where, ranges in let_in))
        return self._client_lines[client]

    def _to_vips(self, vips: tuple[tuple[int, Span, Ranges], ...]) -> Lines:
        """The same for the same addresses and ports: clients that mean different things reach the same Services."""
        if vips not in self._vip_lines:
            allowances = (Allowance((span,), addresses={version: ranges}) for version, span, ranges in vips)
            self._vip_lines[vips] = Lines(allowing(put_together(allowances), Direction.EGRESS, self._versions))
        return self._vip_lines[vips]

    def _of_itself(self, key: Key) -> Lines | None:
        own = self._reach.own.get(key)
        if own is None:
            return None
        allowances = [each for where, gate, span in own for each in (at(*gate), at(where, span))]
        return Lines(allowing(put_together(allowances), Direction.EGRESS, self._versions))


def pod_ranges(config: Config) -> dict[int, Ranges]:
    """Where all pods' addresses are, by IP version; empty where that is not known."""
    return {version: (each,) for version, each in map(network, config.pod_network.known_cidrs)}
