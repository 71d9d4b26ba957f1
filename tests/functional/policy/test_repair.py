"""What somebody changed by hand in the cloud is seen by packets, and repaired."""

from __future__ import annotations

from typing import Any

from tests.functional.policy.site import Flow, Site

FROM_Y = "{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{namespaceSelector: {matchLabels: {letter: ns-y}}}], ports: [{port: 80}]}]}"  # noqa: E501
DENY_IN = "{podSelector: {}, policyTypes: [Ingress]}"


def allowed(flow: Flow) -> bool:
    return flow.ns[1] != "x" or (flow.target == "x/a" and flow.ns[0] == "y" and flow.port == 80)


def port_of(site: Site, name: str) -> dict[str, Any]:
    (found,) = (port for port in site.lab.pod_ports() if port["device_id"] == site.pods[name].uid)
    return found


def group_of(site: Site, port: dict[str, Any], role: str, rules: int) -> dict[str, Any]:
    """The port's one group of that role with so many rules."""
    query = {"tags": f"kuryr:cluster={site.lab.cluster_id},kuryr:kind={role}"}
    found = site.lab.cloud("admin").network.get("/security-groups", params=query).json()["security_groups"]
    (group,) = (
        each for each in found
        if each["id"] in port["security_groups"] and len(each["security_group_rules"]) == rules
    )  # fmt: skip
    return dict(group)


def test_a_rule_deleted_a_rule_added_and_a_port_with_other_groups_are_repaired(site: Site) -> None:
    api = site.lab.cloud("admin").network
    site.check({"x/deny": DENY_IN, "x/a": FROM_Y}, allowed)
    a, b, z = (port_of(site, name) for name in ("x/a", "x/b", "z/a"))
    with site.lab.engine_stopped():
        ruled = group_of(site, a, "policy-ingress", 2)
        empty = group_of(site, b, "policy-ingress", 0)
        (deleted,) = (rule for rule in ruled["security_group_rules"] if rule["ethertype"] == "IPv4")
        assert api.delete(f"/security-group-rules/{deleted['id']}").status_code == 204
        rule = {"security_group_id": empty["id"], "direction": "ingress", "ethertype": "IPv6", "protocol": "tcp",
                "project_id": empty["project_id"]}  # fmt: skip
        assert api.post("/security-group-rules", json={"security_group_rule": rule}).status_code == 201
        assert api.put(f"/ports/{z['id']}", json={"port": {"security_groups": []}}).status_code == 200

        def broken(flow: Flow) -> bool:
            if "z/a" in (flow.source, flow.target):
                return False
            if flow.ns[1] == "x" and flow.family == 6:
                return True
            return allowed(flow) and not (flow.target == "x/a" and flow.family == 4)

        site.lab.installed()
        site.expect(broken)
        drift = site.lab.kuryrctl("policy", "verify", check=False)
        assert drift.returncode == 20, drift
        assert f"{site.pods['z/a'].namespace}/a" in drift.stdout
    site.settle()
    site.expect(allowed)
    assert sorted(port_of(site, "z/a")["security_groups"]) == sorted(z["security_groups"])
