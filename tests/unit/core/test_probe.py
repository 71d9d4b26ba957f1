"""What probes are made for a pod, and for which pods none can be."""

from __future__ import annotations

import pytest

from kuryrctl.core.cluster import Pod
from kuryrctl.core.errors import Invalid
from kuryrctl.core.probe import MAX_TARGETS, Protocol, Target, longest_s, probes_from

POD = Pod("shop", "web-0", "u1", node="node1", phase="Running")
TARGET = Target("10.65.0.6", Protocol.TCP, 80)


def test_targets_are_shared_out_in_their_order():
    targets = [Target("10.65.0.6", Protocol.TCP, port) for port in range(1, 2 * MAX_TARGETS + 2)]

    probes = probes_from(POD, targets, run="r1")

    assert [len(probe.targets) for probe in probes] == [MAX_TARGETS, MAX_TARGETS, 1]
    assert [target for probe in probes for target in probe.targets] == targets
    assert len({probe.name for probe in probes}) == 3
    assert {(probe.pod_name, probe.pod_uid, probe.node, probe.run) for probe in probes} == {
        ("shop/web-0", "u1", "node1", "r1")
    }


def test_a_pod_with_the_longest_name_has_a_probe_with_a_name_that_fits():
    (probe,) = probes_from(Pod("shop", "w" * 253, "u1", node="node1"), [TARGET], run="0123abcd")

    assert len(probe.name) <= 253
    assert probe.pod == "w" * 253


@pytest.mark.parametrize(("asked_s", "ttl_s"), [(0.5, 10), (99.6, 100), (9999, 3600)])
def test_the_time_to_live_stays_within_what_the_kind_allows(asked_s, ttl_s):
    (probe,) = probes_from(POD, [TARGET], run="r1", ttl_s=asked_s)

    assert probe.ttl_s == ttl_s


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (Pod("shop", "web-0", "u1"), "no node runs it yet"),
        (Pod("shop", "web-0", "u1", node="n", host_network=True), "it uses the network of its node"),
        (Pod("shop", "web-0", "u1", node="n", phase="Failed"), r"it has ended \(Failed\)"),
    ],
)
def test_a_pod_without_a_namespace_of_its_own_is_refused(pod, why):
    with pytest.raises(Invalid, match=f"pod shop/web-0 cannot be probed from: {why}"):
        probes_from(pod, [TARGET], run="r1")


@pytest.mark.parametrize(("targets", "longest"), [(1, 6.0), (32, 6.0), (33, 12.0)])
def test_how_long_a_node_may_need(targets, longest):
    assert longest_s(targets, 3, 2.0) == longest
