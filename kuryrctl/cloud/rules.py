"""Makes security group rules: those of one group in one call, and whatever of them exists counts as made.

Does not know: which rules should exist; groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kuryrctl.cloud import wire
from kuryrctl.cloud.client import Client
from kuryrctl.cloud.faults import Refused, vanished
from kuryrctl.cloud.meanings import OVER_QUOTA
from kuryrctl.cloud.ports import SPLIT
from kuryrctl.cloud.quota import refusal
from kuryrctl.cloud.recording import Log
from kuryrctl.cloud.wire import RULES, Body
from kuryrctl.core.cloud import SecurityGroupRule
from kuryrctl.core.errors import Conflict, KuryrError
from kuryrctl.core.plan import Step
from kuryrctl.core.specs import Key, RuleSpec


class RuleMaker:
    """Makes the rules of one group. Every mutation is told to `log`."""

    def __init__(self, client: Client, ids: Mapping[Key, str], log: Log) -> None:
        self._client = client
        self._ids = ids
        self._log = log

    def make(self, steps: Sequence[Step]) -> dict[Key, SecurityGroupRule | KuryrError]:
        """Make the rules of one group in one call (a bulk may be of one group only). One that exists counts as made."""
        results: dict[Key, SecurityGroupRule | KuryrError] = {}
        bodies: dict[Key, Body] = {}
        for step in steps:
            try:
                bodies[step.key] = wire.rule_body(_spec(step), self._ids)
            except Conflict as error:
                results[step.key] = error
        self._post([step for step in steps if step.key in bodies], bodies, results)
        return results

    def _post(
        self,
        steps: Sequence[Step],
        bodies: Mapping[Key, Body],
        results: dict[Key, SecurityGroupRule | KuryrError],
        *,
        looked_up: bool = False,
    ) -> None:
        if not steps:
            return
        call = f"POST {RULES.path}"
        try:
            response = self._client.call("POST", RULES.path, {RULES.plural: [bodies[step.key] for step in steps]})
            made = wire.decode_list(RULES, response.body)[0]
        except (Refused, KuryrError) as fault:
            for step in steps:
                self._log(step, "", call, fault)
            self._refused(steps, bodies, results, fault, looked_up=looked_up)
            return
        for step in steps:
            rule = _matching(made, bodies[step.key])
            if rule is not None:
                self._log(step, rule.id, call, response)
            results[step.key] = rule or vanished(step.key)

    def _refused(
        self,
        steps: Sequence[Step],
        bodies: Mapping[Key, Body],
        results: dict[Key, SecurityGroupRule | KuryrError],
        fault: Refused | KuryrError,
        *,
        looked_up: bool,
    ) -> None:
        """Some exist (409), or nobody knows (no answer): look; then the rest again, in halves where one must be bad."""
        if isinstance(fault, Refused) and fault.type == OVER_QUOTA:
            what = f"{len(steps)} rules of {steps[0].subject or _spec(steps[0]).group} not created"
            error = refusal(self._client, fault, RULES.singular, what)
            results |= dict.fromkeys((step.key for step in steps), error)
            return
        status = fault.status if isinstance(fault, Refused) else 0
        unknown = status == 0 or status >= 500
        rest = list(steps)
        if unknown or (status == 409 and not looked_up):
            try:
                query = [("security_group_id", bodies[steps[0].key]["security_group_id"])]
                existing = self._client.list(RULES, query)
            except (Refused, KuryrError):
                existing = ()
            found = {step.key: _matching(existing, bodies[step.key]) for step in steps}
            results |= {key: rule for key, rule in found.items() if rule is not None}
            rest = [step for step in steps if found[step.key] is None]
            if not unknown and len(rest) < len(steps):
                self._post(rest, bodies, results, looked_up=True)
                return
        if len(rest) > 1 and status in SPLIT:
            middle = len(rest) // 2
            self._post(rest[:middle], bodies, results, looked_up=True)
            self._post(rest[middle:], bodies, results, looked_up=True)
            return
        for step in rest:
            results[step.key] = fault.error(f"{step.key} not created") if isinstance(fault, Refused) else fault


def _spec(step: Step) -> RuleSpec:
    if not isinstance(step.spec, RuleSpec):
        raise TypeError(f"{step.key} has no RuleSpec")
    return step.spec


def _matching(rules: Sequence[SecurityGroupRule], body: Body) -> SecurityGroupRule | None:
    return next((rule for rule in rules if wire.same_rule(rule, body)), None)
