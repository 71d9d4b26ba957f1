"""`policy list` and `policy show`: policies beside the groups, rules and ports that they become."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from kuryrctl.cli.base import Lister, ShowOne
from kuryrctl.cli.columns import Joined, Maybe
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import NotFound, Owner

if TYPE_CHECKING:
    from kuryrctl.cli.settings import Settings
    from kuryrctl.core.policy.standing import GroupStanding, PolicyStanding

COLUMNS: Final = ("Namespace", "Policy", "Isolates", "Pods", "Groups", "Rules", "State")


class PolicyList(Lister):
    """List NetworkPolicies with the groups and rules that they become, and whether the cloud holds them

    A list is data and exits with 0; `policy show` tells by its exit code how one policy stands, `policy verify` how all
    do.
    """

    takes_world = True
    examples = """\
  kuryrctl policy list
  kuryrctl policy list --namespace shop -f json"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """A filter."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--namespace", metavar="NAME", help="policies of this namespace")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each policy."""
        rows = [
            (
                each.policy.namespace,
                each.policy.name,
                Joined([str(direction) for direction in each.isolates]),
                len(each.selected),
                len(each.groups),
                sum(len(group.rules) for group in each.groups),
                each.state,
            )
            for each in _standings(self.settings(parsed_args))
            if parsed_args.namespace in (None, each.policy.namespace)
        ]
        return COLUMNS, rows


class PolicyShow(ShowOne):
    """Show one NetworkPolicy: its groups, rules and ports, and what differs or is still to be done

    Exits with 20 when the cloud does not hold what the policy says.
    """

    takes_world = True
    examples = """\
  kuryrctl policy show shop/db-from-web
  kuryrctl policy show shop/db-from-web -f yaml"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which one."""
        parser = super().get_parser(prog_name)
        parser.add_argument("policy", metavar="[NAMESPACE/]NAME", help="without a namespace: of namespace default")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Sequence[Any]]:
        """Every field."""
        wanted = parsed_args.policy if "/" in parsed_args.policy else f"default/{parsed_args.policy}"
        found = next((s for s in _standings(self.settings(parsed_args)) if s.policy.full_name == wanted), None)
        if found is None:
            raise NotFound(
                f"there is no NetworkPolicy {wanted}",
                code="POL-NOT-FOUND",
                owner=Owner.USER,
                hint="kuryrctl policy list shows them; one is named NAMESPACE/NAME",
            )
        if found.pending:
            self.exit_code = ExitCode.FAILURES
        shown = {
            "policy": found.policy.full_name,
            "uid": found.policy.uid,
            "isolates": Joined([str(direction) for direction in found.isolates]),
            "pods": Joined(found.selected),
            "groups": _Lines([_group(each) for each in found.groups]),
            "peer_groups": _Lines([_group(each) for each in found.peers]),
            "rules": _Lines([_rule(each, found) for each in _rules(found)]),
            "state": found.state,
            "pending": _Lines([step.summary for step in found.pending]),
            "first_reason": Maybe(found.pending[0].reason if found.pending else None),
        }
        return tuple(shown), tuple(shown.values())


class _Lines(Joined):
    """Several sentences: a line each for people, a list for machines."""

    def human_readable(self) -> str:
        """One line each."""
        return "\n".join(self._value)


def _standings(settings: Settings) -> tuple[PolicyStanding, ...]:
    from kuryrctl.cli.engine import planning_parts
    from kuryrctl.core.diff import Scope
    from kuryrctl.core.policy.standing import standings
    from kuryrctl.reconcile.once import looking

    with looking(planning_parts(settings), Scope.PODS) as turn:
        return standings(turn.state.world(), turn.difference().plan)


def _group(group: GroupStanding) -> str:
    role, id_ = group.key.split("/")[1:]
    held = f"rules {group.rules_there} of {len(group.rules)}, ports {group.pods_there} of {group.pods}"
    return f"{role}/{id_} {group.id or '(not there)'}: {held}"


def _rules(found: PolicyStanding) -> Iterable[Any]:
    return [rule for group in found.groups for rule in group.rules]


def _rule(rule: Any, found: PolicyStanding) -> str:
    from kuryrctl.core.rules import content_of_spec, text

    names = {each.key: "/".join(each.key.split("/")[1:]) for each in found.peers}
    return text(content_of_spec(rule, lambda key: names.get(key, key)))
