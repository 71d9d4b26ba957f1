"""The ovs binder on real namespaces and a real Open vSwitch."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from kuryrctl.core.errors import Conflict, Invalid, Retryable
from kuryrctl.node import changes, namespaces, nodeport
from kuryrctl.node.binder import BindRequest, UnbindRequest, UndoStack
from kuryrctl.node.changes import Change, State, VethEnd
from kuryrctl.node.netlink import Netlink
from kuryrctl.node.ovs import OvsBinder
from kuryrctl.node.ovsdb import Ovsdb
from tests.functional.node.conftest import interface_of
from tests.functional.node.switch import Controller, Switch, eventually, ping

Requests = Callable[[int], BindRequest]


def bind(binder: OvsBinder, request: BindRequest) -> str:
    """The node's end of the bound interface."""
    binder.validate(request)
    with UndoStack() as undo:
        return binder.setup(request, undo).host_link


def unbind(binder: OvsBinder, request: BindRequest) -> bool:
    return binder.teardown(UnbindRequest(request.sandbox, request.interface.name))


def test_a_bound_pod_has_its_addresses_routes_and_mtu(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    request = requests_of(1)

    host_link = bind(binder, request)

    assert host_link == "tap00000001-11"
    assert node.ports() == [host_link]
    ids = node.external_ids(host_link)
    assert ids["iface-id"] == request.interface.port_id
    assert ids["attached-mac"] == request.interface.mac_address
    assert ids["ovn-installed"] == "true"
    with Netlink(request.netns) as pod, Netlink() as host:
        link = pod.link("eth0")
        assert link is not None
        assert (link.mac, link.mtu, link.up) == (request.interface.mac_address, 1442, True)
        assert {a.address for a in pod.addresses(link.index) if not a.link_local} == set(request.interface.addresses)
        defaults = {route.gateway for route in pod.routes() if route.destination in ("0.0.0.0/0", "::/0")}
        assert defaults == {"10.65.0.254", "fd00:10:65::fffe"}
        end = host.link(host_link)
        assert end is not None
        assert (end.up, end.arp, end.mtu) == (True, False, 1442)
        assert host.addresses(end.index) == []
    assert binder.check(request) == []

    assert unbind(binder, request)
    assert not unbind(binder, request)
    assert node.ports() == []
    with Netlink() as host:
        assert host.link(host_link) is None
    with Netlink(request.netns) as pod:
        assert pod.link("eth0") is None


@pytest.mark.usefixtures("node")
def test_a_namespace_that_is_gone_unbinds(controller: Controller, binder: OvsBinder, requests_of: Requests) -> None:
    request = requests_of(1)
    bind(binder, request)
    namespaces.delete(request.netns.rpartition("/")[2])

    assert unbind(binder, request)


def test_a_pod_reaches_another_over_both_families(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    one, other = requests_of(1), requests_of(2)
    bind(binder, one)
    bind(binder, other)

    for address in other.interface.addresses:
        assert ping(one.netns, address.partition("/")[0])

    unbind(binder, one)
    unbind(binder, other)
    assert node.ports() == []


def test_a_repeated_add_finds_everything_as_it_is(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    request = requests_of(1)
    bind(binder, request)
    with Netlink() as host:
        before = host.link("tap00000001-11")

    bind(binder, request)

    with Netlink() as host:
        assert host.link("tap00000001-11") == before
    unbind(binder, request)


def test_a_repeated_add_repairs_what_was_broken(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    request = requests_of(1)
    bind(binder, request)
    with Netlink(request.netns) as pod:
        pod.apply(changes.set_link(pod.index_of("eth0"), mtu=1300))

    bind(binder, request)

    assert binder.check(request) == []
    unbind(binder, request)


def test_a_failed_add_leaves_nothing_and_can_be_repeated(
    node: Switch, controller: Controller, ovsdb: Ovsdb, binder: OvsBinder, requests_of: Requests
) -> None:
    impatient = OvsBinder(ovsdb, install_timeout_s=0.2)
    request = requests_of(1)
    controller.refusing = True

    with pytest.raises(Retryable) as failure:
        bind(impatient, request)

    assert failure.value.code == "NODE-NOT-INSTALLED"
    assert node.ports() == []
    with Netlink() as host, Netlink(request.netns) as pod:
        assert host.link("tap00000001-11") is None
        assert pod.link("eth0") is None

    controller.refusing = False
    bind(binder, request)
    unbind(binder, request)


def test_what_a_killed_agent_left_half_made_is_no_obstacle(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    request = requests_of(1)
    with Netlink() as host, namespaces.opened(request.netns) as inside:
        host.apply(changes.add_veth(VethEnd("tap00000001-11"), VethEnd("eth0", inside)))
        host.apply(changes.note_on_link("tap00000001-11", "kuryr:sandbox-1/eth0"))

    bind(binder, request)
    assert binder.check(request) == []
    unbind(binder, request)

    with Netlink() as host, namespaces.opened(request.netns) as inside:
        host.apply(changes.add_veth(VethEnd("tap00000001-11"), VethEnd("eth0", inside)))
        host.apply(changes.note_on_link("tap00000001-11", "kuryr:sandbox-1/eth0"))
    assert unbind(binder, request)
    with Netlink() as host:
        assert host.link("tap00000001-11") is None


def test_a_port_of_another_pod_is_refused(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    first, second = requests_of(1), requests_of(2)
    thief = msgspec.structs.replace(second, interface=first.interface)
    bind(binder, first)

    with pytest.raises(Conflict) as refusal:
        bind(binder, thief)

    assert refusal.value.code == "NODE-PORT-IN-USE"
    assert "shop/web-1" in refusal.value.message
    assert binder.check(first) == []
    unbind(binder, first)
    bind(binder, thief)
    unbind(binder, thief)


def test_the_next_sandbox_of_a_pod_takes_over_and_the_old_ones_late_del_takes_nothing(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests, pods: Callable[[str], Path]
) -> None:
    old = requests_of(1)
    new = msgspec.structs.replace(old, sandbox="sandbox-next", netns=str(pods("next")))
    bind(binder, old)

    bind(binder, new)
    assert not unbind(binder, old)

    assert binder.check(new) == []
    unbind(binder, new)


BREAKAGES: dict[str, Callable[[Switch, BindRequest], object]] = {
    "address": lambda node, request: inside(
        request, lambda i: changes.delete_address(i, request.interface.addresses[1])
    ),
    "route": lambda node, request: inside(
        request, lambda i: changes.delete_route("0.0.0.0/0", index=i, gateway="10.65.0.254")
    ),
    "mtu": lambda node, request: inside(request, lambda i: changes.set_link(i, mtu=1400)),
    "mac": lambda node, request: inside(request, lambda i: changes.set_link(i, mac="02:00:00:00:00:99")),
    "interface": lambda node, request: inside(request, lambda i: changes.set_link(i, state=State.DOWN)),
    "ovs-port": lambda node, request: node.vsctl("del-port", "br-int", "tap00000001-11"),
    "iface-id": lambda node, request: node.vsctl("remove", "Interface", "tap00000001-11", "external_ids", "iface-id"),
    "data-plane": lambda node, request: node.vsctl(
        "set", "Interface", "tap00000001-11", "external_ids:ovn-installed=false"
    ),
    "host-link": lambda node, request: host_down(),
}


@pytest.mark.parametrize("part", BREAKAGES)
def test_check_finds_what_was_broken_by_hand(
    part: str, node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    request = requests_of(1)
    bind(binder, request)
    assert binder.check(request) == []

    BREAKAGES[part](node, request)
    eventually(lambda: part in {finding.part for finding in binder.check(request)}, f"check finds {part}")

    bind(binder, request)
    assert binder.check(request) == []
    unbind(binder, request)


def test_a_port_created_again_is_served_by_the_same_interface(
    node: Switch, controller: Controller, binder: OvsBinder, ovsdb: Ovsdb, requests_of: Requests
) -> None:
    request = requests_of(1)
    name = bind(binder, request)
    known = ovsdb.attachment(name)
    assert known is not None
    again = msgspec.structs.replace(request.interface, port_id="99999999-aaaa-4bbb-8ccc-dddddddddddd")

    binder.repoint(known, again)

    assert node.external_ids(name)["iface-id"] == again.port_id
    assert binder.check(msgspec.structs.replace(request, interface=again)) == []
    moved = msgspec.structs.replace(again, addresses=("10.65.0.77/24",))
    with pytest.raises(Invalid, match=r"its new port .* has"):
        binder.repoint(known, moved)
    assert unbind(binder, request)


def test_stale_ports_are_those_without_a_device(
    node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests
) -> None:
    kept, lost = requests_of(1), requests_of(2)
    bind(binder, kept)
    bind(binder, lost)
    assert binder.stale() == []
    with Netlink() as host:
        host.delete("tap00000002-11")

    assert [known.sandbox for known in binder.stale()] == [lost.sandbox]

    unbind(binder, kept)
    unbind(binder, lost)


BAD: dict[str, dict[str, object]] = {
    "name": {"name": "a-name-of-16-byte"},
    "no address": {"addresses": ()},
    "address": {"addresses": ("10.65.0.300/24",)},
    "gateway": {"gateways": ("nowhere",)},
    "mac": {"mac_address": "02:00"},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_assignments_are_refused_before_anything_is_touched(
    case: str, node: Switch, binder: OvsBinder, requests_of: Requests
) -> None:
    request = requests_of(1)
    bad = msgspec.structs.replace(request, interface=msgspec.structs.replace(request.interface, **BAD[case]))

    with pytest.raises(Invalid) as refusal:
        bind(binder, bad)

    assert refusal.value.code == "NODE-BIND-INVALID"
    assert node.ports() == []


def test_the_node_ports_mtu_stays_when_pods_come_and_go(
    node: Switch, controller: Controller, binder: OvsBinder, ovsdb: Ovsdb, requests_of: Requests
) -> None:
    """Open vSwitch gives internal ports the least MTU of the bridge's other ports, unless it is told one."""
    wanted = msgspec.structs.replace(interface_of(200), name=nodeport.NAME)
    nodeport.keep(ovsdb, "node1", wanted)

    request = requests_of(1)
    request = msgspec.structs.replace(request, interface=msgspec.structs.replace(request.interface, mtu=1300))
    bind(binder, request)
    after_add = node_port_mtu()
    unbind(binder, request)
    eventually(lambda: node.vsctl("list-ports", "br-int") == nodeport.NAME, "the pod's port is gone")
    time.sleep(0.3)
    after_delete = node_port_mtu()

    assert (after_add, after_delete) == (1442, 1442)
    larger = msgspec.structs.replace(wanted, mtu=1450)
    assert nodeport.keep(ovsdb, "node1", larger)
    assert not nodeport.keep(ovsdb, "node1", larger)
    assert node_port_mtu() == 1450
    node.vsctl("del-port", "br-int", nodeport.NAME)


def node_port_mtu() -> int:
    with Netlink() as host:
        link = host.link(nodeport.NAME)
    assert link is not None
    return link.mtu


def test_ten_pods_at_once(node: Switch, controller: Controller, binder: OvsBinder, requests_of: Requests) -> None:
    requests = [requests_of(number) for number in range(1, 11)]

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda request: bind(binder, request), requests))
        assert [binder.check(request) for request in requests] == [[]] * 10
        list(pool.map(lambda request: unbind(binder, request), requests))

    assert node.ports() == []


def inside(request: BindRequest, change: Callable[[int], Change]) -> None:
    """Apply a change to the pod's eth0."""
    with Netlink(request.netns) as pod:
        pod.apply(change(pod.index_of("eth0")))


def host_down() -> None:
    with Netlink() as host:
        host.apply(changes.set_link_named("tap00000001-11", state=State.DOWN))
