"""An agent in a process of its own, for tests that kill it: agent_process.py SOCKET OVSDB PODS.

It has PODS pods assigned (the nth as the other tests' nth). Started inside the switch's namespace.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.functional.node.conftest import interface_of
from tests.functional.node.world import Cluster, RunningAgent

if __name__ == "__main__":
    cluster = Cluster()
    for number in range(1, int(sys.argv[3]) + 1):
        cluster.assign(f"shop/web-{number}", f"uid-{number}", interface_of(number))
    RunningAgent(Path(sys.argv[1]), sys.argv[2], cluster)
    while True:
        time.sleep(60)
