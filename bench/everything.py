"""All benchmarks, one after the other; `bench/all` runs this."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import plan, ports, start, watch
from bench.command import show
from bench.result import Result

SIZE = 10_000


def main() -> None:
    """Print one table of all; write the JSON where it was asked for."""
    parser = argparse.ArgumentParser(prog="bench/all", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, metavar="N", help=f"ports and pods, default: {SIZE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    given = parser.parse_args()
    show(run(given.size), given.json)


def run(size: int) -> list[Result]:
    """The results of all, with so few repetitions that all of them end within ten minutes."""
    results = []
    for module, repeat in ((ports, 2), (plan, 2), (watch, 1), (start, 7)):
        print(f"{module.__name__} …", file=sys.stderr, flush=True)
        results.append(module.run(size, repeat))
    return results


if __name__ == "__main__":
    main()
