"""`config show` and `config validate`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from kuryrctl.cli.base import Command, Lister
from kuryrctl.cli.columns import Joined, Maybe


class ShowConfig(Lister):
    """Show every option, its value and where it came from

    Values come from a configuration file, KURYRCTL_* variables over it, and options of the command line over these.
    """

    takes_cluster = False
    examples = """\
  kuryrctl config show
  kuryrctl config show --config prod.yaml -f json
  KURYRCTL_NODE_SOCKET=/run/k.sock kuryrctl config show -c Option -c Value -f value"""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
        """One row for each option."""
        from kuryrctl.core.config import options, value_of

        settings = self.settings(parsed_args)
        rows = [(path, _cell(value_of(settings.config, path)), settings.origins[path]) for path in options()]
        return ("Option", "Value", "Source"), rows


class ValidateConfig(Command):
    """Check a configuration file without using it

    Exits with 0 when every value can work, with 2 and the path of the first bad value when not. Without FILE
    and without a file in the default places there is nothing to check: all options have their defaults.
    """

    takes_config = False
    takes_cluster = False
    examples = """\
  kuryrctl config validate prod.yaml"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """The file is the only argument."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "file",
            metavar="FILE",
            nargs="?",
            help="default: $KURYRCTL_CONFIG, then /etc/kuryrctl/kuryrctl.yaml",
            type=Path,
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Read the file and say how many options it sets."""
        from kuryrctl.cli.settings import DEFAULT_FILE, FILE_VARIABLE, validate
        from kuryrctl.core.config import options

        named = parsed_args.file or os.environ.get(FILE_VARIABLE)
        if not named and not DEFAULT_FILE.exists():
            print("no configuration file: all defaults", file=self.app.stderr)
            return
        file = Path(named or DEFAULT_FILE)
        given = validate(file)
        print(f"{file} is valid: it sets {given} of {len(options())} options", file=self.app.stderr)


def _cell(value: Any) -> Joined | Maybe:
    return Joined(value) if isinstance(value, list) else Maybe(value)
