"""Other callers of the entry than a kubelet's: cnitool (today's libcni) and podman with its CNI back end (libcni 1.1).

Neither knows a pod's uid. cnitool passes on what the operator says in CNI_ARGS; podman says the container's name only,
and the network's configuration the namespace of the pods (`podNamespace`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from kuryrctl.lab.install import apt
from kuryrctl.lab.kubernetes import cgroups
from kuryrctl.lab.layout import Layout
from kuryrctl.node import install
from tests.functional.node import spec
from tests.functional.node.conftest import interface_of
from tests.functional.node.switch import Switch, ping
from tests.functional.node.world import Cluster, RunningAgent, Runtime, Sandbox

Count = Callable[[str, object], None]
Done = subprocess.CompletedProcess[str]
Sandboxes = Callable[[int], Sandbox]
NETWORK = f"kuryr-{os.getpid()}"  # runtimes share libcni's cache in /var/lib/cni, by network and container


def configure(folder: Path, version: str, runtime: Runtime, **more: Any) -> Path:
    """A folder with the network's configuration list."""
    plugin = {"type": install.ENTRY_NAME, "socket": str(runtime.socket), **more}
    conflist = {"cniVersion": version, "name": NETWORK, "plugins": [plugin]}
    folder.mkdir(exist_ok=True)
    (folder / install.CONFLIST_NAME).write_text(json.dumps(conflist))
    return folder


class Node(Struct, frozen=True):
    """What runs on the node."""

    switch: Switch
    cluster: Cluster
    runtime: Runtime


@pytest.fixture
def here(node: Switch, cluster: Cluster, runtime: Runtime, agent: RunningAgent) -> Node:
    return Node(node, cluster, runtime)


def cnitool(folder: Path, runtime: Runtime, verb: str, pod: Sandbox, arguments: str) -> Done:
    tool = Layout.of(os.environ).cache / "bin" / "cnitool"
    return subprocess.run(
        [tool, verb, NETWORK, pod.netns],
        env={"NETCONFPATH": str(folder), "CNI_PATH": str(runtime.bin), "CNI_ARGS": arguments, "CNI_IFNAME": "eth0"},
        capture_output=True,
        text=True,
        check=False,
    )


def arguments_of(pod: Sandbox, *, uid: bool) -> str:
    namespace, name = pod.pod.split("/")
    return f"K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}" + (f";K8S_POD_UID={pod.uid}" if uid else "")


@pytest.mark.parametrize("version", spec.VERSIONS)
def test_cnitool(version: str, here: Node, sandbox: Sandboxes, record_property: Count) -> None:
    pod, folder = sandbox(1), configure(here.runtime.conf, version, here.runtime)
    here.cluster.assign(pod.pod, pod.uid, interface_of(1))

    def run(verb: str) -> Done:
        return cnitool(folder, here.runtime, verb, pod, arguments_of(pod, uid=True))

    added = run("add")
    assert added.returncode == 0, added
    spec.check_result(json.loads(added.stdout), version)
    assert here.switch.ports() == ["tap00000001-11"]
    for verb, since in (("check", "0.4.0"), ("status", "1.1.0")):
        done = run(verb)
        if version >= since:
            assert done.returncode == 0, done
            record_property("cni-case", f"cnitool: {verb.upper()} {version}")
    deleted = run("del")
    assert deleted.returncode == 0, deleted
    assert here.switch.ports() == []
    record_property("cni-case", f"cnitool: ADD {version}")
    record_property("cni-case", f"cnitool: DEL {version}")


def test_cnitool_gc_gives_no_list(here: Node, sandbox: Sandboxes, record_property: Count) -> None:
    """libcni deletes what it has cached, and then asks for GC without saying what is valid: we remove nothing more."""
    mine, other = sandbox(1), sandbox(2)
    folder = configure(here.runtime.conf, "1.1.0", here.runtime)
    for number, pod in ((1, mine), (2, other)):
        here.cluster.assign(pod.pod, pod.uid, interface_of(number))
    assert cnitool(folder, here.runtime, "add", mine, arguments_of(mine, uid=True)).returncode == 0
    config = here.runtime.config("1.1.0", name=NETWORK)
    assert here.runtime.call("ADD", config, **other.environment)[0] == 0

    collected = cnitool(folder, here.runtime, "gc", mine, "")

    assert collected.returncode != 0
    assert "GC without cni.dev/valid-attachments: nothing is removed" in collected.stderr
    assert here.switch.ports() == ["tap00000002-11"]
    assert here.runtime.delete(other) == (0, None)
    record_property("cni-case", "cnitool: GC 1.1.0")


def test_cnitool_without_a_uid(here: Node, sandbox: Sandboxes, record_property: Count) -> None:
    """Refused, unless the network's configuration says that the pod's name is enough, in that namespace."""
    pod, runtime = sandbox(1), here.runtime
    arguments = arguments_of(pod, uid=False)
    here.cluster.assign(pod.pod, pod.uid, interface_of(1))

    for namespace in ("", "another"):
        folder = configure(runtime.conf, "1.1.0", runtime, podNamespace=namespace)
        refused = cnitool(folder, runtime, "add", pod, arguments)
        assert refused.returncode != 0
        assert "K8S_POD_UID" in refused.stdout + refused.stderr
        assert here.switch.ports() == []

    folder = configure(runtime.conf, "1.1.0", runtime, podNamespace="shop")
    added = cnitool(folder, runtime, "add", pod, arguments)
    assert added.returncode == 0, added
    assert here.switch.external_ids("tap00000001-11")["kuryr-pod-uid"] == pod.uid
    assert cnitool(folder, runtime, "check", pod, arguments).returncode == 0
    assert cnitool(folder, runtime, "del", pod, arguments).returncode == 0
    assert here.switch.ports() == []
    record_property("cni-case", "cnitool: ADD 1.1.0 by the pod's name")


