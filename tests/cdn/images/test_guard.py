"""Which addresses pictures are fetched from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.cdn.images.guard import Guard, carried, is_public

PRIVATE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255",
]  # fmt: skip
PRIVATE_V6 = [
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "64:ff9b:1::8.8.8.8", "2001:2::1", "2001:10::1",
    "2001:20::1", "2606:4700::1%1", "4000::1", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
    "192.167.255.255", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::200e", "2620:fe::fe",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE + PRIVATE_V6)
def test_an_address_that_is_not_public_is_not_admitted(address: str) -> None:
    assert not Guard().admits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_admitted(address: str) -> None:
    assert Guard().admits(address)


def clothes(inner: IPv4Address) -> dict[str, IPv6Address]:
    """One IPv4 address in every way in which IPv6 carries it to a machine, with all else about it public."""
    number, public = int(inner), int(IPv4Address("8.8.8.8"))
    return {
        "mapped": IPv6Address(0xFFFF << 32 | number),
        "NAT64": IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        "6to4": IPv6Address(0x2002 << 112 | number << 80 | 1),
        "Teredo, as its server": IPv6Address(0x20010000 << 96 | number << 64 | public ^ 0xFFFFFFFF),
        "Teredo, as its client": IPv6Address(0x20010000 << 96 | public << 64 | number ^ 0xFFFFFFFF),
        "ISATAP": IPv6Address(int(IPv6Address("2a00:1450::")) | 0x5EFE << 32 | number),
        "ISATAP of a public address": IPv6Address(int(IPv6Address("2a00:1450::")) | 0x02005EFE << 32 | number),
    }


@pytest.mark.parametrize("inner", PRIVATE)
def test_a_private_address_is_seen_in_all_the_clothes_of_ipv6(inner: str) -> None:
    for name, address in clothes(IPv4Address(inner)).items():
        assert not Guard().admits(str(address)), name


def test_a_public_address_may_come_in_the_clothes_of_ipv6() -> None:
    for name, address in clothes(IPv4Address("1.1.1.1")).items():
        assert Guard().admits(str(address)), name


@given(st.ip_addresses(v=4))
def test_no_public_address_carries_one_that_is_not(inner: IPv4Address) -> None:
    for address in clothes(inner).values():
        assert inner in carried(address)
        assert is_public(inner) or not is_public(address)


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public_here(address: IPv4Address | IPv6Address) -> None:
    if is_public(address) and not (isinstance(address, IPv6Address) and carried(address)):
        assert address.is_global
        assert not any((address.is_multicast, address.is_unspecified, address.is_loopback, address.is_link_local))


@given(st.text(max_size=60))
def test_whatever_is_no_address_is_not_admitted(text: str) -> None:
    assert isinstance(Guard().admits(text), bool)


@pytest.mark.parametrize("text", ["", "localhost", "8.8.8.8 ", "8.8.8", "134744072", "0x8.8.8.8", "010.8.8.8", "[::1]"])
def test_an_odd_form_of_an_address_is_not_admitted(text: str) -> None:
    assert not Guard().admits(text)


def test_a_named_network_is_admitted_in_any_clothes_and_nothing_beside_it() -> None:
    guard = Guard((ip_network("10.1.0.0/16"), ip_network("fd12::/16")))
    assert guard.admits("10.1.2.3")
    assert guard.admits("::ffff:10.1.2.3")
    assert guard.admits("64:ff9b::10.1.2.3")
    assert guard.admits("fd12::1")
    assert guard.admits("8.8.8.8")
    for other in ("10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "fd13::1", "127.0.0.1", "fd12::1%lo"):
        assert not guard.admits(other), other
