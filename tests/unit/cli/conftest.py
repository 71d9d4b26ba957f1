"""A world that commands are asked about."""

from __future__ import annotations

import pytest

from kuryrctl.core.saved_world import SavedWorld
from tests.unit.cli.shop import shop_world


@pytest.fixture
def world() -> SavedWorld:
    """The shipped example, converged."""
    return shop_world()
