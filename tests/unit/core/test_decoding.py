"""Types that many threads meet at the same moment for the first time."""

from __future__ import annotations

import subprocess
import sys

import pytest

AT_ONCE = """
import sys, threading
from msgspec import defstruct, field, json
from kuryrctl.core.decoding import convert, decode

sys.setswitchinterval(1e-6)
for number in range(40):
    many = [(f"f{n}", dict[str, list[int] | None], field(default_factory=dict)) for n in range(30)]
    inner = defstruct(f"Inner{number}", many)
    outer = defstruct(f"Outer{number}", [("a", inner), *((f"g{n}", list[inner] | None, None) for n in range(30))])
    start = threading.Barrier(8)

    def use():
        start.wait()
        assert USE.a.f1 == {"x": [1]}

    threads = [threading.Thread(target=use) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
"""
"""Without our functions (`json.decode(…, type=outer)`) it ends with signal 11 every time: msgspec 0.22, Python 3.11."""
JSON = """b'{"a": {"f1": {"x": [1]}}}'"""


@pytest.mark.parametrize("use", [f"decode({JSON}, outer)", f"convert(json.decode({JSON}), outer)"])
def test_the_first_use_of_a_type_by_many_threads_is_safe(use: str) -> None:
    """In a process of its own: what would go wrong is a segmentation fault."""
    command = [sys.executable, "-c", AT_ONCE.replace("USE", use)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
