"""The frames that announce an address, byte by byte."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from kuryrctl.node.interfaces import gratuitous_arp, internet_checksum, neighbour_advertisement

MAC = bytes.fromhex("020000000001")


def test_gratuitous_arp_asks_everybody_for_the_senders_own_address() -> None:
    frame = gratuitous_arp(MAC, IPv4Address("10.0.0.2"))
    assert frame.hex(" ", 2) == (
        "ffff ffff ffff 0200 0000 0001 0806 "  # to all, ARP
        "0001 0800 0604 0001 "  # request
        "0200 0000 0001 0a00 0002 0000 0000 0000 0a00 0002"
    )


def test_neighbour_advertisement_overrides_and_has_a_right_checksum() -> None:
    address = IPv6Address("fd00::2")
    frame = neighbour_advertisement(MAC, address)
    assert frame[:14].hex() == "33330000000102000000000186dd"
    assert frame[14:22].hex() == "6000000000203aff"  # 32 bytes of ICMPv6, hop limit 255 (RFC 4861, 7.1.2)
    assert frame[22:54] == address.packed + IPv6Address("ff02::1").packed
    icmp = frame[54:]
    assert icmp[:2].hex() == "8800"
    assert icmp[4:8].hex() == "20000000"
    assert icmp[8:] == address.packed + bytes.fromhex("0201") + MAC
    pseudo = frame[22:54] + len(icmp).to_bytes(4, "big") + (58).to_bytes(4, "big")
    assert internet_checksum(pseudo + icmp) == 0
