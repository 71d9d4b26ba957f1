"""Documents on stdout: JSON and YAML say the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kuryrctl.cli.base import _Common
from kuryrctl.cli.document import as_text
from kuryrctl.cli.files import read_world
from kuryrctl.cli.policy_explain import PolicyExplain, PolicyMatrix
from kuryrctl.cli.policy_verify import PolicyVerify
from kuryrctl.cli.reconcile import Reconcile
from kuryrctl.cli.settings import Settings
from tests.repository import ROOT
from tests.unit.cli.program import run

SHIPPED = str(Path(ROOT) / "examples" / "shop.world.json")
ENDS = ("--from", "shop/web", "--to", "shop/db", "--port", "5432")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (PolicyExplain, ENDS),
        (PolicyMatrix, ()),
        (PolicyVerify, ()),
        (Reconcile, ("--dry-run", "--world", SHIPPED)),
    ],
)
def test_yaml_says_what_json_says(
    capsys: pytest.CaptureFixture[str], command: type[_Common], words: tuple[str, ...]
) -> None:
    settings = Settings.of_world(read_world(SHIPPED), SHIPPED)
    said = []
    for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        assert run(command, settings, *words, "-f", form) == 0
        said.append(load(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["schema"].startswith("kuryrctl.")


def test_keys_stay_in_their_order_and_words_in_their_letters() -> None:
    assert as_text({"zone": "größer", "age": 1}, "yaml") == "zone: größer\nage: 1"
