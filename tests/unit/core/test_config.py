"""The configuration: what is refused, and which path the refusal names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuryrctl.core.config import BadOption, Config, options, parse_config, value_of
from kuryrctl.core.errors import Owner


def test_nothing_given_is_the_default():
    assert parse_config({}) == Config()


def test_there_are_at_most_seventeen_options():
    assert len(options()) <= 17  # docs/decisions/071-seventeen-options.md


def test_sections_keep_the_defaults_of_what_they_do_not_say():
    config = parse_config({"pod_network": {"name": "pods"}, "node": {"bridge": "br-x"}})

    assert config.pod_network.name == "pods"
    assert config.pod_network.cidrs == Config().pod_network.cidrs
    assert value_of(config, "node.bridge") == "br-x"
    assert value_of(config, "pod_network.cidrs") == list(Config().pod_network.cidrs)


@pytest.mark.parametrize(
    ("values", "path", "says"),
    [
        ({"cluster_ids": "x"}, "cluster_ids", 'did you mean "cluster_id"?'),
        ({"zzz": 1}, "zzz", "known: audit_log, "),
        ({"pod_network": {"cidr": []}}, "pod_network.cidr", 'did you mean "cidrs"?'),
        ({3: 4}, "3", "there is no such option"),
        ({"pod_network": 3}, "pod_network", "expected a mapping, got int"),
        ({"pod_network": {"cidrs": ["10.0.0.0/16", "10.1.0.0/33"]}}, "pod_network.cidrs[1]", '"10.1.0.0/33" is not a'),
        ({"pod_network": {"cidrs": ["10.0.0.1/16"]}}, "pod_network.cidrs[0]", "has host bits set"),
        (
            {"pod_network": {"cidrs": ["10.0.0.0/16", "10.1.0.0/16"]}},
            "pod_network.cidrs",
            "at most one IPv4 and one IPv6",
        ),
        ({"pod_network": {"cidrs": []}}, "pod_network.cidrs", "at least one"),
        ({"pod_network": {"cidrs": "10.0.0.0/16"}}, "pod_network.cidrs", "expected array, got str"),
        ({"service_cidrs": ["10.65.1.0/24"]}, "service_cidrs[0]", "overlaps with the pods' 10.65.0.0/22"),
        ({"service_cidrs": ["10.9.0.0/16", "fd00:10:65::/120"]}, "service_cidrs[1]", "overlaps"),
        ({"cluster_id": "Prod"}, "cluster_id", '"Prod" is not a name'),
        ({"cluster_id": "x" * 33}, "cluster_id", "at most 32"),
        ({"cluster_id": "-x"}, "cluster_id", "inner dashes"),
        ({"cluster_id": "x\n"}, "cluster_id", "is not a name"),
        ({"port_batch": 0}, "port_batch", "expected int >= 1"),
        ({"port_batch": "10"}, "port_batch", "expected int, got str"),
        ({"workers": True}, "workers", "expected int, got bool"),
        ({"max_deletes": -1}, "max_deletes", "expected int >= 0"),
        ({"audit_log": "audit.log"}, "audit_log", "not an absolute path"),
        ({"node": {"socket": "agent.sock"}}, "node.socket", "absolute path"),
        ({"node": {"socket": "/" + "x" * 107}}, "node.socket", "at most 107 bytes"),
        ({"node": {"ovsdb": "127.0.0.1:6640"}}, "node.ovsdb", "none of unix:/PATH"),
        ({"node": {"bridge": "br-integration-x"}}, "node.bridge", "1 to 15 bytes"),
    ],
)
def test_a_bad_value_is_refused_by_its_path(values, path, says):
    with pytest.raises(BadOption) as caught:
        parse_config(values)

    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert (caught.value.code, caught.value.owner) == ("CFG-INVALID", Owner.USER)
    assert caught.value.hint


def test_the_lease_is_of_one_cluster():
    one, other = parse_config({"cluster_id": "a"}), parse_config({"cluster_id": "b"})

    assert one.lease.name != other.lease.name
    assert one.lease.duration_s > 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["10.0.0.0/8", "::/0", "/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(Config.__struct_fields__), json_values))
def test_anything_is_either_valid_or_refused(values):
    try:
        parse_config(values)
    except BadOption as error:
        assert error.path.partition(".")[0].partition("[")[0] in {*values, "service_cidrs"}


@pytest.mark.parametrize(
    ("namespace", "wanted", "allowed"),
    [
        ("shop", ("203.0.113.7",), True),
        ("shop", ("203.0.113.17",), False),
        ("shop", ("9f-id", "blue"), True),
        ("mail", ("203.0.113.7",), False),
        ("ops", ("whatever",), True),
        ("mail", ("everybodys",), True),
    ],
)
def test_a_service_may_name_what_its_namespace_is_allowed(namespace: str, wanted: tuple[str, ...], allowed: bool):
    services = parse_config(
        {"services": {"allow": {"shop": ["203.0.113.0/28", "blue"], "ops": ["*"], "*": ["everybodys"]}}}
    ).services
    assert services.allows(namespace, *wanted) is allowed
