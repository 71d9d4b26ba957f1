"""The lab itself: idempotent, and back after whatever happened to its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from kuryrctl.lab.pids import marked_processes
from tests.functional.lab import Lab, wait_for


def pids(lab: Lab) -> dict[str, int | None]:
    rows = lab.kuryrctl("lab", "status", "-f", "json", check=False).json()
    return {row["Name"]: row["Pid"] for row in rows if row["Kind"] == "process"}


def all_ready(lab: Lab) -> bool:
    return lab.kuryrctl("lab", "status", check=False).returncode == 0


def test_up_twice_changes_nothing(lab: Lab) -> None:
    before = pids(lab)
    lab.up()
    assert pids(lab) == before
    wait_for(lambda: all_ready(lab), 30, lambda: lab.kuryrctl("lab", "status", check=False))


def test_the_engine_ends_on_sigterm_within_five_seconds(lab: Lab) -> None:
    os.kill(lab.pid("engine"), signal.SIGTERM)
    try:
        wait_for(lambda: not lab.context.processes.running("engine"), 5)
        assert lab.lease_holder() == ""  # it gave the Lease back
    finally:
        lab.kuryrctl("lab", "engine", "start")


def test_the_environment_works_in_a_shell(lab: Lab) -> None:
    script = 'eval "$(kuryrctl lab env)"; kubectl get nodes -o name; openstack network show public -f value -c name'
    told = lab.run("bash", "-c", script)
    assert told.stdout.split() == ["node/node1", "node/node2", "public"]


def test_logs_shell_and_engine_status(lab: Lab) -> None:
    wait_for(lambda: "leading" in lab.kuryrctl("lab", "logs", "engine", "-n", "1000").stdout, 30)
    unknown = lab.kuryrctl("lab", "logs", "nonsense", check=False)
    assert unknown.returncode == 1
    assert "neutron" in unknown.stderr
    inside = lab.run("kuryrctl", "lab", "shell", "node1", "--", "cat", "/sys/class/net/k8snode/mtu")
    assert inside.stdout.strip() == "1442"
    with lab.engine_stopped():
        assert lab.kuryrctl("lab", "engine", "status", check=False).returncode == 20
        assert lab.kuryrctl("lab", "status", check=False).returncode == 20
    assert lab.kuryrctl("lab", "engine", "status").returncode == 0


def test_the_demo_claims_nothing_false(lab: Lab) -> None:
    try:
        told = lab.kuryrctl("lab", "demo", timeout_s=300)
        assert lab.kubectl("get", "namespace", "demo", "--ignore-not-found") == ""
    finally:
        lab.kubectl("delete", "namespace", "demo", "--ignore-not-found", timeout_s=120)
    assert "FALSE" not in told.stdout
    assert "ok    the stranger is denied" in told.stdout
    assert "the whole demo" in told.stdout


@pytest.mark.long
def test_up_recovers_after_all_processes_died_at_once(lab: Lab) -> None:
    for process in marked_processes(lab.layout):
        process.send(signal.SIGKILL)
    lab.kuryrctl("lab", "up", timeout_s=300)
    wait_for(lambda: all_ready(lab), 30, lambda: lab.kuryrctl("lab", "status", check=False))
    with lab.namespace() as namespace:
        lab.deploy(namespace, "web", 2)
        lab.wait_ready(namespace, 2)


@pytest.mark.long
@pytest.mark.parametrize("after_s", [1.0, 4.0, 9.0])
def test_up_recovers_after_it_was_interrupted(lab: Lab, after_s: float) -> None:
    lab.kuryrctl("lab", "down", timeout_s=120)
    up = ("env", "--default-signal=INT", "kuryrctl", "lab", "up")  # a shell's background job ignores it, and we do then
    with subprocess.Popen(up, env=lab.env, stderr=subprocess.DEVNULL) as interrupted:
        time.sleep(after_s)
        interrupted.send_signal(signal.SIGINT)
        interrupted.wait(60)
    assert interrupted.returncode != 0
    lab.kuryrctl("lab", "up", timeout_s=300)
    assert all_ready(lab)
