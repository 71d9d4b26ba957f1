"""The documents say what the code does: options and defaults, exit codes, links that lead somewhere."""

from __future__ import annotations

import re

import pytest
import yaml

from kuryrctl.cli.exit_codes import ExitCode
from kuryrctl.core.config import Config, options, parse_config, value_of
from kuryrctl.core.service_annotations import ANNOTATIONS
from kuryrctl.core.service_rows import ServiceCondition
from tests.repository import ROOT, files

CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
LINK = re.compile(r"\[[^\]]+\]\((?!https?:|#)([^)#]+)")


def test_every_option_is_described_with_its_default():
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", CONFIGURATION, re.MULTILINE))
    defaults = {path: value_of(Config(), path) for path in options()}

    def written(value: object) -> str:
        items = value if isinstance(value, list) else ["null" if value is None else value]
        return ", ".join(f"`{item}`" for item in items)

    assert rows == {path: written(value) for path, value in defaults.items()}


def test_the_example_is_valid():
    (example,) = re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)

    assert parse_config(yaml.safe_load(example)).cluster_id == "prod-1"


def test_every_exit_code_is_described():
    guide = (ROOT / "docs" / "user-guide.md").read_text()
    described = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", guide, re.MULTILINE) for code in row.split(",")}

    assert described == set(ExitCode)


@pytest.mark.parametrize("name", [name for name in files("README.md", "docs", "playbooks") if name.endswith(".md")])
def test_links_lead_to_files_that_exist(name):
    here = (ROOT / name).parent

    assert [link for link in LINK.findall((ROOT / name).read_text()) if not (here / link).exists()] == []


def test_every_condition_of_a_service_is_described():
    guide = (ROOT / "docs" / "user-guide.md").read_text().partition("## Services")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `([a-z ]+)` \|", guide, re.MULTILINE)) == {each.value for each in ServiceCondition}


def test_every_annotation_is_described_with_what_it_does():
    page = (ROOT / "docs" / "service-mapping.md").read_text().partition("## Annotations")[2]
    rows = dict(re.findall(r"^\| `([\w./-]+/[\w-]+)` \| (.*) \|$", page, re.MULTILINE))

    assert set(rows) == set(ANNOTATIONS)
    assert {name for name, told in rows.items() if told.startswith("no effect")} == {
        name for name, each in ANNOTATIONS.items() if not each.option
    }
    assert {name for name, told in rows.items() if "(*allowed*)" in told} == {
        name for name, each in ANNOTATIONS.items() if each.names_object
    }
