"""`policy diff`: what applying manifests would change, before anybody applies them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kuryrctl.cli.base import Command
from kuryrctl.cli.document import FORMATS, as_text
from kuryrctl.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kuryrctl.cli.settings import Settings
    from kuryrctl.cloud import QuotaUse
    from kuryrctl.core.cluster import ClusterState
    from kuryrctl.core.errors import Quota
    from kuryrctl.core.policy.difference import Count, Pair, PolicyDifference, Side

MOST_PAIRS: Final = 100


class PolicyDiff(Command):
    """Show what applying manifests would change: connections that open or close, groups, rules, calls, quota

    By itself it needs no cluster and no cloud: the files are the whole world, and it shows what their NetworkPolicies
    change in it. --against compares with other files (a merge request with its target), --world with a saved world,
    --live with the cluster and the project's quota. Services of the files get the endpoints that their selectors match.

    Exits with 0 when nothing changes, 21 when something does.
    """

    takes_world = True
    examples = """\
  kuryrctl policy diff -f manifests/
  kuryrctl policy diff -f tests/cases/policy/service.yaml
  kuryrctl policy diff -f branch/manifests --against main/manifests
  kuryrctl policy diff -f new-policy.yaml --world world.json
  kuryrctl policy diff -f new-policy.yaml --live"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Which manifests, compared with what."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "-f", "--filename", metavar="FILE|DIR", action="append", required=True, help="manifests (repeatable)"
        )
        base = parser.add_mutually_exclusive_group()
        base.add_argument("--live", action="store_true", help="compare with the live cluster")
        base.add_argument(
            "--against", metavar="FILE|DIR", action="append", default=[], help="compare with these manifests"
        )
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Read both sides, compare, print."""
        from kuryrctl.core.errors import Invalid, Owner
        from kuryrctl.core.policy.difference import policy_difference, without_policies
        from kuryrctl.kube.controllers import Manifests

        if parsed_args.world and (parsed_args.live or parsed_args.against):
            raise Invalid(
                "--world, --live and --against are three things to compare with",
                code="USAGE",
                owner=Owner.USER,
                hint="give one of them",
            )
        settings = self.settings(parsed_args)
        after = Manifests(map(Path, parsed_args.filename), settings.config)
        if parsed_args.live or parsed_args.world:
            observed = _observed(settings)
            before, now = observed, after.on(observed)
        elif parsed_args.against:
            before, now = Manifests(map(Path, parsed_args.against), settings.config).alone(), after.alone()
        else:
            now = after.alone()
            before = without_policies(now)
        found = policy_difference(before, now, settings.config)
        quota = _forecast(settings, found) if parsed_args.live else None
        if parsed_args.format != "table":
            _print_document(found, quota, parsed_args.format)
        else:
            _print_table(found, quota)
        return ExitCode.DRIFT if found else ExitCode.OK


def _observed(settings: Settings) -> ClusterState:
    from kuryrctl.cli.world import read_cluster

    return read_cluster(settings)


class _Forecast:
    """The project's quotas of groups and rules, and the fault with which `policy sync` would stop; None: all fits."""

    def __init__(self, uses: list[QuotaUse], short: Quota | None) -> None:
        self.uses = uses
        self.short = short


def _forecast(settings: Settings, found: PolicyDifference) -> _Forecast:
    from kuryrctl.core.forecast import RESOURCES, shortage_of
    from kuryrctl.core.kinds import Kind

    neutron = settings.cloud()
    quotas = {use.resource: use for use in neutron.quota()}
    makes = {Kind.SECURITY_GROUP: found.groups.made, Kind.SECURITY_GROUP_RULE: found.rules.made}
    short = shortage_of(makes, quotas, neutron.project_id, settings.config.workers)
    return _Forecast([quotas[name] for name in RESOURCES.values() if name in quotas], short)


def _print_table(found: PolicyDifference, quota: _Forecast | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not found:
        console.print("nothing changes")
        return
    colours = {"+": "green", "-": "red", "~": "yellow"}
    for name, sign in found.policies.items():
        console.print(Text(f"{sign} policy {name}", colours[sign]))
    for title, pairs, sign in (("opened", found.opened, "+"), ("closed", found.closed, "-")):
        console.print(f"connections {title}: {len(pairs) or 'none'}")
        for pair in pairs[:MOST_PAIRS]:
            console.print(Text(f"  {sign} {_pair(pair)}", colours[sign]), soft_wrap=True)
        if len(pairs) > MOST_PAIRS:
            console.print(f"  and {len(pairs) - MOST_PAIRS} more: --format json has all of them")
    console.print(f"security groups: {_count(found.groups)}; rules: {_count(found.rules)}")
    console.print(f"ports whose groups change: {found.updates}; calls to Neutron: {found.calls}")
    if found.untold:
        names = ", ".join(found.untold)
        console.print(
            f"not told: who may reach {names}: no pod and no EndpointSlice answers for it here", soft_wrap=True
        )
    for use in quota.uses if quota else ():
        limit = "no limit" if use.limit < 0 else f"limit {use.limit}"
        console.print(f"quota {use.resource}: {limit}, in use {use.used + use.reserved}")
    if quota and quota.short:
        console.print(Text(quota.short.message, "red"), soft_wrap=True)
        console.print(f"  next: {quota.short.hint}", soft_wrap=True)


def _pair(pair: Pair) -> str:
    return f"{_side(pair.source)} -> {_side(pair.target)}: {', '.join(map(str, pair.ports))}"


def _side(side: Side) -> str:
    return f"{side.name} (and {side.others} like it)" if side.others else side.name


def _count(count: Count) -> str:
    return f"{count.before} -> {count.after} (+{count.made} -{count.removed})"


def _print_document(found: PolicyDifference, quota: _Forecast | None, form: str) -> None:
    """`fits`: whether the quotas have room for it; null where no cloud was asked."""
    import msgspec

    from kuryrctl.core.policy.difference import DIFF_SCHEMA

    document = {
        "schema": DIFF_SCHEMA,
        **msgspec.to_builtins(found),
        "quota": msgspec.to_builtins(quota.uses) if quota else [],
        "fits": quota.short is None if quota else None,
        "shortage": quota.short.message if quota and quota.short else None,
    }
    print(as_text(document, form))
