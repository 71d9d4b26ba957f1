"""The entry point of `kuryrctl` and `kubectl-kuryr`: answers help and version itself, loads cliff for the rest.

The overview of all commands needs only the table; cliff would cost four times an empty program's start (decision 010).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from kuryrctl import __version__
from kuryrctl.cli.commands import COMMANDS, starting_with
from kuryrctl.cli.exit_codes import ExitCode

GLOBAL_OPTIONS = """\
options of every command:
  --os-cloud NAME   a cloud of clouds.yaml (default: $OS_CLOUD)
  -v, --verbose     say more of what is done; -vv: what the libraries do, too
  -q, --quiet       errors and warnings only
  --log-file FILE   write everything to a file as well
  --debug           show where an error arose (traceback)
  --version         print the version
  -h, --help        after a command: its options and examples
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command line; `argv` without the program's name (None: this process's)."""
    words = sys.argv[1:] if argv is None else argv
    program = program_name(sys.argv[0])
    try:
        if not words:
            write_overview(sys.stderr, program)
            return ExitCode.USAGE
        if words in (["--help"], ["-h"], ["help"]):
            write_overview(sys.stdout, program)
            return ExitCode.OK
        if words == ["--version"]:
            print(f"kuryrctl {__version__}")
            return ExitCode.OK
        from kuryrctl.cli.shell import Shell

        return Shell(program).run(words)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader went away; what is still buffered must not raise again when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE


def program_name(path: str) -> str:
    """What the user typed: kubectl runs `kubectl-kuryr` for ``kubectl kuryr``."""
    return "kubectl kuryr" if Path(path).name == "kubectl-kuryr" else "kuryrctl"


def write_overview(out: TextIO, program: str, words: list[str] | None = None) -> None:
    """All commands, or those that start with `words`, one line each."""
    names = starting_with(words or [])
    width = max(map(len, names))
    lines = [f"usage: {program} {' '.join(words or ['COMMAND'])} ...", ""]
    if not words:
        lines += ["Kubernetes pods on Neutron ports: plan, run, watch and diagnose them.", ""]
    lines.append("commands:")
    lines += [f"  {name:<{width}}  {COMMANDS[name].summary}" for name in names]
    if not words:
        lines += [
            "",
            GLOBAL_OPTIONS,
            f"{program} COMMAND --help explains one command. `openstack kuryr` runs the same.",
            'Words may be shortened (kuryrctl po l). For bash: eval "$(kuryrctl complete)"',
        ]
    out.write("\n".join(lines) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
