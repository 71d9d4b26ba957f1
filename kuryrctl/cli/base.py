"""What every command has in common: options, settings, exit code, and errors as sentences.

The classes run in two shells, ours and OpenStackClient's, and behave alike in both. A command implements `take_action`;
one that has more to say than success sets `self.exit_code` there (cliff drops what a Lister's or ShowOne's returns).
"""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING, Any, ClassVar

from cliff import command, lister, show
from cliff._argparse import SmartHelpFormatter

from kuryrctl.cli.errors import report
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import Invalid, KuryrError, Owner

if TYPE_CHECKING:
    from kuryrctl.cli.settings import Settings


SERVICE_LOG_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def log_as_service() -> None:
    """Give each line of the log its time: for commands that run until they are stopped.

    OpenStackClient's shell shows warnings where ours shows what is done: there our own messages get through as well.
    (Its ``-q`` and ``-v`` set another level, and stay what they are.)
    """
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(SERVICE_LOG_FORMAT))
        if handler.level == logging.WARNING:
            handler.setLevel(logging.INFO)
            handler.addFilter(_ours_or_warning)


def _ours_or_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == "kuryrctl"


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, SmartHelpFormatter):
    """Keeps the lines of docstrings and examples as they were written."""


class _Common(command.Command):
    """Options, settings and exit codes. Class variables say which groups of options a command takes."""

    auth_required: ClassVar[bool] = False
    """OpenStackClient logs in before a command that does not say this; ours connect when they need to."""
    takes_config: ClassVar[bool] = True
    takes_cluster: ClassVar[bool] = True
    takes_world: ClassVar[bool] = False
    """Whether it only reads, and so works on a saved world as well."""
    examples: ClassVar[str] = ""
    """Shown at the end of --help, one command line for each thing people come to do."""

    exit_code: ExitCode = ExitCode.OK

    def get_epilog(self) -> str:
        """The examples. (cliff's own reads the metadata of all installed distributions.)"""
        return f"examples:\n{self.examples}" if self.examples else ""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The common options; a command adds its own."""
        parser = super().get_parser(prog_name)
        parser.formatter_class = _HelpFormatter
        if self.takes_config:
            group = parser.add_argument_group("configuration")
            group.add_argument(
                "--config", metavar="FILE", help="default: $KURYRCTL_CONFIG, then /etc/kuryrctl/kuryrctl.yaml"
            )
            group.add_argument("--cluster-id", metavar="NAME", help="the cluster's name on the cloud objects it owns")
        if self.takes_cluster:
            group = parser.add_argument_group("cluster")
            group.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, then the pod's own account")
            group.add_argument("--context", metavar="NAME", help="a context of the kubeconfig (default: current)")
        if self.takes_world:
            group = parser.add_argument_group("offline")
            group.add_argument(
                "--world", metavar="FILE", help="read this saved world (kuryrctl world save) and no cluster or cloud"
            )
        return parser

    def settings(self, parsed_args: argparse.Namespace) -> Settings:
        """The valid configuration and how to connect. Raises KuryrError where a value can't work."""
        from kuryrctl.cli.settings import Settings, load

        given = vars(parsed_args)
        if given.get("world"):
            from kuryrctl.cli.files import read_world

            return Settings.of_world(read_world(parsed_args.world), parsed_args.world)
        config, origins = load(parsed_args.config, os.environ, {"cluster_id": parsed_args.cluster_id})
        return Settings(
            config,
            origins,
            cloud_name=self.app.options.cloud or None,
            region=self._region if hasattr(self.app, "cloud_config") else None,
            kubeconfig=given.get("kubeconfig"),
            context=given.get("context"),
        )

    def _region(self) -> Any:
        """The cloud that OpenStackClient's own options, variables and clouds.yaml name (only its shell has them)."""
        osc: Any = self.app
        try:
            return osc.cloud_config.get_one(cloud=osc.options.cloud, argparse=osc.options, validate=True)
        except Exception as error:  # the many of openstacksdk and keystoneauth, which commands must not import
            raise Invalid(
                f"the cloud cannot be used: {error}",
                code="CLOUD-CONFIG",
                owner=Owner.USER,
                hint="name a cloud of clouds.yaml with --os-cloud, or set the OS_* variables",
            ) from error

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Run the command; its exit code. Errors become sentences on stderr, in both shells alike."""
        try:
            returned = super().run(parsed_args)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  the outermost boundary: a person gets one sentence, not a traceback
            code = report(error, debug=bool(self.app.options.debug), stderr=self.app.stderr)
            return ExitCode.TIMEOUT if _waited_in_vain(error, parsed_args) else code
        return returned or self.exit_code


def _waited_in_vain(error: Exception, parsed_args: argparse.Namespace) -> bool:
    """Whether what the command waited for (the cluster's Lease, an agent's answer) did not come in that time."""
    if not isinstance(error, KuryrError):
        return False
    return error.code == "PROBE-NO-ANSWER" or (error.code == "KUBE-LEASE-HELD" and bool(vars(parsed_args).get("wait")))


class Command(_Common, command.Command):
    """A command that prints what it does; `take_action` may return an ExitCode."""


class Lister(_Common, lister.Lister):
    """A command that prints rows: `take_action` returns column names and rows."""


class ShowOne(_Common, show.ShowOne):
    """A command that prints the fields of one thing: `take_action` returns names and values."""
