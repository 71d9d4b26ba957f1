"""All benchmarks, one after the other; `bench/all` runs this. Those that need the lab run where it is up."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from msgspec import Struct

from bench.command import show
from bench.result import Result, machine, table

SIZE = 10_000
BEGIN, END = "<!-- bench/all begins -->", "<!-- bench/all ends -->"


class Bench(Struct, frozen=True):
    """A module of `bench`; with so few repetitions all end within ten minutes. `size` None: that of the command."""

    module: str
    repeat: int
    size: int | None = None
    lab: bool = False


BENCHMARKS = (
    Bench("ports", 2),
    Bench("plan", 2),
    Bench("watch", 1),
    Bench("start", 25),
    Bench("add", 1, 40, lab=True),
    Bench("rollout", 1, 30, lab=True),
    Bench("effective", 5, 1, lab=True),
    Bench("service", 3, 8, lab=True),
    Bench("policies", 1),
    Bench("verify", 1, 2_000),
    Bench("relabel", 2, 100),
    Bench("policy_worlds", 1, 2_000),
)


def main() -> None:
    """Print one table of all; write the JSON, and the table into a document, where it was asked for."""
    parser = argparse.ArgumentParser(prog="bench/all", description=__doc__)
    parser.add_argument("--size", type=int, default=SIZE, metavar="N", help=f"ports and pods, default: {SIZE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also put the table into FILE, between its marks")
    given = parser.parse_args()
    document = given.markdown.read_text() if given.markdown else BEGIN + END
    if not 0 <= document.find(BEGIN) < document.find(END):
        parser.error(f"{given.markdown} has no lines {BEGIN} and {END}: put them where the table is to stand")
    began = time.monotonic()
    results = run(given.size)
    show(results, given.json)
    if given.markdown:
        given.markdown.write_text(with_table(document, results, time.monotonic() - began))


def run(size: int) -> list[Result]:
    """The results of all; those that need a lab are left out where none is up, and that is said."""
    lab = subprocess.run([sys.executable, "-m", "kuryrctl.cli.app", "lab", "status"], capture_output=True, check=False)
    results = []
    for each in BENCHMARKS:
        if each.lab and lab.returncode:
            print(f"bench.{each.module} needs the lab: left out", file=sys.stderr, flush=True)
            continue
        print(f"bench.{each.module} …", file=sys.stderr, flush=True)
        results.append(import_module(f"bench.{each.module}").run(each.size or size, each.repeat))
    return results


def with_table(document: str, results: list[Result], lasted_s: float) -> str:
    """The document with this table, and where and how it was measured, between its two marks."""
    here = machine()
    measured = (
        f"{time.strftime('%d %B %Y')}, {here.cores} x {here.processor}, Python {here.python}, {lasted_s:.0f} s in all;"
        f" {here.load_1m:g} runnable tasks at the end."
    )
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{measured}\n\n{table(results)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    main()
