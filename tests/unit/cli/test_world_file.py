"""Saved worlds: what is in the file, what is not, and that reading commands need nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.cli.files import read_world
from kuryrctl.cli.port import PortList
from kuryrctl.cli.reconcile import Reconcile
from kuryrctl.cli.settings import Settings
from kuryrctl.cli.status import Status
from kuryrctl.cli.world_file import WorldSave, WorldShow
from kuryrctl.core.errors import Invalid
from kuryrctl.core.saved_world import decode, encode
from tests.unit.cli.program import Fakes, run
from tests.unit.reconcile.site import Site

SECRET = "hunter2"


@pytest.fixture
def site() -> Site:
    site = Site()
    site.kube.add_pod("shop", "web-0", node="node1", uid="w")
    site.run()
    return site


@pytest.fixture
def file(site: Site, tmp_path: Path) -> Path:
    """The site as a saved world, every other field of its objects being full of secrets."""
    for thing in site.kube._objects.values():
        thing["metadata"].setdefault("annotations", {})["token"] = SECRET
        thing.setdefault("data", {})["password"] = SECRET
        if thing["metadata"]["name"] == "web-0" and "containers" in thing["spec"]:
            thing["spec"]["containers"] = [{"name": "c", "env": [{"name": "P", "value": SECRET}], "args": [SECRET]}]
    path = tmp_path / "world.json"
    settings = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    assert run(WorldSave, settings, str(path)) == 0
    return path


def offline(file: Path) -> Settings:
    """Settings that connect to nothing."""
    return Settings.of_world(read_world(str(file)), str(file))


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_no_secret_is_in_the_file(file: Path) -> None:
    assert "web-0" in file.read_text()
    assert SECRET not in file.read_text()


def test_reading_commands_say_of_the_file_what_they_say_of_both_sides(site, file, capsys) -> None:
    live = Fakes(site.config, {}, neutron=lambda: site.cloud, api=lambda: site.kube)
    for command, words in ((PortList, ("--long", "-f", "json")), (Reconcile, ("--dry-run", "-f", "json"))):
        answers = []
        for settings in (live, offline(file)):
            capsys.readouterr()
            code = run(command, settings, *words, *(("--world", str(file)) if settings is not live else ()))
            answers.append((code, printed(capsys)))
        assert answers[0] == answers[1]


def test_status_judges_heartbeats_by_the_time_of_the_file(file, capsys) -> None:
    capsys.readouterr()
    run(Status, offline(file), "-f", "json")
    first = printed(capsys)
    run(Status, offline(file), "-f", "json")
    assert printed(capsys) == first
    assert (first["pods"], first["plan_steps"]) == (1, 0)


def test_a_world_is_shown_by_what_it_holds(file, capsys) -> None:
    capsys.readouterr()
    assert run(WorldShow, offline(file), "-f", "json", str(file)) == 0
    shown = printed(capsys)
    assert (shown["pods"], shown["not_in_full"]) == (1, [])


def test_a_run_that_writes_takes_no_world(file, capsys) -> None:
    assert run(Reconcile, offline(file), "--world", str(file)) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_a_file_is_the_same_after_it_was_read(file: Path) -> None:
    assert encode(decode(file.read_bytes(), "world")) == file.read_bytes()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("not JSON", "is no saved world"),
        ('{"schema": "kuryrctl.plan/1"}', 'its schema is "kuryrctl.plan/1"'),
        ('{"schema": "kuryrctl.world/1"}', "is a damaged world"),
    ],
)
def test_another_file_is_refused_by_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "world.json"
    path.write_text(text)
    with pytest.raises(Invalid) as refused:
        read_world(str(path))
    assert told in refused.value.message
    assert "world save" in refused.value.hint
