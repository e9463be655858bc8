"""Credentials, tokens and texts as they are read: whatever comes, in one way or in none."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode

from hypothesis import given
from hypothesis import strategies as st

from balancer.guards.credentials import Ambiguous, authorization, cookie, password
from balancer.guards.keyset import of_secret
from balancer.guards.texts import text
from balancer.guards.tokens import Fault, UnknownKey, Verified, Verifier
from balancer.http1.fields import parse_line
from balancer.http1.head import RequestHead, parse_request
from balancer.http1.substitution import Substitution
from config.auth import Jwt
from tests.guards.issuer import SECRET, claims, token

VALUE = st.binary(max_size=40).filter(
    lambda value: not set(value) & {0, 10, 13} and all(b >= 32 and b != 127 for b in value)
)


def head(*lines: bytes) -> RequestHead:
    return parse_request(b"GET / HTTP/1.1\r\nHost: a%b" % b"".join(b"\r\n" + line for line in lines), 100, 8000)


@given(
    st.text(st.characters(codec="utf-8", exclude_characters=":", exclude_categories=["Cc"])),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
)
def test_a_name_and_a_password_are_read_back_as_they_were_put(user: str, word: str) -> None:
    found = password(b64encode(f"{user}:{word}".encode()))
    assert found is not None
    assert (found.user, found.password) == (user, word.encode())


@given(st.binary(max_size=80))
def test_whatever_stands_after_basic_is_one_password_or_none(data: bytes) -> None:
    found = password(data)
    assert found is None or (":" not in found.user and b"\x00" not in found.password)


@given(VALUE)
def test_authorization_is_read_in_one_way_or_refused(value: bytes) -> None:
    request = head(b"Authorization: " + value)
    try:
        found = [one for one in (b"basic", b"bearer") if authorization(request, one) is not None]
    except Ambiguous:
        return
    assert len(found) <= 1


@given(VALUE, VALUE)
def test_of_two_cookies_with_one_name_none_is_taken(first: bytes, second: bytes) -> None:
    request = head(b"Cookie: s=%b; s=%b" % (first.replace(b";", b""), second.replace(b";", b"")))
    try:
        cookie(request, b"s")
    except Ambiguous:
        return
    raise AssertionError("one of them was taken")


VERIFIER = Verifier(Jwt(secret=SECRET, audience=("shop",)))
KEYS = of_secret(SECRET)
GOOD = token(claims(), "HS256").encode()


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=40).map(urlsafe_b64encode), max_size=4).map(b".".join))
def test_whatever_stands_for_a_token_is_none(data: bytes) -> None:
    assert isinstance(VERIFIER.verify(data, KEYS, 0.0), (Fault, UnknownKey))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_no_byte_of_a_token_can_be_another(at: int, byte: int) -> None:
    changed = GOOD[:at] + bytes((byte,)) + GOOD[at + 1 :]
    found = VERIFIER.verify(changed, KEYS, 0.0)
    assert isinstance(found, Verified) == (changed == GOOD)


CLAIM = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["exp", "nbf", "iss", "aud", "sub", "iat", "scope"]), CLAIM))
def test_signed_claims_of_whatever_kind_are_judged_and_break_nothing(said: dict[str, object]) -> None:
    from jwt import PyJWS

    made = PyJWS().encode(json.dumps(said).encode(), SECRET, "HS256").encode()
    found = Verifier(Jwt(secret=SECRET, audience=("shop",), issuer="x", require={"scope": ("a",)})).verify(
        made, KEYS, 0.0
    )
    if isinstance(found, Verified):
        assert said["iss"] == "x"
        aud = said["aud"]
        assert aud == "shop" or (isinstance(aud, list) and "shop" in aud)


TEXTS = st.text(max_size=12)


@given(TEXTS, TEXTS)
def test_no_two_texts_are_told_alike(first: str, second: str) -> None:
    assert (text(first) == text(second)) == (first == second or not (first or second))


@given(st.lists(TEXTS.filter(bool), max_size=4), st.lists(TEXTS.filter(bool), max_size=4))
def test_no_two_lists_are_told_alike(first: list[str], second: list[str]) -> None:
    assert (text(first) == text(second)) == (first == second)


@given(CLAIM)
def test_what_is_told_is_the_value_of_one_field_and_arrives_as_it_is(value: object) -> None:
    told = text(value)
    if told is not None:
        assert parse_line(b"X: " + told).value == told


@given(st.sampled_from([b"X-Auth-Subject", b"x_auth_subject", b"X.Auth.Subject", b"X-AUTH_SUBJECT"]), VALUE)
def test_no_spelling_of_a_field_that_is_put_in_comes_through(name: bytes, value: bytes) -> None:
    own = parse_line(b"X-Auth-Subject: alice")
    request = head(b"%b: %b" % (name, value), b"Connection: x-auth-subject, close", b"X-Other: 1")
    made = Substitution([own], [b"authorization"]).applied(request)
    assert [field.value for field in made.common.fields if field.alike == b"x-auth-subject"] == [b"alice"]
    assert b"x-auth-subject" not in made.common.names
    assert made.value(b"x-other") == b"1"
    again = parse_request(b"GET /2 HTTP/1.1\r\n" + request.common.block, 100, 8000, request.common)
    assert Substitution([own], []).applied(again).common is not made.common
