"""Engines that are killed after every single call of a policy change: packets say what is open in between.

What the old and the new policies both close is never open, and what both open is never closed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kuryrctl.lab.openstack.config import NEUTRON_URL
from tests.faults.proxy import Proxy
from tests.functional.policy.site import TCP80, TCP81, Allows, Flow, Site
from tests.functional.victims import Victims

pytestmark = pytest.mark.long

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
        for kind in Victims(site.lab, tmp_path, {"network": neutron}, "policy", "sync").until_done():
            died.append(kind)
            record_property("crash-point", f"policy sync killed after call {len(died)}, {kind}")
            both_hold(site, one, other, f"after call {len(died)}, {kind}")
        site.expect(other)
        site.settle()
    done = {call.kind for call in neutron.calls}  # steps run side by side: some are done while another one kills
    assert {"POST security-group-rules", "PUT ports", "DELETE security-group-rules"} <= done
    assert len(died) >= 3, died
