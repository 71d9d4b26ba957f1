"""Control groups of both versions, on folders that look like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kuryrctl.lab.kubernetes import cgroups


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpuset cpu io memory pids rdma\n")
    (root / "cgroup.subtree_control").write_text("cpu memory\n")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {root: "cgroup2"})
    return root


def test_a_unified_root_hands_down_what_a_kubelet_wants_and_gets_it_back(unified, tmp_path):
    changed = tmp_path / "changed"

    cgroups.make("node1", changed)

    assert (unified / "node1").is_dir()
    assert (unified / "cgroup.subtree_control").read_text() == "+cpuset +io +pids"
    (unified / "cgroup.subtree_control").write_text("cpuset cpu io memory pids\n")  # as the kernel shows it

    cgroups.take_back(changed)

    assert (unified / "cgroup.subtree_control").read_text() == "-cpuset -io -pids"
    assert not changed.exists()


def test_a_root_that_hands_everything_down_is_left_alone(unified, tmp_path):
    (unified / "cgroup.subtree_control").write_text("cpuset cpu io memory pids\n")

    cgroups.make("node1", tmp_path / "changed")
    cgroups.take_back(tmp_path / "changed")

    assert (unified / "cgroup.subtree_control").read_text() == "cpuset cpu io memory pids\n"


def test_a_version_1_cpuset_is_filled_from_its_root(tmp_path, monkeypatch):
    cpuset, memory = tmp_path / "cpuset", tmp_path / "memory"
    for root in (cpuset, memory):
        root.mkdir()
    for file, content in (("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")):
        (cpuset / file).write_text(content)
        (cpuset / "node1").mkdir(exist_ok=True)
        (cpuset / "node1" / file).write_text("\n")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {cpuset: "cgroup", memory: "cgroup"})

    cgroups.make("node1", tmp_path / "changed")

    assert (cpuset / "node1" / "cpuset.cpus").read_text() == "0-1\n"
    assert (memory / "node1").is_dir()
    assert cgroups.version() == 1


def test_removing_takes_everything_below(tmp_path, monkeypatch):
    (tmp_path / "node1" / "kubepods" / "pod1").mkdir(parents=True)
    monkeypatch.setattr(cgroups, "hierarchies", lambda: {tmp_path: "cgroup"})

    cgroups.remove("node1")
    cgroups.remove("node1")

    assert list(tmp_path.iterdir()) == []
