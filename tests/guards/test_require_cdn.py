"""Requests that have to come through a CDN, and those that come past it, in a running plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from balancer.http1.proxy_protocol import encode_v1
from balancer.ranges.book import Ranges
from config.load import parse
from config.problems import ConfigError
from tests.guards.sites import ask
from tests.proxy.wire import Peer, Site, ok, serving, site

EDGE, OTHER, ADMIN = "173.245.48.9", "203.0.113.7", "198.51.100.20"
SECRET = "a-secret-that-the-cdn-sends"
HEADER = b"X-Origin-Secret: %b" % SECRET.encode()
RULE = "{mode: refuse, allow: [198.51.100.0/24]}"
SECRETIVE = f"{{mode: refuse, allow: [198.51.100.0/24], secret: {SECRET}}}"


async def nothing(place: str) -> bytes:
    raise OSError("no network")


def text(port: int, rule: str, proxies: str = "[127.0.0.1, cloudflare]", more: str = "") -> str:
    return (
        f"listeners: {{main: {{address: '127.0.0.1:0', proxy_protocol: accept}}}}\nservers: ['http://127.0.0.1:{port}']\n"
        f"defaults: {{health: {{active: false}}}}\ntrusted_proxies: {proxies}\nrequire_cdn: {rule}\n{more}"
    )


@asynccontextmanager
async def requiring(
    rule: str, proxies: str = "[127.0.0.1, cloudflare]", more: str = ""
) -> AsyncIterator[tuple[Site, list[bytes]]]:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append(await peer.head())
            await peer.send(ok())

    async with serving(script) as (server,):
        settings = parse(text(server.port, rule, proxies, more), "test", {}).config
        async with site(settings, Ranges(None, lambda *_: None, ask=nothing)) as here:
            yield here, heads


async def come(here: Site, address: str, *lines: bytes, path: bytes = b"/", method: bytes = b"GET") -> int:
    """One request on a connection from this address, as a proxy on this machine tells it."""
    peer = await here.connect()
    await peer.send(encode_v1((address, 4711), ("192.0.2.1", 443)))
    return (await ask(peer, *lines, path=path, method=method))[0]


def results(here: Site) -> dict[str, int]:
    found = here.plane.report().require_cdn
    assert found is not None
    return dict(found.results)


async def test_what_comes_from_the_cdns_networks_is_served_and_the_rest_is_refused() -> None:
    async with requiring(RULE) as (here, heads):
        assert await come(here, EDGE) == 200
        assert await come(here, OTHER) == 403
        assert here.decisions[-1].guarded == "past-cdn"
        assert here.decisions[-1].outcome == "refused"
        assert await come(here, ADMIN) == 200
        assert here.decisions[-1].guarded == ""
        assert len(heads) == 2
        assert results(here) == {"through": 1, "address": 1, "allowed": 1}


async def test_a_refusal_says_why_in_words() -> None:
    async with requiring(RULE) as (here, _):
        status, fields, body = await ask(await here.connect())
        assert status == 403
        assert b"this site is reached through its CDN only" in body
        assert fields["cache-control"] == "no-store"


async def test_in_log_mode_all_are_served_and_those_past_the_cdn_are_marked() -> None:
    async with requiring("log") as (here, heads):
        assert [await come(here, address) for address in (EDGE, OTHER, ADMIN)] == [200, 200, 200]
        assert [one.guarded for one in here.decisions] == ["", "past-cdn", "past-cdn"]
        assert len(heads) == 3
        assert results(here) == {"through": 1, "address": 2}


async def test_a_plain_proxy_that_is_trusted_is_no_cdn() -> None:
    async with requiring(RULE) as (here, _):
        peer = await here.connect()  # from 127.0.0.1, which is trusted and not named
        assert (await ask(peer))[0] == 403
        assert (await ask(peer, b"X-Forwarded-For: %b" % EDGE.encode()))[0] == 403


async def test_nobodys_word_brings_a_client_past_the_cdn() -> None:
    async with requiring(SECRETIVE) as (here, _):
        peer = await here.connect()
        assert (await ask(peer, b"X-Forwarded-For: %b" % ADMIN.encode()))[0] == 403
        assert await come(here, EDGE, b"X-Forwarded-For: %b" % ADMIN.encode()) == 403  # of another customer
        assert here.decisions[-1].client == ADMIN


@pytest.mark.parametrize(
    "claim",
    [
        b"X-Forwarded-For: 173.245.48.9",
        b"X-Forwarded-For: 198.51.100.20",
        b"X-Forwarded-For: 173.245.48.9, 198.51.100.20",
        b"Forwarded: for=198.51.100.20",
        b"X-Real-IP: 173.245.48.9",
        b"CF-Connecting-IP: 198.51.100.20",
        b"CF-Ray: 8f0000000000-FRA",
        b"CDN-Loop: cloudflare",
        b"Via: 1.1 cloudflare",
        b"X_Forwarded_For: 198.51.100.20",
        b"Host: 173.245.48.9",
        b"True-Client-IP: 198.51.100.20",
    ],
)
async def test_no_field_makes_a_request_come_through_the_cdn(claim: bytes) -> None:
    async with requiring(RULE) as (here, heads):
        peer = await here.connect()
        await peer.send(encode_v1((OTHER, 1), ("192.0.2.1", 443)))
        host = b"" if claim.startswith(b"Host") else b"Host: site\r\n"
        await peer.send(b"GET / HTTP/1.1\r\n%b%b\r\n\r\n" % (host, claim))
        assert (await peer.answer())[0] == 403
        assert heads == []


async def test_another_customer_of_the_cdn_is_refused_without_the_secret() -> None:
    async with requiring(SECRETIVE) as (here, heads):
        assert await come(here, EDGE) == 403
        assert await come(here, EDGE, HEADER) == 200
        assert await come(here, OTHER, HEADER) == 403  # whoever has learned the secret
        assert await come(here, ADMIN) == 200
        assert results(here) == {"secret": 1, "through": 1, "address": 1, "allowed": 1}
        assert len(heads) == 2


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"X-Origin-Secret:"],
        [b"X-Origin-Secret: wrong"],
        [b"X-Origin-Secret: " + SECRET[:-1].encode()],
        [b"X-Origin-Secret: " + SECRET.encode() + b"x"],
        [b"X-Origin-Secret: " + SECRET.upper().encode()],
        [HEADER, HEADER],
        [b"X-Origin-Secret: wrong", HEADER],
        [b"X_Origin_Secret: " + SECRET.encode()],
        [b"X-Origin-Secret: \xff\xfe"],
        [b"Cookie: X-Origin-Secret=" + SECRET.encode()],
    ],
)
async def test_a_secret_that_is_not_exactly_the_secret_is_none(lines: list[bytes]) -> None:
    async with requiring(SECRETIVE) as (here, heads):
        assert await come(here, EDGE, *lines) == 403
        assert heads == []


async def test_a_secret_in_the_target_is_none() -> None:
    async with requiring(SECRETIVE) as (here, _):
        assert await come(here, EDGE, path=b"/?X-Origin-Secret=" + SECRET.encode()) == 403


@pytest.mark.parametrize("rule", [SECRETIVE, SECRETIVE.replace("refuse", "log")])
@pytest.mark.parametrize("address", [EDGE, ADMIN])
async def test_servers_are_never_told_the_secret(rule: str, address: str) -> None:
    async with requiring(rule) as (here, heads):
        assert await come(here, address, HEADER, b"Connection: X-Origin-Secret", b"X-Kept: 1") == 200
        assert await come(here, ADMIN, b"X_Origin_Secret: x", HEADER, method=b"POST") == 200
        assert len(heads) == 2
        assert all(b"secret" not in head.lower() for head in heads)
        assert b"X-Kept: 1" in heads[0]


async def test_a_service_that_is_asked_who_may_come_is_not_told_the_secret() -> None:
    more = """
