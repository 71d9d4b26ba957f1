"""`node install` on a file system that the test made."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from kuryrctl.core.errors import Invalid
from kuryrctl.node.install import InstallOptions, check_python, install


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node's file system: /usr/bin/python3 -> /etc/alternatives/python -> /usr/bin/python3.11."""
    library = tmp_path / "usr/lib/python3.11"
    (library / "json").mkdir(parents=True)
    for name in ("os.py", "socket.py", "json/__init__.py"):
        (library / name).touch()
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "usr/bin/python3.11").touch()
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    (tmp_path / "etc/alternatives/python").symlink_to("/usr/bin/python3.11")
    (tmp_path / "usr/bin/python3").symlink_to("../../etc/alternatives/python")
    return tmp_path


def test_entry_and_configuration_appear_and_a_second_run_changes_nothing(root: Path) -> None:
    options = InstallOptions(root=root, socket=Path("/run/node1/a.sock"), network="pods", cni_version="1.0.0")

    first = install(options)
    second = install(options)

    assert [done.changed for done in first + second] == [True, True, False, False]
    entry, conflist = root / "opt/cni/bin/kuryr-cni", root / "etc/cni/net.d/10-kuryr.conflist"
    lines = entry.read_text().splitlines()
    assert lines[0] == "#!/usr/bin/python3.11 -IS"
    assert 'SOCKET = "/run/node1/a.sock"' in lines
    assert entry.stat().st_mode & 0o777 == 0o755
    assert json.loads(conflist.read_text()) == {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{"type": "kuryr-cni", "socket": "/run/node1/a.sock"}],
    }
    assert sorted(path.name for path in entry.parent.iterdir()) == ["kuryr-cni"]


def test_a_changed_socket_is_written_anew(root: Path) -> None:
    options = InstallOptions(root=root)
    install(options)
    again = install(msgspec.structs.replace(options, socket=Path("/run/other.sock")))
    assert [done.changed for done in again] == [True, True]


def test_an_old_python_is_refused(root: Path) -> None:
    (root / "usr/bin/python3.11").rename(root / "usr/bin/python3.8")
    (root / "etc/alternatives/python").unlink()
    (root / "etc/alternatives/python").symlink_to("/usr/bin/python3.8")
    with pytest.raises(Invalid, match=r"it is Python 3\.8") as refusal:
        install(InstallOptions(root=root))
    assert "--python" in refusal.value.hint
    assert not (root / "opt").exists()


def test_a_python_without_its_library_is_refused(root: Path) -> None:
    (root / "usr/lib/python3.11/json/__init__.py").unlink()
    with pytest.raises(Invalid, match="standard library"):
        check_python(Path("/usr/bin/python3"), root)


def test_what_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(Invalid, match="does not exist"):
        check_python(Path("/usr/local/bin/python3"), root)


def test_links_in_a_circle_are_refused(root: Path) -> None:
    (root / "usr/bin/python4").symlink_to("python4")
    with pytest.raises(Invalid, match="circle"):
        check_python(Path("/usr/bin/python4"), root)


def test_an_unknown_version_is_refused(root: Path) -> None:
    with pytest.raises(Invalid, match=r"9\.9\.9"):
        install(InstallOptions(root=root, cni_version="9.9.9"))


def test_this_machines_python_will_do() -> None:
    assert check_python(Path("/usr/bin/python3")).name.startswith("python3.")
