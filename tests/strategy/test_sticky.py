from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.server import Server
from balancer.strategy.round_robin import RoundRobin
from balancer.strategy.sticky import StickyCookie, StickySessions
from config.schema import Sticky
from tests.strategy.world import server, servers

SECRET = b"sixteen bytes or"
OCTETS = st.characters(codec="ascii", exclude_characters='";,\\ ', exclude_categories=["Cc"])
"""What a cookie's value may consist of (RFC 6265 section 4.1.1)."""


def sessions(members: list[Server], settings: Sticky | None = None, secret: bytes = SECRET) -> StickySessions:
    return StickySessions("web", members, settings or Sticky(), secret)


def cookie(**settings: object) -> StickyCookie[str]:
    members = {name: name for name in ("a", "b")}
    return StickyCookie("pool web", members, Sticky.model_validate(settings), SECRET)


def pair(set_cookie: bytes | None) -> bytes:
    """What a browser sends back."""
    assert set_cookie is not None
    return set_cookie.partition(b";")[0]


def test_a_client_comes_back_to_the_server_it_was_given() -> None:
    members = servers(1, 1, 1)
    sticky, strategy = sessions(members), RoundRobin(members, Random(1))
    first, issued = sticky.pick(b"", strategy, 0, 0.0)
    for _ in range(5):
        assert sticky.pick(pair(issued), strategy, 0, 0.0) == (first, None)


def test_whom_a_cookie_names_can_be_asked_without_a_pick() -> None:
    members = servers(1, 1)
    sticky = sessions(members)
    found, issued = sticky.pick(b"", RoundRobin(members, Random(1)), 0, 0.0)
    assert sticky.named(pair(issued)) is found
    assert sticky.named(b"lb=nobody") is None


def test_a_cookie_can_be_had_for_any_server_in_rotation_and_no_other() -> None:
    members = servers(1, 1)
    sticky = sessions(members)
    for member in members:
        assert sticky.named(pair(sticky.cookie(member))) is member
    assert sticky.cookie(server("gone")) is None


def test_a_client_without_the_cookie_is_placed_by_the_strategy() -> None:
    members = servers(1, 1, 1)
    sticky, strategy = sessions(members), RoundRobin(members, Random(1))
    assert {sticky.pick(b"theme=dark", strategy, 0, 0.0)[0] for _ in range(3)} == set(members)


def test_a_cookie_holds_over_restarts_and_rotations() -> None:
    members = servers(1, 1, 1)
    issued = sessions(members).pick(b"", RoundRobin(members[:1], Random(1)), 0, 0.0)[1]
    anew = [server("s2"), server("s0")]
    assert sessions(anew).pick(pair(issued), RoundRobin(anew, Random(1)), 0, 0.0) == (anew[1], None)


def test_a_client_whose_server_is_out_of_rotation_gets_another_one_and_its_cookie() -> None:
    members = servers(1, 1)
    issued = sessions(members).pick(b"", RoundRobin(members[:1], Random(1)), 0, 0.0)[1]
    left = members[1:]
    sticky, strategy = sessions(left), RoundRobin(left, Random(1))
    found, again = sticky.pick(pair(issued), strategy, 0, 0.0)
    assert found is members[1]
    assert sticky.pick(pair(again), strategy, 0, 0.0) == (members[1], None)


def test_a_client_whose_server_was_tried_in_vain_moves_for_good() -> None:
    members = servers(1, 1)
    sticky, strategy = sessions(members), RoundRobin(members, Random(1))
    first, issued = sticky.pick(b"", strategy, 0, 0.0)
    assert first is not None
    second, again = sticky.pick(pair(issued), strategy, 0, 0.0, [first])
    assert second is not first
    assert pair(again) != pair(issued)


def test_when_no_server_is_left_no_cookie_is_issued() -> None:
    members = servers(1)
    assert sessions(members).pick(b"", RoundRobin(members, Random(1)), 0, 0.0, members) == (None, None)


def test_a_cookie_does_not_tell_the_name_of_the_server() -> None:
    members = [server("10.0.0.11:8000"), server("10.0.0.12:8000")]
    sticky = sessions(members)
    for member in members:
        written = pair(sticky.pick(b"", RoundRobin([member], Random(1)), 0, 0.0)[1])
        assert b"10.0.0" not in written
        assert len(written) == len("lb=") + 12