auth: {door: {forward: {pool: default, path: /who}}}
routes: {all: {pool: default, auth: door}}
"""
    async with requiring(SECRETIVE, more=more) as (here, heads):
        assert await come(here, EDGE, HEADER) == 200
        assert heads[0].startswith(b"GET /who ")
        assert len(heads) == 2
        assert all(b"secret" not in head.lower() for head in heads)


async def test_a_secret_alone_decides_where_no_cdn_is_named() -> None:
    async with requiring(f"{{mode: refuse, secret: {SECRET}}}", "[127.0.0.1]") as (here, _):
        assert await come(here, OTHER, HEADER) == 200
        assert await come(here, OTHER) == 403


async def test_nobody_comes_through_a_cdn_whose_networks_are_not_known() -> None:
    async with requiring(RULE, "[127.0.0.1, bunny]") as (here, _):
        assert await come(here, EDGE) == 403
        assert await come(here, ADMIN) == 200


async def test_without_the_rule_there_is_no_guard_and_nothing_is_counted() -> None:
    async with requiring("null") as (here, _):
        assert await come(here, OTHER) == 200
        assert here.plane.report().require_cdn is None
        assert all(route.guard is None for route in here.plane.reception.table.routes.values())


async def test_a_reload_takes_the_rule_back() -> None:
    async with requiring(RULE) as (here, _):
        assert here.plane.snapshot is not None
        before = here.plane.snapshot.config
        await here.apply(before.model_copy(update={"require_cdn": None}))
        assert await come(here, OTHER) == 200
        await here.apply(before)
        assert await come(here, OTHER) == 403


@pytest.mark.parametrize(
    ("rule", "proxies", "problem"),
    [
        ("refuse", "[10.0.0.0/8]", "needs a CDN in `trusted_proxies`"),
        ("{mode: refuse, secret: null}", "[10.0.0.0/8]", "needs a CDN in `trusted_proxies`"),
        ("{secret: short}", "[cloudflare]", "must have at least 16 characters"),
        (f"{{secret: ' {SECRET}'}}", "[cloudflare]", "must be printable ASCII"),
        (f"{{secret: 'ü{SECRET}'}}", "[cloudflare]", "must be printable ASCII"),
        (f"{{secret: {SECRET}, header: Authorization}}", "[cloudflare]", "must be a field of its own"),
        (f"{{secret: {SECRET}, header: X-Forwarded-For}}", "[cloudflare]", "must be a field of its own"),
        (f"{{secret: {SECRET}, header: X-API-Key}}", "[cloudflare]", "must be a field of its own"),
        (f"{{secret: {SECRET}, header: 'X Y'}}", "[cloudflare]", "header"),
        ("maybe", "[cloudflare]", "require_cdn"),
    ],
)
def test_what_could_not_hold_is_refused_by_its_place(rule: str, proxies: str, problem: str) -> None:
    key = "auth: {apps: {api_keys: {keys: {a: {hash: 'sha256:" + "0" * 64 + "'}}}}}\n"
    with pytest.raises(ConfigError) as error:
        parse(text(1, rule, proxies, key), "test", {})
    assert problem in str(error.value)
    assert "require_cdn" in str(error.value)
    assert SECRET not in str(error.value)


def test_logging_without_anything_to_tell_by_is_warned_of() -> None:
    (warning,) = parse(text(1, "log", "[10.0.0.0/8]"), "test", {}).warnings
    assert "needs a CDN" in str(warning)
