"""Functional tests run on the lab and fail without it: `scripts/test` brings it up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The running lab, with its engine and agents up before and after, and nothing in it of tests that were killed."""
    lab = Lab()
    lab.kuryrctl("lab", "engine", "start")
    lab.sweep()
    yield lab
    lab.kuryrctl("lab", "engine", "start")
    assert lab.chassis_deaths() == [], "an ovs-vswitchd or ovn-controller died during the tests"


@pytest.fixture(autouse=True)
def left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a daemon of the lab dead fails; the next one, or its second try, finds the lab whole."""
    lab = request.getfixturevalue("lab") if "lab" in request.fixturenames else None
    yield
    if lab and (dead := lab.not_running()):
        lab.up()
        pytest.fail(f"left dead by the test, and started again: {', '.join(dead)}")
