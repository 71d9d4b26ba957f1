"""Binder and agent under a real OVN: northd and ovn-controller say what is installed, and forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from kuryrctl.core.cluster import Route
from kuryrctl.core.errors import Retryable
from kuryrctl.node import nodeport
from kuryrctl.node.binder import BindRequest, UnbindRequest, UndoStack
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Ovsdb
from tests.functional.node.conftest import interface_of
from tests.functional.node.ovn import CHASSIS, Ovn
from tests.functional.node.switch import Switch, eventually, ping

Requests = Callable[[int], BindRequest]


@pytest.fixture(scope="module")
def ovn(switch: Switch) -> Ovn:
    return Ovn(switch)


@pytest.fixture
def bound(node: Switch, ovn: Ovn, binder: OvsBinder, requests_of: Requests) -> Iterator[list[BindRequest]]:
    """Two pods."""
    requests = [requests_of(1), requests_of(2)]
    for request in requests:
        ovn.add_port(request.interface)
        with UndoStack() as undo:
            binder.setup(request, undo)
    yield requests
    for request in requests:
        assert binder.teardown(UnbindRequest(request.sandbox, "eth0"))
        ovn.nb("--if-exists", "lsp-del", request.interface.port_id)


def test_two_pods_reach_each_other_over_both_families(binder: OvsBinder, bound: list[BindRequest]) -> None:
    one, other = bound
    assert [binder.check(request) for request in bound] == [[], []]
    for address in other.interface.addresses:
        assert ping(one.netns, address.partition("/")[0])
    for address in one.interface.addresses:
        assert ping(other.netns, address.partition("/")[0])


def test_a_port_created_again_serves_the_running_pod(
    ovn: Ovn, binder: OvsBinder, ovsdb: Ovsdb, bound: list[BindRequest]
) -> None:
    one, other = bound
    there = other.interface.addresses[0].partition("/")[0]
    assert ping(one.netns, there)
    for number in range(1, 9):
        again = msgspec.structs.replace(one.interface, port_id=f"99999999-aaaa-4bbb-8ccc-{number:012d}")
        known = next(each for each in ovsdb.attachments() if each.sandbox == one.sandbox)
        ovn.nb("lsp-del", known.port_id)
        if number % 2:  # as seen by a person; else as fast as it goes, before OVN has taken the old port away
            eventually(lambda: not ping(one.netns, there, timeout_s=0.2), "the pod lost its network")
        ovn.add_port(again)

        binder.repoint(known, again)

        assert ping(one.netns, there)
        assert binder.check(msgspec.structs.replace(one, interface=again)) == []
    ovn.nb("lsp-del", again.port_id)


def test_a_reused_address_is_reached_at_once(
    ovn: Ovn, binder: OvsBinder, bound: list[BindRequest], requests_of: Requests
) -> None:
    """A peer that knows the address by another MAC would send into the void for up to 31 s."""
    one, other = bound
    address = other.interface.addresses[0].partition("/")[0]
    assert ping(one.netns, address)
    assert binder.teardown(UnbindRequest(other.sandbox, "eth0"))
    ovn.delete_port(other.interface)
    successor = requests_of(3)
    successor = msgspec.structs.replace(
        successor, interface=msgspec.structs.replace(interface_of(3), addresses=other.interface.addresses)
    )
    ovn.add_port(successor.interface)

    with UndoStack() as undo:
        binder.setup(successor, undo)

    assert ping(one.netns, address, timeout_s=1.5)
    assert binder.teardown(UnbindRequest(successor.sandbox, "eth0"))
    ovn.delete_port(successor.interface)
    ovn.add_port(other.interface)
    with UndoStack() as undo:
        binder.setup(other, undo)


def test_a_port_of_another_chassis_is_never_ready(node: Switch, ovn: Ovn, ovsdb: Ovsdb, requests_of: Requests) -> None:
    request = requests_of(4)
    ovn.add_port(request.interface)
    ovn.nb("--wait=sb", "set", "Logical_Switch_Port", request.interface.port_id, "options:requested-chassis=node2")

    with pytest.raises(Retryable, match="not ready within") as failure, UndoStack() as undo:
        OvsBinder(ovsdb, install_timeout_s=1).setup(request, undo)

    assert failure.value.code == "NODE-NOT-INSTALLED"
    assert "ovn-controller has not installed it" in failure.value.message
    assert node.ports() == []
    ovn.delete_port(request.interface)


def test_the_node_reaches_its_pods_by_the_node_port(
    node: Switch, ovn: Ovn, ovsdb: Ovsdb, bound: list[BindRequest]
) -> None:
    wanted = msgspec.structs.replace(
        interface_of(200), name=nodeport.NAME, routes=(Route("10.96.0.0/16", "10.65.0.254"),)
    )
    ovn.add_port(wanted)

    assert nodeport.keep(ovsdb, CHASSIS, wanted)
    assert not nodeport.keep(ovsdb, CHASSIS, wanted)

    here = Path("/proc/thread-self/ns/net")
    for address in bound[0].interface.addresses:
        assert ping(str(here), address.partition("/")[0])
    node.vsctl("del-port", "br-int", nodeport.NAME)
    ovn.delete_port(wanted)
