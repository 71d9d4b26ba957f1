"""`lab up` says what it will install; --timings holds what was measured against the targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kuryrctl.cli import app
from kuryrctl.lab import install, lab, machine
from kuryrctl.lab.install import apt, golang, pip, versions
from kuryrctl.lab.kubernetes import cgroups
from kuryrctl.lab.lab import NodeStatus, Status
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.stages import Observer, Stage


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    """A lab's folders, on a machine that lacks two Debian packages and has a Go."""
    monkeypatch.setenv("KURYRCTL_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("KURYRCTL_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(apt, "missing", lambda packages: [each for each in packages if each in ("gcc", "ethtool")])
    monkeypatch.setattr(golang, "own_toolchain", lambda: Path("/usr/bin/go"))
    monkeypatch.setattr(lab, "refuse_unfit_machines", lambda layout: None)
    return Layout(state=tmp_path / "state", cache=tmp_path / "cache")


def everything_installed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "missing", lambda packages: [])
    for folder in (layout.venv, layout.ovs / "bin", layout.cache / "builds"):
        folder.mkdir(parents=True)
    (layout.venv / pip.STAMP).write_text("\n".join(versions.OPENSTACK_PACKAGES) + "\n\nfrozen==1\n")
    (layout.ovs / "bin" / "ovs-vswitchd").touch()
    for product in golang.PRODUCTS:
        (layout.cache / "builds" / f"{product.name}-{product.version}").mkdir()


def test_on_a_bare_machine_every_installation_is_told(layout):
    lines = install.summary(layout).splitlines()

    assert [line.split(",")[0].split(":")[0].strip() for line in lines] == [
        "Debian packages",
        "OpenStack from PyPI",
        "Open vSwitch and OVN of Debian trixie",
        "built from Go modules",
    ]
    assert "ethtool, gcc" in lines[0]
    assert f"kubernetes {versions.KUBERNETES}" in lines[3]


def test_without_a_go_its_installation_is_told_too(layout, monkeypatch):
    monkeypatch.setattr(golang, "own_toolchain", lambda: None)

    assert "the Go toolchain" in install.summary(layout).splitlines()[-1]


def test_with_ready_made_programs_nothing_is_built_and_no_compiler_installed(layout, tmp_path):
    told = install.summary(layout, tmp_path)

    assert "ethtool" in told
    assert not {"gcc", "built"} & set(told.replace(":", " ").replace(",", " ").split())


def test_one_missing_part_is_told_alone(layout, monkeypatch):
    everything_installed(layout, monkeypatch)
    (layout.cache / "builds" / f"runc-{versions.RUNC}").rmdir()

    assert f": runc {versions.RUNC} (" in install.summary(layout)
    assert len(install.summary(layout).splitlines()) == 1


def test_up_tells_before_it_begins_and_nothing_where_all_is_installed(layout, monkeypatch, capsys):
    told: list[str] = []
    monkeypatch.setattr(lab, "up", lambda *args, **options: told.append(capsys.readouterr().err))

    assert app.main(["lab", "up"]) == 0
    everything_installed(layout, monkeypatch)
    capsys.readouterr()
    assert app.main(["lab", "up"]) == 0

    assert told[0].startswith("kuryrctl lab up installs what is missing:\n  Debian packages")
    assert "OpenStack from PyPI" in told[0]
    assert told[1] == ""


@pytest.fixture
def started(monkeypatch) -> Callable[[float], None]:
    """Makes `lab up` a run of its stages in no time, after which the lab uses as much memory as is said."""

    def up(layout: Layout, observer: Observer, *, binaries: Path | None, extra: tuple[Stage, ...]) -> None:
        for stage in (Stage("install-apt", "", print), Stage("nodes-ready", "", print), *extra):
            observer.started(stage)
            observer.finished(stage, 0.0, None)

    def using(memory_bytes: float) -> None:
        monkeypatch.setattr(lab, "up", up)
        monkeypatch.setattr(lab, "status", lambda layout: Status((), (NodeStatus("node1", True, ""),)))
        monkeypatch.setattr(machine, "memory_bytes", lambda layout: memory_bytes)
        monkeypatch.setattr(cgroups, "version", lambda: 2)

    return using


@pytest.fixture(params=["empty", "kept"])
def state(request, layout) -> str:
    """Whether an earlier lab left databases."""
    if request.param == "kept":
        layout.db.mkdir(parents=True)
    return str(request.param)


def test_timings_stand_beside_their_targets(started, state, capsys):
    started(1.5e9)

    assert app.main(["lab", "up", "--timings"]) == 0

    target_s = {"empty": 45, "kept": 25}[state]
    assert capsys.readouterr().out.splitlines()[-5:] == [
        f"two Ready nodes, from {state} state, after 0.0 s (target: at most {target_s} s)",
        "first pod Running on a Neutron port after 0.0 s (target: at most 55 s)",
        "nodes Ready now: node1",
        "memory of the lab's processes (PSS): 1.50 GB (target: at most 2.5 GB)",
        "control groups of this machine: version 2",
    ]


def test_a_missed_target_is_marked(started, capsys, layout):
    started(2.6e9)

    assert app.main(["lab", "up", "--timings"]) == 0

    assert "2.60 GB (target: at most 2.5 GB: MISSED)" in capsys.readouterr().out
