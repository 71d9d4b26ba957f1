"""How an error looks on a terminal: what happened, to which object, whose part it is, what to do next.

kuryrctl: port of pod shop/web-0 not created: quota "port" is used up (500 of 500)   [neutron, NET-QUOTA]
  next: openstack quota set --ports 600 demo
"""

from __future__ import annotations

import sys
import traceback
from typing import Final, TextIO

from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.errors import Invalid, KuryrError, Owner

BUG_HINT: Final = "this is a fault of kuryrctl: run it again with --debug and report what it prints"


def render(error: KuryrError) -> str:
    """The lines for a person, without a newline at the end."""
    lines = [f"kuryrctl: {error}   [{error.owner}, {error.code}]"]
    if error.hint:
        lines.append(f"  next: {error.hint}")
    if error.request_id:
        lines.append(f"  request: {error.request_id}")
    return "\n".join(lines)


def report(error: Exception, *, debug: bool, stderr: TextIO | None = None) -> ExitCode:
    """Print an error, with its traceback only where `debug` asks for it; the exit code it stands for.

    What the user wrote and can never work is a usage error (2), every other error a failure of the tool (1).
    """
    out = stderr or sys.stderr
    if debug:
        traceback.print_exception(error, file=out)
    if isinstance(error, KuryrError):
        print(render(error), file=out)
        return ExitCode.USAGE if isinstance(error, Invalid) and error.owner is Owner.USER else ExitCode.FAILED
    message = " ".join(str(error).split()) or "no message"
    print(render(KuryrError(f"{type(error).__name__}: {message}", code="BUG", hint=BUG_HINT)), file=out)
    return ExitCode.FAILED
