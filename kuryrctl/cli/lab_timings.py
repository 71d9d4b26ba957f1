"""How long `lab up` took and what it needs, beside what it may.

Does not know: how the lab is started; it gets the times of the stages that have run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kuryrctl.lab.layout import Layout
    from kuryrctl.lab.progress import Progress

# What `lab up --timings` is held against, on 2 cores with everything installed but for the first.
TARGET_INSTALLED_S = 15 * 60
TARGET_READY_EMPTY_S = 45
TARGET_READY_KEPT_S = 25
TARGET_FIRST_POD_S = 55
TARGET_MEMORY_GB = 2.5


def timings(layout: Layout, progress: Progress, kept: bool) -> list[str]:
    """A table of the stages in the order in which they ended, then the sums beside their targets.

    `kept`: whether the lab's databases were there before.
    """
    from kuryrctl.lab import lab, machine
    from kuryrctl.lab.kubernetes import cgroups

    rows = sorted(progress.ended_at, key=progress.ended_at.__getitem__)
    lines = [f"{'stage':<24} {'took':>8} {'ended at':>9}"]
    lines += [f"{name:<24} {progress.seconds[name]:>6.2f} s {progress.ended_at[name]:>7.2f} s" for name in rows]
    installed = max((progress.ended_at[name] for name in rows if name.startswith("install-")), default=0.0)
    total = max(progress.ended_at.values(), default=0.0)
    lines.append(f"everything installed at {_beside(installed, TARGET_INSTALLED_S)}")
    lines.append(f"everything started {total - installed:.1f} s after everything is installed")
    if "nodes-ready" in progress.ended_at:
        target = TARGET_READY_KEPT_S if kept else TARGET_READY_EMPTY_S
        took = _beside(progress.ended_at["nodes-ready"] - installed, target)
        lines.append(f"two Ready nodes, from {'kept' if kept else 'empty'} state, after {took}")
    if "first-pod" in progress.ended_at:
        took = _beside(progress.ended_at["first-pod"] - installed, TARGET_FIRST_POD_S)
        lines.append(f"first pod Running on a Neutron port after {took}")
    ready = [node.name for node in lab.status(layout).nodes if node.ready]
    lines.append(f"nodes Ready now: {', '.join(ready) or 'none'}")
    memory_gb = machine.memory_bytes(layout) / 1e9
    lines.append(f"memory of the lab's processes (PSS): {_beside(memory_gb, TARGET_MEMORY_GB, 'GB')}")
    lines.append(f"control groups of this machine: version {cgroups.version()}")
    return lines


def _beside(measured: float, target: float, unit: str = "s") -> str:
    """A measured value with its target, and whether it was met."""
    met = "" if measured <= target else ": MISSED"
    return f"{measured:.{2 if unit == 'GB' else 1}f} {unit} (target: at most {target:g} {unit}{met})"
