"""Keys of issuers: fetched, rotated, taken back, away, and attacked. With a real issuer over sockets."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from pathlib import Path
from typing import cast

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from balancer.guards.keyset import LARGEST, BadKeys, KeySet, parse
from balancer.guards.token_way import TokenWay
from balancer.guards.tokens import Fault, UnknownKey, Verified, Verifier
from balancer.issuers import SOON, Issuer
from balancer.tally import IssuerTally
from config.auth import Jwt
from tests.guards.issuer import Shown, claims, issuing, jwk, private, token
from tests.guards.sites import ask, guarded
from tests.guards.test_auth import bearer
from tests.proxy.wire import Site


def users(shown: Shown, more: str = "") -> str:
    return f"""
    auth: {{users: {{jwt: {{jwks: "{shown.url}", audience: [shop]{more}}}}}}}
    routes: {{all: {{pool: default, auth: users}}}}
    """


def one(number: int = 0, kid: str | None = None, kind: str = "ES256") -> str:
    return token(kind=kind, number=number, headers={"kid": kid} if kid is not None else {})


def let_time_pass(site: Site, seconds: float) -> None:
    """As if the issuer had last been asked so long ago."""
    for issuer in site.plane.issuers.of.values():
        issuer._asked -= seconds


async def fetched(site: Site, times: int) -> None:
    await site.until(lambda: site.plane.issuers.tallies["users"].fetched >= times)


async def test_keys_are_there_before_the_first_request_or_waited_for() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(one(kid="a"))))[0] == 200  # asked for at once: it waited
        assert (await ask(peer, bearer(one())))[0] == 200
        assert shown.asked == 1


async def test_a_new_key_is_fetched_when_a_token_is_signed_with_it() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(one(kid="a"))))[0] == 200
        shown.keys.append(jwk(private("ES256", 1), kid="b"))
        assert (await ask(peer, bearer(one(1, "b"))))[0] == 401  # not so soon
        let_time_pass(site, SOON)
        assert (await ask(peer, bearer(one(1, "b"))))[0] == 200
        assert shown.asked == 2


async def test_tokens_with_made_up_keys_are_not_passed_on_as_requests_to_the_issuer() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        peer = await site.connect()
        for number in range(50):
            assert (await ask(peer, bearer(one(1, f"made up {number}"))))[0] == 401
        assert shown.asked == 1


async def test_many_who_wait_for_a_key_are_one_request_to_the_issuer() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        await fetched(site, 1)
        shown.keys.append(jwk(private("ES256", 1), kid="b"))
        let_time_pass(site, SOON)
        peers = [await site.connect() for _ in range(20)]
        for peer in peers:
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % bearer(one(1, "b")))
        assert [(await peer.answer())[0] for peer in peers] == [200] * 20
        assert shown.asked == 2


async def test_a_fault_over_one_who_waits_for_a_key_is_no_other_ones() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        await fetched(site, 1)
        shown.keys.append(jwk(private("ES256", 1), kid="b"))
        let_time_pass(site, SOON)
        way = cast(TokenWay, site.plane.entrance._ways["users"].way)
        verifier, bad = way._verifier, token(claims(sub="bad"), number=1, headers={"kid": "b"})

        class Faulty(Verifier):
            def verify(self, token: bytes, keys: KeySet, now: float) -> Verified | UnknownKey | Fault:
                if token == bad.encode() and len(keys) > 1:
                    raise RuntimeError("a fault of ours")
                return verifier.verify(token, keys, now)

        way._verifier = Faulty(way._settings)
        peers = [await site.connect() for _ in range(4)]
        for peer, text in zip(peers, (one(1, "b"), bad, one(1, "b"), one(1, "b")), strict=True):
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % bearer(text))
        assert [(await peer.answer())[0] for peer in peers] == [200, 500, 200, 200]
        assert ("guard_failed", "all") in [event[:2] for event in site.events]


async def test_a_client_that_resets_while_it_waits_for_a_key_keeps_nobody_waiting() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        await fetched(site, 1)
        shown.keys.append(jwk(private("ES256", 1), kid="b"))
        let_time_pass(site, SOON)
        issuer = site.plane.issuers.of["users"]
        shown.ready.clear()
        gone, *others = [await site.connect() for _ in range(4)]
        await gone.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n%b\r\n\r\nabc" % bearer(one(2, "none")))
        await site.until(lambda: len(issuer._waiting) == 1)
        for peer in others:
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % bearer(one(1, "b")))
        await site.until(lambda: len(issuer._waiting) == 4)
        gone.cut()
        shown.ready.set()
        assert [(await peer.answer())[0] for peer in others] == [200] * 3


async def test_a_key_that_is_taken_back_is_worth_nothing_from_then_on() -> None:
    both = [jwk(private("ES256"), kid="a"), jwk(private("ES256", 1), kid="b")]
    async with issuing(*both) as shown, guarded(users(shown)) as site:
        peer = await site.connect()
        line = bearer(one(kid="a"))
        assert [(await ask(peer, line))[0] for _ in range(2)] == [200, 200]
        del shown.keys[0]
        let_time_pass(site, 600)
        site.plane.issuers.second_passed(time.monotonic())
        await fetched(site, 2)
        assert (await ask(peer, line))[0] == 401  # the very same bytes on the very same connection
        assert (await ask(peer, bearer(one(1, "b"))))[0] == 200


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, None), (404, None), (200, b"nonsense"), (200, b'{"keys": []}'), (200, b"{}"), (200, b" " * (LARGEST + 1))],
)
async def test_the_last_good_keys_stay_while_the_issuer_shows_none(status: int, body: bytes | None) -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(one(kid="a"))))[0] == 200
        shown.status, shown.body = status, body
        let_time_pass(site, 600)
        site.plane.issuers.second_passed(time.monotonic())
        await site.until(lambda: site.plane.issuers.tallies["users"].failures)
        assert (await ask(peer, bearer(token(claims(sub="bob"), headers={"kid": "a"}))))[0] == 200
        events = [event for event in site.events if event[0].startswith("issuer")]
        assert [event[:2] for event in events] == [("issuer_unreachable", "users")]
        assert "1 keys stay in use" in events[0][2]
        shown.status, shown.body = 200, None
        let_time_pass(site, SOON)
        site.plane.issuers.second_passed(time.monotonic())
        await fetched(site, 2)
        assert site.events[-1][0] == "issuer_reachable"


async def test_while_no_key_was_ever_seen_nobody_is_let_in_and_that_is_nobodys_fault() -> None:
    async with issuing() as shown:
        shown.status = 503
        async with guarded(users(shown)) as site:
            peer = await site.connect()
            status, fields, _ = await ask(peer, bearer(one(kid="a")))
            assert (status, fields["retry-after"]) == (503, "1")
            assert (await ask(peer))[0] == 401
            shown.status, shown.keys = 200, [jwk(private("ES256"), kid="a")]
            let_time_pass(site, SOON)
            assert (await ask(peer, bearer(one(kid="a"))))[0] == 200


async def test_an_issuer_that_never_answers_is_waited_for_no_longer_than_said() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    shown = Shown()
    shown.port = server.sockets[0].getsockname()[1]
    async with server, guarded(users(shown, ", timeout: 100ms")) as site:
        assert (await ask(await site.connect(), bearer(one())))[0] == 503
        assert "did not answer in time" in site.events[0][2]


async def test_an_issuer_is_who_its_certificate_says(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    for name, one in (("ours", authority), ("other", stranger)):
        one.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with issuing(jwk(private("ES256"), kid="a"), tls=context) as shown:
        for name, status in (("ours", 200), ("other", 503), ("none", 503)):
            async with guarded(users(shown, f', ca: "{tmp_path}/{name}.pem"')) as site:
                assert (await ask(await site.connect(), bearer(one_of())))[0] == status, name
        async with guarded(users(shown)) as site:
            assert (await ask(await site.connect(), bearer(one_of())))[0] == 503


def one_of() -> str:
    return token(kind="ES256", headers={"kid": "a"})


async def test_an_issuer_that_sends_us_elsewhere_is_not_followed() -> None:
    async with issuing(jwk(private("ES256", 1), kid="a")) as evil, issuing() as shown:
        shown.status, shown.headers = 302, {"Location": evil.url}
        async with guarded(users(shown)) as site:
            assert (await ask(await site.connect(), bearer(one(1, "a"))))[0] == 503
            assert evil.asked == 0


async def test_a_symmetric_key_that_an_issuer_shows_signs_nothing() -> None:
    import jwt

    shown_secret = {"kty": "oct", "kid": "s", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "alg": "HS256"}
    async with issuing(shown_secret, jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        forged = jwt.encode(claims(), "secret-secret-secret-secret-secr", "HS256", {"kid": "s"})
        assert (await ask(await site.connect(), bearer(forged)))[0] == 401


async def test_a_client_that_leaves_while_keys_are_fetched_harms_nobody() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        body = json.dumps({"keys": [jwk(private("ES256"), kid="a")]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    shown = Shown()
    shown.port = server.sockets[0].getsockname()[1]
    async with server, guarded(users(shown)) as site:
        gone, stays = await site.connect(), await site.connect()
        for peer in (gone, stays):
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % bearer(one(kid="a")))
        (issuer,) = site.plane.issuers.of.values()
        await site.until(lambda: len(issuer._waiting) == 2)
        gone.cut()
        await site.until(lambda: len(issuer._waiting) == 1)
        release.set()
        assert (await stays.answer())[0] == 200


async def test_a_reload_keeps_the_keys_of_an_issuer_that_stays() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(one(kid="a"))))[0] == 200
        assert site.plane.snapshot is not None
        config = site.plane.snapshot.config
        shown.status = 500
        await site.apply(config.model_copy(update={"trusted_proxies": ()}))
        assert (await ask(peer, bearer(one(kid="a"))))[0] == 200
        await site.apply(config.model_copy(update={"auth": {}, "routes": {}}))
        assert site.plane.issuers.of == {}


async def test_another_issuer_of_the_same_name_begins_without_keys() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, issuing() as other, guarded(users(shown)) as site:
        await fetched(site, 1)
        tally = site.plane.issuers.tallies["users"]
        assert tally.keys == 1
        other.status = 503
        assert site.plane.snapshot is not None
        auth = site.plane.snapshot.config.auth["users"]
        assert auth.jwt is not None
        elsewhere = auth.model_copy(update={"jwt": auth.jwt.model_copy(update={"jwks": other.url})})
        await site.apply(site.plane.snapshot.config.model_copy(update={"auth": {"users": elsewhere}}))
        await site.until(lambda: tally.failures)
        assert tally.keys == 0
        other.status, other.keys = 200, [jwk(private("ES256", 1), kid="b")]
        let_time_pass(site, SOON)
        site.plane.issuers.second_passed(time.monotonic())
        await fetched(site, 2)
        assert (await ask(await site.connect(), bearer(one(1, "b"))))[0] == 200


async def test_what_is_counted_of_names_that_have_left_is_forgotten() -> None:
    async with issuing(jwk(private("ES256"), kid="a")) as shown, guarded(users(shown)) as site:
        await fetched(site, 1)
        assert site.plane.snapshot is not None
        await site.apply(site.plane.snapshot.config.model_copy(update={"auth": {}, "routes": {}}))
        assert site.plane.issuers.tallies == site.plane.entrance.tallies == {}


async def test_whatever_fails_is_asked_again_soon_and_told() -> None:
    told: list[tuple[str, str, str]] = []

    async def broken(settings: Jwt) -> bytes:
        raise RuntimeError("not foreseen")

    settings = Jwt.model_validate({"jwks": "http://127.0.0.1:9", "audience": ["shop"]})
    issuer = Issuer("users", settings, IssuerTally(), lambda *event: told.append(event), broken)
    issuer.second_passed(1000.0)
    done = asyncio.Event()
    assert issuer.ask_anew(done.set)
    await done.wait()
    assert told == [("issuer_unreachable", "users", "not foreseen; no token can be checked")]
    issuer.second_passed(1000.0 + SOON)
    assert issuer.ask_anew(lambda: None), "it is being asked again"
    await issuer.close()


# Sets of keys.


def keys_of(*members: object) -> int:
    return len(parse(json.dumps({"keys": members}).encode()))


def test_only_keys_for_signatures_of_a_good_size_are_taken() -> None:
    good = jwk(private("RS256"))
    assert (
        keys_of(good, {**good, "use": "enc"}, {**good, "key_ops": ["sign"]}, {**good, "alg": "RSA-OAEP"}, 1, None) == 1
    )
    assert keys_of(good, {**good, "n": "AQAB"}, {**good, "n": "x" * 5000}, {**good, "e": ""}, {"kty": "RSA"}) == 1
    assert keys_of(good, {**jwk(private("ES256")), "crv": "P-384"}, {**jwk(private("ES256")), "x": "AAAA"}) == 1
    assert (
        keys_of(good, {"kty": "oct", "k": "AAAA"}, {"kty": ["RSA"]}, {**good, "kid": 7}, {**good, "kid": "x" * 300})
        == 1
    )
    assert keys_of(*[jwk(private("ES256"))] * 300) == 100
    assert keys_of(jwk(private("EdDSA"), alg="Ed25519"), jwk(private("ES512"), alg="ES512")) == 2


def test_private_parts_that_an_issuer_shows_by_mistake_are_left_alone() -> None:
    from jwt.algorithms import ECAlgorithm

    whole = ECAlgorithm.to_jwk(private("ES256"), as_dict=True)  # type: ignore[arg-type]  # it is one of that kind
    assert "d" in whole
    (key,) = parse(json.dumps({"keys": [whole]}).encode()).keys
    assert not hasattr(key.key, "private_numbers")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["keys", "kty", "n", "e", "crv", "x", "y", "kid", "use", "key_ops", "alg"]), inner
        )
    ),
    max_leaves=12,
)


@given(
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON).map(lambda keys: json.dumps({"keys": keys}).encode())
)
def test_whatever_an_issuer_sends_is_a_set_of_keys_or_refused(data: bytes) -> None:
    try:
        found = parse(data)
    except BadKeys:
        return
    assert found.keys
