"""Kernel settings the lab changes for the whole machine, remembered before the first change and put back by `down`.

The kubelet writes three of them by itself; others belong to the network part.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from kuryrctl.lab.layout import Layout
from kuryrctl.lab.pids import boot_id
from kuryrctl.lab.process import write_atomically

_lock = threading.Lock()


class Remembered(msgspec.Struct, frozen=True):
    """Values as they were before the lab, valid for one boot of the machine."""

    boot: str
    values: dict[str, str]


def remember(layout: Layout, names: Iterable[str]) -> None:
    """Keep the present values of these settings (as in `vm.overcommit_memory`), unless they are kept already."""
    with _lock:
        kept = _read(layout)
        fresh = {name: value(name) for name in names if name not in kept.values}
        if fresh:
            known = Remembered(kept.boot, {**kept.values, **fresh})
            write_atomically(_file(layout), msgspec.json.encode(known), mode=0o644)


def change(layout: Layout, name: str, wanted: str) -> None:
    """Set one machine-wide setting, remembering what it was."""
    if value(name) == wanted:
        return
    remember(layout, [name])
    _path(name).write_text(wanted)


def restore(layout: Layout) -> None:
    """Put back what was remembered in this boot; settings that have vanished with their device are left out."""
    with _lock:
        for name, before in _read(layout).values.items():
            if _path(name).exists() and value(name) != before:
                _path(name).write_text(before)
        _file(layout).unlink(missing_ok=True)


def value(name: str) -> str:
    """The present value of one setting."""
    return _path(name).read_text().strip()


def _path(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def _file(layout: Layout) -> Path:
    return layout.state / "sysctls.json"


def _read(layout: Layout) -> Remembered:
    try:
        kept = msgspec.json.decode(_file(layout).read_bytes(), type=Remembered)
    except FileNotFoundError:
        return Remembered(boot_id(), {})
    return kept if kept.boot == boot_id() else Remembered(boot_id(), {})
