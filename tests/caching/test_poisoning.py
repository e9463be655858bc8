"""What one client sends must not get into another's answer, unless the two are told apart by it."""

from __future__ import annotations

import pytest

from tests.caching.case import proves
from tests.caching.lab import Lab
from tests.caching.server import Asked, Place, says

THEME = "Poisoning"
MARK = "poison.test"

STEERING = (
    "X-Forwarded-Host: poison.test",
    "X-Forwarded-Server: poison.test",
    "X-Forwarded-Proto: poison.test",
    "X-Forwarded-Scheme: poison.test",
    "X-Forwarded-Port: poison.test",
    "X-Forwarded-Prefix: /poison.test",
    "X-Forwarded-Path: /poison.test",
    "X-Forwarded-Uri: /poison.test",
    "X-Forwarded-Ssl: poison.test",
    "X-Forwarded-Method: poison.test",
    "X-Host: poison.test",
    "X-Original-Host: poison.test",
    "X-HTTP-Host-Override: poison.test",
    "X-Original-URL: /poison.test",
    "X-Rewrite-URL: /poison.test",
    "X-Original-Method: poison.test",
    "X-HTTP-Method: poison.test",
    "X-HTTP-Method-Override: poison.test",
    "X-Method-Override: poison.test",
    "X-Url-Scheme: poison.test",
    "Front-End-Https: poison.test",
    "X-Forwarded: poison.test",
    "X-Forward-Host: poison.test",
    "Forwarded-Host: poison.test",
    "X-Original-Uri: /poison.test",
    "X-Scheme: poison.test",
    "X-Script-Name: /poison.test",
    "SCRIPT_NAME: /poison.test",
    "PATH_INFO: /poison.test",
    "X_Forwarded_Host: poison.test",
    "Forwarded: host=poison.test",
    "Forwarded: for=1.2.3.4;host=poison.test;proto=https",
    "Forwarded: for=1.2.3.4, for=5.6.7.8;host=\"poison.test\"",
    "Proxy: http://poison.test",
)  # fmt: skip
"""Fields that make frameworks build other links, redirect, or take another method or path."""
ADDRESSES = ("X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6", "Forwarded: for=6.6.6.6")


def reflected(asked: Asked) -> bytes:
    """What a page makes of everything that it was sent."""
    return "\n".join(f"{name}: {value}" for name, value in asked.fields).encode("latin-1") + asked.body


def reflecting(lab: Lab, name: str) -> Place:
    place = lab.place(name)
    place.always = says("Cache-Control: public, max-age=3600", body=reflected)
    return place


@pytest.mark.parametrize("site", ["plain", "trusting"])
@pytest.mark.parametrize("line", STEERING)
@proves(THEME, "poisoning", "What steers a server is in no answer to a client that did not send it, trusted or not.")
def test_what_steers_a_server_reaches_nobody_else(lab: Lab, site: str, line: str) -> None:
    place = reflecting(lab, "steered")
    client, other = lab.client(site), lab.client(site)
    assert client.ask(f"/{place.name}", line).status == 200
    assert MARK.encode() not in other.ask(f"/{place.name}").body


@pytest.mark.parametrize("site", ["plain", "trusting"])
@pytest.mark.parametrize("line", STEERING)
@proves(THEME, "poisoning", "Nor does a client that sends it take another's place in what is stored.")
def test_what_steers_a_server_replaces_nothing(lab: Lab, site: str, line: str) -> None:
    place = reflecting(lab, "replaced")
    client = lab.client(site)
    first = client.ask(f"/{place.name}").body
    for extra in ((), ("Cache-Control: no-cache",), ("Cache-Control: max-age=0",)):
        client.ask(f"/{place.name}", line, *extra)
        body = client.ask(f"/{place.name}").body
        assert MARK.encode() not in body
        assert body.count(b"\n") == first.count(b"\n") or extra


@pytest.mark.parametrize("line", ADDRESSES)
@proves(THEME, "poisoning", "What a client that is not trusted says of its address is in nobody's answer.")
def test_a_false_address_reaches_nobody(lab: Lab, line: str) -> None:
    place = reflecting(lab, "address")
    client = lab.client("plain")
    assert b"6.6.6.6" not in client.ask(f"/{place.name}", line).body
    assert b"6.6.6.6" not in client.ask(f"/{place.name}").body


@proves(THEME, "poisoning", "Two hosts that a trusted proxy tells of in X-Forwarded-Host have two answers.")
def test_trusted_hosts_have_answers_of_their_own(lab: Lab) -> None:
    place = reflecting(lab, "trusted-hosts")
    client = lab.client("trusting")
    bodies = {host: client.ask(f"/{place.name}", f"X-Forwarded-Host: {host}").body for host in ("a.test", "b.test")}
    assert b"a.test" in bodies["a.test"]
    assert b"b.test" in bodies["b.test"]
    assert b"a.test" not in bodies["b.test"]


@proves(THEME, "poisoning", "So have the two schemes in X-Forwarded-Proto.")
def test_trusted_schemes_have_answers_of_their_own(lab: Lab) -> None:
    place = reflecting(lab, "trusted-schemes")
    client = lab.client("trusting")
    secure = client.ask(f"/{place.name}", "X-Forwarded-Proto: https").body
    plain = client.ask(f"/{place.name}", "X-Forwarded-Proto: http").body
    assert b"https" in secure
    assert b"https" not in plain


