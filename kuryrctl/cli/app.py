"""The entry point of `kuryrctl` and `kubectl-kuryr`: answers help and version itself, loads cliff for the rest.

The overview of all commands needs only the table; cliff would cost four times an empty program's start (decision 010).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kuryrctl import __version__
from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.cli.overview import write_overview


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


if __name__ == "__main__":
    sys.exit(main())
