"""One node: its namespaces (held by a process that sleeps), its containerd, its kubelet.

A node is a network namespace (made by the network part) plus a mount and a UTS namespace. Everything of the node runs
in all three, our agent too: the pods' network namespaces are bind mounts which exist in the node's mount namespace
only. When its last process ends, its mounts are gone by themselves.
"""

import shlex
import signal
from pathlib import Path

import msgspec

from kuryrctl.lab import layout as places
from kuryrctl.lab import sysctls
from kuryrctl.lab.errors import LabError
from kuryrctl.lab.install import versions
from kuryrctl.lab.kubernetes import api, cgroups
from kuryrctl.lab.layout import MACHINE_DIR, NETNS_DIR, Layout, Node
from kuryrctl.lab.process import run, wait_until, write_atomically
from kuryrctl.lab.stages import Context

KUBELET_SYSCTLS = ("vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops")  # it writes them by itself
CNI_CACHE = Path("/var/lib/cni")  # libcni has no setting for it, and two runtimes must not share it
RESOLV_CONF = "nameserver 127.0.0.1\n"  # nobody answers: a missing image fails at once and holds up no queue
IMPORTED = "imported-images.json"

DISABLED_CONTAINERD_PLUGINS = (
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


def holder_name(node: Node) -> str:
    return f"holder-{node.name}"


def containerd_name(node: Node) -> str:
    return f"containerd-{node.name}"


def kubelet_name(node: Node) -> str:
    return f"kubelet-{node.name}"


def hold(context: Context, node: Node) -> None:
    """Start the process that holds the node's namespaces, and tell the machine where they are."""
    layout, processes = context.layout, context.processes
    for folder in (
        layout.node_run(node.name) / "cgroup",
        layout.cni_conf_dir(node.name),
        layout.cni_bin_dir(node.name),
        layout.node_dir(node.name) / "cni-cache",
        CNI_CACHE,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(layout.node_dir(node.name) / "resolv.conf", RESOLV_CONF.encode(), 0o644)
    name = holder_name(node)
    netns = NETNS_DIR / node.netns
    processes.start(
        name, ["nsenter", f"--net={netns}", "unshare", "--mount", "--uts", "sh", "-ec", _holder_script(layout, node)]
    )
    wait_until(
        lambda: _command(processes.pid(name)) == "sleep",
        f"the namespaces of {node.name} are made",
        10,
        interval_s=0.01,
        log=layout.log_file(name),
        alive=lambda: processes.running(name),
    )
    write_atomically(MACHINE_DIR / node.name, msgspec.json.encode(processes.identity(name)), 0o644)


def _holder_script(layout: Layout, node: Node) -> str:
    """Makes mounts private, shows the node's own network in /sys without losing the control groups, then sleeps."""
    kept = shlex.quote(str(layout.node_run(node.name) / "cgroup"))
    own = layout.node_dir(node.name)
    return "\n".join(
        [
            "mount --make-rprivate /",
            f"mount --rbind /sys/fs/cgroup {kept}",
            "umount -l /sys",
            "mount -t sysfs sysfs /sys",
            f"mount --rbind {kept} /sys/fs/cgroup",
            f"umount -l {kept}",
            f"mount --bind {shlex.quote(str(own / 'cni-cache'))} {CNI_CACHE}",
            f"mount --bind {shlex.quote(str(own / 'resolv.conf'))} /etc/resolv.conf",
            f"echo {node.name} > /proc/sys/kernel/hostname",
            "exec sleep infinity",
        ]
    )


def _command(pid: int | None) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() if pid else ""
    except (FileNotFoundError, ProcessLookupError):
        return ""


def start_containerd(context: Context, node: Node) -> None:
    """Start the node's container runtime and import the lab's images into it."""
    layout, processes = context.layout, context.processes
    name = containerd_name(node)
    settings = layout.node_dir(node.name) / "containerd.toml"
    write_atomically(settings, containerd_settings(layout, node).encode(), 0o644)
    processes.start(name, [layout.bin / "containerd", "--config", settings], env=_path(layout), node=node.name)
    wait_until(
        lambda: _serves(layout, node),
        f"containerd of {node.name} answers",
        30,
        log=layout.log_file(name),
        alive=lambda: processes.running(name),
    )
    _import_images(context, node)


def _serves(layout: Layout, node: Node) -> bool:
    if not layout.containerd_socket(node.name).exists():
        return False
    try:
        _ctr(layout, node, "version")
    except LabError:
        return False
    return True


def _ctr(layout: Layout, node: Node, *arguments: str | Path, timeout_s: float = 120) -> str:
    command: list[str | Path] = [
        layout.bin / "ctr",
        "--address",
        layout.containerd_socket(node.name),
        "--namespace",
        "k8s.io",
    ]
    return run([*command, *arguments], node=node.name, env=_path(layout), timeout_s=timeout_s)


def _import_images(context: Context, node: Node) -> None:
    """Import every archive that changed since this containerd's root was made."""
    layout = context.layout
    stamp = layout.node_dir(node.name) / "containerd" / IMPORTED
    imported: dict[str, int] = msgspec.json.decode(stamp.read_bytes()) if stamp.exists() else {}
    for archive in sorted(layout.images.glob("*.tar")):
        made = archive.stat().st_mtime_ns
        if imported.get(archive.name) == made:
            continue
        context.report(f"importing {archive.stem} on {node.name}")
        _ctr(layout, node, "images", "import", "--local", archive)
        imported[archive.name] = made
        write_atomically(stamp, msgspec.json.encode(imported))


def start_kubelet(context: Context, node: Node) -> None:
    """Start the node's kubelet; returns when the node is registered. It becomes Ready with its CNI configuration."""
    layout, processes = context.layout, context.processes
    sysctls.remember(layout, KUBELET_SYSCTLS)
    cgroups.make(layout.cgroup(node.name), cgroups.handed_down_file(layout))
    own, name = layout.node_dir(node.name), kubelet_name(node)
    settings = own / "kubelet.yaml"
    write_atomically(settings, msgspec.yaml.encode(kubelet_settings(layout, node)), 0o644)
    command: list[str | Path] = [
        layout.bin / "kubelet",
        f"--config={settings}",
        f"--kubeconfig={layout.kubeconfig(node.name)}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--root-dir={own / 'kubelet'}",
        f"--cert-dir={own / 'kubelet-pki'}",
        "--v=1",
    ]
    processes.start(name, command, env=_path(layout), node=node.name)
    wait_until(
        lambda: node.name in api.nodes(layout),
        f"{node.name} is registered",
        60,
        interval_s=0.1,
        log=layout.log_file(name),
        alive=lambda: processes.running(name),
    )


def _path(layout: Layout) -> dict[str, str]:
    return {"PATH": f"{layout.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def containerd_settings(layout: Layout, node: Node) -> str:
    """Configuration version 3 (containerd 2.x), all folders the node's own."""
    own, sockets = layout.node_dir(node.name), layout.node_run(node.name)
    disabled = ", ".join(f'"{plugin}"' for plugin in DISABLED_CONTAINERD_PLUGINS)
    return f"""\
version = 3
root = "{own}/containerd"
state = "{sockets}/containerd"
disabled_plugins = [{disabled}]

[grpc]
  address = "{layout.containerd_socket(node.name)}"

[plugins.'io.containerd.internal.v1.opt']
  path = "{own}/containerd/opt"

[plugins.'io.containerd.nri.v1.nri']
  disable = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{versions.PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true

  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{layout.cni_bin_dir(node.name)}", "{layout.plugins}"]
    conf_dir = "{layout.cni_conf_dir(node.name)}"
    max_conf_num = 1
    use_internal_loopback = true
"""


def kubelet_settings(layout: Layout, node: Node) -> dict[str, object]:
    """KubeletConfiguration v1beta1; what a root without CAP_SYS_RESOURCE, swap or cgroup v1 would refuse is off."""
    own, keys = layout.node_dir(node.name), layout.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "port": 10250,
        "readOnlyPort": 0,
        "healthzPort": 10248,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(keys / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(keys / f"{node.name}.key"),
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket(node.name)}",
        "podLogsDir": str(own / "pod-logs"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup(node.name)}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "hairpinMode": "none",
        "makeIPTablesUtilChains": False,
        "resolvConf": str(own / "resolv.conf"),
        "clusterDNS": [places.CLUSTER_DNS_IPS[0]],  # a second one would be tried only after a time-out
        "clusterDomain": places.CLUSTER_DOMAIN,
        "maxPods": 110,
        "nodeStatusUpdateFrequency": "2s",
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
    }


def kill_containers(layout: Layout, node: Node) -> None:
    """End every container of the node at once; its runtime finds them dead."""
    for process in cgroups.members(layout.cgroup(node.name)):
        process.send(signal.SIGKILL)
