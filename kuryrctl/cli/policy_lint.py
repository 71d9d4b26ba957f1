"""`policy lint`: what is probably not meant in NetworkPolicies, before or after they are applied."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kuryrctl.cli.base import Command
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.lint_view import Linted, Linter, add_lint_options, show_linted

if TYPE_CHECKING:
    from kuryrctl.core.cluster import ClusterState
    from kuryrctl.core.config import Config


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
        add_lint_options(parser, "policies")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Judge, print, and say the worst by the exit code."""
        from kuryrctl.cli.manifests import to_judge
        from kuryrctl.cli.world import known_namespace
        from kuryrctl.core.policy.lint import CHECKS, LINT_SCHEMA, lint

        settings = self.settings(parsed_args)
        judging = to_judge(settings, parsed_args, "NetworkPolicy")
        cluster, files = judging.cluster, judging.files
        known_namespace(cluster, parsed_args.namespace)
        found = [
            finding
            for finding in lint(cluster, settings.config, _rule_counts(cluster, settings.config))
            if judging.concerns(finding.subject)
        ]
        subjects = [policy.full_name for policy in cluster.policies.values() if judging.concerns(policy.full_name)]
        linted = Linted(subjects, found, files)
        show_linted(
            linted, Linter("policy", "policies", LINT_SCHEMA, "docs/policy-lint.md", CHECKS), parsed_args.format
        )
        return linted.exit_code


def _rule_counts(cluster: ClusterState, config: Config) -> Mapping[str, int]:
    from kuryrctl.core.policy.compiler import Policies
    from kuryrctl.core.policy.standing import rule_counts

    compiled = Policies(config)
    compiled.replace(cluster)
    return rule_counts(compiled, cluster)
