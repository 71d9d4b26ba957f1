"""An observation says what it does not know: a plan must not delete because of a list that was cut short."""

from __future__ import annotations

from kuryrctl.core.cluster import Interface, KuryrPort
from kuryrctl.core.errors import Invalid, NotFound, Unavailable
from kuryrctl.core.kinds import Kind
from kuryrctl.kube import Gone, Kube, Mutation
from kuryrctl.kube.api import Api
from kuryrctl.kube.resources import OBSERVED
from kuryrctl.kube.transport import MERGE_PATCH
from tests.contract.kube.world import refusal
from tests.fakes.kube import FakeKube


def many_pods(count: int = 5) -> FakeKube:
    fake = FakeKube()
    for number in range(count):
        fake.add_pod("default", f"web-{number}", node="node1", ips=("10.65.0.9", "fd00::9"), labels={"app": "web"})
    return fake


def test_pods_carry_what_the_engine_needs() -> None:
    fake = many_pods(1)
    uid = fake.add_pod("kube-system", "proxy", node="node1", host_network=True, phase="Running")
    fake.terminate_pod("default", "web-0")
    fake.add_node("node1", "203.0.113.7", "2001:db8::7")

    state, _ = Kube(fake).observe()

    assert state.pods[uid].host_network
    assert not state.pods[uid].wants_port
    (web,) = [pod for pod in state.pods.values() if pod.name == "web-0"]
    assert (web.node, web.ips, web.labels, web.deleting) == ("node1", ("10.65.0.9", "fd00::9"), {"app": "web"}, True)
    assert web.created_s > 1.7e9
    assert state.nodes["node1"].addresses == ("203.0.113.7", "2001:db8::7")
    assert state.nodes["node1"].ready


def test_lists_are_consistent_reads_and_one_call_for_each_page() -> None:
    fake = many_pods(5)

    Kube(fake, page_size=2).observe()

    assert all("resourceVersion" not in path for _, path in fake.requests)
    assert sum("/pods?" in path for _, path in fake.requests) == 3
    assert len(fake.requests) == 3 + (len(OBSERVED) - 1)


def test_a_list_that_fails_half_way_is_unknown_and_its_error_is_told() -> None:
    fake = many_pods(5)
    fake.fail(path="continue=", times=1)

    state, errors = Kube(fake, page_size=2).observe()

    assert state.complete == set(OBSERVED) - {Kind.POD}
    assert state.pods == {}
    assert errors.keys() == {Kind.POD}
    assert isinstance(errors[Kind.POD], Unavailable)


def test_a_snapshot_that_is_compacted_between_two_pages_is_listed_from_its_beginning() -> None:
    fake = many_pods(5)
    fake.fail(410, path="continue=", times=2)

    listed = Kube(fake, page_size=2).list_kind(Kind.POD)

    assert len(listed.items) == 5


def test_a_snapshot_that_is_compacted_again_and_again_is_an_error() -> None:
    fake = many_pods(5)
    fake.fail(410, path="continue=", times=100)

    assert isinstance(refusal(lambda: Kube(fake, page_size=2).list_kind(Kind.POD)), Gone)


def test_a_kind_that_is_not_installed_says_what_to_do() -> None:
    fake = FakeKube()
    fake.fail(404, path="kuryrports", times=1)

    state, errors = Kube(fake).observe()

    assert Kind.KURYR_PORT not in state.complete
    assert isinstance(errors[Kind.KURYR_PORT], NotFound)
    assert "cluster init" in errors[Kind.KURYR_PORT].hint


def test_without_its_namespaces_a_cluster_is_not_identified() -> None:
    fake = FakeKube()
    fake.fail(503, path="/namespaces?", times=1)

    state, _ = Kube(fake).observe()

    assert state.kube_system_uid == ""


def test_every_mutation_is_told_with_its_request_id_also_a_refused_one() -> None:
    fake = FakeKube()
    told: list[Mutation] = []
    kube = Kube(fake, on_mutation=told.append)
    interface = Interface("eth0", "1" * 32, "02:00:00:00:00:01", ("10.65.0.5/22",))
    port = KuryrPort("default", "web-0", fake.add_pod("default", "web-0"), "node1", (interface,))

    kube.write_kuryr_port(port)
    error = refusal(lambda: kube.write_kuryr_port(port))
    kube.observe()

    assert [(mutation.method, mutation.status) for mutation in told] == [("POST", 201), ("POST", 409)]
    assert told[1].request_id == error.request_id != ""


def test_an_object_that_is_not_understood_makes_its_kind_unknown() -> None:
    fake = many_pods(1)
    body = {"spec": "none"}
    Api(fake).call("PATCH", "/api/v1/namespaces/default/pods/web-0", "break it", body=body, content_type=MERGE_PATCH)

    state, errors = Kube(fake).observe()

    assert Kind.POD not in state.complete
    assert isinstance(errors[Kind.POD], Invalid)
    assert errors[Kind.POD].code == "KUBE-DECODE"
