"""Which lists of networks are believed to be a CDN's."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.guards.address import Networks, NetworkSet
from balancer.ranges.copies import shipped
from balancer.ranges.lists import MOST, PLACES, BadList, held_against, judged, read
from config.addresses import CDN_NAMES


def amazon(*entries: tuple[str, str]) -> bytes:
    four = [{"ip_prefix": one, "service": service} for one, service in entries if ":" not in one]
    six = [{"ipv6_prefix": one, "service": service} for one, service in entries if ":" in one]
    return json.dumps({"syncToken": "1", "prefixes": four, "ipv6_prefixes": six}).encode()


def test_cloudflare_lists_a_network_a_line() -> None:
    found = read("cloudflare", [b"173.245.48.0/20\n103.21.244.0/22\r\n\n", b"2400:cb00::/32"])
    assert list(map(str, found)) == ["103.21.244.0/22", "173.245.48.0/20", "2400:cb00::/32"]


def test_of_amazon_only_the_addresses_that_cloudfront_connects_from_are_taken() -> None:
    data = amazon(
        ("130.176.0.0/18", "CLOUDFRONT_ORIGIN_FACING"),
        ("13.32.0.0/15", "CLOUDFRONT"),
        ("3.5.140.0/22", "EC2"),
        ("2600:9000:1000::/36", "CLOUDFRONT_ORIGIN_FACING"),
        ("2600:1f00::/40", "AMAZON"),
    )
    assert list(map(str, read("cloudfront", [data]))) == ["130.176.0.0/18", "2600:9000:1000::/36"]


def test_bunny_lists_single_addresses() -> None:
    found = read("bunny", [b'["89.187.188.227", "89.187.188.226"]', b'["2400:52e0:1500::714:1"]'])
    assert list(map(str, found)) == ["89.187.188.226/31", "2400:52e0:1500::714:1/128"]


BAD = {
    "everything": "0.0.0.0/0",
    "everything of IPv6": "::/0",
    "half of everything": "128.0.0.0/1",
    "too wide": "4.0.0.0/7",
    "too wide an IPv6 one": "2a00::/12",
    "a private network": "10.1.0.0/16",
    "a network with a private one in it": "172.0.0.0/8",
    "this machine": "127.0.0.1",
    "this machine over IPv6": "::1",
    "a link": "169.254.0.0/16",
    "unique local": "fd00::/32",
    "an IPv4 network mapped into IPv6": "::ffff:8.8.8.0/120",
    "multicast": "224.0.0.0/8",
    "bits after the prefix": "173.245.48.1/20",
    "a range": "173.245.48.0-173.245.63.255",
    "a name": "cloudflare.com",
    "a page": "<!DOCTYPE html>",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_one_network_that_cannot_be_a_cdns_spoils_the_list(text: str) -> None:
    with pytest.raises(BadList):
        judged(["173.245.48.0/20", text])


@pytest.mark.parametrize("name", CDN_NAMES)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        b'{"prefixes": [], "ipv6_prefixes": []}',
        b"[1]",
        b"[[]]",
        b"\xff",
        b"[" * 9999,
    ],
)
def test_what_is_no_list_is_not_taken(name: str, data: bytes) -> None:
    with pytest.raises(BadList):
        read(name, [data])  # type: ignore[arg-type]  # one of the names


def test_too_many_networks_are_not_taken() -> None:
    with pytest.raises(BadList, match="the most"):
        judged([f"8.{n // 256}.{n % 256}.0/24" for n in range(MOST + 1)])


def test_many_wide_networks_are_not_taken_though_each_could_be() -> None:
    with pytest.raises(BadList, match="too many addresses"):
        judged([f"{n}.0.0.0/8" for n in (3, 4, 5)])


@pytest.mark.parametrize(("new", "known", "taken"), [(1, 0, True), (5, 10, True), (4, 10, False), (99, 10, True)])
def test_a_list_that_has_lost_more_than_half_is_not_taken(new: int, known: int, taken: bool) -> None:
    some = [ip_network(f"8.8.{n}.0/24") for n in range(100)]
    if taken:
        held_against(some[:new], some[:known])
    else:
        with pytest.raises(BadList):
            held_against(some[:new], some[:known])


@given(st.binary(max_size=200), st.sampled_from(CDN_NAMES))
def test_whatever_comes_is_a_list_or_refused(data: bytes, name: str) -> None:
    try:
        found = read(name, [data])  # type: ignore[arg-type]  # one of the names
    except BadList:
        return
    assert found


@pytest.mark.parametrize("name", ["cloudflare", "cloudfront"])
def test_what_is_shipped_would_be_believed_if_it_were_fetched(name: str) -> None:
    copy = shipped(name)  # type: ignore[arg-type]  # one of the names
    assert copy.origin == "shipped"
    assert len(copy.networks) >= 20
    assert judged([str(one) for one in copy.networks]) == copy.networks


def test_of_bunny_nothing_is_shipped() -> None:
    assert shipped("bunny").networks == ()


def test_all_lists_are_asked_for_over_tls() -> None:
    assert set(PLACES) == set(CDN_NAMES)
    assert all(place.startswith("https://") for places in PLACES.values() for place in places)


@given(
    st.lists(st.ip_addresses().flatmap(lambda ip: st.integers(0, ip.max_prefixlen).map(lambda n: (ip, n)))), st.data()
)
def test_an_address_is_found_in_a_set_of_networks_exactly_if_it_is_in_one(
    pairs: list[tuple[object, int]], data: st.DataObject
) -> None:
    networks = [ip_network(f"{ip}/{prefix}", strict=False) for ip, prefix in pairs]
    some = [st.ip_addresses(network=network) for network in networks if network.prefixlen] or [st.ip_addresses()]
    ip = data.draw(st.one_of(st.ip_addresses(), *some))
    expected = any(ip in network for network in networks)
    assert (ip in NetworkSet(networks)) == expected
    assert (str(ip_address(ip)) in Networks(tuple(networks))) == expected or getattr(ip, "ipv4_mapped", None)
