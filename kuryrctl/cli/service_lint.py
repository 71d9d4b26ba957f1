"""`service lint`: what of a Service its load balancer cannot do, or is probably not meant."""

from __future__ import annotations

import argparse

from kuryrctl.cli.base import Command
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.lint_view import Linted, Linter, add_lint_options, show_linted


class ServiceLint(Command):
    """Tell what of Services load balancers cannot do, or is probably not meant: of manifests, a world, or live

    Annotations, ports, ranges and health monitors are held against what the provider of Octavia can do and what the
    configuration allows. Manifests are judged by themselves; with --live or --world on top of that cluster. A finding
    is accepted by an annotation of its Service, with the reason why:
    kuryr.openstack.org/lint-ignore: "SVC-NODE-PORT: only the load balancer is used"

    Exits with 20 when an error is found, 10 when warnings are; notes and accepted findings do not count.
    """

    takes_world = True
    examples = """\
  kuryrctl service lint -f manifests/
  kuryrctl service lint -f service.yaml --format sarif > lint.sarif
  kuryrctl service lint -f service.yaml --live
  kuryrctl service lint --namespace shop"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """What is judged, and for whom it is printed."""
        parser = super().get_parser(prog_name)
        add_lint_options(parser, "Services")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> ExitCode:
        """Judge, print, and say the worst by the exit code."""
        from kuryrctl.cli.manifests import to_judge
        from kuryrctl.cli.world import known_namespace
        from kuryrctl.core.service_lint import CHECKS, LINT_SCHEMA, lint

        settings = self.settings(parsed_args)
        judging = to_judge(settings, parsed_args, "Service")
        known_namespace(judging.cluster, parsed_args.namespace)
        found = [each for each in lint(judging.cluster, settings.config) if judging.concerns(each.subject)]
        services = judging.cluster.services.values()
        subjects = [service.full_name for service in services if judging.concerns(service.full_name)]
        linted = Linted(subjects, found, judging.files)
        show_linted(
            linted, Linter("service", "services", LINT_SCHEMA, "docs/service-lint.md", CHECKS), parsed_args.format
        )
        return linted.exit_code
