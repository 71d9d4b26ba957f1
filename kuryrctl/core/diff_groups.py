"""The difference for the groups of the NetworkPolicies, and the order in which ports may follow it.

At no moment may a connection be open that both the old and the new state close, wherever the engine stops; and where
that permits it, none may be closed that both leave open. So, for each group:

    1. it is made, and its new rules are added           (unless a port has still to leave it, or its other end)
    2. old rules go that a port would come under         (a port is to join the group, or the other end)
    3. ports change, each its whole list in one update:  peers first, then those that become isolated
    4. new rules are added that waited for ports to leave
    5. all other old rules go, then groups that nobody carries any more

Steps say this by `needs` (security: must have succeeded) and `after` (availability: was tried). Does not know: how a
group list is compiled, how a port is updated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from kuryrctl.core.cloud import Port, SecurityGroup, SecurityGroupRule
from kuryrctl.core.desired import pod_key
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.group_index import Groups, Lists
from kuryrctl.core.index import Own, Ports
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.ownership import POD, Proof
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.policy.compiler import Policies
from kuryrctl.core.rules import content, content_of_spec, text
from kuryrctl.core.specs import Key, RuleSpec, SecurityGroupSpec

ISOLATING = ("security-group/policy-ingress/", "security-group/policy-egress/")
"""How the keys of the groups that isolate begin: those of ingress, those of egress."""
LETTING_OUT = ("security-group/policy-egress/", "security-group/vip/")
"""How the keys of the groups begin by which egress is let out."""
_POD_PORT = f"port/{POD}/"


class RuleChanges(Struct, frozen=True):
    """The rules that one group lacks, and those that it has too many."""

    adds: tuple[RuleSpec, ...] = ()
    deletes: tuple[SecurityGroupRule, ...] = ()


class Order(Struct, frozen=True):
    """What must have succeeded, and what must have been tried, before a step."""

    needs: tuple[Key, ...] = ()
    after: tuple[Key, ...] = ()


class Policed:
    """What NetworkPolicies ask for beside what there is, at one moment; answers are remembered for that moment.

    `who` tells people for whom a group is, by its key.
    """

    def __init__(
        self, policies: Policies, lists: Lists, groups: Groups, *, ports: Ports, own: Own, who: Callable[[Key], str]
    ) -> None:
        self.policies = policies
        self.groups = groups
        self.lists = lists
        self.who = who
        self._ports = ports
        self._own = own
        self._changes: dict[Key, RuleChanges] = {}
        self._joiners: dict[Key, frozenset[Key]] = {}
        self._leavers: dict[Key, tuple[Key, ...]] = {}
        self._peers: dict[Key, tuple[Key, ...]] = {}
        self._joining: dict[Key, Order] = {}
        self._egress_deletes: tuple[tuple[Key, SecurityGroupRule], ...] | None = None

    # -- what is there

    def id_of(self, key: Key) -> str:
        """The id of a group of the policies or of the whole cluster; empty where it does not exist."""
        found = self.groups.id_of(key)
        if found:
            return found
        shared = self._own.objects.get(key)
        return shared.id if shared else ""

    def key_of(self, id_: str) -> Key:
        """The key of an existing group; the id itself where the group is none of ours."""
        claim = self.groups.claim(id_)
        if claim.ours:
            return claim.key if self.id_of(claim.key) == id_ else id_
        return next((key for key, thing in self._own.objects.items() if thing.id == id_), id_)

    # -- what differs

    def changes(self, key: Key) -> RuleChanges:
        """Of the rules of a group that should exist."""
        if key not in self._changes:
            self._changes[key] = self._compared(key)
        return self._changes[key]

    def joiners(self, key: Key) -> frozenset[Key]:
        """The keys of the pods' ports that should list the group and do not yet."""
        if key not in self._joiners:
            wanted = frozenset(map(pod_key, self.lists.carriers(key)))
            id_ = self.id_of(key)
            self._joiners[key] = wanted - self._ports.carriers(id_) if id_ else wanted
        return self._joiners[key]

    def leavers(self, key: Key) -> tuple[Key, ...]:
        """The keys of the pods' ports that list the group and should list others."""
        if key not in self._leavers:
            id_ = self.id_of(key)
            surplus = (self._ports.carriers(id_) if id_ else frozenset()) - set(map(pod_key, self.lists.carriers(key)))
            stay = (port for port in surplus if self.lists.of(port.removeprefix(_POD_PORT)) is not None)
            self._leavers[key] = tuple(sorted(stay))
        return self._leavers[key]

    def is_to_be_relisted(self, uid: str) -> bool:
        """Whether the port of a pod carries other groups than it should, or is still to be made."""
        wanted = self.lists.of(uid)
        if wanted is None:
            return False
        port = next(iter(self._ports.of(pod_key(uid))), None)
        return port is None or set(port.security_groups) != set(map(self.id_of, wanted))

    def egress_deletes(self) -> tuple[tuple[Key, SecurityGroupRule], ...]:
        """The rules that go from groups by which egress is let out, each with its group's key."""
        if self._egress_deletes is None:
            letting = sorted(filter(lambda key: key.startswith(LETTING_OUT), self.policies.keys()))
            found = ((key, rule) for key in letting for rule in self.changes(key).deletes)
            self._egress_deletes = tuple((key, rule) for key, rule in found if rule.direction == "egress")
        return self._egress_deletes

    # -- steps

    def group_steps(self, key: Key, keeps: Callable[[str], bool]) -> Iterator[Step | Finding]:
        """What one group needs done. `keeps` tells by a pod's uid whether its port carries its groups for now."""
        group = self.policies.group(key)
        found = self.groups.of(key)
        if group is None:
            for each in found:
                yield from self._removal(key if each is found[0] else f"{key}/{each.id}", each, keeps)
            return
        who = self.who(key)
        if not found:
            yield Step(
                action=Action.CREATE,
                kind=Kind.SECURITY_GROUP,
                key=key,
                reason=f"{who} has no {key.split('/')[1]} group",
                subject=who,
                spec=group.spec,
            )
        elif self.groups.claim(found[0].id).proof is Proof.DERIVED:
            yield Step(
                action=Action.ADOPT,
                kind=Kind.SECURITY_GROUP,
                key=key,
                reason=f"it was made for {who}, but lacks our tags",
                subject=who,
                id=found[0].id,
                spec=group.spec,
            )
        elif not found[0].stateful:
            yield self._stateless(found[0], who, group.spec)
        yield from self._rule_steps(key, who)
        for double in found[1:]:
            yield from self._removal(f"{key}/{double.id}", double, keeps)

    def order_of_port(self, uid: str, port: Port | None) -> Order:
        """What comes before the step that gives a pod's port (None: a new one) the list that it should carry."""
        wanted = self.lists.of(uid) or ()
        carried = set(port.security_groups) if port else set()
        ids = {key: self.id_of(key) for key in wanted}
        joined = [key for key in wanted if ids[key] not in carried]
        before = list(map(self._before_joining, joined))
        needs = [key for order in before for key in order.needs]
        after = [key for order in before for key in order.after]
        for id_ in sorted(carried.difference(ids.values())):
            for other in sorted(self.groups.naming(id_)):
                after += self._free_adds(other)
        if port is not None and any(key.startswith(ISOLATING) for key in joined):
            after += self._peers_of(joined)
        own = pod_key(uid)
        return Order(tuple(dict.fromkeys(needs)), tuple(key for key in dict.fromkeys(after) if key != own))

    # -- how

    def _before_joining(self, key: Key) -> Order:
        """What comes before any port joins a group: it is there, and only the rules that may apply are."""
        if key not in self._joining:
            id_ = self.id_of(key)
            needs = [] if id_ and not self._becomes_stateful(key) else [key]
            needs += [rule_key(key, rule) for rule in self.changes(key).deletes]
            for other in self.groups.naming(id_) if id_ else ():
                needs += [rule_key(other, r) for r in self.changes(other).deletes if r.remote_group_id == id_]
            self._joining[key] = Order(tuple(needs), tuple(self._free_adds(key)))
        return self._joining[key]

    def _becomes_stateful(self, key: Key) -> bool:
        """Whether somebody made the group stateless, and it can still be changed."""
        return any(not each.stateful and not self._ports.carriers(each.id) for each in self.groups.of(key)[:1])

    def _stateless(self, group: SecurityGroup, who: str, spec: SecurityGroupSpec) -> Step | Finding:
        """Neutron changes it only while no port carries the group (409 SecurityGroupInUse)."""
        if self._becomes_stateful(spec.key):
            return Step(
                action=Action.UPDATE,
                kind=Kind.SECURITY_GROUP,
                key=spec.key,
                reason=f"the group of {who} is stateless: answers would need rules of their own",
                subject=who,
                id=group.id,
                spec=spec,
                changes=(FieldChange("stateful", "False", "True"),),
            )
        message = (
            f"group {group.name} of {who} is stateless, so answers do not pass; Neutron changes that only while no"
            " port carries it; next: have all its pods leave it (delete the policy and make it again)"
        )
        return Finding(FindingCode.DRIFT, Kind.SECURITY_GROUP, group.id, group.name, message)

    def _compared(self, key: Key) -> RuleChanges:
        group = self.policies.group(key)
        found = self.groups.of(key)
        if group is None:
            return RuleChanges()
        there = found[0].security_group_rules if found else ()
        wanted = {content_of_spec(rule, self.id_of): rule for rule in group.rules}
        present = {content(rule) for rule in there}
        return RuleChanges(
            adds=tuple(rule for said, rule in wanted.items() if said not in present),
            deletes=tuple(rule for rule in there if content(rule) not in wanted),
        )

    def _rule_steps(self, key: Key, who: str) -> Iterator[Step]:
        changes = self.changes(key)
        for rule in changes.adds:
            missing = [end for end in (key, rule.remote_group) if end and not self.id_of(end)]
            yield Step(
                action=Action.CREATE,
                kind=Kind.SECURITY_GROUP_RULE,
                key=rule.key,
                reason=f"the {key.split('/')[1]} group of {who} lacks it: {text(content_of_spec(rule, lambda k: k))}",
                subject=who,
                spec=rule,
                needs=(*missing, *self._leaving(rule)),
            )
        for found in changes.deletes:
            yield Step(
                action=Action.DELETE,
                kind=Kind.SECURITY_GROUP_RULE,
                key=rule_key(key, found),
                reason=f"the {key.split('/')[1]} group of {who} should not have it: {text(content(found))}",
                subject=who,
                id=found.id,
                after=self._before_delete(key, found),
            )

    def _leaving(self, rule: RuleSpec) -> tuple[Key, ...]:
        """The ports that would come under the new rule although they have to leave its group or its other end."""
        ends = [rule.group, rule.remote_group] if rule.remote_group else [rule.group]
        return tuple(dict.fromkeys(port for end in ends for port in self.leavers(end)))

    def _free_adds(self, key: Key) -> list[Key]:
        """The new rules of a group that wait for no port."""
        return [rule.key for rule in self.changes(key).adds if not self._leaving(rule)]

    def _before_delete(self, key: Key, rule: SecurityGroupRule) -> tuple[Key, ...]:
        """An old rule gives way to those that stay, once all their peers are members: an earlier engine may have made
        the rules and no more. It does not wait for ports where some would come under it."""
        remote = self.groups.claim(rule.remote_group_id or "").key
        if self.joiners(key) or (remote and self.joiners(remote)):
            return tuple(self._free_adds(key))
        group = self.policies.group(key)
        remotes = dict.fromkeys(each.remote_group for each in group.rules if each.remote_group) if group else ()
        ports = [port for end in remotes for port in sorted(self.joiners(end))]
        return tuple(dict.fromkeys((*(add.key for add in self.changes(key).adds), *ports)))

    def _peers_of(self, joined: list[Key]) -> list[Key]:
        """The ports that only become peers of these groups: whoever is isolated after them still hears them."""
        found: list[Key] = []
        for key in joined:
            group = self.policies.group(key)
            rules = group.rules if group else ()
            for remote in dict.fromkeys(rule.remote_group for rule in rules if rule.remote_group):
                if remote not in self._peers:
                    self._peers[remote] = tuple(port for port in sorted(self.joiners(remote)) if self._only_peer(port))
                found += self._peers[remote]
        return found

    def _only_peer(self, port_key: Key) -> bool:
        """Whether the port's new list isolates it no more than the old one does."""
        port = next(iter(self._ports.of(port_key)), None)
        carried = set(port.security_groups) if port else set()
        wanted = self.lists.of(port_key.removeprefix(_POD_PORT)) or ()
        return not any(key.startswith(ISOLATING) and self.id_of(key) not in carried for key in wanted)

    def _removal(self, step_key: Key, group: SecurityGroup, keeps: Callable[[str], bool]) -> Iterator[Step]:
        """A group that nobody is to carry goes when nobody does, and no rule of ours names it."""
        carriers = sorted(self._ports.carriers(group.id))
        if any(keeps(port.removeprefix(_POD_PORT)) for port in carriers):
            return
        naming = [
            rule_key(other, rule)
            for other in sorted(self.groups.naming(group.id))
            for rule in self.changes(other).deletes
            if rule.remote_group_id == group.id
        ]
        yield Step(
            action=Action.DELETE,
            kind=Kind.SECURITY_GROUP,
            key=step_key,
            reason=f"no policy, pod or node asks for it any more: {group.name}",
            subject=self.who(step_key),
            id=group.id,
            needs=(*naming, *carriers),
        )


def rule_key(group: Key, rule: SecurityGroupRule) -> Key:
    """The key of the step that deletes an existing rule."""
    return f"security-group-rule/{group.partition('/')[2]}/{rule.id}"
