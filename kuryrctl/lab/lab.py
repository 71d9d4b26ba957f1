"""The lab as a whole: up, down, status; joins its two halves in one graph.

`up` is idempotent and recovers from whatever an earlier `up` may have left. `down` ends and removes what it finds,
tells what it could not remove, and works on a half-made or damaged lab.
"""

import fcntl
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kuryrctl.lab import install, kubernetes, kuryr, machine, network, openstack, sysctls
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install import apt
from kuryrctl.lab.kubernetes import api, cgroups, node
from kuryrctl.lab.layout import LONGEST_STATE_PATH, MACHINE_DIR, NODES, Layout
from kuryrctl.lab.network import chassis
from kuryrctl.lab.pids import ProcessId, boot_id, command_of, marked_processes, session_of, signal_all
from kuryrctl.lab.process import RUNTIME_HELPERS, Processes, holder_of, interrupt, run, write_atomically
from kuryrctl.lab.stages import Context, Observer, Silent, Stage, run_stages

CLAIM = MACHINE_DIR / "claim"


class Claim(msgspec.Struct, frozen=True):
    """Which state folder's lab has this machine, since which boot."""

    state: str
    boot: str


class ComponentStatus(msgspec.Struct, frozen=True):
    """One daemon: its pid when it runs, and whether it does what it is for."""

    name: str
    pid: int | None
    ready: bool


class NodeStatus(msgspec.Struct, frozen=True):
    """One node, as Kubernetes sees it."""

    name: str
    ready: bool
    message: str


class Status(msgspec.Struct, frozen=True):
    """What runs of the lab."""

    components: tuple[ComponentStatus, ...]
    nodes: tuple[NodeStatus, ...]

    @property
    def running(self) -> bool:
        return any(component.pid for component in self.components)


def refuse_unfit_machines(layout: Layout) -> None:
    """One clear sentence for a machine or a user with whom no lab can be."""
    if platform.system() != "Linux":
        raise LabError(f"the lab needs Linux, and this is {platform.system()}", hint="use a Linux machine or a VM")
    if os.geteuid() != 0:
        raise LabError(
            "the lab needs root: it makes namespaces, bridges and control groups", hint="sudo kuryrctl lab …"
        )
    if len(str(layout.state)) > LONGEST_STATE_PATH:
        raise LabError(
            f"the state folder's path {layout.state} has more than {LONGEST_STATE_PATH} characters",
            hint="choose a shorter one with --state: sockets below it would have too long names",
        )


def context_of(layout: Layout) -> Context:
    return Context(layout, Processes(layout))


def up(
    layout: Layout,
    observer: Observer | None = None,
    *,
    binaries: Path | None = None,
    extra: tuple[Stage, ...] = (),
) -> None:
    """Install what is missing and start what does not run; returns with a cloud, a cluster and our own parts.

    `extra` stages run in the same graph, when what they need is there.
    """
    refuse_unfit_machines(layout)
    context = context_of(layout)
    with _alone():
        _claim(layout, context)
        run_stages([*stages(layout, binaries), *extra], context, observer)


def stages(layout: Layout, binaries: Path | None = None) -> list[Stage]:
    """Everything in one graph: what is installed first, then cloud and cluster side by side."""
    installing = install.stages(binaries)
    after = tuple(stage.name for stage in installing)
    starting = [*network.stages(), *openstack.stages(), *kubernetes.stages(), *kuryr.stages()]
    return [*installing, *(msgspec.structs.replace(stage, needs=(*stage.needs, *after)) for stage in starting)]


def down(layout: Layout, observer: Observer | None = None) -> None:
    """End everything and remove everything but databases, configuration, logs and what is installed."""
    refuse_unfit_machines(layout)
    with _alone():
        _down(layout, observer)


def reset(layout: Layout, observer: Observer | None = None) -> None:
    """`down`, and forget the state too; the cache stays."""
    refuse_unfit_machines(layout)
    with _alone():
        _down(layout, observer)
        if layout.state.exists():
            shutil.rmtree(layout.state)


