"""Who is let in, over sockets: API keys, passwords and tokens, and everything that is tried in their place."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import cast

import pytest
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm

from balancer.guarding.looks import MOST_WAITING, Threads
from balancer.guards.passwords import hashed
from balancer.http1.fields import recall
from config.passwords import PasswordHash
from tests.guards.issuer import SECRET, claims, jwk, pem, private, raw, token
from tests.guards.sites import ask, from_trusted, guarded, written
from tests.proxy.wire import Peer, Script, ok

KEY = "balancer_app_acme_0123456789abcdefghijklmnopqrstuvwxyz"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
SALT = bytes(16)
ALICE = str(hashed(b"open sesame", SALT, n=2**13, p=1))  # quicker than what is made for use


def recording(seen: list[bytes], *lines: bytes) -> Script:
    """A server that keeps the heads it gets."""

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.head())
            await peer.send(ok(fields=b"".join(b"%b\r\n" % line for line in lines)))

    return script


def fields_of(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]


def told(head: bytes, name: str) -> list[str]:
    return [value for field, value in fields_of(head) if field == name]


# API keys.

PARTNER = f"""
auth: {{partner: {{api_keys: {{keys: {{acme: "sha256:{DIGEST}"}}}}}}}}
routes: {{all: {{pool: default, auth: partner}}}}
"""


async def test_without_a_key_nobody_is_let_in_and_is_told_what_is_wanted() -> None:
    seen: list[bytes] = []
    async with guarded(PARTNER, recording(seen)) as site:
        peer = await site.connect()
        status, fields, body = await ask(peer)
        assert status == 401
        assert fields["www-authenticate"] == 'ApiKey header="X-API-Key"'
        assert fields["cache-control"] == "no-store"
        assert b"has to show who they are" in body
        assert site.decisions[-1].guarded == "auth"
        assert site.decisions[-1].identity is None
        assert seen == []
        status, _, body = await ask(peer, b"Accept: application/json")
        assert json.loads(body)["status"] == 401


async def test_the_key_lets_in_and_the_server_learns_whose_it_is_and_not_what_it_is() -> None:
    seen: list[bytes] = []
    async with guarded(PARTNER, recording(seen)) as site:
        peer = await site.connect()
        for _ in range(3):
            assert (await ask(peer, b"X-API-Key: " + KEY.encode()))[0] == 200
        for head in seen:
            assert told(head, "x-auth-subject") == ["acme"]
            assert KEY.encode() not in head
        identity = site.decisions[-1].identity
        assert identity is not None
        assert (identity.kind, identity.name) == ("api-key", "acme")
        assert site.plane.entrance.tallies["partner"].results == {"passed": 3}


@pytest.mark.parametrize(
    "lines",
    [
        [b"X-API-Key: wrong"],
        [b"X-API-Key:"],
        [b"X-API-Key: " + KEY.encode() + b"x"],
        [b"X-API-Key: " + KEY[:-1].encode()],
        [b"X-API-Key: " + DIGEST.encode()],
        [b"X-API-Key: sha256:" + DIGEST.encode()],
        [b"X-API-Key: " + KEY.upper().encode()],
        [b"X_API_Key: " + KEY.encode()],
        [b"Authorization: Bearer " + KEY.encode()],
        [b"Cookie: X-API-Key=" + KEY.encode()],
    ],
)
async def test_whatever_is_not_the_key_lets_nobody_in(lines: list[bytes]) -> None:
    seen: list[bytes] = []
    async with guarded(PARTNER, recording(seen)) as site:
        assert (await ask(await site.connect(), *lines))[0] == 401
        assert seen == []


async def test_a_key_that_comes_twice_is_refused_even_if_both_are_right() -> None:
    async with guarded(PARTNER) as site:
        peer = await site.connect()
        line = b"X-API-Key: " + KEY.encode()
        assert (await ask(peer, line, line))[0] == 400
        assert (await ask(peer, line, b"x-api-key: wrong"))[0] == 400
        assert (await ask(peer, b"X-API-Key: " + b"a" * 9000))[0] == 400


async def test_a_key_in_authorization_stands_after_bearer() -> None:
    text = PARTNER.replace("api_keys: {", "api_keys: {header: Authorization, ")
    seen: list[bytes] = []
    async with guarded(text, recording(seen)) as site:
        peer = await site.connect()
        assert (await ask(peer, b"Authorization: bearer " + KEY.encode()))[0] == 200
        assert told(seen[-1], "authorization") == []
        assert (await ask(peer, b"Authorization: Basic " + KEY.encode()))[0] == 401
        assert (await ask(peer, b"Authorization: " + KEY.encode()))[0] == 401
        assert (await ask(peer, b"Authorization: Bearer a b"))[0] == 400
        assert (await ask(peer, b"Authorization: Bearer a, Bearer b"))[0] == 400


async def test_a_key_in_a_field_of_its_own_stays_out_of_what_is_remembered_of_lines() -> None:
    text = PARTNER.replace("api_keys: {", "api_keys: {header: X-Partner-Key, ")
    async with guarded(text) as site:
        line = b"X-Partner-Key: " + KEY.encode()
        assert (await ask(await site.connect(), line))[0] == 200
        assert recall(line) is None


async def test_a_key_ends_with_its_last_day_and_holds_in_its_networks_only() -> None:
    near = hashlib.sha256(b"near").hexdigest()
    text = f"""
    trusted_proxies: [127.0.0.1]
    auth:
      partner:
        api_keys:
          keys:
            old: {{hash: "sha256:{DIGEST}", expires: 2020-01-31}}
            near: {{hash: "sha256:{near}", expires: 2999-01-31, networks: [192.0.2.0/24, "2001:db8::/32"]}}
    routes: {{all: {{pool: default, auth: partner}}}}
    """
    async with guarded(text) as site:
        peer = await site.connect()
        status, _, body = await ask(peer, b"X-API-Key: " + KEY.encode())
        assert (status, b"has expired" in body) == (401, True)
        line = b"X-API-Key: near"
        assert (await ask(peer, line, b"X-Forwarded-For: 192.0.2.7"))[0] == 200
        assert (await ask(peer, line, b"X-Forwarded-For: ::ffff:192.0.2.7"))[0] == 200
        assert (await ask(peer, line, b"X-Forwarded-For: 2001:db8::1"))[0] == 200
        assert (await ask(peer, line, b"X-Forwarded-For: 198.51.100.1"))[0] == 403
        assert (await ask(peer, line))[0] == 403
        assert site.plane.entrance.tallies["partner"].results == {"expired": 1, "passed": 3, "forbidden": 2}


async def test_short_keys_cannot_be_guessed_at_speed_and_long_ones_need_not_wait() -> None:
    text = PARTNER.replace(DIGEST, hashlib.sha256(b"tiny").hexdigest())
    async with guarded(text) as site:
        peer = await site.connect()
        statuses = [(await ask(peer, b"X-API-Key: %d" % guess))[0] for guess in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        status, fields, _ = await ask(peer, b"X-API-Key: tiny")
        assert status == 429
        assert 1 <= int(fields["retry-after"]) <= 10
        assert (await ask(peer, b"X-API-Key: " + b"x" * 40))[0] == 401
    async with guarded(text) as site:
        peer = await site.connect()
        assert [(await ask(peer, b"X-API-Key: tiny", b"X-N: %d" % n))[0] for n in range(12)] == [200] * 12


# Passwords.

STAFF = f"""
auth: {{staff: {{basic: {{realm: the staff, users: {{alice: "{ALICE}", "zoë": "{ALICE}"}}}}}}}}
routes: {{all: {{pool: default, auth: staff}}}}
"""


def basic(user: str, password: str) -> bytes:
    return b"Authorization: Basic " + b64encode(f"{user}:{password}".encode())


async def test_a_browser_is_asked_for_a_password_and_let_in_with_it() -> None:
    seen: list[bytes] = []
    async with guarded(STAFF, recording(seen)) as site:
        peer = await site.connect()
        status, fields, _ = await ask(peer)
        assert (status, fields["www-authenticate"]) == (401, 'Basic realm="the staff", charset="UTF-8"')
        assert (await ask(peer, basic("alice", "open sesame")))[0] == 200
        assert told(seen[-1], "x-auth-subject") == ["alice"]
        assert told(seen[-1], "authorization") == []
        assert (await ask(peer, basic("zoë", "open sesame")))[0] == 200
        assert told(seen[-1], "x-auth-subject") == ["zoë".encode().decode("latin-1")]
        status, fields, body = await ask(peer, basic("alice", "open says me"))
        assert (status, fields["www-authenticate"]) == (401, 'Basic realm="the staff", charset="UTF-8"')
        assert b"name or password are wrong" in body


async def test_a_password_is_known_on_other_connections_and_the_same_wrong_one_is_one_guess() -> None:
    async with guarded(STAFF) as site:
        for _ in range(3):
            peer = await site.connect()
            for _ in range(3):
                assert (await ask(peer, basic("alice", "open sesame")))[0] == 200
        for _ in range(20):
            assert (await ask(peer, basic("alice", "an old one")))[0] == 401
        assert (await ask(peer, basic("alice", "open sesame")))[0] == 200


@pytest.mark.parametrize(
    "value",
    [
        b"Basic",
        b"Basic ",
        b"Basic !!!",
        b"Basic " + b64encode(b"alice"),
        b"Basic " + b64encode(b"alice:open sesame\x00"),
        b"Basic " + b64encode(b"alice:open sesame\xff"),
        b"Basic " + b64encode(b"ALICE:open sesame"),
        b"Basic " + b64encode(b" alice:open sesame"),
        b"Basic " + b64encode(b"alice:"),
        b"Basic " + b64encode(b":"),
        b"Basic " + b64encode(b"nobody:open sesame"),
        b"Basic " + b64encode(b"alice:" + b"x" * 2000),
        b"Digest username=alice",
        b"Bearer abc",
    ],
)
async def test_whatever_is_no_name_with_its_password_lets_nobody_in(value: bytes) -> None:
    seen: list[bytes] = []
    async with guarded(STAFF, recording(seen)) as site:
        status, _, _ = await ask(await site.connect(), b"Authorization: " + value)
        assert status in (400, 401)
        assert seen == []


async def test_passwords_cannot_be_guessed_at_speed_and_who_is_known_is_not_kept_out() -> None:
    async with guarded(STAFF) as site:
        peer = await site.connect()
        assert (await ask(peer, basic("alice", "open sesame")))[0] == 200
        statuses = [(await ask(peer, basic("alice", f"guess {n}")))[0] for n in range(13)]
        assert statuses == [401] * 10 + [429] * 3
        assert (await ask(peer, basic("zoë", "open sesame")))[0] == 429
        assert (await ask(peer, basic("alice", "open sesame")))[0] == 200


async def test_guesses_at_the_same_time_are_counted_before_they_are_looked_at() -> None:
    async with guarded(STAFF) as site:
        peers = [await site.connect() for _ in range(16)]
        for number, peer in enumerate(peers):
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % basic("alice", f"guess {number}"))
        statuses = [(await peer.answer())[0] for peer in peers]
        assert sorted(statuses) == [401] * 10 + [429] * 6


async def test_a_network_cannot_guess_faster_by_having_many_addresses() -> None:
    text = "trusted_proxies: [127.0.0.1]\n" + PARTNER.replace(DIGEST, hashlib.sha256(b"tiny").hexdigest())
    async with guarded(text) as site:
        peer = await site.connect()
        for start in (b"2001:db8:0:%x::1", b"192.0.2.%d"):
            found = [
                (await from_trusted(peer, start % (client % 250), b"X-API-Key: %d" % client))[0]
                for client in range(110)
            ]
            assert found == [401] * 100 + [429] * 10
        assert (await from_trusted(peer, b"2001:db8:1::1", b"X-API-Key: tiny"))[0] == 200
        assert (await from_trusted(peer, b"2001:db8:0:ff::1", b"X-API-Key: tiny"))[0] == 429


async def test_who_guesses_from_many_addresses_of_a_network_keeps_no_other_out() -> None:
    async with guarded("trusted_proxies: [127.0.0.1]\n" + STAFF) as site:
        peers = [await site.connect() for _ in range(64)]
        for number, peer in enumerate(peers):
            await peer.send(
                b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 2001:db8:0:%x::1\r\n%b\r\n\r\n"
                % (number, basic("alice", f"guess {number}"))
            )
        threads = site.plane.entrance._threads
        await site.until(lambda: threads._waiting + threads._running == MOST_WAITING)
        other = await site.connect()
        assert (await from_trusted(other, b"203.0.113.9", basic("alice", "open sesame")))[0] == 200
        assert threads._waiting > 10  # it was not behind all of them
        statuses = [(await peer.answer())[0] for peer in peers]
        assert set(statuses) == {401, 503}
        assert statuses.count(401) == MOST_WAITING - 1


async def test_many_connections_with_the_same_new_password_wait_for_one_look() -> None:
    async with guarded(STAFF) as site:
        peers = [await site.connect() for _ in range(20)]
        for peer in peers:
            await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % basic("alice", "open sesame"))
        assert [(await peer.answer())[0] for peer in peers] == [200] * 20


async def test_a_look_that_fails_says_neither_right_nor_wrong() -> None:
    threads, said = Threads(), asyncio.Queue[bool | None]()
    kept = PasswordHash.of(ALICE)
    for given in (cast(bytes, object()), b"open sesame", b"another"):
        assert threads.begin(kept, given, "192.0.2.0/24", said.put_nowait)
        async with asyncio.timeout(10):
            assert await said.get() is {b"open sesame": True, b"another": False}.get(given)
    threads.close()


async def test_a_client_that_leaves_while_its_password_is_looked_at_harms_nobody() -> None:
    async with guarded(STAFF) as site:
        gone = await site.connect()
        await gone.send(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % basic("alice", "open sesame"))
        await site.until(lambda: site.plane.entrance._threads._running)
        gone.cut()
        await site.until(lambda: site.decisions)
        assert site.decisions[-1].outcome == "client-abort"
        assert (await ask(await site.connect(), basic("alice", "open sesame")))[0] == 200


async def test_a_body_that_comes_while_a_password_is_looked_at_reaches_the_server_whole() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.exactly(300_000))
        await peer.send(ok())

    body = bytes(range(256)) * 1172
    body = body[:300_000]
    async with guarded(STAFF, script) as site:
        peer = await site.connect()
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n%b\r\n\r\n%b"
            % (basic("alice", "open sesame"), body)
        )
        assert (await peer.answer())[0] == 200
        assert bodies == [body]


# Tokens.


def users(source: str, more: str = "") -> str:
    return f"""
