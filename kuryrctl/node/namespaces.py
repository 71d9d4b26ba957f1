"""Network namespaces: make, remove and enter them.

Named namespaces are bind mounts below /run/netns, as iproute2 makes them (ip-netns(8)). No process is forked: a
namespace belongs to a thread (setns(2), unshare(2)), so whatever must happen inside one happens in a thread that
enters it and comes back. Knows nothing of what is configured inside.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from kuryrctl.core.errors import Invalid, NotFound, Owner

NETNS_DIR = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000
_MNT_DETACH = 2
_NSFS_MAGIC = 0x6E736673  # linux/magic.h

_libc = ctypes.CDLL(None, use_errno=True)
_Result = TypeVar("_Result")


def path_of(name: str) -> Path:
    """Where the namespace called `name` is mounted."""
    return NETNS_DIR / name


def create(name: str) -> Path:
    """Make a named network namespace, its loopback still down. FileExistsError when there is one of that name."""
    path = path_of(name)
    _share_directory()
    path.touch(mode=0o444, exist_ok=False)

    def make() -> None:
        _call("unshare", _CLONE_NEWNET)
        _call("mount", b"/proc/thread-self/ns/net", os.fsencode(path), b"none", _MS_BIND, None)

    try:
        in_thread(make)
    except OSError:
        path.unlink()
        raise
    return path


def delete(name: str) -> None:
    """Remove a named namespace; it lives on while a process is in it. Of the missing: nothing."""
    path = path_of(name)
    with suppress(OSError):  # not mounted (any more): the file alone is left to remove
        _call("umount2", os.fsencode(path), _MNT_DETACH)
    path.unlink(missing_ok=True)


def exists(name: str) -> bool:
    """Whether a namespace of that name is mounted."""
    return is_namespace(path_of(name))


def is_namespace(path: Path | str) -> bool:
    """Whether `path` is a mounted namespace, not an empty file that was left behind by one."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs begins with f_type, a long (statfs(2))
    if _libc.statfs(os.fsencode(path), buffer):
        return False
    return ctypes.c_long.from_buffer(buffer).value == _NSFS_MAGIC


@contextmanager
def opened(path: Path | str) -> Iterator[int]:
    """A file descriptor of the namespace at `path`. NotFound when it is gone, Invalid when it is something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"network namespace {path} does not exist", code="NODE-NETNS-GONE", owner=Owner.NODE) from None
    try:
        if not is_namespace(f"/proc/self/fd/{descriptor}"):
            raise Invalid(
                f"{path} is not a network namespace",
                code="NODE-NETNS-INVALID",
                owner=Owner.NODE,
                hint="the agent must run in the mount namespace of the container runtime",
            )
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def entered(namespace: int | Path | str) -> Iterator[None]:
    """The calling thread is in the namespace, and back in its own afterwards. Sockets made inside stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if isinstance(namespace, int):
            _call("setns", namespace, _CLONE_NEWNET)
        else:
            with opened(namespace) as descriptor:
                _call("setns", descriptor, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", home, _CLONE_NEWNET)
    finally:
        os.close(home)


def in_thread(function: Callable[[], _Result]) -> _Result:
    """What `function` returns or raises, run by a thread of its own that may leave its namespace for good."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _share_directory() -> None:
    """/run/netns must be a shared mount, or namespaces do not show up in other mount namespaces (as ip-netns does)."""
    NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
    directory = os.fsencode(NETNS_DIR)
    try:
        _call("mount", b"none", directory, b"none", _MS_SHARED | _MS_REC, None)
    except OSError:  # not a mount point yet
        _call("mount", directory, directory, b"none", _MS_BIND | _MS_REC, None)
        _call("mount", b"none", directory, b"none", _MS_SHARED | _MS_REC, None)


def _call(function: str, *arguments: int | bytes | None) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