def _down(layout: Layout, observer: Observer | None) -> None:
    """Every step is tried, whatever became of the others; then all that failed is told together."""
    observer = observer or Silent()
    context = context_of(layout)
    failures: list[LabError] = []

    def tried(name: str, title: str, job: Callable[[Context], None], *needs: str) -> Stage:
        def attempt(context: Context) -> None:
            try:
                job(context)
            except LabError as error:
                failures.append(LabError(f"{name}: {error.message}", hint=error.hint, detail=error.detail))

        return Stage(name, title, attempt, needs)

    ours = _is_ours(layout)
    steps = [
        tried("stop-kuryr", "stopping engine and agents", kuryr.down),
        tried("stop-kubernetes", "stopping Kubernetes", kubernetes.down, "stop-kuryr"),
        tried("stop-openstack", "stopping OpenStack", openstack.down, "stop-kuryr"),
        tried("sweep", "ending what is left", lambda context: _sweep(layout), "stop-network"),
        tried("restore", "restoring settings", lambda context: _restore(layout), "sweep"),
    ]
    if ours:
        needs = ("stop-kubernetes", "stop-openstack")
        steps.append(tried("stop-network", "removing the network", network.down, *needs))
    run_stages(steps, context, observer)
    if failures:
        raise LabError(
            "the lab is not wholly down: " + "; ".join(error.message for error in failures),
            detail="\n".join(error.detail for error in failures if error.detail),
            hint="kuryrctl lab down once more, then look at kuryrctl lab status",
        )
    shutil.rmtree(layout.run, ignore_errors=True)
    if _claimed_by() in (str(layout.state), None):
        for path in (CLAIM, *(MACHINE_DIR / member.name for member in NODES)):
            path.unlink(missing_ok=True)


def _is_ours(layout: Layout) -> bool:
    """Whether links and namespaces with the lab's names are this lab's: it claimed the machine, or runs on it."""
    return _claimed_by() == str(layout.state) or (_claimed_by() is None and bool(marked_processes(layout)))


def _sweep(layout: Layout) -> None:
    """End every process that carries the lab's mark, wherever it is; then its control groups and mounts."""
    signal_all(marked_processes(layout), grace_s=2.0)
    for member in NODES:
        cgroups.remove(layout.cgroup(member.name))
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        mounted_at = line.split()[1].encode().decode("unicode_escape")
        if mounted_at.startswith(f"{layout.state}/"):
            run(["umount", "-l", mounted_at])


def _restore(layout: Layout) -> None:
    sysctls.restore(layout)
    cgroups.take_back(cgroups.handed_down_file(layout))
    apt.remove_guard()
    if _claimed_by() not in (str(layout.state), None):
        return  # another lab's nodes have something mounted there
    if node.CNI_CACHE.exists() and not any(node.CNI_CACHE.iterdir()):
        node.CNI_CACHE.rmdir()


def _claim(layout: Layout, context: Context) -> None:
    """Make this machine ours, or tell who has it; clean up after a lab whose processes died."""
    owner = _claimed_by()
    if owner is not None and owner != str(layout.state):
        raise LabError(
            f"this machine already has the lab of {owner}", hint=f"kuryrctl lab down --state {owner}, then once more"
        )
    if not _is_ours(layout):
        machine.refuse_collisions(layout)
        shutil.rmtree(layout.run, ignore_errors=True)  # sockets and pid files of another boot
    write_atomically(CLAIM, msgspec.json.encode(Claim(str(layout.state), boot_id())), 0o644)
    layout.run.mkdir(parents=True, exist_ok=True)
    processes = context.processes
    signal_all(_strays(layout, processes), grace_s=2.0)
    recorded = processes.names()
    if recorded and not any(processes.running(name) for name in recorded):
        _down(layout, None)
        layout.run.mkdir(parents=True)
        write_atomically(CLAIM, msgspec.json.encode(Claim(str(layout.state), boot_id())), 0o644)
        return
    for member in NODES:
        if holder_of(member.name) is None:
            _clear_node(context, member.name)


