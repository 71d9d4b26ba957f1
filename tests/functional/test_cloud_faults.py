"""Faults of the real cloud's APIs, injected by a proxy during rollouts: all pods run, nothing leaked, nothing doubled.

The lab's engine is stopped; one of the tests' own runs instead, with the same credential, through a proxy before
Neutron and one before Keystone. What is asserted is the state of the world.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kuryrctl.lab import kuryr
from kuryrctl.lab.openstack.config import KEYSTONE_URL, NEUTRON_URL
from tests.faults.faults import Cut, Fault, Refuse, Rewrite, Silence, Swallow, neutron_error
from tests.faults.proxy import Proxy, Rule
from tests.functional.lab import Lab, wait_for

PODS = 10
FULL_TURN_S = 5
STATUSES = (400, 401, 403, 404, 409, 412, 500, 503)
FAULTS: tuple[Fault, ...] = (
    *(neutron_error(status) for status in STATUSES),
    neutron_error(429, Retry_After="1"),
    Refuse(),
    Silence(),
    Swallow(),
    Cut(),
    Rewrite(lambda body: body if b"NeutronError" in body else b"<html>a proxy's page</html>", "garbled answer"),
)
READS = ("GET ports", "GET networks", "GET subnets", "GET routers", "GET security-groups")
CALLS = (*READS, "POST ports", "DELETE ports")
"""Every kind of call that a rollout and its end make."""
MOST_CALLS = 400
"""Of one rollout with faults and its end, full turns every few seconds included: far below what a spin would make."""

Record = Callable[[str, object], None]


class Faulted:
    """An engine whose cloud has faults: `neutron` and `keystone` are the proxies between."""

    def __init__(self, lab: Lab, namespace: str, folder: Path, neutron: Proxy, keystone: Proxy) -> None:
        self.lab, self.namespace, self.neutron, self.keystone = lab, namespace, neutron, keystone
        self._log = folder / "engine.log"
        clouds = msgspec.yaml.decode(lab.layout.clouds_yaml.read_bytes())
        mine = clouds["clouds"][kuryr.ENGINE_CLOUD]
        mine["auth"]["auth_url"] = keystone.url + "/v3"
        mine["network_endpoint_override"] = neutron.url
        (folder / "clouds.yaml").write_bytes(msgspec.yaml.encode(clouds))
        config = msgspec.yaml.decode(lab.layout.kuryr_yaml.read_bytes())
        config |= {"full_turn_s": FULL_TURN_S, "audit_log": str(folder / "audit.jsonl")}
        (folder / "kuryrctl.yaml").write_bytes(msgspec.yaml.encode(config))
        self._env = os.environ | kuryr.engine_environment(lab.layout)
        self._env |= {
            "OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml"),
            "KURYRCTL_CONFIG": str(folder / "kuryrctl.yaml"),
        }

    @contextmanager
    def engine(self) -> Iterator[None]:
        """It runs, and ends as it should."""
        command = [sys.executable, "-m", "kuryrctl.cli.app", "reconcile", "--watch"]
        with self._log.open("ab") as log, subprocess.Popen(command, env=self._env, stdout=log, stderr=log) as process:
            try:
                wait_for(lambda: self.neutron.count("GET ports") > 0, 30, self.log)
                yield
                assert process.poll() is None, f"the engine has ended: {self.log()}"
            finally:
                process.terminate()
                process.wait(15)

    def log(self) -> str:
        return self._log.read_text()[-6000:]

    def served(self, namespace: str) -> None:
        """Each pod has one port, and no port serves nobody."""

        def wrong() -> list[str]:
            everywhere = {pod["metadata"]["uid"] for pod in self.lab.get("pods", "-A")["items"]}
            ports = [port["device_id"] for port in self.lab.pod_ports()]
            leaked = [f"leaked: {uid}" for uid in ports if uid not in everywhere]
            doubled = [f"doubled: {uid}" for uid in set(ports) if ports.count(uid) > 1]
            mine = {pod["metadata"]["uid"] for pod in self.lab.pods(namespace)}
            return leaked + doubled + [f"without a port: {uid}" for uid in mine - set(ports)]

        wait_for(lambda: not wrong(), 60, lambda: (wrong(), self.log()))

    def settled(self, namespace: str) -> None:
        """All are served, and there is nothing left to do."""
        self.served(namespace)
        wait_for(lambda: self.lab.plan().returncode == 0, 60, self.lab.plan)

    def roll_out_and_back(self, *rules: Rule) -> None:
        """Ten pods come and go while these rules act; all of them must have acted."""
        before = len(self.neutron.calls)
        self.neutron.add(*rules)
        self.lab.deploy(self.namespace, "web", PODS)
        try:
            self.lab.wait_ready(self.namespace, PODS, 120)
            self.settled(self.namespace)
        finally:
            self.lab.kubectl("delete", "deployment", "web", "-n", self.namespace)
        wait_for(lambda: not self.lab.pods(self.namespace), 60, self.log)
        wait_for(lambda: not self.neutron.waiting(), 60, lambda: (self.neutron.waiting(), self.log()))
        self.served(self.namespace)
        calls = len(self.neutron.calls) - before
        self.neutron.clear()
        assert calls <= MOST_CALLS, f"{calls} calls: {self.neutron.calls[-50:]}"


@pytest.fixture(scope="module")
def faulted(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulted]:
    with (
        Proxy(NEUTRON_URL) as neutron,
        Proxy(KEYSTONE_URL.removesuffix("/v3")) as keystone,
        lab.engine_stopped(),
        lab.namespace() as namespace,
    ):
        faulted = Faulted(lab, namespace, tmp_path_factory.mktemp("faulted"), neutron, keystone)
        with faulted.engine():
            yield faulted
            faulted.settled(namespace)


@pytest.fixture(autouse=True)
def no_fault_of_the_last_test(faulted: Faulted) -> Iterator[None]:
    yield
    faulted.neutron.clear()
    faulted.keystone.clear()


@pytest.mark.parametrize("turn", range(len(CALLS)))
def test_rollouts_in_which_every_kind_of_call_meets_every_fault(
    faulted: Faulted, turn: int, record_property: Record
) -> None:
    """In each rollout every kind of call meets two faults, others in each: after the last, each has met them all."""
    met = [(FAULTS[(2 * (turn + n) + each) % len(FAULTS)], call) for n, call in enumerate(CALLS) for each in range(2)]
    before = len(faulted.neutron.injected)
    faulted.roll_out_and_back(*(Rule(fault, kind=call) for fault, call in met))
    injected = faulted.neutron.injected[before:]
    assert {(fault.name, call) for fault, call in met} <= set(injected)
    for name, call in dict.fromkeys(injected):
        record_property("fault-call", f"{name} x {call}")


def test_the_rollouts_leave_no_fault_out() -> None:
    assert len(FAULTS) == 2 * len(CALLS)


@pytest.mark.long
@pytest.mark.parametrize(("fault", "call"), list(product(FAULTS, CALLS)), ids=lambda each: getattr(each, "name", each))
def test_a_rollout_in_which_one_kind_of_call_fails_thrice(
    faulted: Faulted, fault: Fault, call: str, record_property: Record
) -> None:
    faulted.roll_out_and_back(Rule(fault, kind=call, times=3))
    record_property("fault-call", f"{fault.name} x {call}, thrice")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param((neutron_error(401), Refuse()), id="refused credential, then refused connection"),
        pytest.param((neutron_error(401), neutron_error(401)), id="refused credential", marks=pytest.mark.long),
        pytest.param((Refuse(), Refuse()), id="refused connection", marks=pytest.mark.long),
        pytest.param((neutron_error(503), neutron_error(503)), id="503", marks=pytest.mark.long),
        pytest.param((Silence(), Silence()), id="time-out", marks=pytest.mark.long),
    ],
)
def test_a_token_that_is_refused_while_keystone_fails(
    faulted: Faulted, faults: tuple[Fault, ...], record_property: Record
) -> None:
    """Neutron refuses the token in the middle of a rollout; Keystone fails when it is asked for another one.

    A token that was really revoked would not do: Neutron remembers for minutes that it was good.
    """
    faulted.keystone.add(*(Rule(fault, kind="POST auth/tokens") for fault in faults))
    faulted.roll_out_and_back(Rule(neutron_error(401), kind="POST ports", times=2))
    assert faulted.keystone.waiting() == []
    for fault in faults:
        record_property("fault-call", f"{fault.name} x POST auth/tokens")


def test_a_used_up_quota_is_named_with_limit_and_use(faulted: Faulted) -> None:
    lab = faulted.lab
    admin = lab.cloud("admin").network
    project = str(lab.cloud().current_project_id)
    port = admin.get(f"/quotas/{project}/details").json()["quota"]["port"]
    used = port["used"]
    with lab.namespace() as namespace:
        admin.put(f"/quotas/{project}", json={"quota": {"port": used + 2}}).raise_for_status()
        try:
            lab.deploy(namespace, "web", 5)
            said = f'quota "port" of project {project} is used up ({used + 2} of {used + 2})'

            def told() -> list[str]:
                """The first refusal may have come while Neutron reserved what another call was about to use."""
                return event_notes(lab, namespace, "KuryrQuotaExceeded")

            wait_for(lambda: any(said in note for note in told()), 60, told)
            wait_for(lambda: len(running(lab, namespace)) == 2, 60)
        finally:
            admin.put(f"/quotas/{project}", json={"quota": {"port": port["limit"]}}).raise_for_status()
        lab.wait_ready(namespace, 5, 120)
        faulted.settled(namespace)


def test_a_full_subnet_is_named(faulted: Faulted) -> None:
    lab = faulted.lab
    admin = lab.cloud("admin").network
    subnet = next(
        each
        for each in admin.get("/subnets", params={"tags": f"kuryr:cluster={lab.cluster_id}"}).json()["subnets"]
        if "kuryr:kind=pods-4" in each["tags"]
    )
    prefix = subnet["cidr"].rsplit(".", 2)[0]
    free = [{"start": f"{prefix}.3.250", "end": f"{prefix}.3.251"}]

    def hand_out(pools: object) -> None:
        admin.put(f"/subnets/{subnet['id']}", json={"subnet": {"allocation_pools": pools}}).raise_for_status()

    with lab.namespace() as namespace:
        hand_out(free)
        try:
            lab.deploy(namespace, "web", 5)
            notes = event_notes(lab, namespace, "KuryrNoFreeAddress")
            assert f"no free address in subnet/pods-4 ({subnet['cidr']}, {subnet['id']})" in notes[0]
            wait_for(lambda: len(running(lab, namespace)) == 2, 60)
        finally:
            hand_out(subnet["allocation_pools"])
        lab.wait_ready(namespace, 5, 120)
        faulted.settled(namespace)


def event_notes(lab: Lab, namespace: str, reason: str) -> list[str]:
    """What the pods' users are told for this reason, as soon as they are."""

    def events() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = lab.get("events", "-n", namespace)["items"]
        return [event for event in found if event["reason"] == reason]

    wait_for(lambda: bool(events()), 60, lambda: lab.kubectl("get", "events", "-n", namespace))
    return [event["message"] for event in events()]


def running(lab: Lab, namespace: str) -> list[str]:
    """The pods of the namespace that have addresses."""
    return [pod["metadata"]["name"] for pod in lab.pods(namespace) if pod["status"].get("podIPs")]
