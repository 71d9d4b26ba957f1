"""What all tests share: no test judges by the clock, and cases on real servers run only where `--lab` is given."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--lab`: the contract cases run on the lab's real servers too."""
    parser.addoption("--lab", action="store_true", help="also run what is marked lab, on the lab of `kuryrctl lab env`")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of a case, or of one parameter of it, that needs the lab."""
    config.addinivalue_line("markers", "lab: runs on the lab's real servers; deselected without --lab")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselected, not skipped: without a lab these cases are not part of the run."""
    if config.getoption("--lab"):
        return
    on_lab = [item for item in items if item.get_closest_marker("lab")]
    if on_lab:
        config.hook.pytest_deselected(items=on_lab)
        items[:] = [item for item in items if item not in on_lab]
