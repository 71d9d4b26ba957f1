"""`policy lint`: what is probably not meant in NetworkPolicies, before or after they are applied."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kuryrctl import __version__
from kuryrctl.cli.base import Command
from kuryrctl.cli.document import as_text
from kuryrctl.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from kuryrctl.cli.reports import ReportFinding, ReportRule
    from kuryrctl.core.cluster import ClusterState
    from kuryrctl.core.config import Config
    from kuryrctl.core.policy.lint import Check, LintFinding

FORMATS: Final = ("table", "json", "yaml", "sarif", "junit")
ANCHOR: Final = "docs/policy-lint.md#"


class PolicyLint(Command):
    """Tell what is probably not meant in NetworkPolicies: of manifests, a saved world, or the live cluster

    Manifests are judged by themselves: the pods, namespaces and Services beside the policies in the same files are the
    cluster; with --live or --world they are judged on top of that one. A finding is accepted by an annotation of its
    policy, with the reason why:
    kuryr.openstack.org/lint-ignore: "POL-OPENS-ALL: this is the front door"

    Exits with 20 when an error is found, 10 when warnings are; notes and accepted findings do not count.
    """

    takes_world = True
    examples = """\
  kuryrctl policy lint -f manifests/
  kuryrctl policy lint -f policy.yaml -f pods.yaml --format sarif > lint.sarif
  kuryrctl policy lint -f policy.yaml --world world.json
  kuryrctl policy lint --namespace shop"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """What is judged, and for whom it is printed."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "-f",
            "--filename",
            metavar="FILE|DIR",
            action="append",
            default=[],
            help="manifests instead of a cluster, or on top of one (repeatable)",
        )
        parser.add_argument("--live", action="store_true", help="judge the manifests on top of the live cluster")
        parser.add_argument("-n", "--namespace", metavar="NAME", help="policies of this namespace only")
        parser.add_argument("--format", choices=FORMATS, default="table", help="default: table")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Judge, print, and say the worst by the exit code."""
        from kuryrctl.cli.world import known_namespace, read_cluster
        from kuryrctl.core.policy.lint import Level, lint, worst

        settings = self.settings(parsed_args)
        files: dict[str, str] = {}
        if parsed_args.filename:
            base = read_cluster(settings) if parsed_args.live or parsed_args.world else None
            cluster, files = _manifests(parsed_args.filename, base)
        else:
            cluster = read_cluster(settings)
        known_namespace(cluster, parsed_args.namespace)
        found = [
            finding
            for finding in lint(cluster, settings.config, _rule_counts(cluster, settings.config))
            if parsed_args.namespace in (None, finding.policy.partition("/")[0])
            and (not parsed_args.filename or finding.policy in files)
        ]
        subjects = [
            policy.full_name
            for policy in cluster.policies.values()
            if parsed_args.namespace in (None, policy.namespace)
            and (not parsed_args.filename or policy.full_name in files)
        ]
        _print(parsed_args.format, subjects, found, files)
        judged = worst(found)
        if judged is Level.ERROR:
            return ExitCode.FAILURES
        return ExitCode.WARNINGS if judged is Level.WARNING else ExitCode.OK


def _manifests(names: list[str], base: ClusterState | None) -> tuple[ClusterState, dict[str, str]]:
    """The cluster that the files describe, or turn `base` into, and the file of each policy."""
    from kuryrctl.core.policy.difference import applied
    from kuryrctl.kube import documents

    read = list(documents.documents(map(Path, names)))
    cluster = documents.cluster_of(read)  # refuses what has no metadata or no name
    if base is not None:
        cluster = applied(base, cluster, documents.named_namespaces(read))
    policies = [each for each in read if each.body["kind"] == "NetworkPolicy"]
    metas = [(each.body["metadata"], each.source) for each in policies]
    return cluster, {f"{meta.get('namespace') or 'default'}/{meta['name']}": source for meta, source in metas}


def _rule_counts(cluster: ClusterState, config: Config) -> Mapping[str, int]:
    from kuryrctl.core.policy.compiler import Policies
    from kuryrctl.core.policy.standing import rule_counts

    compiled = Policies(config)
    compiled.replace(cluster)
    return rule_counts(compiled, cluster)


def _print(form: str, subjects: list[str], found: list[LintFinding], files: dict[str, str]) -> None:
    if form == "sarif":
        from kuryrctl.cli.reports import sarif
        from kuryrctl.core.policy.lint import CHECKS

        print(sarif([_rule(check) for check in CHECKS], _reported(found, files), __version__))
    elif form == "junit":
        from kuryrctl.cli.reports import junit

        print(junit("kuryrctl policy lint", subjects, _reported(found, files)))
    elif form in ("json", "yaml"):
        from kuryrctl.core.policy.lint import LINT_SCHEMA

        document = {
            "schema": LINT_SCHEMA,
            "policies": len(subjects),
            "findings": [
                {
                    "code": each.check.code,
                    "severity": each.check.level,
                    "policy": each.policy,
                    "field": each.field,
                    "message": each.message,
                    "file": files.get(each.policy),
                    "accepted": each.accepted or None,
                    "anchor": f"{ANCHOR}{each.check.code.lower()}",
                }
                for each in found
            ],
        }
        print(as_text(document, form))
    else:
        _table(len(subjects), found)


def _table(policies: int, found: list[LintFinding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    colours = {"error": "red", "warning": "yellow", "note": "cyan"}
    for each in found:
        line = Text(f"{each.check.level}: ", "dim" if each.accepted else colours[each.check.level])
        line.append(f"{each.policy} {each.field}: {each.message}   [{each.check.code}]")
        console.print(line, soft_wrap=True)
        if each.accepted:
            console.print(Text(f"  accepted: {each.accepted}", "dim"), soft_wrap=True)
    counting = sum(not each.accepted for each in found)
    told = f"{policies} policies, {counting} findings"
    accepted = len(found) - counting
    console.print(told + (f", {accepted} accepted" if accepted else ""))


def _rule(check: Check) -> ReportRule:
    from kuryrctl.cli.reports import ReportRule

    return ReportRule(check.code, check.title, check.level, f"{ANCHOR}{check.code.lower()}")


def _reported(found: list[LintFinding], files: dict[str, str]) -> list[ReportFinding]:
    from kuryrctl.cli.reports import ReportFinding

    return [
        ReportFinding(
            _rule(each.check),
            each.policy,
            f"{each.field}: {each.message}" if each.field else each.message,
            files.get(each.policy, ""),
            each.accepted,
        )
        for each in found
    ]
