"""Kubernetes' faults during rollouts on the lab: all pods run, nothing leaked, nothing doubled, nothing left to do.

The lab's engine is stopped; the tests' own ones run instead, with the same credential, through a proxy before the API
server. What is asserted is the state of the world.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kuryrctl.core.config import LEASE_DURATION_S
from kuryrctl.lab import kuryr
from kuryrctl.lab.kubernetes.control_plane import API_SERVER
from tests.faults.kubernetes import LASTING, PASSING
from tests.faults.proxy import Proxy, Rule, kubeconfig_of, of_kubeconfig
from tests.functional.lab import Lab, wait_for

PODS = 10
MOST_CALLS = 900
"""Of one rollout with faults and its end, full turns every few seconds included: far below what a spin would make."""

Record = Callable[[str, object], None]


class Site:
    """Engines whose cluster has faults: `kube` is the proxy between."""

    def __init__(self, lab: Lab, namespace: str, folder: Path, kube: Proxy) -> None:
        self.lab, self.namespace, self.kube = lab, namespace, kube
        self._log = folder / "engine.log"
        self._log.touch()
        config = msgspec.yaml.decode(lab.layout.kuryr_yaml.read_bytes())
        config |= {"full_turn_s": 5, "audit_log": str(folder / "audit.jsonl")}
        (folder / "kuryrctl.yaml").write_bytes(msgspec.yaml.encode(config))
        self._env = os.environ | kuryr.engine_environment(lab.layout)
        self._env |= {
            "KURYRCTL_CONFIG": str(folder / "kuryrctl.yaml"),
            "KUBECONFIG": str(kubeconfig_of(kube, folder / "proxied.kubeconfig")),
        }

    @contextmanager
    def engine(self) -> Iterator[subprocess.Popen[bytes]]:
        """It runs, and ends only when it is told to."""
        command = [sys.executable, "-m", "kuryrctl.cli.app", "reconcile", "--watch"]
        with self._log.open("ab") as log, subprocess.Popen(command, env=self._env, stdout=log, stderr=log) as process:
            try:
                yield process
                assert process.poll() is None, f"the engine has ended: {self.log()}"
            finally:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                process.wait(15)

    def log(self) -> str:
        return self._log.read_text()[-6000:]

    def says(self, words: str) -> Callable[[], bool]:
        """Whether an engine has said these words since now."""
        begin = self._log.stat().st_size
        return lambda: words.encode() in self._log.read_bytes()[begin:]

    def wrong(self) -> list[str]:
        """What is leaked, doubled or not served."""
        everywhere = {pod["metadata"]["uid"] for pod in self.lab.get("pods", "-A")["items"]}
        ports = [port["device_id"] for port in self.lab.pod_ports()]
        leaked = [f"leaked: {uid}" for uid in ports if uid not in everywhere]
        doubled = [f"doubled: {uid}" for uid in set(ports) if ports.count(uid) > 1]
        mine = {pod["metadata"]["uid"] for pod in self.lab.pods(self.namespace)}
        return leaked + doubled + [f"without a port: {uid}" for uid in mine - set(ports)]

    def served(self) -> None:
        """Each pod has one port, and no port serves nobody."""
        wait_for(lambda: not self.wrong(), 60, lambda: (self.wrong(), self.log()))

    def settled(self) -> None:
        """All are served, and there is nothing left to do."""
        self.served()
        wait_for(lambda: self.lab.plan().returncode == 0, 60, self.lab.plan)

    @contextmanager
    def rollout(self) -> Iterator[None]:
        """Ten pods come; after what the test does meanwhile, all run; then they go, and nothing of them stays."""
        before = len(self.kube.calls)
        self.lab.deploy(self.namespace, "web", PODS)
        try:
            yield
            self.lab.wait_ready(self.namespace, PODS, 120)
            self.settled()
        finally:
            self.kubectl("delete", "deployment", "web")
        wait_for(lambda: not self.lab.pods(self.namespace), 60, self.log)
        self.served()
        assert len(self.kube.calls) - before < MOST_CALLS, self.kube.calls[-50:]

    def kubectl(self, *argv: str) -> str:
        """Not through the proxy."""
        return self.lab.kubectl(*argv, "-n", self.namespace)

    def told(self) -> list[Any]:
        """What the nodes were told of the pods."""
        found: list[Any] = self.lab.get("kuryrports", "-n", self.namespace)["items"]
        return found


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        of_kubeconfig(lab.layout.kubeconfig(kuryr.ENGINE)) as kube,
        lab.engine_stopped(),
        lab.namespace() as namespace,
    ):
        site = Site(lab, namespace, tmp_path_factory.mktemp("kubernetes"), kube)
        with site.engine():
            wait_for(lambda: kube.count("WATCH pods") > 0, 60, site.log)
            yield site
            site.settled()


@pytest.fixture(autouse=True)
def no_fault_of_the_last_test(site: Site) -> Iterator[None]:
    site.kube.injected.clear()
    yield
    site.kube.clear()


def record(site: Site, record_property: Record) -> None:
    assert site.kube.injected, "nothing was injected"
    for fault, call in site.kube.injected:
        record_property("fault-call", f"{fault} x {call}")


def begin(site: Site, *rules: Rule) -> None:
    """These rules from now on: also for watches, which are begun anew."""
    site.kube.add(*rules)
    site.kube.cut()


@pytest.mark.parametrize(
    "names",
    [
        *(pytest.param(list(PASSING)[part::3], id=f"a third of the table, {part}") for part in range(3)),
        *(pytest.param([name], id=name, marks=pytest.mark.long) for name in PASSING),
    ],
)
def test_a_rollout_survives_what_passes(site: Site, names: list[str], record_property: Record) -> None:
    begin(site, *(rule for name in names for rule in PASSING[name]))
    with site.rollout():
        pass
    record(site, record_property)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(list(LASTING), id="one after the other"),
        *(pytest.param([name], id=name, marks=pytest.mark.long) for name in LASTING),
    ],
)
def test_what_lasts_is_named_and_healed_when_it_is_mended(
    site: Site, names: list[str], record_property: Record
) -> None:
    begin(site, LASTING[names[0]][1])
    with site.rollout():
        for name in names:
            code, rule = LASTING[name]
            site.kube.clear()
            begin(site, rule)
            wait_for(site.says(f"({code}); next: "), 30, site.log)
            before, told = site.kube.count(rule.kind), len(site.told())
            time.sleep(5)
            assert site.kube.count(rule.kind) - before < 150, "a spin"
            assert len(site.told()) == told
        site.kube.clear()
    record(site, record_property)


def test_the_api_server_is_restarted_and_somebody_edits_and_deletes_what_nodes_were_told(site: Site) -> None:
    with site.rollout():
        wait_for(lambda: len(site.told()) >= 3, 60, site.log)
        site.lab.context.processes.stop(API_SERVER)
        time.sleep(3)
        site.lab.start_api_server()
        first, second = site.told()[:2]
        site.kubectl("delete", "kuryrport", first["metadata"]["name"])
        wrong = {"spec": {"interfaces": [second["spec"]["interfaces"][0] | {"mtu": 1280}]}}
        patch = ("--type=merge", "-p", msgspec.json.encode(wrong).decode())
        site.kubectl("patch", "kuryrport", second["metadata"]["name"], *patch)


def test_an_engine_that_is_stopped_beyond_its_lease_does_no_harm_when_it_goes_on(site: Site) -> None:
    """In the middle of a rollout, with pods made anew under their names: another engine takes over, then both run."""
    with site.engine() as other, site.rollout():
        wait_for(site.lab.is_led, 30)
        wait_for(lambda: len(site.told()) >= 2, 60, site.log)
        holder = site.lab.lease_holder()
        leader = int(holder.split("/")[1])
        os.kill(leader, signal.SIGSTOP)
        try:
            wait_for(lambda: site.lab.lease_holder() not in ("", holder), 4 * LEASE_DURATION_S, site.log)
            wait_for(lambda: len(site.told()) >= 5, 60, site.log)
        finally:
            os.kill(leader, signal.SIGCONT)
        site.lab.stateful(site.namespace, "named", 2)
        site.kubectl("delete", "statefulset", "named")
        assert other.poll() is None
