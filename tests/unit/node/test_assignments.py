"""What the engine assigned, told by a watch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kuryrctl.core.cluster import Interface, KuryrNode, KuryrPort
from kuryrctl.core.errors import Retryable, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Changed, Down, Listed
from kuryrctl.node.assignments import Assignments

ETH0 = (Interface("eth0", "p1", "02:00:00:00:00:01", ("10.0.0.2/24",)),)


def port(name: str, uid: str, node: str = "node1", interfaces: tuple[Interface, ...] = ETH0) -> KuryrPort:
    return KuryrPort("shop", name, uid, node, interfaces, uid=f"kp-{uid}")


@pytest.fixture
def assignments() -> Assignments:
    return Assignments("node1")


def test_synced_means_both_kinds_were_listed(assignments: Assignments) -> None:
    assert not assignments.synced
    assignments.put(Listed(Kind.KURYR_PORT, (), "1"))
    assert not assignments.synced
    assignments.put(Listed(Kind.KURYR_NODE, (KuryrNode("node1"),), "1"))
    assert assignments.synced
    assert assignments.kuryr_node == KuryrNode("node1")


def test_a_lost_watch_is_a_trouble_and_not_a_loss(assignments: Assignments) -> None:
    assignments.put(Listed(Kind.KURYR_PORT, (port("a", "u1"),), "1"))
    assignments.put(Down(Kind.KURYR_PORT, Unavailable("refused", code="KUBE-UNREACHABLE")))
    assert assignments.trouble == "refused"
    assert assignments.of("shop/a") == port("a", "u1")
    assignments.put(Listed(Kind.KURYR_PORT, (port("b", "u2"),), "2"))
    assert assignments.trouble == ""
    assert assignments.of("shop/a") is None


def test_a_list_names_the_pods_it_may_have_changed(assignments: Assignments) -> None:
    assert assignments.put(Listed(Kind.KURYR_PORT, (port("a", "u1"),), "1")) == ["shop/a"]
    assert assignments.put(Listed(Kind.KURYR_PORT, (port("b", "u2"),), "2")) == ["shop/a", "shop/b"]


def test_deleted_and_moved_ports_are_gone(assignments: Assignments) -> None:
    assignments.put(Changed(Kind.KURYR_PORT, port("a", "u1")))
    assignments.put(Changed(Kind.KURYR_PORT, port("a", "u1", node="node2")))
    assert assignments.of("shop/a") is None
    assignments.put(Changed(Kind.KURYR_PORT, port("b", "u2")))
    assignments.put(Changed(Kind.KURYR_PORT, port("b", "u2"), deleted=True))
    assert assignments.all() == []


def test_waiting_ends_with_the_port_of_that_uid(assignments: Assignments) -> None:
    assignments.put(Changed(Kind.KURYR_PORT, port("a", "old")))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(assignments.wait, "shop/a", "new", 5.0, lambda: False)
        assignments.put(Changed(Kind.KURYR_PORT, port("a", "new", interfaces=())))
        assert not waiting.done()
        assignments.put(Changed(Kind.KURYR_PORT, port("a", "new")))
        assert waiting.result(60).pod_uid == "new"


def test_waiting_in_vain_says_what_is_there(assignments: Assignments) -> None:
    assignments.put(Changed(Kind.KURYR_PORT, port("a", "old")))
    with pytest.raises(Retryable, match="of an earlier pod") as error:
        assignments.wait("shop/a", "new", 0.01, lambda: False)
    assert error.value.code == "NODE-NO-ASSIGNMENT"


def test_nobody_waits_for_a_caller_that_is_gone(assignments: Assignments) -> None:
    gone = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(assignments.wait, "shop/a", "u", 60.0, gone.is_set)
        gone.set()
        with pytest.raises(Retryable):
            waiting.result(60)
