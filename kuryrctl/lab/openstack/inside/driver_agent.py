"""Runs Octavia's driver agent with its sockets in $OCTAVIA_SOCKETS: the OVN provider ignores the configured paths."""

import os
import sys

from octavia.cmd import driver_agent
from octavia_lib.api.drivers import driver_lib


def main() -> None:
    folder = os.environ["OCTAVIA_SOCKETS"]
    names = ("status.sock", "stats.sock", "get.sock")
    driver_lib.DriverLibrary.__init__.__defaults__ = tuple(f"{folder}/{name}" for name in names)
    sys.argv[0] = "octavia-driver-agent"
    driver_agent.main()


if __name__ == "__main__":
    main()
