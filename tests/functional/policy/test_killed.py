"""Engines that are killed after every single call of a policy change: packets say what is open in between.

What the old and the new policies both close is never open, and what both open is never closed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from kuryrctl.lab import kuryr
from kuryrctl.lab.openstack.config import NEUTRON_URL
from tests.faults.faults import Hook
from tests.faults.proxy import Proxy, Rule
from tests.functional.policy.site import TCP80, TCP81, Allows, Flow, Site

pytestmark = pytest.mark.long

CHANGING = "(POST|PUT|DELETE) (?!leases).*"
MOST_DEATHS = 60
A = "podSelector: {matchLabels: {pod: a}}"
OLD = {
    "x/deny": "{podSelector: {}, policyTypes: [Ingress]}",
    "x/a": f"{{{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{letter: ns-y}}}}}}]}}]}}",
}
NEW = {
    "x/deny": "{podSelector: {}, policyTypes: [Ingress]}",
    "x/a": f"{{{A}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{letter: ns-y}}}}, {A}}}]}},"
    f" {{from: [{{namespaceSelector: {{matchLabels: {{letter: ns-z}}}}, {A}}}], ports: [{{port: 80}}]}}]}}",
    "y/out": f"{{{A}, policyTypes: [Egress], egress: [{{to: [{{namespaceSelector: {{}}}}], ports: [{{port: 80}}]}}]}}",
}


def old(flow: Flow) -> bool:
    return flow.ns[1] != "x" or (flow.target == "x/a" and flow.ns[0] == "y")


def new(flow: Flow) -> bool:
    into_x = (flow.target, flow.source) == ("x/a", "y/a") or (
        (flow.target, flow.source, flow.port) == ("x/a", "z/a", 80)
    )
    return (flow.ns[1] != "x" or into_x) and (flow.source != "y/a" or flow.port == 80)


class Killed(ConnectionError):
    """The answer does not come: who asked is dead."""


class Victims:
    """`policy sync`, again and again; each one is killed once its first changing call is done, before it knows."""

    def __init__(self, site: Site, folder: Path, neutron: Proxy) -> None:
        self._site, self._neutron = site, neutron
        clouds = msgspec.yaml.decode(site.lab.layout.clouds_yaml.read_bytes())
        clouds["clouds"][kuryr.ENGINE_CLOUD]["network_endpoint_override"] = neutron.url
        (folder / "clouds.yaml").write_bytes(msgspec.yaml.encode(clouds))
        environment = kuryr.engine_environment(site.lab.layout)
        self._env = os.environ | environment | {"OS_CLIENT_CONFIG_FILE": str(folder / "clouds.yaml")}
        self._process: subprocess.Popen[str] | None = None

    def until_done(self) -> Iterator[str]:
        """By which kinds of call they died, one after the other."""
        argv = [sys.executable, "-m", "kuryrctl.cli.app", "policy", "sync"]
        for _ in range(MOST_DEATHS):
            self._neutron.add(Rule(Hook(after=self._kill), kind=CHANGING, times=1))
            self._process = subprocess.Popen(
                argv, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            with self._process:
                told, _ = self._process.communicate(timeout=120)
            self._neutron.clear()
            if self._process.returncode == 0:
                return
            assert self._process.returncode == -signal.SIGKILL, told
            lease = f"kuryrctl-{self._site.lab.cluster_id}"
            self._site.lab.kubectl("delete", "lease", lease, "-n", "kube-system")
            yield next(call.kind for call in reversed(self._neutron.calls) if re.fullmatch(CHANGING, call.kind))
        pytest.fail(f"not done after {MOST_DEATHS} deaths")

    def _kill(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        raise Killed


def both_hold(site: Site, one: Allows, other: Allows, when: str) -> None:
    """Packets do what both predicates agree about; of the rest they may do either."""
    flows = [flow for flow in site.flows(TCP80, TCP81) if one(flow) == other(flow) and flow.source != flow.target]
    opened = [flow for flow, passed in site.probe([flow for flow in flows if not one(flow)]).items() if passed]
    assert opened == [], f"{when}: open, though both close it: {[str(flow) for flow in opened[:10]]}"
    should = [flow for flow in flows if one(flow) and ("x" in flow.ns or flow.source == "y/a")]
    silent = [flow for flow, passed in site.probe(should).items() if not passed]
    closed = [flow for flow, passed in site.probe(silent, 3.0).items() if not passed]
    assert closed == [], f"{when}: closed, though both open it: {[str(flow) for flow in closed[:10]]}"


@pytest.mark.parametrize("change", ["there", "and back"])
def test_no_call_at_which_an_engine_dies_opens_what_old_and_new_policies_close(
    site: Site, tmp_path: Path, record_property: Callable[[str, object], None], change: str
) -> None:
    states = [(OLD, old), (NEW, new)]
    (before, one), (after, other) = states if change == "there" else states[::-1]
    site.policies(before)
    died = []
    with site.lab.engine_stopped(), Proxy(NEUTRON_URL) as neutron:
        site.change(after)
        for kind in Victims(site, tmp_path, neutron).until_done():
            died.append(kind)
            record_property("crash-point", f"policy sync killed after call {len(died)}, {kind}")
            both_hold(site, one, other, f"after call {len(died)}, {kind}")
        site.expect(other)
        site.settle()
    done = {call.kind for call in neutron.calls}  # steps run side by side: some are done while another one kills
    assert {"POST security-group-rules", "PUT ports", "DELETE security-group-rules"} <= done
    assert len(died) >= 3, died
