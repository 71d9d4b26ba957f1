"""The undo stack, and what follows from an interface."""

from __future__ import annotations

import logging

import pytest

from kuryrctl.core.cluster import Interface, Route
from kuryrctl.node.binder import UndoStack, covers, routes_of


def test_a_failure_undoes_in_reverse_what_was_done() -> None:
    undone: list[str] = []
    with pytest.raises(ValueError, match="the third"), UndoStack() as undo:
        undo.push("first", lambda: undone.append("first"))
        undo.push("second", lambda: undone.append("second"))
        raise ValueError("the third")
    assert undone == ["second", "first"]


def test_success_undoes_nothing() -> None:
    undone: list[str] = []
    with UndoStack() as undo:
        undo.push("first", lambda: undone.append("first"))
    assert undone == []


def test_a_step_that_cannot_be_undone_does_not_hide_the_cause_or_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    undone: list[str] = []

    def fail() -> None:
        raise OSError("gone")

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="cause"), UndoStack() as undo:
        undo.push("first", lambda: undone.append("first"))
        undo.push("second", fail)
        raise ValueError("cause")

    assert undone == ["first"]
    assert "second" in caplog.text


def test_default_routes_come_from_gateways() -> None:
    interface = Interface(
        "eth0",
        "p",
        "m",
        ("10.0.0.2/24", "fd00::2/64"),
        gateways=("10.0.0.1", "fd00::1"),
        routes=(Route("10.96.0.0/16", "10.0.0.9"),),
    )
    assert routes_of(interface) == (
        Route("0.0.0.0/0", "10.0.0.1"),
        Route("::/0", "fd00::1"),
        Route("10.96.0.0/16", "10.0.0.9"),
    )
    assert covers(interface, "fd00::9")
    assert not covers(interface, "10.0.1.1")
