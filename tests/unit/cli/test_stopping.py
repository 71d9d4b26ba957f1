"""A service ends when it is told to, whatever its main thread is at."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

IN_THE_MIDDLE_OF_A_WAIT = """
import os
from kuryrctl.cli.stopping import told_to_stop

stop = told_to_stop()
with stop._cond:  # what Event.wait holds while it looks whether it has to wait
    os.kill(os.getpid(), {number})
print("went on", flush=True)
print(stop.wait(20))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_wait_is_no_deadlock(number: signal.Signals) -> None:
    program = IN_THE_MIDDLE_OF_A_WAIT.format(number=int(number))

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split("\n")[:2] == ["went on", "True"]
