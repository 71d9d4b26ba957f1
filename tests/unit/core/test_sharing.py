"""What is read again is in memory once, and only for as long as somebody holds it."""

from __future__ import annotations

import gc
import json
import weakref

from kuryrctl.cloud import wire
from kuryrctl.core.cloud import Network, Port
from kuryrctl.core.sharing import Held, one, one_mapping
from kuryrctl.kube import Kube
from tests.fakes.kube import FakeKube


def test_an_equal_struct_is_the_one_that_is_held_and_a_changed_one_is_not() -> None:
    held: Held[Network] = Held()
    first = held.one("n1", Network("n1", "pods"))

    assert held.one("n1", Network("n1", "pods")) is first
    assert held.one("n2", Network("n2", "pods")).id == "n2"
    changed = Network("n1", "other")
    assert held.one("n1", changed) is changed
    assert held.one("n1", Network("n1", "other")) is changed


def test_nothing_is_held_that_nobody_else_holds() -> None:
    held: Held[Network] = Held()
    last = weakref.ref(held.one("n1", Network("n1", "pods")))
    gc.collect()

    assert last() is None


def test_equal_tuples_and_labels_are_one() -> None:
    first, second = ("a", str(1)), ("a", str(1))

    assert first is not second
    assert one(first) is one(second) == ("a", "1")
    assert one_mapping({"app": "web"}) is one_mapping({"app": "web"}) == {"app": "web"}
    assert one_mapping(None) == one_mapping({}) == {}


def test_ports_share_what_they_have_in_common_and_a_second_list_is_the_first_one() -> None:
    ports = [
        {
            "id": id_,
            "network_id": "the-network",
            "mac_address": mac,
            "fixed_ips": [{"subnet_id": "the-subnet", "ip_address": address}],
            "security_groups": ["group-1", "group-2"],
        }
        for id_, mac, address in (("p1", "02:00:00:00:00:01", "10.0.0.1"), ("p2", "02:00:00:00:00:02", "10.0.0.2"))
    ]
    body = json.dumps({"ports": ports}).encode()
    held: Held[Port] = Held()

    (first, second), _ = wire.decode_list(wire.PORTS, body, held)
    again, _ = wire.decode_list(wire.PORTS, body, held)

    assert first.network_id is second.network_id
    assert first.fixed_ips[0].subnet_id is second.fixed_ips[0].subnet_id
    assert first.security_groups is second.security_groups
    assert [port.fixed_ips[0].ip_address for port in again] == ["10.0.0.1", "10.0.0.2"]
    assert again[0] is first
    assert again[1] is second


def test_a_second_observation_of_the_cluster_adds_only_what_changed() -> None:
    fake = FakeKube()
    fake.add_namespace("shop")
    uids = [fake.add_pod("shop", f"web-{n}", node="node1", uid=f"uid-{n}", labels={"app": "web"}) for n in range(3)]
    kube = Kube(fake)

    first, _ = kube.observe()
    fake.terminate_pod("shop", "web-1")
    second, _ = kube.observe()

    assert [second.pods[uid] is first.pods[uid] for uid in uids] == [True, False, True]
    assert second.pods[uids[1]].deleting
    assert second.pods[uids[0]].labels is second.pods[uids[2]].labels
