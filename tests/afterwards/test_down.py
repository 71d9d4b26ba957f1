"""`lab down` leaves the machine as it was before `lab up`: run by scripts/test after it took its lab down."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from kuryrctl.lab.layout import Layout
from kuryrctl.lab.machine import Snapshot, differences, snapshot_of_machine


@pytest.mark.afterwards
def test_nothing_runs_or_is_configured_that_was_not_before(request: pytest.FixtureRequest) -> None:
    before = Path(request.config.getoption("--machine-before")).read_bytes()
    after = snapshot_of_machine(Layout.of(os.environ))
    assert differences(msgspec.json.decode(before, type=Snapshot), after) == []
