"""Benchmarks: each is one command that prints ratios; `bench/all` runs all of them. They judge, but never fail.

    bench/all --json results.json
    .venv/bin/python -m bench.ports --size 10000 --repeat 3

CPU time of the process that is measured counts, never the clock; what is compared runs in turns, so that a machine that
others use disturbs both sides alike. Servers are processes of their own, and their time does not count.
"""