def test_a_pod_that_another_runtime_runs_is_not_taken_over(
    here: Node, sandbox: Sandboxes, record_property: Count
) -> None:
    """A container that is called like the kubelet's pod would take the running pod's port away."""
    pod, runtime = sandbox(1), here.runtime
    folder = configure(runtime.conf, "1.1.0", runtime, podNamespace="shop")
    here.cluster.assign(pod.pod, pod.uid, interface_of(1))
    plugin = {"cniVersion": "1.1.0", "name": "kubernetes", "type": install.ENTRY_NAME, "socket": str(runtime.socket)}
    assert runtime.call("ADD", json.dumps(plugin), **pod.environment)[0] == 0

    refused = cnitool(folder, runtime, "add", sandbox(2), arguments_of(pod, uid=False))

    assert refused.returncode != 0
    assert f"in use by pod {pod.pod}" in refused.stdout + refused.stderr
    assert runtime.check(pod) == (0, None)
    assert runtime.delete(pod) == (0, None)
    record_property("cni-case", "cnitool: ADD 1.1.0 of a pod that runs")


@pytest.fixture(scope="session")
def podman_installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For the session, so that it comes before a test enters the node's namespace, where no mirror can be reached."""
    if shutil.which("podman") is None:
        apt.install(["podman"], print, tmp_path_factory.mktemp("podman") / "apt.log")


@pytest.fixture
def podman(podman_installed: None, here: Node) -> Iterator[Callable[..., Done]]:
    """podman with its CNI back end and storage of its own; every container is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kp-", dir="/tmp") as name:  # podman refuses longer paths
        folder = Path(name)
        settings = folder / "containers.conf"
        settings.write_text(
            f'[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["{here.runtime.bin}"]\n'
            f'network_config_dir = "{here.runtime.conf}"\ndefault_network = "{NETWORK}"\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
            "[containers]\ndefault_sysctls = []\nkeyring = false\n"
        )
        root = folder / "root"
        (root / "bin").mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin" / "busybox")
        runtime = Layout.of(os.environ).cache / "bin" / "runc"
        places = [
            f"--runtime={runtime}",
            f"--root={folder}/storage",
            f"--runroot={folder}/run",
            f"--tmpdir={folder}/tmp",
        ]

        def run(*arguments: str) -> Done:
            words = [str(root) if word == ROOTFS else word for word in arguments]
            return subprocess.run(
                ["podman", *places, "--storage-driver=vfs", *words],
                env=os.environ | {"CONTAINERS_CONF": str(settings)},
                capture_output=True,
                text=True,
                check=False,
            )

        yield run
        run("rm", "--all", "--force", "--time=0")
    cgroups.remove(CGROUP)  # podman leaves it, with its conmon's below


ROOTFS = "ROOTFS"
CGROUP = f"{NETWORK}-podman"


def started(podman: Callable[..., Done], name: str) -> Done:
    """Run a container of that name that sleeps."""
    options = (
        "--detach",
        f"--name={name}",
        f"--network={NETWORK}",
        f"--cgroup-parent=/{CGROUP}",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=1024:1024",
    )
    return podman("run", *options, "--rootfs", ROOTFS, "/bin/busybox", "sleep", "600")


@pytest.mark.parametrize("version", spec.VERSIONS[:3])
def test_podman(version: str, here: Node, podman: Callable[..., Done], record_property: Count) -> None:
    configure(here.runtime.conf, version, here.runtime, podNamespace="shop")
    for number in (1, 2):
        here.cluster.assign(f"shop/web-{number}", f"uid-{number}", interface_of(number))

    for name in ("web-1", "web-2"):
        done = started(podman, name)
        assert done.returncode == 0, done.stderr
    assert sorted(here.switch.ports()) == ["tap00000001-11", "tap00000002-11"]
    (told,) = json.loads(podman("inspect", "web-1").stdout)
    network = told["NetworkSettings"]["Networks"][NETWORK]
    assert (network["IPAddress"], network["MacAddress"]) == ("10.65.0.1", "02:00:00:00:00:01")
    assert network["GlobalIPv6Address"] == "fd00:10:65::1"
    assert ping(f"/proc/{told['State']['Pid']}/ns/net", "10.65.0.2")
    record_property("cni-case", f"podman: ADD {version}")

    removed = podman("rm", "--force", "--time=0", "web-1", "web-2")
    assert removed.returncode == 0, removed.stderr
    assert here.switch.ports() == []
    record_property("cni-case", f"podman: DEL {version}")


def test_podman_is_told_why_not(here: Node, podman: Callable[..., Done], record_property: Count) -> None:
    configure(here.runtime.conf, "0.4.0", here.runtime)

    done = started(podman, "web-1")

    assert done.returncode != 0
    assert "CNI_ARGS lacks K8S_POD_NAMESPACE" in done.stderr
    assert here.switch.ports() == []
    record_property("cni-case", "podman: ADD 0.4.0 without podNamespace")
