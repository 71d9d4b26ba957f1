"""Details of the desired state that no plan shows: the Services' subnet, what a node is told, what is adopted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryrctl.core.assign import interface
from kuryrctl.core.cloud import CloudState, FixedIP, Network, Port, Router, Subnet
from kuryrctl.core.cluster import Route
from kuryrctl.core.config import Config, PodNetwork
from kuryrctl.core.desired import service_range
from kuryrctl.core.errors import Invalid
from kuryrctl.core.index import find_own


@pytest.mark.parametrize(
    ("cidrs", "version", "whole", "gateway", "pool"),
    [
        (("10.96.0.0/16",), 4, "10.96.0.0/15", "10.97.255.254", ("10.97.0.1", "10.97.255.253")),
        (("10.97.0.0/16",), 4, "10.96.0.0/15", "10.96.255.254", ("10.96.0.1", "10.96.255.253")),
        (("10.96.0.0/24", "10.96.1.0/24"), 4, "10.96.0.0/22", "10.96.3.254", ("10.96.2.1", "10.96.3.253")),
        (("fd00:10:96::/112",), 6, "fd00:10:96::/111", "fd00:10:96::1:fffe", ("fd00:10:96::1:1", "fd00:10:96::1:fffd")),
    ],
)
def test_services_fill_one_half(
    cidrs: tuple[str, ...], version: int, whole: str, gateway: str, pool: tuple[str, str]
) -> None:
    made = service_range(cidrs, version)
    assert made is not None
    assert (made.cidr, made.gateway, made.pool) == (whole, gateway, pool)


def test_no_services_of_an_ip_version_need_no_subnet() -> None:
    assert service_range(("10.96.0.0/16",), 6) is None


def test_ranges_that_leave_no_room_are_refused() -> None:
    with pytest.raises(Invalid):
        service_range(("10.0.0.0/8", "192.168.0.0/16"), 4)


@given(st.integers(0, 2**32 - 1), st.integers(8, 28))
def test_neutron_never_hands_out_an_address_of_the_services(address: int, prefix: int) -> None:
    services = ipaddress.ip_network((address, prefix), strict=False)
    made = service_range((str(services),), 4)
    assert made is not None
    assert services.subnet_of(ipaddress.ip_network(made.cidr))  # type: ignore[arg-type]  # both are IPv4
    for outside in (made.gateway, *made.pool):
        assert ipaddress.ip_address(outside) in ipaddress.ip_network(made.cidr)
        assert ipaddress.ip_address(outside) not in services
    first, last = (ipaddress.ip_address(end) for end in made.pool)
    assert not first <= ipaddress.ip_address(made.gateway) <= last  # type: ignore[operator]  # both are IPv4


SUBNETS = {
    "four": Subnet("four", "net", "10.65.0.0/22", 4, gateway_ip="10.65.0.1"),
    "six": Subnet("six", "net", "fd00:10:65::/64", 6, gateway_ip=None),
}
PORT = Port("p", "net", "02:00:00:00:00:01", fixed_ips=(FixedIP("six", "fd00:10:65::5"), FixedIP("four", "10.65.0.5")))


def test_an_interface_has_prefixes_gateways_routes_and_the_mtu() -> None:
    made = interface(PORT, SUBNETS, Network("net", mtu=1442))
    assert made.addresses == ("10.65.0.5/22", "fd00:10:65::5/64")
    assert made.gateways == ("10.65.0.1",)
    assert made.routes == (Route("0.0.0.0/0", "10.65.0.1"),)  # no IPv6 gateway, so no IPv6 route
    assert made.mtu == 1442


def test_a_node_routes_the_services_only() -> None:
    made = interface(PORT, SUBNETS, Network("net"), "kuryr-node", ("10.96.0.0/16", "fd00:10:96::/112"))
    assert made.routes == (Route("10.96.0.0/16", "10.65.0.1"),)


TENANT = Network("net", "tenant", "p")


@pytest.mark.parametrize(
    ("cloud", "config", "code"),
    [
        (CloudState(), Config(external_network="public"), "CFG-NOT-FOUND"),
        (CloudState(), Config(pod_network=PodNetwork("tenant")), "CFG-NOT-FOUND"),
        (CloudState(networks={"net": TENANT}), Config(pod_network=PodNetwork("tenant")), "CFG-NOT-FOUND"),
        (
            CloudState(networks={"net": TENANT, "two": Network("two", "tenant", "p")}),
            Config(pod_network=PodNetwork("tenant")),
            "CFG-NOT-FOUND",
        ),
        (
            CloudState(
                networks={"net": TENANT},
                subnets={s: Subnet(s, "net", f"10.{n}.0.0/24", 4) for n, s in enumerate(("a", "b"))},
            ),
            Config(pod_network=PodNetwork("tenant")),
            "CFG-AMBIGUOUS",
        ),
        (CloudState(routers={}), Config(router="edge"), "CFG-NOT-FOUND"),
    ],
)
def test_what_the_configuration_names_must_be_there_and_be_one(cloud: CloudState, config: Config, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        find_own(cloud, config)
    assert refused.value.code == code


def test_an_id_wins_over_a_name() -> None:
    routers = {"edge": Router("edge", "one"), "other": Router("other", "edge")}
    own = find_own(CloudState(routers=routers), Config(router="edge", external_network=None))
    assert own.ids == {"router/pods": "edge"}
    assert own.adopted == {"router/pods"}
