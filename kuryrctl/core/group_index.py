"""The groups of the NetworkPolicies: as observed (`Groups`), and by whom they are to be carried (`Lists`).

Both are kept up to date one object at a time by the one thread that owns the observed state. Does not know: which rules
a group should have, how a list is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from kuryrctl.core import ownership
from kuryrctl.core.cloud import SecurityGroup, SecurityGroupRule
from kuryrctl.core.findings import Finding, FindingCode
from kuryrctl.core.kinds import Kind
from kuryrctl.core.ownership import Claim, Identity, Proof
from kuryrctl.core.specs import Key


class Groups:
    """The observed groups of the NetworkPolicies with their rules, by key."""

    def __init__(self, identity: Identity, groups: Iterable[SecurityGroup] = ()) -> None:
        self.identity = identity
        self._by_id: dict[str, tuple[SecurityGroup, Claim]] = {}
        self._by_key: dict[Key, list[str]] = {}
        self._naming: dict[str, set[str]] = {}
        self._group_of_rule: dict[str, str] = {}
        for group in groups:
            self.put(group)

    def put(self, group: SecurityGroup) -> Claim:
        """Take this as the newest observation of the group with its id; others' groups are not kept."""
        self._forget(group.id)
        claim = ownership.claim_group(group, self.identity)
        if claim.proof is Proof.FOREIGN:
            return claim
        self._by_id[group.id] = (group, claim)
        if claim.ours:
            self._by_key.setdefault(claim.key, []).append(group.id)
            for rule in group.security_group_rules:
                self._group_of_rule[rule.id] = group.id
                if rule.remote_group_id:
                    self._naming.setdefault(rule.remote_group_id, set()).add(group.id)
        return claim

    def drop(self, id_: str) -> None:
        """The group is gone, and its rules are, and (Neutron sees to it) those of ours that name it."""
        self._forget(id_)
        for other in tuple(self._naming.pop(id_, ())):
            group = self.by_id(other)
            if group is not None:
                rules = tuple(rule for rule in group.security_group_rules if rule.remote_group_id != id_)
                self.put(msgspec.structs.replace(group, security_group_rules=rules))

    def _forget(self, id_: str) -> None:
        group, claim = self._by_id.pop(id_, (None, ownership.FOREIGN))
        if group is None or not claim.ours:
            return
        self._by_key[claim.key].remove(id_)
        if not self._by_key[claim.key]:
            del self._by_key[claim.key]
        for rule in group.security_group_rules:
            self._group_of_rule.pop(rule.id, None)
            if rule.remote_group_id:
                self._naming.get(rule.remote_group_id, set()).discard(id_)

    def put_rule(self, rule: SecurityGroupRule) -> None:
        """The rule exists, in its group, if that is here."""
        group = self.by_id(rule.security_group_id)
        if group is not None:
            rules = (*(other for other in group.security_group_rules if other.id != rule.id), rule)
            self.put(msgspec.structs.replace(group, security_group_rules=rules))

    def drop_rule(self, id_: str) -> str:
        """The rule is gone; the id of its group, empty where that is unknown."""
        group = self.by_id(self._group_of_rule.get(id_, ""))
        if group is None:
            return ""
        rules = tuple(rule for rule in group.security_group_rules if rule.id != id_)
        self.put(msgspec.structs.replace(group, security_group_rules=rules))
        return group.id

    def by_id(self, id_: str) -> SecurityGroup | None:
        """The group with this id."""
        return self._by_id.get(id_, (None,))[0]

    def claim(self, id_: str) -> Claim:
        """Whose group this is; foreign where it is unknown."""
        return self._by_id.get(id_, (None, ownership.FOREIGN))[1]

    def of(self, key: Key) -> tuple[SecurityGroup, ...]:
        """The groups of one key: first the one to use (tagged, smallest id), then doubles."""
        found = [self._by_id[id_] for id_ in self._by_key.get(key, ())]
        found.sort(key=lambda pair: (pair[1].proof is not Proof.TAGGED, pair[0].id))
        return tuple(group for group, _ in found)

    def id_of(self, key: Key) -> str:
        """The id of the group to use; empty where there is none."""
        found = self._by_key.get(key, ())
        return found[0] if len(found) == 1 else next((group.id for group in self.of(key)), "")

    def naming(self, id_: str) -> frozenset[Key]:
        """The keys of our groups with a rule whose other end is this group."""
        return frozenset(self.claim(other).key for other in self._naming.get(id_, ()))

    def keys(self) -> Iterator[Key]:
        """The keys of all that exist."""
        return iter(self._by_key)

    def __iter__(self) -> Iterator[SecurityGroup]:
        return (group for group, _ in self._by_id.values())

    @property
    def ids(self) -> Mapping[Key, str]:
        """The id of the group to use by its key."""
        return {key: self.id_of(key) for key in self._by_key}

    def count_ours(self) -> int:
        """How many groups are ours."""
        return sum(map(len, self._by_key.values()))

    def suspicious(self) -> tuple[Finding, ...]:
        """The groups that carry our tags, but are not provably ours."""
        return tuple(
            Finding(
                FindingCode.SUSPICIOUS,
                Kind.SECURITY_GROUP,
                group.id,
                group.name,
                f"security-group {group.id} carries our tags, but {claim.why}; kuryrctl leaves it alone",
                claim.uid,
            )
            for group, claim in self._by_id.values()
            if claim.proof is Proof.SUSPICIOUS
        )


class Lists:
    """The group list that each pod's port should carry, by the pod's uid, and the other way round."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Key, ...]] = {}
        self._carriers: dict[Key, dict[str, None]] = {}  # of thousands, a set takes 2.5 times a dict's memory

    def put(self, uid: str, keys: tuple[Key, ...] | None) -> frozenset[Key]:
        """The list of one pod is this (None: it has none any more); the groups that it came into or left."""
        before = self._of.pop(uid, ())
        if keys is not None:
            self._of[uid] = keys
        changed = frozenset(before).symmetric_difference(keys or ())
        for key in changed:
            carriers = self._carriers.setdefault(key, {})
            if key in before:
                carriers.pop(uid, None)
            else:
                carriers[uid] = None
            if not carriers:
                del self._carriers[key]
        return changed

    def of(self, uid: str) -> tuple[Key, ...] | None:
        """The list of one pod; None: it should have no port."""
        return self._of.get(uid)

    def carriers(self, key: Key) -> AbstractSet[str]:
        """The uids of the pods whose port should carry this group."""
        return self._carriers.get(key, {}).keys()

    def uids(self) -> AbstractSet[str]:
        """All pods that have a list."""
        return self._of.keys()