@pytest.mark.parametrize(
    ("lines", "others"),
    [
        (("X-Forwarded-Host: poison.test", "X-Forwarded-Host: site.test"), ("X-Forwarded-Host: site.test",)),
        (("X-Forwarded-Proto: poison.test", "X-Forwarded-Proto: http"), ("X-Forwarded-Proto: http",)),
        (("X-Forwarded-Host: poison.test/", "X-Forwarded-Host:"), ()),
        (("Forwarded: host =poison.test",), ()),
        (("Forwarded: for=1.2.3.4 ; proto\t= poison.test",), ()),
    ],
)
@proves(THEME, "poisoning", "What counts of a trusted proxy's fields is what servers are told, however it is written.")
def test_fields_of_a_proxy_are_read_as_servers_are_told(
    lab: Lab, lines: tuple[str, ...], others: tuple[str, ...]
) -> None:
    place = reflecting(lab, "told")
    client = lab.client("trusting")
    assert MARK.encode() in client.ask(f"/{place.name}", *lines).body
    assert MARK.encode() not in client.ask(f"/{place.name}", *others).body


@proves(THEME, "poisoning", "A scheme that is none makes no key of another URL.")
def test_a_scheme_that_is_none_makes_no_other_url(lab: Lab) -> None:
    place = reflecting(lab, "scheme")
    client = lab.client("trusting")
    path = f"/{place.name}"
    assert MARK.encode() in client.ask(path, f"X-Forwarded-Proto: http://site.test{path}?", "X-Meta: poison.test").body
    assert MARK.encode() not in client.ask(f"{path}?://site.test{path}").body


@proves(
    THEME, "RFC 9110 section 9.3.1", "A GET with a body is answered by the server, and its answer is nobody else's."
)
def test_the_body_of_a_get_reaches_nobody_else(lab: Lab) -> None:
    place = reflecting(lab, "fat")
    fat = lab.client()
    fat.send_bytes(f"GET /{place.name} HTTP/1.1\r\nHost: site.test\r\nContent-Length: 11\r\n\r\npoison.test".encode())
    assert MARK.encode() in fat.answer().body
    other = lab.client()
    assert MARK.encode() not in other.ask(f"/{place.name}").body


@proves(THEME, "RFC 9110 section 9.3.1", "Nor is it answered with what a GET without one brought.")
def test_a_get_with_a_body_is_not_answered_from_the_cache(lab: Lab) -> None:
    place = reflecting(lab, "fat-second")
    client = lab.client()
    client.ask(f"/{place.name}")
    client.send_bytes(
        f"GET /{place.name} HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        + b"b\r\npoison.test\r\n0\r\n\r\n"
    )
    assert MARK.encode() in client.answer().body
    assert MARK.encode() not in client.ask(f"/{place.name}").body


@proves(
    THEME,
    "RFC 9112 section 3.2.2",
    "Where target and Host name two hosts, that of the target counts.",
)
def test_host_does_not_count_beside_a_whole_target(lab: Lab) -> None:
    place = reflecting(lab, "two-hosts")
    client = lab.client()
    client.ask(f"http://site.test/{place.name}", host="poison.test")
    body = client.ask(f"/{place.name}", host="site.test").body
    assert MARK.encode() not in body


@pytest.mark.parametrize("host", ["SITE.test", "site.test:80", "SITE.TEST:80"])
@proves(
    THEME,
    "RFC 9110 section 4.2.3",
    "Spellings of a host that share an answer differ in letters and the usual port only.",
)
def test_spellings_of_a_host_are_bounded(lab: Lab, host: str) -> None:
    place = reflecting(lab, "spelled")
    client = lab.client()
    client.ask(f"/{place.name}", host=host)
    assert b"host: site.test" in client.ask(f"/{place.name}").body.lower()


@pytest.mark.parametrize(
    "line",
    [
        "Range: bytes=0-3",
        'If-None-Match: "poison"',
        "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT",
        'If-Range: "poison"',
        "Accept-Encoding: poison",
        "Expect: 100-continue",
        "TE: trailers",
        "Connection: X-Poison, Cookie",
    ],
)
@proves(THEME, "RFC 9111 section 4", "What one client asks for in particular does not become the answer for all.")
def test_what_one_asks_for_is_not_the_answer_for_all(lab: Lab, line: str) -> None:
    place = lab.place("particular")
    place.always = says("Cache-Control: public, max-age=3600", 'ETag: "poison"', body=b"0123456789", honest=True)
    client, other = lab.client(), lab.client()
    first = client.ask(f"/{place.name}", line)
    assert first.status in (200, 206, 304, 417)
    seen = other.ask(f"/{place.name}")
    assert (seen.status, seen.body) == (200, b"0123456789")


@pytest.mark.parametrize(
    "field", ["X-Oversized: " + "x" * 12000, "X-Meta: \x01", "Transfer-Encoding: poison", "Content-Length: x"]
)
@proves(THEME, "poisoning", "An error that one client's odd request causes is not stored for others.")
def test_an_error_of_one_is_not_stored_for_others(lab: Lab, field: str) -> None:
    place = lab.place("denied")
    place.always = says(body=b"0123456789", status=200)
    client, other = lab.client("ruled"), lab.client("ruled")
    client.send(f"/negative/{place.name}", field)
    client.answer()
    assert other.ask(f"/negative/{place.name}").status == 200
