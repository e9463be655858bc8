"""The cache behind auth: nothing stored is for who is not let in, and nothing personal is stored."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from balancer.guards.passwords import hashed
from tests.guards.issuer import SECRET, claims, token
from tests.guards.sites import ask, guarded
from tests.proxy.wire import Peer, Site, ok

KEYS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("key-of-alice", "key-of-bob")}
PASSWORD = str(hashed(b"open sesame", bytes(16), n=2**13, p=1))
TEXT = f"""
cache: true
auth:
  keys: {{api_keys: {{keys: {{alice: "sha256:{KEYS["key-of-alice"]}", bob: "sha256:{KEYS["key-of-bob"]}"}}}}}}
  basic: {{basic: {{users: {{alice: "{PASSWORD}", bob: "{PASSWORD}"}}}}}}
  cookie: {{jwt: {{secret: "{SECRET}", audience: [shop], token: "cookie:s", forward_credentials: false}}}}
routes:
  keys: {{match: /keys/**, pool: default, auth: keys}}
  basic: {{match: /basic/**, pool: default, auth: basic}}
  cookie: {{match: /cookie/**, pool: default, auth: cookie}}
  open: {{pool: default}}
"""
WAYS = ("keys", "basic", "cookie")


def shown(way: str, who: str) -> bytes:
    if way == "keys":
        return f"X-API-Key: key-of-{who}".encode()
    if way == "basic":
        return b"Authorization: Basic " + b64encode(f"{who}:open sesame".encode())
    return b"Cookie: s=" + token(claims(sub=who), "HS256").encode()


@asynccontextmanager
async def site(control: bytes, *more: bytes) -> AsyncIterator[tuple[Site, list[bytes]]]:
    """A server that tells each who they are, and says how that may be cached."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            seen.append(head)
            who = next((line for line in head.split(b"\r\n") if line.startswith(b"X-Auth-Subject")), b"nobody")
            fields = b"".join(b"%b\r\n" % one for one in (b"Cache-Control: " + control, b'ETag: "1"', *more))
            await peer.send(ok(who, fields))

    async with guarded(TEXT, script) as running:
        yield running, seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "control", [b"max-age=600", b"max-age=600, stale-while-revalidate=600", b"max-age=600, immutable"]
)
async def test_what_a_server_says_to_one_is_said_to_no_other_however_they_showed_who_they_are(
    way: str, control: bytes
) -> None:
    async with site(control) as (running, seen):
        peer = await running.connect()
        path = f"/{way}/x".encode()
        for who in ("alice", "bob", "alice"):
            status, fields, body = await ask(peer, shown(way, who), path=path)
            assert (status, body) == (200, b"X-Auth-Subject: " + who.encode())
            assert "detail=authorization" in fields["cache-status"]
        assert (await ask(peer, path=path))[0] == 401
        assert len(seen) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("control", [b"public, max-age=600", b"s-maxage=600", b"max-age=600, must-revalidate"])
async def test_what_is_marked_for_all_is_stored_and_only_for_who_is_let_in(way: str, control: bytes) -> None:
    async with site(control) as (running, seen):
        peer = await running.connect()
        path = f"/{way}/x".encode()
        assert (await ask(peer, shown(way, "alice"), path=path))[0] == 200
        status, fields, body = await ask(peer, shown(way, "bob"), path=path)
        assert (status, body) == (200, b"X-Auth-Subject: alice")
        assert "hit" in fields["cache-status"]
        for line in (b"X-Nothing: 1", b"X-API-Key: wrong", b'If-None-Match: "1"', b"Range: bytes=0-3"):
            assert (await ask(peer, line, path=path))[0] == 401
        status, _, _ = await ask(peer, b'If-None-Match: "1"', shown(way, "bob"), path=path)
        assert status == 304
        assert len(seen) == 1


async def test_what_varies_by_who_it_is_has_an_answer_for_each() -> None:
    async with site(b"public, max-age=600", b"Vary: X-Auth-Subject") as (running, seen):
        peer = await running.connect()
        for _ in range(2):
            for who in ("alice", "bob"):
                _, _, body = await ask(peer, shown("keys", who), path=b"/keys/x")
                assert body == b"X-Auth-Subject: " + who.encode()
        assert len(seen) == 2


async def test_nobody_waits_for_the_answer_to_another_person() -> None:
    async with site(b"max-age=600") as (running, seen):
        peers = [await running.connect() for _ in range(6)]
        for number, peer in enumerate(peers):
            line = shown("keys", ("alice", "bob")[number % 2])
            await peer.send(b"GET /keys/x HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line)
        bodies = [(await peer.answer())[2] for peer in peers]
        assert bodies == [b"X-Auth-Subject: alice", b"X-Auth-Subject: bob"] * 3
        assert len(seen) == 6


async def test_a_route_without_auth_is_cached_as_ever() -> None:
    async with site(b"max-age=600") as (running, seen):
        peer = await running.connect()
        for _ in range(2):
            assert (await ask(peer, path=b"/x"))[2] == b"nobody"
        assert len(seen) == 1
