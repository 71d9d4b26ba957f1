"""The shape of the lab's network, and how a switch's death is seen."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest

from kuryrctl.lab import layout as places
from kuryrctl.lab import network, openstack
from kuryrctl.lab.layout import NODES, Layout
from kuryrctl.lab.network import chassis
from kuryrctl.lab.stages import checked


@pytest.fixture
def layout(tmp_path):
    made = Layout(state=tmp_path / "state", cache=tmp_path / "cache")
    made.log.mkdir(parents=True)
    return made


def test_cloud_and_network_are_one_graph_without_a_need_that_nobody_fulfils():
    stages = checked([*network.stages(), *openstack.stages()])

    names = [stage.name for stage in stages]
    assert {need for stage in stages for need in stage.needs} <= set(names)
    assert names.index("openstack-state") < names.index("ovn") < names.index("neutron") < names.index("openstack")


def test_every_component_has_a_name_of_its_own():
    names = [component.name for component in (*network.components(), *openstack.components())]

    assert len(names) == len(set(names))
    assert {"mariadb", "keystone", "neutron", "octavia", "ovn-northd"} <= set(names)
    assert {daemon for each in chassis.ALL for daemon in each.daemons} <= set(names)


def test_the_chassis_differ_in_everything_and_meet_in_one_network():
    for field in ("name", "address", "mac", "netns", "daemons"):
        values = [getattr(each, field) for each in chassis.ALL]
        assert len(set(values)) == len(chassis.ALL)
    underlay = ipaddress.ip_network(places.UNDERLAY_CIDR)
    assert all(ipaddress.ip_address(each.address) in underlay for each in chassis.ALL)
    assert all(int(each.mac[:2], 16) & 3 == 2 for each in chassis.ALL), "locally administered, not a group"


def test_only_the_gateway_has_the_external_bridge():
    assert [each.name for each in chassis.ALL if places.EXTERNAL_BRIDGE in each.bridges] == ["root"]


def test_the_networks_of_the_lab_do_not_overlap():
    cidrs = [
        places.MANAGEMENT_CIDR,
        places.UNDERLAY_CIDR,
        places.EXTERNAL_CIDR,
        *places.POD_CIDRS,
        *places.SERVICE_CIDRS,
    ]
    for family in (4, 6):
        networks = sorted(n for n in map(ipaddress.ip_network, cidrs) if n.version == family)
        assert not any(a.overlaps(b) for a, b in pairwise(networks))


def test_a_quiet_switch_had_no_death(layout):
    layout.log_file("ovs-vswitchd-root").write_text("2026|00001|bridge|WARN|could not open network device under0\n")

    assert network.chassis_deaths(layout) == []


@pytest.mark.parametrize("daemon", ["ovs-vswitchd-node1", "ovn-controller-root"])
@pytest.mark.parametrize("file", ["{}.log", "{}.log.1"])
def test_a_death_is_found_in_this_run_and_in_the_one_before(layout, daemon, file):
    line = "2026|00002|daemon_unix(monitor)|ERR|1 crashes: pid 12846 died, killed (Aborted), core dumped, restarting"
    (layout.log / file.format(daemon)).write_text(f"something else\n{line}\n")

    assert network.chassis_deaths(layout) == [f"{daemon}: {line}"]


def test_the_vm_lives_on_the_second_node():
    from kuryrctl.lab.network import vm

    assert vm.NODE is NODES[1]
    assert len(vm.LINK) <= 15
