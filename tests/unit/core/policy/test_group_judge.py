"""The judge of security groups, from Neutron's documentation: what ports pass, by their groups' rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kuryrctl.core import names
from kuryrctl.core.cloud import AddressPair, CloudState, FixedIP, Port, SecurityGroup, SecurityGroupRule
from kuryrctl.core.policy.flows import End, EndKind, Flow, Front, LinkKind, Reason
from kuryrctl.core.policy.groups import GroupJudge, describe
from kuryrctl.core.policy.model import Direction

INGRESS, EGRESS = Direction
POD = End(EndKind.POD, "shop/web", "uid", ("10.65.0.11", "fd00:10:65::b"), "n1")
VM = End(EndKind.PORT, "vm", "vm", ("10.65.0.200",))
OUTSIDE = End(EndKind.ADDRESS, "203.0.113.5", addresses=("203.0.113.5",))


def _port(id_: str, *addresses: str, groups: tuple[str, ...] = (), **fields: Any) -> Port:
    fixed = tuple(FixedIP("subnet", address) for address in addresses)
    return Port(id_, "net", "02:00:00:00:00:01", name=id_, fixed_ips=fixed, security_groups=groups, **fields)


def _rule(**fields: Any) -> SecurityGroupRule:
    return SecurityGroupRule(
        **({"id": "r", "security_group_id": "g", "direction": "ingress", "ethertype": "IPv4"} | fields)
    )


def _cloud(*rules: SecurityGroupRule, pod: dict[str, Any] | None = None) -> CloudState:
    tags = names.tags("kuryr", "pod", "uid")
    mine = _port("web", *POD.addresses, groups=("g",), device_id="uid", tags=tags)
    others = [
        _port("vm", "10.65.0.200", groups=("vms",)),
        _port("vrrp", "10.65.0.201", groups=("vms",), allowed_address_pairs=(AddressPair("10.65.0.202"),)),
        _port("router", "10.65.0.208", groups=("nets",), allowed_address_pairs=(AddressPair("10.9.0.0/16"),)),
    ]
    ports = [msgspec.structs.replace(mine, **(pod or {})), *others]
    groups = [SecurityGroup("g", "ours", security_group_rules=rules), SecurityGroup("vms"), SecurityGroup("nets")]
    return CloudState(ports={port.id: port for port in ports}, security_groups={each.id: each for each in groups})


def _at(text: str) -> End:
    return End(EndKind.ADDRESS, text, addresses=(text,))


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        ({}, ["203.0.113.5 1/TCP", "203.0.113.5 9/SCTP", "203.0.113.0/24 5/UDP"], ["2001:db8::5 1/TCP"]),
        ({"ethertype": "IPv6"}, ["2001:db8::5 1/TCP"], ["203.0.113.5 1/TCP"]),
        ({"direction": "egress"}, [], ["203.0.113.5 1/TCP"]),
        ({"protocol": "tcp"}, ["203.0.113.5 65535/TCP"], ["203.0.113.5 1/UDP", "203.0.113.5 1/SCTP"]),
        ({"protocol": "17"}, ["203.0.113.5 1/UDP"], ["203.0.113.5 1/TCP"]),
        ({"protocol": "any"}, ["203.0.113.5 1/UDP"], []),
        ({"protocol": "icmp"}, [], ["203.0.113.5 1/TCP"]),
        (
            {"protocol": "sctp", "port_range_min": 80, "port_range_max": 90},
            ["203.0.113.5 80/SCTP", "203.0.113.5 90/SCTP"],
            ["203.0.113.5 79/SCTP", "203.0.113.5 91/SCTP", "203.0.113.5 80/TCP"],
        ),
        ({"remote_ip_prefix": "203.0.113.4/31"}, ["203.0.113.5 1/TCP"], ["203.0.113.6 1/TCP", "203.0.113.4/30 1/TCP"]),
        ({"remote_group_id": "vms"}, ["10.65.0.200 1/TCP", "10.65.0.202 1/TCP"], ["10.65.0.203 1/TCP"]),
        ({"remote_group_id": "vms"}, ["10.65.0.200/31 1/TCP"], ["10.65.0.200/29 1/TCP"]),
        ({"remote_group_id": "nets"}, ["10.9.1.1 1/TCP", "10.9.4.0/24 1/TCP"], ["10.8.1.1 1/TCP"]),
        ({"remote_group_id": "gone"}, [], ["10.65.0.200 1/TCP"]),
        ({"remote_address_group_id": "a"}, [], ["203.0.113.5 1/TCP"]),
    ],
)
def test_rules(rule: dict[str, Any], allowed: list[str], refused: list[str]) -> None:
    """What one rule on a pod's port lets in: ``FROM PORT/PROTOCOL``."""
    judge = GroupJudge(_cloud(_rule(**rule)))
    for text, expected in [*((each, True) for each in allowed), *((each, False) for each in refused)]:
        source, _, rest = text.partition(" ")
        port, protocol = rest.split("/")
        flow = Flow(_at(source), POD, 6 if ":" in source else 4, protocol, int(port))
        assert judge.side(INGRESS, flow).allowed is expected, text


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ({}, Reason.ISOLATED),
        ({"security_groups": ()}, Reason.NO_GROUPS),
        ({"security_groups": ("gone",)}, Reason.ISOLATED),
        ({"port_security_enabled": False, "security_groups": ()}, Reason.PORT_SECURITY),
        ({"security_groups": ("vms", "g")}, Reason.ISOLATED),
    ],
)
def test_ports_without_a_rule(pod: dict[str, Any], reason: Reason) -> None:
    """No rule: nothing; no group: nothing; no port security: everything."""
    (side,) = GroupJudge(_cloud(pod=pod)).verdict(Flow(VM, POD, 4, "TCP", 80)).side(INGRESS)
    assert side.reason is reason


