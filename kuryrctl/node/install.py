"""Puts the CNI entry and its network configuration where a container runtime looks for them.

The entry becomes one file that needs nothing but the node's Python: it is checked by looking at that Python's files,
without running it, so it also works on a node's file system mounted somewhere else (`root`). Every file appears by a
rename, so a runtime never reads half of one.
"""

from __future__ import annotations

import importlib.resources
import os
import re
import tempfile
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from kuryrctl.core.errors import Invalid, Owner
from kuryrctl.node import cni

OLDEST_PYTHON: Final = (3, 9)
ENTRY_NAME: Final = "kuryr-cni"
CONFLIST_NAME: Final = "10-kuryr.conflist"
_SHEBANG_MAX: Final = 127  # of older kernels (execve(2))
_NEEDED_MODULES: Final = ("os.py", "socket.py", "json/__init__.py")
_VERSIONED: Final = re.compile(r"python(\d+)\.(\d+)")
_LINKS_MAX: Final = 20


class InstallOptions(Struct, frozen=True):
    """Where to: paths as the node sees them; `root` is where its file system is mounted."""

    bin_dir: Path = Path("/opt/cni/bin")
    conf_dir: Path = Path("/etc/cni/net.d")
    socket: Path = Path(cni.SOCKET)
    python: Path = Path("/usr/bin/python3")
    network: str = "kuryr"
    cni_version: str = cni.VERSIONS[-1]
    root: Path = Path("/")


class Installed(Struct, frozen=True):
    """A file that is in place; `changed`: it was not before."""

    path: Path
    changed: bool


def install(options: InstallOptions) -> list[Installed]:
    """Entry first, then the configuration that names it. Raises Invalid for a Python that cannot run the entry."""
    if options.cni_version not in cni.VERSIONS:
        raise Invalid(
            f"CNI version {options.cni_version} is not supported",
            code="NODE-INSTALL-VERSION",
            owner=Owner.USER,
            hint=f"one of {', '.join(cni.VERSIONS)}",
        )
    python = check_python(options.python, options.root)
    return [
        _put(_below(options.root, options.bin_dir) / ENTRY_NAME, entry_text(python, options.socket), 0o755),
        _put(_below(options.root, options.conf_dir) / CONFLIST_NAME, conflist_text(options), 0o644),
    ]


def entry_text(python: Path, socket: Path) -> str:
    """The entry as a script: isolated (-I) and without site (-S), knowing the agent's socket."""
    source = importlib.resources.files("kuryrctl.node").joinpath("cni.py").read_text(encoding="utf-8")
    default = f'\nSOCKET = "{cni.SOCKET}"\n'
    if source.count(default) != 1:
        raise AssertionError("cni.py must set SOCKET once")
    return f"#!{python} -IS\n" + source.replace(default, f"\nSOCKET = {msgspec.json.encode(str(socket)).decode()}\n")


def conflist_text(options: InstallOptions) -> str:
    """The network configuration list."""
    plugin = {"type": ENTRY_NAME, "socket": str(options.socket)}
    conflist = {"cniVersion": options.cni_version, "name": options.network, "plugins": [plugin]}
    return msgspec.json.format(msgspec.json.encode(conflist), indent=2).decode() + "\n"


def check_python(python: Path, root: Path = Path("/")) -> Path:
    """The interpreter that `python` is in the end. Raises Invalid: not there, too old, or without its library."""
    real = _resolved(python, root)
    versioned = _VERSIONED.fullmatch(real.name)
    if not _below(root, real).is_file() or versioned is None:
        raise _bad_python(python, "it is no Python" if _below(root, real).exists() else "it does not exist")
    version = (int(versioned[1]), int(versioned[2]))
    if version < OLDEST_PYTHON:
        raise _bad_python(python, f"it is Python {versioned[1]}.{versioned[2]}")
    libraries = [real.parent.parent / folder / real.name for folder in ("lib", "lib64")]
    if not any(all((_below(root, library) / name).exists() for name in _NEEDED_MODULES) for library in libraries):
        raise _bad_python(python, f"its standard library is not complete in {libraries[0]}")
    if len(f"#!{real} -IS") > _SHEBANG_MAX or " " in str(real):
        raise _bad_python(python, "its path is too long for a script's first line, or contains a blank")
    return real


def _bad_python(python: Path, why: str) -> Invalid:
    return Invalid(
        f"{python} cannot run the CNI entry: {why}",
        code="NODE-INSTALL-PYTHON",
        owner=Owner.USER,
        hint=f"name a Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later of the node with --python",
    )


def _resolved(path: Path, root: Path) -> Path:
    """Follow the links as the node would: an absolute one begins at `root`."""
    for _ in range(_LINKS_MAX):
        real = Path(os.path.normpath(path))
        if not _below(root, real).is_symlink():
            return real
        path = real.parent / _below(root, real).readlink()
    raise _bad_python(path, "its links go round in a circle")


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _put(path: Path, text: str, mode: int) -> Installed:
    if path.is_file() and path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o777 == mode:
        return Installed(path, changed=False)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Installed(path, changed=True)