auth:
  users:
    jwt: {{{source}, issuer: "https://id.example/", audience: [shop], claims_to: {{email: X-Auth-Email}}{more}}}
routes: {{all: {{pool: default, auth: users}}}}
"""


def keyed(kind: str = "ES256", more: str = "") -> str:
    return users(f"public_key: {json.dumps(pem(private(kind)))}", more)


def bearer(text: str) -> bytes:
    return b"Authorization: Bearer " + text.encode()


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
async def test_a_good_token_lets_in_and_the_server_is_told_whose_it_is(kind: str) -> None:
    seen: list[bytes] = []
    async with guarded(keyed(kind), recording(seen)) as site:
        peer = await site.connect()
        good = token(claims(email="a@example.com", groups=["x"]), kind)
        for _ in range(2):
            assert (await ask(peer, bearer(good)))[0] == 200
            assert told(seen[-1], "x-auth-subject") == ["alice"]
            assert told(seen[-1], "x-auth-email") == ["a@example.com"]
            assert told(seen[-1], "authorization") == [f"Bearer {good}"]
        identity = site.decisions[-1].identity
        assert identity is not None
        assert (identity.kind, identity.name, identity.claims["groups"]) == ("jwt", "alice", ["x"])


@pytest.mark.parametrize("kind", ["RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512"])
async def test_other_algorithms_are_taken_when_they_are_named_and_only_then(kind: str) -> None:
    good = token(kind=kind)
    async with guarded(keyed(kind, f", algorithms: [{kind}]")) as site:
        assert (await ask(await site.connect(), bearer(good)))[0] == 200
    async with guarded(keyed(kind)) as site:
        assert (await ask(await site.connect(), bearer(good)))[0] == 401


async def test_a_shared_secret_is_for_hmac_alone() -> None:
    async with guarded(users(f"secret: {json.dumps(SECRET)}")) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(token(kind="HS256"))))[0] == 200
        assert (await ask(peer, bearer(token(kind="HS512"))))[0] == 401
        assert (await ask(peer, bearer(token(kind="ES256"))))[0] == 401


def forged_with_public_key(algorithm: str, text: str) -> str:
    """Signed with HMAC, with what everybody knows as the secret."""
    head, payload = raw({"alg": algorithm, "typ": "JWT"}, claims()).split(".")[:2]
    digest = hmac.new(text.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()
    return f"{head}.{payload}.{urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def cut(text: str, part: int, change: Callable[[str], str]) -> str:
    parts = text.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


NOW = int(time.time())
ATTACKS = {
    "no signature": lambda: raw({"alg": "none"}, claims(), b""),
    "no signature, in other letters": lambda: raw({"alg": "nOnE"}, claims(), b"x"),
    "no algorithm": lambda: raw({}, claims()),
    "algorithm that is no text": lambda: raw({"alg": ["ES256"]}, claims()),
    "algorithm twice": lambda: raw(b'{"alg":"none","alg":"ES256"}', claims()),
    "public key as the secret": lambda: forged_with_public_key("HS256", pem(private("ES256"))),
    "public key as the secret, stripped": lambda: forged_with_public_key("HS256", pem(private("ES256")).strip()),
    "public key as the secret, as JWK": lambda: forged_with_public_key("HS256", json.dumps(jwk(private("ES256")))),
    "other key": lambda: token(kind="ES256", number=1),
    "other kind of key": lambda: token(kind="RS256"),
    "key in the token": lambda: token(kind="ES256", number=1, headers={"jwk": jwk(private("ES256", 1))}),
    "key elsewhere": lambda: token(kind="ES256", number=1, headers={"jku": "http://127.0.0.1:1/", "kid": "x"}),
    "signature of another": lambda: cut(token(claims(sub="admin")), 2, lambda _: token().split(".")[2]),
    "payload of another": lambda: cut(token(), 1, lambda _: token(claims(sub="admin")).split(".")[1]),
    "signature cut": lambda: token()[:-2],
    "signature of zeros": lambda: cut(token(), 2, lambda part: "A" * len(part)),  # CVE-2022-21449
    "signature empty": lambda: cut(token(), 2, lambda _: ""),
    "four parts": lambda: token() + ".x",
    "two parts": lambda: token().rpartition(".")[0],
    "five parts": lambda: token() + ".x.y",
    "dots": lambda: "..",
    "nothing": lambda: "",
    "padding": lambda: token() + "=",
    "other base64": lambda: cut(token(), 2, lambda part: "+" + part[1:]),
    "critical extension that a library knows": lambda: with_header({"alg": "ES256", "crit": ["b64"], "b64": True}),
    "critical extension": lambda: token(headers={"crit": ["exp"], "exp": 1}),
    "payload without encoding": lambda: unencoded(),
    "payload without encoding, put back": lambda: cut(unencoded(), 1, lambda _: token().split(".")[1]),
    "expired": lambda: token(claims(exp=NOW - 60)),
    "expired long ago": lambda: token(claims(exp=1)),
    "never expires": lambda: token(claims(exp=None)),
    "end that is text": lambda: raw_signed({"exp": "9999999999"}),
    "end that is true": lambda: raw_signed({"exp": True}),
    "end that is null": lambda: token({**claims(), "exp": None}),
    "end at infinity": lambda: signed_bytes(b'{"sub":"a","exp":1e999,"iss":"https://id.example/","aud":"shop"}'),
    "end that is no number": lambda: signed_bytes(b'{"sub":"a","exp":NaN,"iss":"https://id.example/","aud":"shop"}'),
    "end twice": lambda: signed_bytes(b'{"exp":9999999999,"exp":1,"iss":"https://id.example/","aud":"shop"}'),
    "number that is none, elsewhere": lambda: signed_bytes(json.dumps({**claims(), "x": float("nan")}).encode()),
    "half a character": lambda: signed_bytes(json.dumps(claims(sub="\ud800")).encode()),
    "subject twice": lambda: signed_bytes(json.dumps(claims()).encode()[:-1] + b', "sub": "admin"}'),
    "begin that is true": lambda: raw_signed({"nbf": True}),
    "begin that is text": lambda: raw_signed({"nbf": "1"}),
    "not yet": lambda: token(claims(nbf=NOW + 600)),
    "other issuer": lambda: token(claims(iss="https://evil.example/")),
    "other spelling of the issuer": lambda: token(claims(iss="https://id.example")),
    "issuers": lambda: raw_signed({"iss": ["https://id.example/"]}),
    "no issuer": lambda: token(claims(iss=None)),
    "other audience": lambda: token(claims(aud="bank")),
    "no audience": lambda: token(claims(aud=None)),
    "part of the audience": lambda: token(claims(aud="sho")),
    "audience in a mapping": lambda: raw_signed({"aud": {"shop": 1}}),
    "too long": lambda: token(claims(x="y" * 9000)),
    "no object": lambda: signed_bytes(b"[1]"),
    "no JSON": lambda: signed_bytes(b"{"),
    "deep": lambda: signed_bytes(b"[" * 5000),
    "no UTF-8": lambda: signed_bytes(b'{"sub":"\xff"}'),
}


def with_header(header: dict[str, object]) -> str:
    """Signed with the right key, under whatever header."""
    signed = raw(header, claims()).rpartition(".")[0]
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(signed.encode(), private("ES256"))  # type: ignore[arg-type]
    return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def unencoded() -> str:
    key = private("ES256")
    said = json.dumps(claims()).encode()
    return PyJWS().encode(said, key, "ES256", {"b64": False}, is_payload_detached=True)  # type: ignore[arg-type]


def raw_signed(more: dict[str, object]) -> str:
    """With a good signature over what a library would refuse to write."""
    return signed_bytes(json.dumps({**claims(), **more}).encode())


def signed_bytes(payload: bytes) -> str:
    key = private("ES256")
    return PyJWS().encode(payload, key, algorithm="ES256")  # type: ignore[arg-type]  # it is one of that kind


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_that_is_not_what_it_has_to_be_lets_nobody_in(attack: str) -> None:
    seen: list[bytes] = []
    async with guarded(keyed(), recording(seen)) as site:
        peer = await site.connect()
        line = bearer(ATTACKS[attack]())
        for _ in range(2):  # what is remembered of it is no better
            status, fields, _ = await ask(peer, line)
            assert status == (400 if attack == "too long" else 401), attack
            assert fields["www-authenticate"].startswith('Bearer realm="restricted"')
        assert seen == []
        assert (await ask(peer, bearer(token())))[0] == 200
        assert all(decision.identity is None for decision in site.decisions[:2])


async def test_a_token_that_comes_twice_is_refused() -> None:
    async with guarded(keyed()) as site:
        peer = await site.connect()
        status, fields, _ = await ask(peer, bearer(token()), bearer(token()))
        assert status == 400
        assert 'error="invalid_request"' in fields["www-authenticate"]
        assert (await ask(peer, bearer(token()), b"Authorization: Basic x"))[0] == 400
        assert (await ask(peer, b"Authorization: Basic x", bearer(token())))[0] == 400
        assert (await ask(peer, bearer(token() + ", " + token())))[0] == 400


async def test_what_is_wrong_with_a_token_is_said_as_the_rfc_has_it() -> None:
    async with guarded(keyed()) as site:
        peer = await site.connect()
        _, fields, _ = await ask(peer)
        assert fields["www-authenticate"] == 'Bearer realm="restricted"'
        _, fields, _ = await ask(peer, bearer(token(claims(exp=NOW - 60))))
        assert fields["www-authenticate"] == (
            'Bearer realm="restricted", error="invalid_token", error_description="the token has expired"'
        )


async def test_clocks_may_differ_by_the_leeway() -> None:
    async with guarded(keyed(more=", leeway: 2m")) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(token(claims(exp=int(time.time()) - 60)))))[0] == 200
        assert (await ask(peer, bearer(token(claims(nbf=int(time.time()) + 60)))))[0] == 200
        assert (await ask(peer, bearer(token(claims(exp=int(time.time()) - 180)))))[0] == 401


REQUIRED = keyed(more=", require: {groups: [staff, admins], scope: ['read:x']}")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"groups": ["staff"], "scope": "read:x write:x"}, 200),
        ({"groups": "admins", "scope": ["read:x"]}, 200),
        ({"groups": ["staff"], "scope": "read:xx"}, 403),
        ({"groups": ["staff"]}, 403),
        ({"groups": ["Staff"], "scope": "read:x"}, 403),
        ({"groups": "staff admins", "scope": "read:x"}, 403),
        ({"groups": [["staff"]], "scope": "read:x"}, 403),
        ({"groups": {"staff": True}, "scope": "read:x"}, 403),
        ({"groups": [], "scope": "read:x"}, 403),
    ],
)
async def test_claims_that_are_required_decide_between_200_and_403(said: dict[str, object], status: int) -> None:
    async with guarded(REQUIRED) as site:
        peer = await site.connect()
        good = bearer(token(claims(**said)))
        for _ in range(2):
            found, fields, _ = await ask(peer, good)
            assert found == status
        if status == 403:
            assert 'error="insufficient_scope"' in fields["www-authenticate"]
            assert site.plane.entrance.tallies["users"].results == {"forbidden": 2}


async def test_a_token_may_be_in_a_cookie_or_in_a_field_of_its_own_and_not_reach_the_server() -> None:
    seen: list[bytes] = []
    good = token()
    async with guarded(keyed(more=", token: cookie:session, forward_credentials: false"), recording(seen)) as site:
        peer = await site.connect()
        assert (await ask(peer, b"Cookie: a=1; session=%b; b=2" % good.encode()))[0] == 200
        assert told(seen[-1], "cookie") == ["a=1; b=2"]
        assert (await ask(peer, b"Cookie: session=%b" % good.encode()))[0] == 200
        assert told(seen[-1], "cookie") == []
        assert (await ask(peer, b"Cookie: session=x; session=%b" % good.encode()))[0] == 400
        assert (await ask(peer, b"Cookie: session=%b" % good.encode(), b"Cookie: session=y"))[0] == 400
        assert (await ask(peer, bearer(good)))[0] == 401
    async with guarded(keyed(more=", token: 'header:X-Token', forward_credentials: false"), recording(seen)) as site:
        peer = await site.connect()
        assert (await ask(peer, b"X-Token: " + good.encode(), b"Authorization: Basic abc"))[0] == 200
        assert told(seen[-1], "x-token") == []
        assert told(seen[-1], "authorization") == ["Basic abc"]


SECOND_COOKIES = [
    b"session =%b",
    b"session\t=%b",
    b"session\xc2\xa0=%b",
    b'"session"=%b',
    b"SESSION=%b",
    b"%%73ession=%b",
    b"session[]=%b",
    b"a=1, session=%b",
    b"a=1 session=%b",
]


@pytest.mark.parametrize("second", SECOND_COOKIES)
async def test_a_second_cookie_that_some_server_takes_for_the_first_is_refused(second: bytes) -> None:
    seen: list[bytes] = []
    good, forged = token().encode(), token(claims(sub="admin"), number=1).encode()
    async with guarded(keyed(more=", token: cookie:session"), recording(seen)) as site:
        peer = await site.connect()
        for line in (b"%b; " + second, second + b"; %b"):
            first, last = (b"session=" + good, forged) if line.startswith(b"%b") else (forged, b"session=" + good)
            assert (await ask(peer, b"Cookie: " + line % (first, last)))[0] == 400
            assert (await ask(peer, b"Cookie: session=" + good, b"Cookie: " + second % forged))[0] == 400
        assert (await ask(peer, b"Cookie: " + second % good))[0] == 401
        assert seen == []
        other = b"my_session=1; __Host-session=2; sessions=3; a=session; session=%b; b=x=="
        assert (await ask(peer, b"Cookie: " + other % good))[0] == 200


@pytest.mark.parametrize("name", [b"X_Token", b"x-token", b"X.Token", b"X_TOKEN"])
async def test_a_second_field_that_some_server_takes_for_the_first_is_refused(name: bytes) -> None:
    seen: list[bytes] = []
    good, forged = token().encode(), token(claims(sub="admin"), number=1).encode()
    async with guarded(keyed(more=", token: 'header:X-Token'"), recording(seen)) as site:
        peer = await site.connect()
        lines = [b"X-Token: " + good, name + b": " + forged]
        assert (await ask(peer, *lines))[0] == 400
        assert (await ask(peer, *reversed(lines)))[0] == 400
        assert seen == []
        assert (await ask(peer, lines[0]))[0] == 200


async def test_what_is_shown_for_a_way_that_did_not_let_in_does_not_reach_servers() -> None:
    text = f"""
    auth:
      partner: {{api_keys: {{keys: {{acme: "sha256:{DIGEST}"}}}}}}
      users: {{jwt: {{secret: "{SECRET}", audience: [shop]}}}}
      site: {{jwt: {{secret: "{SECRET}", audience: [shop], token: "cookie:session"}}}}
      plain: {{basic: {{users: {{alice: "{ALICE}"}}, forward_credentials: true}}}}
    routes: {{all: {{pool: default, auth: [partner, users, site, plain]}}}}
    """
    key, good = b"X-API-Key: " + KEY.encode(), bearer(token(kind="HS256"))
    cookie = b"Cookie: a=1; session=" + token(kind="HS256").encode()
    forged = token(claims(sub="admin"), "HS512").encode()
    seen: list[bytes] = []
    async with guarded(text, recording(seen)) as site:
        peer = await site.connect()
        for lines, authorized, cookies in (
            ([key, b"Authorization: Bearer " + forged, b"Cookie: session=" + forged], False, []),
            ([b"X-API-Key: forged", good, b"Cookie: a=1; Session=forged"], True, ["a=1"]),
            ([b"X_API_Key: forged", b"Authorization: Bearer " + forged, cookie], False, [cookie.decode()[8:]]),
            ([b"X-API-Key: forged", basic("alice", "open sesame"), b"Cookie: a=1; session=x"], True, ["a=1"]),
        ):
            for _ in range(2):  # the second is known by its bytes
                assert (await ask(peer, *lines))[0] == 200
                assert forged not in seen[-1]
                assert b"forged" not in seen[-1]
                assert KEY.encode() not in seen[-1]
                assert bool(told(seen[-1], "authorization")) == authorized
                assert told(seen[-1], "cookie") == cookies


# What servers are told is nobody else's to say.

SPOOFS = [
    b"X-Auth-Subject: admin",
    b"x-auth-subject: admin",
    b"X-AUTH-SUBJECT: admin",
    b"X_Auth_Subject: admin",
    b"X-Auth_Subject: admin",
    b"X.Auth.Subject: admin",
    b"X-Auth-Email: admin@example.com",
    b"X_AUTH_EMAIL: admin@example.com",
]


@pytest.mark.parametrize("spoof", SPOOFS)
async def test_no_client_can_say_who_it_is_by_itself(spoof: bytes) -> None:
    seen: list[bytes] = []
    text = "trusted_proxies: [127.0.0.1]\n" + keyed() + "  open: {match: /open/**, pool: default}\n"
    text = text.replace(
        "routes: {all: {pool: default, auth: users}}\n", "routes:\n  all: {pool: default, auth: users}\n"
    )
    async with guarded(text, recording(seen)) as site:
        peer = await site.connect()
        assert (await ask(peer, bearer(token()), spoof))[0] == 200
        assert (await ask(peer, spoof, bearer(token()), b"Connection: X-Auth-Subject, x_auth_subject"))[0] == 200
        assert (await ask(peer, spoof, path=b"/open/x"))[0] == 200
        assert (await ask(peer, spoof))[0] == 401
        assert len(seen) == 3
        for head in seen:
            assert b"admin" not in head
        assert [told(head, "x-auth-subject") for head in seen] == [["alice"], ["alice"], []]


async def test_no_client_can_say_it_after_its_body_either() -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        bodies.append(await peer.head())
        await peer.send(ok())

    async with guarded(keyed(), script) as site:
        peer = await site.connect()
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
            b"X-Auth-Subject: admin\r\nX_Auth_Email: admin\r\n\r\n" % bearer(token())
        )
        assert (await peer.answer())[0] == 200
        assert bodies == [b"1\r\nx\r\n0\r\n\r\n"]


async def test_values_that_would_be_another_field_or_another_person_are_written_so_that_they_are_not() -> None:
    seen: list[bytes] = []
    async with guarded(keyed(), recording(seen)) as site:
        peer = await site.connect()
        for email in ("a\r\nX-Admin: 1", " admin", "a%0d", ["a,b", "c"], "zoë", {"x": 1}, ""):
            assert (await ask(peer, bearer(token(claims(email=email)))))[0] == 200
        assert [told(head, "x-auth-email") for head in seen] == [
            ["a%0D%0AX-Admin: 1"],
            ["%20admin"],
            ["a%250d"],
            ["a%2Cb,c"],
            ["zoë".encode().decode("latin-1")],
            [],
            [],
        ]
        assert all(told(head, "x-admin") == [] for head in seen)


async def test_there_is_no_way_around_by_another_spelling_of_the_path() -> None:
    seen: list[bytes] = []
    text = keyed().replace(
        "{all: {pool: default, auth: users}}",
        "{app: {match: /app/**, pool: default, auth: users}, open: {pool: default}}",
    )
    async with guarded(text, recording(seen)) as site:
        peer = await site.connect()
        for path in (
            b"/app/x",
            b"/%61pp/x",
            b"//app/x",
            b"/./app/x",
            b"/x/../app/x",
            b"/app;a=1/x",
            b"/app%2fx",
            b"/\\app/x",
        ):
            assert (await ask(peer, path=path))[0] in (400, 401), path
        assert seen == []
        for method in (b"HEAD", b"POST", b"OPTIONS", b"TRACE", b"FOO"):
            await peer.send(b"%b /app/x HTTP/1.1\r\nHost: a\r\n\r\n" % method)
            head = await peer.head()
            assert head.startswith(b"HTTP/1.1 401"), method
            if method != b"HEAD":
                await peer.exactly(int(dict(fields_of(head))["content-length"]))
        assert seen == []


# Several ways, and questions of browsers.


async def test_any_of_several_ways_lets_in_and_all_of_them_are_offered() -> None:
    text = f"""
    auth:
      partner: {{api_keys: {{keys: {{acme: "sha256:{DIGEST}"}}}}}}
      staff: {{basic: {{users: {{alice: "{ALICE}"}}}}}}
      users: {{jwt: {{secret: "{SECRET}", audience: [shop]}}}}
    routes: {{all: {{pool: default, auth: [partner, staff, users]}}}}
    """
    seen: list[bytes] = []
    async with guarded(text, recording(seen)) as site:
        peer = await site.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await peer.head()
        assert told(head, "www-authenticate") == [
            'ApiKey header="X-API-Key"',
            'Basic realm="restricted", charset="UTF-8"',
            'Bearer realm="restricted"',
        ]
        await peer.exactly(int(dict(fields_of(head))["content-length"]))
        good = [b"X-API-Key: " + KEY.encode(), basic("alice", "open sesame"), bearer(token(kind="HS256"))]
        for line in good:
            assert (await ask(peer, line))[0] == 200
        assert [told(one, "x-auth-subject") for one in seen] == [["acme"], ["alice"], ["alice"]]
        assert (await ask(peer, b"X-API-Key: wrong", good[1]))[0] == 200
        assert (await ask(peer, b"X-API-Key: wrong", basic("alice", "wrong")))[0] == 401
        assert (await ask(peer, basic("alice", "wrong"), b"X-API-Key: " + KEY.encode()))[0] == 200
        before = len(site.decisions)
        late = bearer(token(claims(exp=NOW - 60), "HS256"))
        for lines in ([], [b"X-API-Key: wrong"], [b"X-API-Key: wrong", basic("alice", "wrong")], [late]):
            assert (await ask(peer, *lines))[0] == 401
        assert [one.denied for one in site.decisions[before:]] == [
            "missing",
            "partner wrong",
            "partner wrong, staff wrong",
            "users expired",
        ]


async def test_the_questions_of_browsers_pass_where_that_is_allowed_and_nothing_else_does() -> None:
    asks = [b"Origin: https://a.example", b"Access-Control-Request-Method: PUT"]
    text = keyed().replace("  users:\n", "  users:\n    preflight: true\n")
    async with guarded(text) as site:
        peer = await site.connect()
        assert (await ask(peer, *asks, method=b"OPTIONS"))[0] == 200
        assert (await ask(peer, asks[0], method=b"OPTIONS"))[0] == 401
        assert (await ask(peer, *asks, method=b"GET"))[0] == 401
        assert (await ask(peer, *asks, method=b"options"))[0] == 401
    async with guarded(keyed()) as site:
        assert (await ask(await site.connect(), *asks, method=b"OPTIONS"))[0] == 401


@pytest.mark.parametrize(
    "more",
    [
        [b"Connection: Upgrade", b"Upgrade: websocket"],
        [b"Content-Length: 1"],
        [b"Transfer-Encoding: chunked"],
        [b"Cookie: a=1"],
        [b"Authorization: Basic x"],
        [b"X-API-Key: x"],
        [b"X_API_Key: x"],
        [b"X-HTTP-Method-Override: DELETE"],
        [b"X_HTTP_Method_Override: DELETE"],
    ],
)
async def test_a_question_that_says_more_than_those_of_browsers_is_asked_as_any_other(more: list[bytes]) -> None:
    asks = [b"Origin: https://a.example", b"Access-Control-Request-Method: PUT"]
    seen: list[bytes] = []
    text = PARTNER.replace("partner: {", "partner: {preflight: true, ", 1)
    text = text.replace("auth: partner", "auth: partner, upgrades: [websocket]")
    async with guarded(text, recording(seen)) as site:
        peer = await site.connect()
        assert (await ask(peer, *asks, b"Content-Length: 0", method=b"OPTIONS"))[0] == 200
        assert (await ask(peer, *asks, *more, method=b"OPTIONS"))[0] == 401
        assert len(seen) == 1


# Limits by who it is.


async def test_limits_count_by_key_and_by_claim_once_that_is_known() -> None:
    text = f"""
    auth:
      users: {{jwt: {{secret: "{SECRET}", audience: [shop]}}}}
    rate_limits: {{each: {{rate: 2/h, key: "jwt:sub"}}}}
    routes: {{all: {{pool: default, auth: users, rate_limit: each}}}}
    """
    keys = {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("of alice, which is long enough", "of bob, too")
    }
    other = text.replace('"jwt:sub"', "api-key").replace(
        f'jwt: {{secret: "{SECRET}", audience: [shop]}}',
        "api_keys: {keys: {%s}}" % ", ".join(f"k{n}: 'sha256:{one}'" for n, one in enumerate(keys.values())),  # noqa: UP031
    )
    async with guarded(other) as site:
        peer = await site.connect()
        for name in keys:
            found = [(await ask(peer, b"X-API-Key: " + name.encode()))[0] for _ in range(3)]
            assert found == [200, 200, 429]
    async with guarded(text) as site:
        peer = await site.connect()
        for sub in ("alice", "bob"):
            line = bearer(token(claims(sub=sub), "HS256"))
            assert [(await ask(peer, line))[0] for _ in range(3)] == [200, 200, 429]
        assert (await ask(peer))[0] == 401


# Reloads.


async def test_a_reload_takes_back_what_it_takes_out() -> None:
    async with guarded(PARTNER) as site:
        peer = await site.connect()
        line = b"X-API-Key: " + KEY.encode()
        assert (await ask(peer, line))[0] == 200
        port = next(iter(site.plane.snapshot.config.pools["default"].servers.values())).url.rpartition(":")[2]  # type: ignore[union-attr]
        await site.apply(written(PARTNER.replace(DIGEST, "0" * 64), int(port)))
        assert (await ask(peer, line))[0] == 401
        await site.apply(written(PARTNER, int(port)))
        assert (await ask(peer, line))[0] == 200
