"""A narrator claims nothing that its commands did not show."""

from __future__ import annotations

import pytest

from kuryrctl.lab.narrator import FalseClaim, Narrator, Told

TABLE = """\
+-----+-------+
| Pod | Node  |
+-----+-------+
| a   | node1 |
+-----+-------+
"""


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def narrator(shown: list[str]) -> Narrator:
    return Narrator({"GREETING": "hello"}, shown.append)


def test_a_command_is_shown_with_what_it_printed(narrator: Narrator, shown: list[str]) -> None:
    assert narrator.types("printenv GREETING") == Told(0, "hello\n")
    assert shown == ["  $ printenv GREETING", "    hello"]


def test_a_false_claim_ends_the_demo_and_is_shown(narrator: Narrator, shown: list[str]) -> None:
    narrator.claims("true is true", narrator.types("true").ok)
    with pytest.raises(FalseClaim, match="false is true"):
        narrator.claims("false is true", narrator.types("false").ok)
    assert shown[-1] == "  FALSE false is true"


def test_a_command_that_has_to_succeed_and_does_not_is_a_false_claim(narrator: Narrator) -> None:
    with pytest.raises(FalseClaim):
        narrator.must("false")


def test_what_is_repeated_is_shown_with_its_last_answer(narrator: Narrator, shown: list[str], tmp_path) -> None:
    told, _ = narrator.until(f"mktemp -p {tmp_path}", lambda told: len(list(tmp_path.iterdir())) == 3)
    assert told.ok
    assert len(list(tmp_path.iterdir())) == 3
    assert told.output.strip() in shown[-1]


def test_tables_are_read_as_people_read_them() -> None:
    assert Told(0, TABLE).rows() == [["a", "node1"]]
    assert Told(0, "NAME NODE\na    node1\n").rows() == [["a", "node1"]]
