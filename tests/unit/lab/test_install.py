"""What is built, and from where: module files, mirrors, images."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install import apt, golang
from kuryrctl.lab.install.images import File, oci_archive
from kuryrctl.lab.layout import Layout

KUBERNETES_GO_MOD = """\
module k8s.io/kubernetes

require (
\tgo.etcd.io/etcd/server/v3 v3.6.8
\tk8s.io/api v0.0.0
\tk8s.io/kube-openapi v0.0.0-20260317180543-43fb72c5454a
\tk8s.io/mount-utils v0.0.0 // indirect
)
"""


def test_parts_of_kubernetes_are_replaced_by_their_releases_and_nothing_else_is():
    lines = golang.go_mod(golang.KUBERNETES, KUBERNETES_GO_MOD).splitlines()

    version = golang.KUBERNETES.version
    release = "v0." + version.split(".", 1)[1]
    assert [line for line in lines if line.startswith("re")] == [
        f"require k8s.io/kubernetes v{version}",
        "require go.etcd.io/etcd/server/v3 v3.6.8",
        f"replace k8s.io/api => k8s.io/api {release}",
        f"replace k8s.io/mount-utils => k8s.io/mount-utils {release}",
    ]


def test_ready_made_programs_are_linked_and_a_missing_one_is_named(tmp_path):
    layout, given = Layout(state=tmp_path / "s", cache=tmp_path / "c"), tmp_path / "given"
    given.mkdir()
    (given / "runc").touch()

    golang.take(golang.RUNC, given, layout)

    assert (layout.bin / "runc").readlink() == given / "runc"
    with pytest.raises(LabError, match="has no program containerd"):
        golang.take(golang.CONTAINERD, given, layout)


DEB822 = """\
Types: deb
# a comment: with a colon
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sources.list.d/debian.sources", DEB822),
        ("sources.list.d/debian.sources", DEB822.replace("bookworm", "trixie")),
        ("sources.list", "deb http://mirror.test/debian bookworm main contrib\n"),
        ("sources.list", "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main\n"),
        ("sources.list", "deb http://other.test/tool stable-x tool\ndeb http://mirror.test/debian trixie main\n"),
    ],
)
def test_the_mirror_is_the_machines_own(tmp_path, file, text):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / file).write_text(text)

    assert apt.debian_mirror(tmp_path) == "http://mirror.test/debian"


def test_a_machine_without_a_debian_mirror_is_told(tmp_path):
    (tmp_path / "sources.list").write_text("deb http://security.test/debian bookworm-security main\n")

    with pytest.raises(LabError, match="no Debian mirror"):
        apt.debian_mirror(tmp_path)


def test_the_guard_lets_no_service_start_and_gives_the_machines_own_back(tmp_path, monkeypatch):
    guard = tmp_path / "policy-rc.d"
    guard.write_text("the machine's own")
    monkeypatch.setattr(apt, "SERVICE_GUARD", guard)

    with apt.services_guarded():
        assert guard.read_text().endswith("exit 101\n")
        assert guard.stat().st_mode & 0o111

    assert guard.read_text() == "the machine's own"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy-rc.d"]


def test_a_guard_that_an_interrupted_installation_left_is_taken_away(tmp_path, monkeypatch):
    guard = tmp_path / "policy-rc.d"
    monkeypatch.setattr(apt, "SERVICE_GUARD", guard)
    guard.write_text(apt.GUARD_TEXT)

    with apt.services_guarded():
        pass

    assert list(tmp_path.iterdir()) == []


def test_an_image_archive_holds_the_files_under_the_digests_it_names():
    files = {"bin/tool": File(b"#!tool"), "bin/sh": File(target="tool")}

    archive = oci_archive("kuryr.lab/tool:1", files, ("/bin/tool",), ("run",))

    with tarfile.open(fileobj=io.BytesIO(archive)) as content:

        def blob(descriptor: dict[str, str]) -> bytes:
            member = content.extractfile("blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))
            assert member is not None
            return member.read()

        index = content.extractfile("index.json")
        assert index is not None
        entry = json.load(index)["manifests"][0]
        manifest = json.loads(blob(entry))
        config = json.loads(blob(manifest["config"]))
        with tarfile.open(fileobj=io.BytesIO(blob(manifest["layers"][0]))) as layer:
            names = {member.name: member for member in layer.getmembers()}
    assert entry["annotations"]["io.containerd.image.name"] == "kuryr.lab/tool:1"
    assert (config["config"]["Entrypoint"], config["config"]["Cmd"]) == (["/bin/tool"], ["run"])
    assert names["bin"].isdir()
    assert names["bin/sh"].linkname == "tool"


def test_equal_contents_give_equal_archives():
    files = {"b": File(b"1"), "a": File(b"2")}

    again = oci_archive("n:1", dict(reversed(files.items())), ("/a",), ())

    assert oci_archive("n:1", files, ("/a",), ()) == again
