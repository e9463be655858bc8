"""Methods, bodies, scanners and careful fields, in a running plane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.decision import Decision
from balancer.guards.request_rules import SCANNED, _paths, scanner_step
from balancer.guards.verdict import Refusal
from balancer.http1.head import parse_request
from balancer.http1.paths import match_path, other_readings
from config.protection import Scanners
from tests.guards.sites import ask, guarded
from tests.proxy.wire import Peer, Script, ok


def answer(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: 2\r\n%b\r\nok" % (status, b"".join(b"%b\r\n" % line for line in lines))


def saying(*lines: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(answer(*lines))

    return script


# Methods and bodies.


@pytest.mark.parametrize(
    "name", [b"X-HTTP-Method-Override", b"x_http_method_override", b"X-Method-Override", b"X-HTTP-Method"]
)
async def test_a_method_that_is_not_offered_can_not_be_named_in_a_field_either(name: bytes) -> None:
    async with guarded("routes: {r: {pool: default, methods: [POST, PATCH]}}") as site:
        peer = await site.connect()
        assert (await ask(peer, name + b": patch", b"Content-Length: 0", method=b"POST"))[0] == 200
        for value in (b"DELETE", b"delete", b"PATCH, DELETE", b""):
            assert (await ask(peer, name + b": " + value, b"Content-Length: 0", method=b"POST"))[0] == 405
        assert (await ask(peer, name + b": PATCH", name + b": DELETE", method=b"POST"))[0] == 405


async def test_a_method_that_is_not_offered_is_answered_405_with_those_that_are() -> None:
    async with guarded("routes: {r: {pool: default, methods: [GET, HEAD]}}") as site:
        peer = await site.connect()
        assert (await ask(peer))[0] == 200
        status, fields, _ = await ask(peer, method=b"DELETE")
        assert (status, fields["allow"]) == (405, "GET, HEAD")
        status, fields, _ = await ask(peer, method=b"get")
        assert status == 405
        assert site.decisions[-1].guarded == "method"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Content-Type: application/json"], 200),
        ([b"Content-Type: Application/JSON ; charset=utf-8"], 200),
        ([b"Content-Type: text/csv"], 200),
        ([b"Content-Type: application/x-www-form-urlencoded"], 415),
        ([b"Content-Type: application/json2"], 415),
        ([b"Content-Type: xapplication/json"], 415),
        ([b"Content-Type: application/json, text/plain"], 415),
        ([b"Content-Type: application/json", b"Content-Type: text/plain"], 415),
        ([b"Content-Type: text/plain", b"Content-Type: application/json"], 415),
        ([b"Content-Type: application/json\t"], 200),
        ([b"Content-Type:"], 415),
        ([], 415),
    ],
)
async def test_a_body_of_another_type_is_refused(lines: list[bytes], status: int) -> None:
    text = "routes: {r: {pool: default, request_body: {types: [application/json, 'text/c*']}}}"

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.exactly(2)
        await peer.send(ok())

    async with guarded(text, script) as site:
        peer = await site.connect()
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n%b\r\n{}" % b"".join(b"%b\r\n" % one for one in lines)
        )
        found, fields, _ = await peer.answer()
        assert found == status
        if status == 415:
            assert fields["accept"] == "application/json"


async def test_a_request_without_a_body_has_no_type_that_could_be_wrong() -> None:
    async with guarded("routes: {r: {pool: default, request_body: {types: [application/json]}}}") as site:
        assert (await ask(await site.connect()))[0] == 200


async def test_a_body_without_a_length_can_be_refused() -> None:
    async with guarded("routes: {r: {pool: default, request_body: {length_required: true}}}") as site:
        peer = await site.connect()
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert (await peer.answer())[0] == 411


# Scanners.


def says(path: bytes, settings: Scanners) -> int:
    head = parse_request(b"GET %b HTTP/1.1\r\nHost: a" % path, 10, 8000)
    verdict = scanner_step(settings)(head, None, Decision("", "", 0.0))  # type: ignore[arg-type]  # it has no say
    return verdict.status if isinstance(verdict, Refusal) else 200


@pytest.mark.parametrize(
    "path",
    [
        b"/.env",
        b"/.env?x=1",
        b"/.ENV",
        b"/.env.production",
        b"/.env/",
        b"/api/.env",
        b"/api/.env.bak",
        b"/.git/HEAD",
        b"/.git",
        b"/app/.git/config",
        b"/wp-login.php",
        b"/blog/wp-login.php",
        b"/WP-Login.PHP",
        b"/xmlrpc.php",
        b"/phpmyadmin/index.php",
        b"/phpMyAdmin",
        b"/%2eenv",
        b"/%2Eenv",
        b"//.env",
        b"/./.env",
        b"/x/../.env",
        b"/x/%2e%2e/.env",
        b"/x%2f..%2f.env",
        b"/x\\..\\.env",
        b"/.env;x=1",
        b"/;x=1/.env",
        b"/.%65nv",
        b"//host/.env",
        b"http://a/.env",
        b"/wp-admin/install.php",
        b"/cgi-bin/luci",
    ],
)
def test_what_only_scanners_ask_for_is_refused_in_every_spelling(path: bytes) -> None:
    assert says(path, Scanners()) == 404
    assert says(path, Scanners(status=403)) == 403


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/env",
        b"/environment",
        b"/.environment",
        b"/.well-known/acme-challenge/x",
        b"/.well-known/security.txt",
        b"/wp-login",
        b"/articles/how-to-git",
        b"/a.git/info/refs",
        b"/git/config",
        b"/docs/.github/x",
        b"/x?file=/.env",
        b"/phpmyadmins",
        b"/search?q=wp-login.php",
        b"/a/../b",
        b"/robots.txt",
    ],
)
def test_what_people_ask_for_is_let_through(path: bytes) -> None:
    assert says(path, Scanners()) == 200


def test_a_site_can_name_further_paths_and_those_that_it_has() -> None:
    settings = Scanners(also=("/old/**", "/x.php"), allow=("/wp-admin/**", "/wp-login.php"))
    assert [says(path, settings) for path in (b"/old", b"/old/y", b"/older", b"/x.php", b"/X.PHP")] == [
        *(404, 404, 200, 404, 404)
    ]
    assert says(b"/wp-login.php", settings) == 200
    assert says(b"/blog/wp-login.php", settings) == 404
    assert says(b"/wp-admin/x", settings) == 200
    assert says(b"/wp-admin/../.env", settings) == 404


@given(st.sampled_from(SCANNED), st.data())
def test_no_mixture_of_needless_encoding_and_case_hides_a_path(pattern: str, data: st.DataObject) -> None:
    spelt = b""
    for char in pattern.removesuffix("/**").encode():
        how = data.draw(st.sampled_from(["as is", "encoded", "other case"]))
        if how == "encoded" and char != ord("/"):
            spelt += b"%%%02x" % char
        elif how == "other case":
            spelt += bytes((char,)).swapcase()
        else:
            spelt += bytes((char,))
    assert says(spelt, Scanners()) == 404


PIECES = st.sampled_from(
    [*"/.;%\\", "/", ".env", ".env.x", "wp-login.php", ".git", "config", "vendor", "phpunit", "x", "..", "%2f", "%2E"]
)


@given(st.lists(PIECES, max_size=6))
def test_the_quick_look_at_a_path_lets_nothing_through(pieces: list[str]) -> None:
    path = "/" + "".join(pieces)
    whole = _paths(SCANNED, anywhere=True)
    readings = [match_path(path.encode()), *other_readings(path.encode(), match_path(path.encode()))]
    expected = 404 if any(whole.fullmatch(reading.lower()) for reading in readings) else 200
    assert says(path.encode(), Scanners()) == expected


async def test_a_scanner_is_answered_as_if_there_were_nothing_and_counted() -> None:
    asked: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            asked.append(await peer.head())
            await peer.send(ok())

    text = """
    refuse_scanners: true
    routes: {r: {pool: default}, own: {match: /own/**, pool: default, refuse_scanners: false}}
    """
    async with guarded(text, script) as site:
        peer = await site.connect()
        assert (await ask(peer, path=b"/.env"))[0] == 404
        assert site.decisions[-1].guarded == "scanner"
        assert (await ask(peer, path=b"/own/.env"))[0] == 200
        assert len(asked) == 1
        assert site.plane.report().routes["r"].guarded == {"scanner": 1}


# Fields for browsers.

DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "strict-origin-when-cross-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


async def test_browsers_are_made_careful_over_plain_http_without_hsts() -> None:
    async with guarded("security_headers: true") as site:
        _, fields, _ = await ask(await site.connect())
        assert {name: fields[name] for name in DEFAULTS} == DEFAULTS
        assert "strict-transport-security" not in fields
        assert "content-security-policy" not in fields


async def test_what_the_server_says_is_never_overwritten_or_said_twice() -> None:
    async with guarded(
        "security_headers: true", saying(b"x-frame-options: DENY", b"Referrer-Policy: no-referrer")
    ) as site:
        peer = await site.connect()
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        raw = (await peer.head()).lower()
        assert raw.count(b"x-frame-options") == 1
        assert b"x-frame-options: deny" in raw
        assert raw.count(b"referrer-policy") == 1


async def test_the_operators_own_edits_come_before_the_preset() -> None:
    text = """
    security_headers: {hsts: null, permissions_policy: null, content_security_policy: "default-src 'self'"}
    routes:
      r: {pool: default, headers: {response: {set: {X-Frame-Options: DENY}, remove: [Referrer-Policy]}}}
    """
    async with guarded(text) as site:
        _, fields, _ = await ask(await site.connect())
        assert fields["x-frame-options"] == "DENY"
        assert "referrer-policy" not in fields
        assert "permissions-policy" not in fields
        assert fields["content-security-policy"] == "default-src 'self'"


async def test_errors_of_the_balancers_own_are_careful_too_and_say_nothing_twice() -> None:
    async with guarded("routes: {r: {pool: default, security_headers: true, methods: [GET]}}") as site:
        peer = await site.connect()
        await peer.send(b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n")
        raw = (await peer.head()).lower()
        assert raw.count(b"x-content-type-options: nosniff") == 1
        assert raw.count(b"x-frame-options: sameorigin") == 1


async def test_a_304_says_nothing_that_could_replace_what_the_client_has() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n')

    async with guarded("security_headers: true", script) as site:
        status, fields, _ = await ask(await site.connect(), b'If-None-Match: "x"')
        assert status == 304
        assert DEFAULTS.keys().isdisjoint(fields)


TRUSTED = "trusted_proxies: [127.0.0.1]\nsecurity_headers: true\n"


@pytest.mark.parametrize(("proto", "told"), [(b"https", True), (b"http", False), (b"https, http", False)])
async def test_hsts_is_said_to_who_came_by_https_to_a_trusted_proxy(proto: bytes, told: bool) -> None:
    async with guarded(TRUSTED) as site:
        _, fields, _ = await ask(await site.connect(), b"X-Forwarded-Proto: " + proto)
        assert ("strict-transport-security" in fields) == told


async def test_a_stored_answer_is_as_careful_and_each_scheme_has_its_own() -> None:
    async with guarded(TRUSTED + "cache: true", saying(b"Cache-Control: max-age=60", b'ETag: "x"')) as site:
        peer = await site.connect()
        for proto, told in ((b"https", True), (b"http", False)):
            for cache in ("fwd=uri-miss", "hit"):
                _, fields, _ = await ask(peer, b"X-Forwarded-Proto: " + proto)
                assert cache in fields["cache-status"]
                assert fields["x-frame-options"] == "SAMEORIGIN"
                assert ("strict-transport-security" in fields) == told
            status, fields, _ = await ask(peer, b"X-Forwarded-Proto: " + proto, b'If-None-Match: "x"')
            assert status == 304
            assert "x-frame-options" not in fields
