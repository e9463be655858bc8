"""How many connections clients may hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from balancer.limits.crowd import Crowd, client_network


def test_an_ipv6_client_is_its_64_bit_network_and_an_ipv4_client_its_address() -> None:
    assert client_network("2001:db8:1:2::1") == client_network("2001:db8:1:2:ffff::2")
    assert client_network("2001:db8:1:2::1") != client_network("2001:db8:1:3::1")
    assert client_network("192.0.2.1") != client_network("192.0.2.2")
    assert client_network("::ffff:192.0.2.1") == client_network("192.0.2.1")
    assert client_network("fe80::1%eth0") == client_network("fe80::2")
    assert client_network("unix") is None


def test_one_network_cannot_take_the_places_of_all() -> None:
    crowd = Crowd(10, 4)
    a, b = b"a", b"b"
    assert [crowd.enter(a) for _ in range(5)] == [None] * 4 + ["too-many-of-client"]
    assert [crowd.enter(b) for _ in range(4)] == [None] * 4
    assert [crowd.enter(None) for _ in range(3)] == [None, None, "too-many-connections"]
    crowd.leave(a)
    assert crowd.enter(b"c") is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([b"a", b"b", b"c", None])), max_size=60))
def test_counts_are_exact_and_nothing_is_left_of_who_has_gone(steps: list[tuple[bool, bytes | None]]) -> None:
    crowd = Crowd(8, 3)
    inside: list[bytes | None] = []
    for coming, network in steps:
        if coming:
            if crowd.enter(network) is None:
                inside.append(network)
        elif network in inside:
            inside.remove(network)
            crowd.leave(network)
        assert crowd.open == len(inside) <= 8
        assert all(inside.count(one) <= 3 for one in (b"a", b"b", b"c"))
    for network in inside:
        crowd.leave(network)
    assert crowd.open == 0
    assert crowd._networks == {}


def test_one_that_is_moved_keeps_its_place_though_there_are_fewer_places_by_now() -> None:
    crowd = Crowd(10, 4)
    for _ in range(3):
        crowd.enter(None)
    crowd.enter(b"a")
    crowd.most, crowd.most_of_client = 2, 1
    assert crowd.move(None, b"b") is None
    assert crowd.move(None, b"b") == "too-many-of-client"
    assert crowd.move(b"a", b"a") is None
    assert crowd.open == 4
    for network in (None, None, b"a", b"b"):
        crowd.leave(network)
    assert (crowd.open, crowd._networks) == (0, {})
