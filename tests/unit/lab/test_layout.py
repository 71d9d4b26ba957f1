"""Places never collide, and never depend on the machine."""

from __future__ import annotations

import ipaddress
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from kuryrctl.lab import layout as places
from kuryrctl.lab.lab import environment
from kuryrctl.lab.layout import NODES, Layout
from kuryrctl.lab.machine import OUR_NETWORKS, OUR_PORTS, Snapshot, differences

LAYOUT = Layout(state=Path("/lab"), cache=Path("/cache"))


def test_an_option_wins_over_the_environment_which_wins_over_the_default():
    environment = {"KURYRCTL_LAB_STATE": "/env/state"}

    assert Layout.of(environment, state="/option").state == Path("/option")
    assert Layout.of(environment).state == Path("/env/state")
    assert Layout.of(environment).cache == places.DEFAULT_CACHE


def test_no_two_networks_overlap_and_none_is_kept_for_documentation():
    networks = [ipaddress.ip_network(cidr) for cidr in OUR_NETWORKS]

    for one, other in combinations(networks, 2):
        assert one.version != other.version or not one.overlaps(other)
    for network in networks:
        assert network.version == 6 or not network.overlaps(ipaddress.ip_network("192.0.2.0/24"))
    assert len(set(OUR_PORTS.values())) == len(OUR_PORTS)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_a_nodes_addresses_lie_in_their_networks_and_its_links_have_legal_names(node):
    assert ipaddress.ip_address(node.address) in ipaddress.ip_network(places.MANAGEMENT_CIDR)
    assert ipaddress.ip_address(node.underlay_address) in ipaddress.ip_network(places.UNDERLAY_CIDR)
    assert all(len(name) <= 15 for name in (node.netns, node.underlay_link, places.MANAGEMENT_BRIDGE))


def test_sockets_below_the_longest_state_folder_fit_into_a_socket_address():
    longest = Layout(state=Path("/" + "s" * (places.LONGEST_STATE_PATH - 1)))

    for path in (longest.containerd_socket("node1"), longest.agent_socket("node1"), longest.ovsdb_socket("node1")):
        assert len(str(path)) < 108


def test_the_environment_puts_the_labs_programs_first_and_once():
    once = environment(LAYOUT, "/usr/bin")
    twice = environment(LAYOUT, once["PATH"])

    assert once["PATH"] == "/cache/bin:/cache/ovs/bin:/usr/bin"
    assert twice["PATH"] == once["PATH"]
    assert once["KUBECONFIG"] == "/lab/etc/admin.kubeconfig"


def test_what_a_lab_left_behind_is_named():
    nothing = Snapshot(*(frozenset[str]() for _ in Snapshot.__struct_fields__))
    before = msgspec.structs.replace(nothing, links=frozenset({"lo"}), sysctls=frozenset({"a=1"}))
    after = msgspec.structs.replace(nothing, links=frozenset({"lo", "br-ex"}))

    assert differences(before, after) == ["links: + br-ex", "sysctls: - a=1"]
    assert differences(before, before) == []
