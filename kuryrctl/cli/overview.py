"""The overview of all commands, from the table alone: it must not cost more than an empty program's start."""

from __future__ import annotations

from typing import TextIO

from kuryrctl.cli.commands import COMMANDS, starting_with

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
