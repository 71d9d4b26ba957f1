"""The part of a run that is about NetworkPolicies: groups, their rules, and the group lists of ports that exist.

Does not know: how steps are computed or executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kuryrctl.core.cloud import CloudState
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import Step, chosen
from kuryrctl.core.policy.model import Direction
from kuryrctl.core.specs import Key
from kuryrctl.core.subjects import CLUSTER, subject_of_key, uid_of_key
from kuryrctl.reconcile.turn import Turn

Part = Callable[[Turn], None]
"""Narrows what a turn may do."""
_GROUPS = (Kind.SECURITY_GROUP, Kind.SECURITY_GROUP_RULE)


def policies(namespace: str = "") -> Part:
    """Only what policies ask for; with a `namespace` only what its policies and pods do."""

    def narrow(turn: Turn) -> None:
        part = _Part(turn, namespace)
        turn.choose = part.choose
        turn.about = frozenset((*_GROUPS, Kind.PORT))

    return narrow


class _Part:
    def __init__(self, turn: Turn, namespace: str) -> None:
        self._turn = turn
        self._namespace = namespace
        self._looked_at: CloudState | None = None
        self._keys: set[Key] = set()

    def choose(self, steps: Iterable[Step]) -> list[Step]:
        """See `Turn.choose`."""
        if self._namespace and self._looked_at is not self._turn.state.cloud:
            self._looked_at = self._turn.state.cloud
            self._keys = self._of_namespace()
        return chosen(steps, self._wanted)

    def _wanted(self, step: Step) -> bool:
        subject = subject_of_key(step.key)
        if step.kind in _GROUPS:
            return subject != CLUSTER and (not self._namespace or subject in self._keys)
        if step.kind is not Kind.PORT or step.action is not Action.UPDATE:
            return False
        if not any(change.field == "security_groups" for change in step.changes):
            return False
        return not self._namespace or self._concerns_namespace(step)

    def _concerns_namespace(self, step: Step) -> bool:
        """Whether it is a port of a pod there, or one elsewhere that only comes into groups of the namespace."""
        state, uid = self._turn.state, uid_of_key(step.key)
        pod, port = state.pods.get(uid), state.ports.by_id(step.id)
        if pod is None or port is None:
            return False
        carried = set(map(state.world().policed.key_of, port.security_groups))
        return pod.namespace == self._namespace or carried ^ set(state.policing.lists.of(uid) or ()) <= self._keys

    def _of_namespace(self) -> set[Key]:
        """The groups of the namespace's policies and pods, and those that their rules name."""
        state = self._turn.state
        policed = state.world().policed
        here = [pod for pod in state.pods.values() if pod.namespace == self._namespace]
        keys = {key for pod in here for key in policed.lists.of(pod.uid) or ()}
        keys |= {
            policed.key_of(id_)
            for pod in here
            for port in state.ports.of(f"port/pod/{pod.uid}")
            for id_ in port.security_groups
        }
        uids = tuple(each.uid for each in state.policing.policies.values() if each.namespace == self._namespace)
        isolating = tuple(f"security-group/policy-{direction}/{uid}" for uid in uids for direction in Direction)
        keys.update(filter(lambda key: key.startswith(isolating), policed.policies.keys()))
        named = [rule.remote_group for key in keys if (group := policed.policies.group(key)) for rule in group.rules]
        return keys | {key for key in named if key}
