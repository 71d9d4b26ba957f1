"""One shop for all tests about Services: its pods stay, Services come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.functional.lab import Lab
from tests.functional.services.shop import Shop


@pytest.fixture(scope="package")
def shop(lab: Lab) -> Iterator[Shop]:
    """Three servers and a client on each node, and the Services of `shop.SERVICES`."""
    with lab.namespace() as namespace:
        made = Shop(lab, namespace)
        made.open()
        yield made
