"""The standalone cliff application: global options, finding a command in the table, logging.

It differs from cliff's in four ways: commands come from a static table; stdout is data only, so hints about unknown
commands go to stderr; usage errors exit with 2; there is no interactive mode.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib.metadata import EntryPoint
from typing import Any, Final

from cliff.app import App
from cliff.command import Command
from cliff.commandmanager import CommandManager

from kuryrctl import __version__
from kuryrctl.cli.commands import COMMANDS, starting_with
from kuryrctl.cli.errors import report
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.overview import write_overview
from kuryrctl.core.config import nearest

LEVELS: Final = (
    (logging.WARNING, logging.WARNING),
    (logging.INFO, logging.WARNING),
    (logging.DEBUG, logging.WARNING),
    (logging.DEBUG, logging.DEBUG),
)
"""The least levels of our own loggers and of all others, by ``-q``, nothing, ``-v``, ``-vv``."""


class TableManager(CommandManager):
    """Finds commands (also by the beginnings of their words) in our table instead of installed entry points."""

    def __init__(self) -> None:
        super().__init__(namespace=None)
        for name, entry in COMMANDS.items():
            self.commands[name] = EntryPoint(name=name, value=entry.target, group="kuryrctl.commands")


class Shell(App):
    """One run of the standalone program."""

    def __init__(self, program: str) -> None:
        super().__init__("", __version__, TableManager(), deferred_help=True)
        self.NAME = program

    def build_option_parser(
        self, description: str | None, version: str | None, argparse_kwargs: dict[str, Any] | None = None
    ) -> argparse.ArgumentParser:
        """The global options. They may stand anywhere; abbreviations would clash with the commands' own options."""
        parser = super().build_option_parser(description, version, {"allow_abbrev": False, **(argparse_kwargs or {})})
        parser.add_argument("--os-cloud", dest="cloud", metavar="NAME", default=os.environ.get("OS_CLOUD"))
        return parser

    def configure_logging(self) -> None:
        """Messages to stderr; everything to the log file, when there is one.

        Loggers get the least level that somebody reads: keystoneauth formats every request when DEBUG is enabled.
        """
        root = logging.getLogger()
        ours, others = LEVELS[min(self.options.verbose_level, len(LEVELS) - 1)]
        root.setLevel(logging.DEBUG if self.options.log_file else others)
        logging.getLogger("kuryrctl").setLevel(logging.DEBUG if self.options.log_file else ours)
        console = logging.StreamHandler(self.stderr)
        console.addFilter(lambda record: record.levelno >= (ours if record.name.startswith("kuryrctl") else others))
        console.setFormatter(logging.Formatter("%(message)s"))
        root.addHandler(console)
        if self.options.log_file:
            file = logging.FileHandler(self.options.log_file)
            file.setFormatter(logging.Formatter(self.LOG_FILE_MESSAGE_FORMAT))
            root.addHandler(file)

    def run(self, argv: list[str]) -> int:
        """Run one command line; never raises but for Ctrl-C and a closed pipe, which `main` turns into exit codes."""
        self.options, words = self.parser.parse_known_args(argv)
        try:
            self.configure_logging()
            if self.options.deferred_help or words[:1] == ["help"]:
                return self._help(words[1:] if words[:1] == ["help"] else words)
            return self.run_subcommand(words)
        except SystemExit as stop:  # argparse has printed why
            return int(stop.code or 0)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001  the outermost boundary: a person gets one sentence, not a traceback
            return report(error, debug=self.options.debug)

    def run_subcommand(self, argv: list[str]) -> int:
        """Find the command, parse its options, run it."""
        found = self._find(argv)
        if found is None:
            return self._unknown(argv)
        command, name, rest = found
        return command.run(command.get_parser(f"{self.NAME} {name}").parse_args(rest))

    def _find(self, argv: list[str]) -> tuple[Command, str, list[str]] | None:
        try:
            factory, name, rest = self.command_manager.find_command(argv)
        except ValueError:
            return None
        return factory(self, self.options), name, rest

    def _help(self, words: list[str]) -> int:
        found = self._find(words)
        if found:
            command, name, _rest = found
            command.get_parser(f"{self.NAME} {name}").print_help(self.stdout)
            return ExitCode.OK
        nouns = _words(words)
        if not starting_with(nouns):
            return self._unknown(words)
        write_overview(sys.stdout, self.NAME, nouns)
        return ExitCode.OK

    def _unknown(self, argv: list[str]) -> int:
        nouns = _words(argv)
        if argv and not nouns:
            print(f"kuryrctl: there is no global option {argv[0]}; {self.NAME} --help lists them", file=sys.stderr)
            return ExitCode.USAGE
        if starting_with(nouns):
            write_overview(sys.stderr, self.NAME, nouns)
            return ExitCode.USAGE
        hint = nearest(" ".join(nouns[:2]), COMMANDS)
        if not hint.startswith("did you mean"):
            hint = f"{self.NAME} --help lists the commands"
        print(f'kuryrctl: there is no command "{" ".join(nouns)}"; {hint}', file=sys.stderr)
        return ExitCode.USAGE


def _words(argv: list[str]) -> list[str]:
    """The words before the first option."""
    return argv[: next((index for index, word in enumerate(argv) if word.startswith("-")), len(argv))]