def test_a_cookie_is_good_for_one_secret_and_one_pool_only() -> None:
    settings = Sticky()
    tokens = {
        StickyCookie(scope, {}, settings, secret).token(name)
        for scope, secret, name in [
            ("pool web", SECRET, "a"),
            ("pool web", SECRET[::-1], "a"),
            ("pool api", SECRET, "a"),
            ("pool web", SECRET, "b"),
            ("pool we", SECRET, "ba"),
            ("pool weba", SECRET, ""),
        ]
    }
    assert len(tokens) == 6


def test_tokens_are_the_same_in_every_release() -> None:
    # A change of this loses every session: see that the changelog says so.
    assert cookie().token("a") == b"5scuzVPoG--F"


@pytest.mark.parametrize("secret", [b"", b"fifteen bytes.."])
def test_a_secret_that_could_be_guessed_is_refused(secret: bytes) -> None:
    with pytest.raises(ValueError, match=f"at least 16 bytes, not {len(secret)}"):
        sessions(servers(1), secret=secret)


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({}, b"; Path=/; HttpOnly; SameSite=Lax"),
        ({"secure": True}, b"; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ({"ttl": "8h"}, b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=28800"),
        ({"ttl": "1500ms", "secure": True}, b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=2; Secure"),
        ({"ttl": 0.0}, b"; Path=/; HttpOnly; SameSite=Lax; Max-Age=1"),
    ],
)
def test_the_cookie_is_kept_from_scripts_and_lives_as_long_as_configured(
    settings: dict[str, object], attributes: bytes
) -> None:
    jar = cookie(**settings)
    assert jar.write("a") == b"lb=" + jar.token("a") + attributes


@given(
    before=st.lists(st.tuples(st.text("abcxyz", min_size=1), st.text(OCTETS)), max_size=4),
    after=st.lists(st.tuples(st.text("abcxyz", min_size=1), st.text(OCTETS)), max_size=4),
)
def test_the_cookie_is_found_among_any_others(before: list[tuple[str, str]], after: list[tuple[str, str]]) -> None:
    jar = cookie()
    others = [[f"{name}={value}".encode() for name, value in pairs] for pairs in (before, after)]
    assert jar.read(b"; ".join([*others[0], pair(jar.write("b")), *others[1]])) == "b"
    assert jar.read(b"; ".join(others[0] + others[1])) is None


@pytest.mark.parametrize(
    ("field", "found"),
    [
        (b"lb=%s", "b"),
        (b"x=1;lb=%s;y=2", "b"),
        (b"x=1;  \tlb=%s \t; y=2", "b"),
        (b"lb=unknowntoken; lb=%s", "b"),
        (b"", None),
        (b"lb", None),
        (b"lb=", None),
        (b"lb= %s", None),
        (b"lb =%s", None),
        (b'lb="%s"', None),
        (b"LB=%s", None),
        (b"xlb=%s", None),
        (b"x lb=%s", None),
        (b"x=lb=%s", None),
        (b"x=1, lb=%s", None),
        (b"lb=%sx", None),
        (b"lb=x%s", None),
        (b"lb=%s x", None),
        (b"lb=%s\n", None),
        (b"lb=\xff%s", None),
    ],
)
def test_only_a_whole_and_plain_cookie_counts(field: bytes, found: str | None) -> None:
    jar = cookie()
    assert jar.read(field.replace(b"%s", jar.token("b"))) == found


@given(st.binary(max_size=100))
def test_no_field_is_an_error(field: bytes) -> None:
    assert cookie().read(field) is None
    assert cookie().read(b"lb=" + field) is None


def test_a_long_field_of_separators_is_read_in_a_moment() -> None:
    # Quadratic time would be minutes.
    assert cookie().read(b"lb;" + b"; " * 200_000 + b" " * 200_000 + b"\t;lb=") is None


def test_a_cookies_name_is_taken_to_the_letter() -> None:
    jar = cookie(cookie="a.b")
    assert jar.read(b"aXb=" + jar.token("a")) is None
    assert jar.read(b"a.b=" + jar.token("a")) == "a"
