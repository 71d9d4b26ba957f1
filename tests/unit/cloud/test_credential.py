"""The texts that an operator installs: a policy that widens nothing but the role's own project."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec
import pytest
import yaml

from kuryrctl.cloud import Neutron
from kuryrctl.cloud.credential import NEUTRON, OCTAVIA, access_rules, policy_override
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
from tests.unit.cloud.balancer_bench import Bench


@pytest.mark.parametrize("service", [NEUTRON, OCTAVIA])
def test_every_rule_gives_the_role_its_own_project_only(service: str) -> None:
    rules = yaml.safe_load(policy_override("engine", service))

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
        "create_floatingip:floating_ip_address",
    }
    assert set(yaml.safe_load(policy_override(service=OCTAVIA))) == {"os_load-balancer_api:loadbalancer:put_failover"}


def test_only_ports_of_kuryr_may_be_deleted() -> None:
    assert yaml.safe_load(policy_override())["delete_port"].endswith("field:port:device_owner=~^compute:kuryr)")


@pytest.mark.parametrize("role", ["", "a b", 'x" or @', "rule:admin", "%(x)s", "a)"])
def test_a_role_that_would_change_the_rule_is_refused(role: str) -> None:
    with pytest.raises(Invalid):
        policy_override(role)


def test_access_rules_name_calls_of_the_two_services_only() -> None:
    rules = access_rules()

    assert {(rule.service, rule.path.split("/")[1]) for rule in rules} == {("network", "v2.0"), ("load-balancer", "v2")}
    assert all("**" not in rule.path for rule in rules)
    assert len(set(rules)) == len(rules)


def test_access_rules_allow_every_call_that_the_engine_makes() -> None:
    """Matched as keystonemiddleware does it: `*` is one segment of the decoded path."""
    allowed = [(rule.method, re.compile(re.escape(rule.path).replace(r"\*", "[^/]+"))) for rule in access_rules()]

    made = [(method, f"/v2.0{path}") for method, path in _a_life_of_everything()]
    made += [(method, f"/v2/lbaas{path}") for method, path in _a_life_of_a_service()]

    refused = {
        f"{method} {path}"
        for method, path in made
        if not any(method == one and pattern.fullmatch(unquote(path)) for one, pattern in allowed)
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


def _a_life_of_a_service() -> list[tuple[str, str]]:
    """The calls of Octavia by which everything of a load balancer is made, seen, changed and deleted."""
    bench = Bench()
    tree = bench.made()
    bench.octavia.set_quota("loadbalancer", 1)
    assert bench.create(bench.balancer("second")).error
    listener = bench.listener("u", 443)
    pool = msgspec.structs.replace(listener.pool, monitor=bench.monitor("u", 443))
    steps = [bench.step(Action.CREATE, msgspec.structs.replace(listener, pool=pool))]
    steps += [bench.step(Action.UPDATE, msgspec.structs.replace(bench.balancer("u"), tags=("kuryr:x",)), tree.id)]
    steps += [bench.step(Action.UPDATE, bench.listener("u", 80, 12).pool.members, tree.pools[0].id)]
    renamed = msgspec.structs.replace(bench.listener("u"), name="web")
    steps += [bench.step(Action.UPDATE, renamed, tree.listeners[0].id)]
    steps += [bench.step(Action.UPDATE, msgspec.structs.replace(renamed.pool, name="web"), tree.pools[0].id)]
    for step in steps:
        assert bench.apply(step).error is None
    monitor = bench.octavia.objects("healthmonitors")[0]["id"]
    slower = bench.monitor("u", 443, delay=9)
    steps = [bench.step(action, slower, monitor) for action in (Action.UPDATE, Action.DELETE)]
    steps += [bench.step(Action.DELETE, bench.listener("u"), tree.listeners[0].id)]
    steps += [bench.step(Action.DELETE, bench.balancer("u"), tree.id)]
    assert bench.cloud.observe("c").load_balancers
    with pytest.raises(Invalid):
        bench.cloud.failover(tree, "a case")
    for step in steps:
        assert bench.apply(step).error is None
    return [(method, path.partition("?")[0]) for method, path in bench.octavia.requests]
