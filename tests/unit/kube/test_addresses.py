"""Addresses as API servers store them: read as Kubernetes' own sloppy parsers read them."""

from __future__ import annotations

import pytest

from kuryrctl.kube.addresses import addresses, cidr


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("010.000.0.0/08", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("2001:DB8::1/32", "2001:db8::/32"),
        ("00fd::00001/128", "fd::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:010.0.0.1/128", "10.0.0.1/32"),
    ],
)
def test_a_cidr_is_what_the_api_server_takes_it_for(text: str, meant: str) -> None:
    assert cidr(text) == meant


@pytest.mark.parametrize("text", ["", "10.0.0.0", "10.0.0.0/33", "256.0.0.0/8", "10.0.0.0/255.0.0.0", "fe80::1%0/64"])
def test_what_is_no_cidr_stays_as_it_is(text: str) -> None:
    assert cidr(text) == text


def test_what_is_no_address_is_left_out() -> None:
    texts = ["010.0.0.1", "", "None", "10.0.0.256", "fe80::1%eth0", "FD00::0", "::ffff:10.0.0.2", "a.example"]
    assert addresses(texts) == ("10.0.0.1", "fd00::", "10.0.0.2")
