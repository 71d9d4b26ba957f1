"""Plan files at the terminal: saving, showing, applying; what goes to which stream, and exit codes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from kuryrctl.cli import app
from kuryrctl.cli.exit_codes import ExitCode
from tests.unit.reconcile.site import Site


def main(words: list[str]) -> int:
    """One run of the program; the handlers that it gave the loggers end with it, as they do with a process."""
    root, ours = logging.getLogger(), logging.getLogger("kuryrctl")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    try:
        return app.main(words)
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    """A site that the commands reach instead of the cloud and cluster of whoever runs the test."""
    site = Site(audit_log=tmp_path / "audit")

    def engine_of(settings: Any, *, max_deletes: int | None = None) -> tuple[Any, Any, Any]:
        parts = site.parts(max_deletes=max_deletes)
        return parts, site.client, site.lease()

    monkeypatch.setattr("kuryrctl.cli.engine.engine_of", engine_of)
    return site


@pytest.fixture
def file(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A plan with two steps to create, one to update and two to delete."""
    for name in ("gone", "moved"):
        site.kube.add_pod("shop", name, node="node1", uid=name)
    site.run()
    site.kube.delete_pod("shop", "gone")
    site.cloud.change("ports", site.port_of("moved").id, **{"binding:host_id": "node2"})
    site.kube.add_pod("shop", "new", node="node1", uid="new")
    folder = tmp_path / "plans"
    folder.mkdir()
    path = str(folder / "plan.json")
    assert main(["reconcile", "--save-plan", path]) == ExitCode.DRIFT
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "plan: 2 to create, 1 to update, 2 to delete"
    assert err == f"saved; to do it: kuryrctl plan apply {path}\n"
    assert [each.name for each in Path(path).parent.iterdir()] == ["plan.json"]
    return path


def test_show_groups_by_kind_with_reasons_and_counts(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "show", file]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "plan for cluster kuryr, project project-a"
    assert lines[1].startswith("made 20")
    assert lines[2:] == [
        "",
        "port: 1 to create, 1 to update, 1 to delete",
        "  + create port pod shop/new  (pod shop/new has no port)",
        "  ~ update port pod shop/moved  (the port of pod shop/moved differs: host node2 -> node1)",
        "      host: node2 -> node1",
        "  - delete port pod shop/gone  (its pod is gone)",
        "",
        "kuryr-port: 1 to create, 1 to delete",
        "  - delete kuryr-port pod shop/gone  (its pod is gone)",
        "  + create kuryr-port pod shop/new  (node node1 is not told yet which port pod shop/new has)",
        "",
        "plan: 2 to create, 1 to update, 2 to delete",
    ]


def test_show_prints_the_document_for_machines(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "show", "-f", "json", file]) == ExitCode.OK

    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(Path(file).read_text())
    assert document["schema"] == "kuryrctl.saved-plan/1"


def test_apply_does_it_once(site: Site, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "apply", file]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), out.splitlines()[-1], err) == (6, "plan applied", "")
    assert site.plan() == []

    assert main(["plan", "apply", file]) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kuryrctl: plan not applied, nothing done: ")
    assert err.splitlines()[0].endswith("[user, PLAN-STALE]")
    assert err.splitlines()[1] == "  next: make a new plan: kuryrctl reconcile --save-plan FILE"


def test_apply_tells_each_step_that_failed(site: Site, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    site.cloud.fail_next("POST", "/ports", 403, times=9)

    assert main(["plan", "apply", "-f", "json", file]) == ExitCode.FAILURES
    report = json.loads(capsys.readouterr().out)
    assert [failure["subject"] for failure in report["failures"]] == ["pod shop/new"]
    assert (len(report["done"]), len(report["left"])) == (3, 2)


@pytest.mark.parametrize("command", [["plan", "show"], ["plan", "apply"]])
def test_a_bad_file_is_a_usage_error(
    site: Site, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    bad.write_text("kind: Pod")

    for path in (str(bad), str(tmp_path / "none"), str(tmp_path)):
        assert main([*command, path]) == ExitCode.USAGE
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 2
        assert path in err
        assert err.splitlines()[0].endswith("[user, PLAN-FILE]")


def test_a_plan_that_cannot_be_written_is_told(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "--save-plan", str(tmp_path / "none" / "plan")]) == ExitCode.USAGE
    assert "cannot be written" in capsys.readouterr().err


def test_only_some_kinds(site: Site, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "--only", "port", "--dry-run"]) == ExitCode.DRIFT
    assert capsys.readouterr().out.splitlines()[-1] == "plan: 1 to create, 1 to update"
    assert main(["reconcile", "--only", "port"]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines()[-1] == "converged, as far as port"
    assert main(["reconcile", "--only", "kuryr-port", "--only", "port"]) == ExitCode.OK
    assert site.plan() == []


@pytest.mark.parametrize("words", [["--only", "pod"], ["--watch", "--only", "port"], ["--watch", "--save-plan", "f"]])
def test_what_does_not_go_together_is_a_usage_error(
    site: Site, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconcile", *words]) == ExitCode.USAGE
    assert "--only" in capsys.readouterr().err
