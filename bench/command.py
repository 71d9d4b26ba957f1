"""The command line that all benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from bench.result import Result, document, table

Run = Callable[[int, int], Result]
"""Size and number of repetitions in, answer out."""


def main(run: Run, summary: str, *, size: int, repeat: int) -> None:
    """Run one benchmark as the command line says; print its table, write its JSON."""
    parser = argparse.ArgumentParser(description=summary)
    parser.add_argument("--size", type=int, default=size, metavar="N", help=f"default: {size}")
    parser.add_argument("--repeat", type=int, default=repeat, metavar="N", help=f"runs of each side, default: {repeat}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    given = parser.parse_args()
    show([run(given.size, given.repeat)], given.json)


def show(results: list[Result], file: Path | None) -> None:
    """Print the table and each ratio; write the JSON where it was asked for."""
    print(table(results))
    print()
    for result in results:
        print(f"{result.benchmark}: {result.ratio:.4g} = {result.ratio_of}")
    if file:
        file.write_bytes(document(results))