def _clear_node(context: Context, name: str) -> None:
    """End what still runs of a node whose namespaces nobody holds any more: it could not be reached again."""
    member = next(each for each in NODES if each.name == name)
    processes = context.processes
    if processes.running(node.holder_name(member)):  # in a namespace whose name was taken away, and so is the switch
        processes.stop(*chassis.Chassis(member.name, member).daemons)
    ending = (kuryr.agent_name, node.kubelet_name, node.containerd_name, node.holder_name)
    processes.stop(*(name_of(member) for name_of in ending))
    socket = str(context.layout.containerd_socket(name))
    shims = [each for each in marked_processes(context.layout) if socket in _arguments(each)]
    signal_all(shims, grace_s=0.0)
    cgroups.remove(context.layout.cgroup(member.name))


def _arguments(process: ProcessId) -> str:
    try:
        return Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _strays(layout: Layout, processes: Processes) -> list[ProcessId]:
    """Marked processes that no pid file knows: an interrupted start, or the children of a daemon that was killed."""
    known = {processes.pid(name) for name in processes.names()}
    return [
        process
        for process in marked_processes(layout)
        if session_of(process) not in known and not command_of(process).startswith(RUNTIME_HELPERS)
    ]


def _claimed_by() -> str | None:
    """The state folder whose lab has this machine in this boot; None when none has."""
    try:
        claim = msgspec.json.decode(CLAIM.read_bytes(), type=Claim)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return claim.state if claim.boot == boot_id() else None


@contextmanager
def _alone() -> Iterator[None]:
    """One `up` or `down` at a time on this machine."""
    MACHINE_DIR.mkdir(parents=True, exist_ok=True)
    with (MACHINE_DIR / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(
                "another `kuryrctl lab` is at work on this machine", hint="wait for it, or interrupt it with Ctrl-C"
            ) from None
        interrupt.clear()
        yield


def status(layout: Layout) -> Status:
    """Every daemon and every node; of a lab that is down: every daemon, none running."""
    context = context_of(layout)
    processes = context.processes
    found = [
        ComponentStatus(component.name, processes.pid(component.name), component.ready(context))
        for component in (*openstack.components(), *network.components())
    ]
    cluster = api.nodes(layout) if processes.running("kube-apiserver") else {}
    for name in (*kubernetes.components(), *kuryr.components()):
        running = processes.running(name)
        found.append(ComponentStatus(name, processes.pid(name), running and _serving(layout, name)))
    nodes = [NodeStatus(name, seen.ready, "" if seen.ready else seen.why_not) for name, seen in sorted(cluster.items())]
    return Status(tuple(found), tuple(nodes))


def _serving(layout: Layout, name: str) -> bool:
    return api.ready(layout) if name == "kube-apiserver" else True


def environment(layout: Layout, current_path: str) -> dict[str, str]:
    """What a shell needs to use the lab: the cloud, the cluster, our configuration, and their programs on PATH."""
    programs = [str(layout.bin), str(layout.ovs / "bin")]
    clients = layout.venv / "bin" / "openstack"
    path = [entry for entry in current_path.split(":") if entry and entry not in programs]
    if clients.exists() and shutil.which("openstack", path=current_path) is None:
        programs.append(str(clients.parent))
    variables = {
        "OS_CLOUD": kuryr.ENGINE_CLOUD,
        "OS_CLIENT_CONFIG_FILE": str(layout.clouds_yaml),
        "KUBECONFIG": str(layout.kubeconfig()),
        "PATH": ":".join([*programs[:2], *path, *programs[2:]]),
    }
    if layout.kuryr_yaml.exists():
        variables["KURYRCTL_CONFIG"] = str(layout.kuryr_yaml)
    return variables
