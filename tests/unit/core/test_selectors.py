"""Label selectors mean what kubectl means by them."""

from __future__ import annotations

import pytest

from kuryrctl.core.errors import Invalid
from kuryrctl.core.selectors import parse_selector

CASES = [
    ("", {}, True),
    ("app=web", {"app": "web"}, True),
    ("app==web", {"app": "db"}, False),
    ("app!=web", {}, True),
    ("app!=web", {"app": "web"}, False),
    ("app=", {"app": ""}, True),
    ("app=", {}, False),
    ("tier in (a, b),app", {"tier": "b", "app": ""}, True),
    ("tier in (a,b)", {"tier": "c"}, False),
    ("tier notin (a,b)", {}, True),
    ("!canary", {"canary": ""}, False),
    ("k8s.io/name=x, !canary", {"k8s.io/name": "x"}, True),
]


@pytest.mark.parametrize(("text", "labels", "expected"), CASES)
def test_a_selector_matches(text: str, labels: dict[str, str], expected: bool) -> None:
    assert parse_selector(text).matches(labels) is expected


@pytest.mark.parametrize("text", ["app=web=db", "=web", "app in a", "a,,b", "a b"])
def test_what_is_no_selector_is_named(text: str) -> None:
    with pytest.raises(Invalid, match="is no label requirement"):
        parse_selector(text)
