"""The texts that an operator installs: a policy that widens nothing but the role's own project."""

from __future__ import annotations

import re

import pytest
import yaml

from kuryrctl.cloud.credential import access_rules, policy_override
from kuryrctl.core.errors import Invalid


def test_every_rule_gives_the_role_its_own_project_only() -> None:
    rules = yaml.safe_load(policy_override("engine"))

    assert rules
    for rule, allowed in rules.items():
        ours = re.findall(r"\(role:engine and ([^()]*\(project_id\)s[^()]*)\)", allowed)
        assert len(ours) == 1 and ours[0].startswith("project_id:%(project_id)s"), rule
        assert allowed.count("role:engine") == 1
        assert allowed.count("(") == allowed.count(")")


def test_the_rules_are_what_binding_a_pods_port_needs() -> None:
    assert set(yaml.safe_load(policy_override())) == {
        "create_port:binding:host_id",
        "update_port:binding:host_id",
        "get_port:binding:host_id",
        "get_port:binding:vif_type",
        "get_port:binding:vif_details",
        "create_port:mac_address",
        "create_port:fixed_ips:ip_address",
        "delete_port",
    }


def test_only_ports_of_kuryr_may_be_deleted() -> None:
    assert yaml.safe_load(policy_override())["delete_port"].endswith("field:port:device_owner=~^compute:kuryr)")


@pytest.mark.parametrize("role", ["", "a b", 'x" or @', "rule:admin", "%(x)s", "a)"])
def test_a_role_that_would_change_the_rule_is_refused(role: str) -> None:
    with pytest.raises(Invalid):
        policy_override(role)


def test_access_rules_name_networking_calls_only() -> None:
    rules = access_rules()

    assert {rule.service for rule in rules} == {"network"}
    assert all(rule.path.startswith("/v2.0/") and "**" not in rule.path for rule in rules)
    assert len(set(rules)) == len(rules)
