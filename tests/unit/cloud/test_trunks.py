"""Trunks of clouds that have none, or do not let us see them."""

from __future__ import annotations

import pytest

from kuryrctl.cloud import Neutron
from kuryrctl.core.errors import Invalid
from tests.fakes.neutron import FakeNeutron


def test_a_cloud_without_the_extension_has_no_trunks() -> None:
    fake = FakeNeutron()
    fake.fail_next("GET", "/trunks", 404, type_="HTTPNotFound")

    assert Neutron(fake).trunks() == ()


def test_any_other_refusal_is_an_error() -> None:
    fake = FakeNeutron()
    fake.fail_next("GET", "/trunks", 403, type_="PolicyNotAuthorized")

    with pytest.raises(Invalid, match="trunks not listed") as fault:
        Neutron(fake).trunks()
    assert fault.value.code == "NET-FORBIDDEN"
