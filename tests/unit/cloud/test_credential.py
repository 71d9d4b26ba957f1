"""The texts that an operator installs: a policy that widens nothing but the role's own project."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
import yaml

from kuryrctl.cloud import Neutron
from kuryrctl.cloud.credential import access_rules, policy_override
from kuryrctl.core.cloud import CloudObject
from kuryrctl.core.errors import Invalid
from kuryrctl.core.kinds import Action, Kind
from kuryrctl.core.plan import FieldChange, Step
from kuryrctl.core.specs import (
    AddressSpec,
    NetworkSpec,
    PortSpec,
    RouterInterfaceSpec,
    RouterSpec,
    RuleSpec,
    SecurityGroupSpec,
    Spec,
    SubnetSpec,
    kind_of,
)
from tests.fakes.neutron import FakeNeutron


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


def test_access_rules_allow_every_call_that_the_engine_makes() -> None:
    """Matched as keystonemiddleware does it: `*` is one segment of the decoded path."""
    allowed = [(rule.method, re.compile(re.escape(rule.path).replace(r"\*", "[^/]+"))) for rule in access_rules()]

    made = _a_life_of_everything()

    refused = {
        f"{method} {path}"
        for method, path in made
        if not any(method == one and pattern.fullmatch(unquote(f"/v2.0{path}")) for one, pattern in allowed)
    }
    assert refused == set()
    assert {method for method, _ in made} == {"GET", "POST", "PUT", "DELETE"}


def _a_life_of_everything() -> list[tuple[str, str]]:
    """The calls by which one object of each kind is made, seen, changed, adopted and deleted."""
    fake = FakeNeutron()
    fake.cloud.rules.keep_post_tags = False
    neutron = Neutron(fake)
    tags = ("kuryr:cluster=c", "kuryr:kind=k")
    specs: tuple[Spec, ...] = (
        NetworkSpec("network/n", "n", tags),
        SubnetSpec("subnet/s", "s", tags, "network/n", "10.0.0.0/24"),
        RouterSpec("router/r", "r", tags, fake.external_network()["id"]),
        RouterInterfaceSpec("leg", "router/r", "subnet/s"),
        SecurityGroupSpec("group", "g", "d", tags),
        RuleSpec("rule", "group", "ingress", "IPv4"),
        PortSpec(
            key="port",
            name="p",
            tags=tags,
            network="network/n",
            mac_address="02:00:00:00:00:01",
            addresses=(AddressSpec("subnet/s"),),
            security_groups=("group",),
            device_owner="compute:kuryr",
            device_id="u",
            host="node1",
        ),
    )

    def step(action: Action, spec: Spec, ids: dict[str, str]) -> Step:
        changes = tuple(FieldChange(field, "", "") for field in ("mtu", "enable_dhcp", "external_network", "name"))
        return Step(
            action=action,
            kind=kind_of(spec),
            key=spec.key,
            reason="",
            spec=spec,
            id=ids.get(spec.key, ""),
            changes=changes,
        )

    created = neutron.apply([step(Action.CREATE, spec, {}) for spec in specs], {})
    ids = {outcome.step.key: outcome.object.id for outcome in created if isinstance(outcome.object, CloudObject)}
    assert ids.keys() == {spec.key for spec in specs}
    for collection in ("networks", "subnets", "routers", "security_groups", "ports"):
        for item in fake.objects(collection):
            fake.change(collection, item["id"], tags=["x"], name="theirs")
    updatable = [spec for spec in specs if kind_of(spec) not in (Kind.ROUTER_INTERFACE, Kind.SECURITY_GROUP_RULE)]
    neutron.apply([step(Action.ADOPT, spec, ids) for spec in updatable], ids)
    neutron.observe("c", networks=["public"])
    neutron.ports()
    neutron.trunks()
    neutron.quota()
    deleted = neutron.apply([step(Action.DELETE, spec, ids) for spec in reversed(specs)], ids)
    assert all(outcome.ok for outcome in deleted), [outcome.error for outcome in deleted]
    return [(method, path.partition("?")[0]) for method, path in fake.requests]
