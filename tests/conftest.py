"""What all tests share: no test judges by the clock; what needs the lab, or a lab taken down, runs only where asked."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True, derandomize=False
)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--lab`: the contract cases run on the lab's real servers too."""
    parser.addoption("--lab", action="store_true", help="also run what is marked lab, on the lab of `kuryrctl lab env`")
    parser.addoption("--machine-before", metavar="FILE", help="also judge what `lab down` left")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of a case, or of one parameter of it, that needs the lab."""
    config.addinivalue_line("markers", "lab: runs on the lab's real servers; deselected without --lab")
    config.addinivalue_line("markers", "afterwards: judges what `lab down` left; deselected without --machine-before")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselected, not skipped: without a lab these cases are not part of the run."""
    for option, mark in (("--lab", "lab"), ("--machine-before", "afterwards")):
        unasked = [item for item in items if item.get_closest_marker(mark)] if not config.getoption(option) else []
        if unasked:
            config.hook.pytest_deselected(items=unasked)
            items[:] = [item for item in items if item not in unasked]
