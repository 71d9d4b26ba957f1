"""Calls in, results and errors out, for each version of the specification."""

from __future__ import annotations

import pytest

from kuryrctl.core.cluster import Interface, Route
from kuryrctl.core.errors import Conflict, Invalid, KuryrError, NotFound, Retryable
from kuryrctl.node.binder import BindRequest, Bound
from kuryrctl.node.cni_types import CniError, Code, Verb, code_of, error_object, parse_call, result

CONFIG = '{"cniVersion":"1.1.0","name":"kuryr","type":"kuryr-cni","socket":"/s","unknown":{"a":1}}'
ENVIRONMENT = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "abc",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u=1;broken",
}


def test_a_call_of_a_kubelet() -> None:
    call = parse_call(ENVIRONMENT, CONFIG)

    assert (call.verb, call.pod, call.pod_uid) == (Verb.ADD, "shop/web-0", "u=1")
    assert (call.sandbox, call.ifname, call.netns) == ("abc", "eth0", "/run/netns/x")
    assert call.config.name == "kuryr"


def test_valid_attachments_of_gc() -> None:
    config = CONFIG[:-1] + ',"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]}'
    call = parse_call({"CNI_COMMAND": "GC"}, config)
    assert [(each.container_id, each.ifname) for each in call.config.valid_attachments or ()] == [("a", "eth0")]
    assert parse_call({"CNI_COMMAND": "GC"}, CONFIG).config.valid_attachments is None


@pytest.mark.parametrize(
    ("change", "config", "code"),
    [
        ({}, "{", Code.DECODING_FAILURE),
        ({}, '{"cniVersion":1}', Code.DECODING_FAILURE),
        ({}, '{"cniVersion":"0.2.0","name":"k"}', Code.INCOMPATIBLE_VERSION),
        ({}, '{"name":"k"}', Code.INCOMPATIBLE_VERSION),
        ({}, '{"cniVersion":"1.1.0"}', Code.INVALID_CONFIG),
        ({"CNI_COMMAND": "CHECK"}, '{"cniVersion":"0.3.1","name":"k"}', Code.INCOMPATIBLE_VERSION),
        ({"CNI_COMMAND": "GC"}, '{"cniVersion":"1.0.0","name":"k"}', Code.INCOMPATIBLE_VERSION),
        ({"CNI_COMMAND": "STATUS"}, '{"cniVersion":"1.0.0","name":"k"}', Code.INCOMPATIBLE_VERSION),
        ({"CNI_COMMAND": "add"}, CONFIG, Code.INVALID_ENVIRONMENT),
        ({"CNI_CONTAINERID": "../x"}, CONFIG, Code.INVALID_ENVIRONMENT),
        ({"CNI_IFNAME": "a-name-of-16-byte"}, CONFIG, Code.INVALID_ENVIRONMENT),
        ({"CNI_IFNAME": ".."}, CONFIG, Code.INVALID_ENVIRONMENT),
    ],
)
def test_calls_that_are_refused(change: dict[str, str], config: str, code: Code) -> None:
    with pytest.raises(CniError) as refusal:
        parse_call(ENVIRONMENT | change, config)
    assert refusal.value.cni_code is code


def bound(*addresses: str, gateways: tuple[str, ...]) -> Bound:
    interface = Interface(
        name="eth0",
        port_id="11111111-2222",
        mac_address="02:00:00:00:00:01",
        addresses=addresses,
        gateways=gateways,
        routes=(Route("10.96.0.0/16", "10.0.0.9"),),
        mtu=1442,
    )
    request = BindRequest(interface, "shop/web-0", "u1", "abc", "/run/netns/x")
    return Bound(request, "tap11111111-22", "2026-01-01T00:00:00Z")


def test_a_result_of_the_newest_version() -> None:
    made = result(bound("10.0.0.2/24", "fd00::2/64", gateways=("10.0.0.1",)), "1.1.0")

    assert made == {
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "tap11111111-22", "mtu": 1442},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/x", "mtu": 1442},
        ],
        "ips": [
            {"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": 1},
            {"address": "fd00::2/64", "interface": 1},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}, {"dst": "10.96.0.0/16", "gw": "10.0.0.9"}],
        "dns": {},
    }


@pytest.mark.parametrize(("version", "families"), [("0.3.1", ["4"]), ("0.4.0", ["4"]), ("1.0.0", [None])])
def test_older_results_have_a_family_and_no_mtu(version: str, families: list[str | None]) -> None:
    made = result(bound("10.0.0.2/24", gateways=()), version)
    assert [ip.get("version") for ip in made["ips"]] == families
    assert all("mtu" not in each for each in made["interfaces"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Retryable("x", code="NODE-NO-ASSIGNMENT"), Code.TRY_AGAIN_LATER),
        (Invalid("x", code="NODE-BIND-INVALID"), Code.INVALID_CONFIG),
        (NotFound("x", code="NODE-NETNS-GONE"), Code.INVALID_ENVIRONMENT),
        (Conflict("x", code="NODE-PORT-IN-USE"), Code.BIND_FAILED),
        (CniError(Code.PLUGIN_NOT_AVAILABLE, "x"), Code.PLUGIN_NOT_AVAILABLE),
    ],
)
def test_every_error_has_a_code_of_the_specification(error: KuryrError, code: Code) -> None:
    assert code_of(error) is code


def test_an_error_object_answers_an_unknown_version_in_the_newest() -> None:
    error = Conflict("port 1 is in use", code="NODE-PORT-IN-USE", hint="look")
    assert error_object(error, "9.9.9") == {
        "cniVersion": "1.1.0",
        "code": 100,
        "msg": "port 1 is in use",
        "details": "kuryrctl, NODE-PORT-IN-USE; next: look",
    }