def test_groups_add_up_to_a_range() -> None:
    """Two prefixes together cover a range that neither does."""
    halves = [_rule(id=half, remote_ip_prefix=half) for half in ("203.0.113.0/25", "203.0.113.128/25")]
    flow = Flow(_at("203.0.113.0/24"), POD, 4, "TCP", 80)
    assert GroupJudge(_cloud(*halves)).verdict(flow).allowed
    assert not GroupJudge(_cloud(halves[0])).verdict(flow).allowed


def test_the_chain_names_port_groups_and_rule() -> None:
    """What the cloud holds, by name and id."""
    (side,) = GroupJudge(_cloud(_rule(protocol="tcp"))).verdict(Flow(OUTSIDE, POD, 4, "TCP", 80)).side(INGRESS)
    assert [(link.kind, link.name, link.id) for link in side.chain] == [
        (LinkKind.PORT, "web", "web"),
        (LinkKind.GROUP, "ours", "g"),
        (LinkKind.GROUP, "ours", "g"),
        (LinkKind.GROUP_RULE, "ingress IPv4 tcp from anywhere", "r"),
    ]


def test_a_pod_without_a_port_passes_nothing_and_others_everything() -> None:
    """A pod's port must be there; an address outside has none."""
    verdict = GroupJudge(CloudState()).verdict(Flow(OUTSIDE, POD, 4, "TCP", 80))
    assert [side.reason for side in verdict.sides] == [Reason.OUTSIDE, Reason.NO_PORT]


def test_the_port_is_the_pods_own() -> None:
    """Another network's port with the same address does not count; nor does another pod's old one."""
    cloud = _cloud(pod={"security_groups": ()})
    elsewhere = _port("a", *POD.addresses, groups=("g",), port_security_enabled=False)
    judge = GroupJudge(msgspec.structs.replace(cloud, ports={"a": elsewhere, **cloud.ports}))
    found = judge.port_of(POD, 4)
    assert found is not None and found.id == "web"


def test_itself_needs_no_rule() -> None:
    """What a pod says to its own address does not leave it."""
    assert GroupJudge(_cloud()).verdict(Flow(POD, POD, 4, "TCP", 80)).allowed


def _to_service(*rules: SecurityGroupRule, member: End = VM) -> bool:
    service = End(EndKind.SERVICE, "shop/db", "svc", ("10.96.0.10",), fronts=(Front(4, "TCP", 80, ((member, 8080),)),))
    verdict = GroupJudge(_cloud(*rules)).verdict(Flow(POD, service, 4, "TCP", 80))
    return all(side.allowed for side in verdict.sides if side.end == POD)


def _out(prefix: str, port: int, id_: str = "r", **fields: Any) -> SecurityGroupRule:
    ports = {"protocol": "tcp", "port_range_min": port, "port_range_max": port}
    return _rule(id=id_, direction="egress", remote_ip_prefix=prefix, **(ports | fields))


def test_a_service_needs_its_vip_and_its_members() -> None:
    """OVN checks the first packet against the VIP, the others against the member (measured: LAB)."""
    vip, member = _out("10.96.0.10/32", 80), _out("10.65.0.200/32", 8080, "s")
    assert _to_service(vip, member)
    assert not _to_service(vip)
    assert not _to_service(member)
    assert not _to_service(vip, _out("10.65.0.200/32", 80, "s"))


def test_a_member_meets_itself_as_the_vip() -> None:
    """What comes back has the VIP as its source: only a rule for that lets it in."""
    out = _out("10.96.0.10/32", 80), _out("10.65.0.11/32", 8080, "s")
    assert _to_service(*out, _rule(id="t", remote_ip_prefix="10.96.0.10/32"), member=POD)
    assert not _to_service(*out, _rule(id="t", remote_ip_prefix="10.65.0.11/32"), member=POD)


def test_rules_are_described() -> None:
    """As people read them."""
    rule = _rule(protocol="udp", port_range_min=1, port_range_max=9, remote_group_id="g")
    assert describe(rule) == "ingress IPv4 udp 1-9 from group g"
    assert describe(_out("10.0.0.0/8", 7)) == "egress IPv4 tcp 7 to 10.0.0.0/8"
