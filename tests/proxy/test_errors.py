"""What clients get when the balancer has to answer with an error itself: over the wire, in the form they want."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h11
import pytest

from config.error_page import PageFile
from config.schema import Config
from tests.proxy.wire import Site, config, ok, replies, serving, site

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NOBODY = {"a": 1}  # a port where nobody listens


def with_page(text: str | None, route: Mapping[str, Any] | None = None) -> Config:
    page = None if text is None else PageFile("error.html", text)
    return config(NOBODY, route, {"errors": {"page": page}})


async def failing(
    running: Site, accept: bytes | None = None, method: bytes = b"GET", fields: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """One request to a site with nobody behind it, on a connection that goes on, as h11 reads the answer."""
    wanted = b"" if accept is None else b"Accept: %b\r\n" % accept
    raw = await running.ask(b"%b / HTTP/1.1\r\nHost: x\r\n%b%bConnection: close\r\n\r\n" % (method, wanted, fields))
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Connection", "close")]))
    judge.send(h11.EndOfMessage())
    judge.receive_data(raw)
    judge.receive_data(b"")
    head = judge.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := judge.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head.status_code, {name.decode(): value.decode("latin-1") for name, value in head.headers}, body


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain; charset=utf-8"),
        (b"*/*", "text/plain; charset=utf-8"),
        (BROWSER, "text/html; charset=utf-8"),
        (b"application/json", "application/json"),
        (b"application/problem+json", "application/problem+json"),
        (b"\xff", "text/plain; charset=utf-8"),
    ],
    ids=str,
)
async def test_an_error_comes_in_the_form_that_was_asked_for(accept: bytes | None, kind: str) -> None:
    async with site(with_page(None)) as running:
        status, fields, body = await failing(running, accept)
    assert status == 502
    assert fields["content-type"] == kind
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["cache-control"] == "no-store"
    assert fields["vary"] == "Accept"
    assert fields["x-request-id"].encode() in body
    assert running.decisions[0].bytes_out == len(body)
    if kind.endswith("json"):
        assert json.loads(body)["request_id"] == fields["x-request-id"]


async def test_an_error_to_a_head_request_has_the_length_of_its_body_and_no_body() -> None:
    async with site(with_page(None)) as running:
        _, asked, body = await failing(running, BROWSER)
        status, fields, none = await failing(running, BROWSER, b"HEAD")
    assert (status, none) == (502, b"")
    assert fields["content-type"] == asked["content-type"]
    assert int(fields["content-length"]) == len(body)


async def test_a_request_without_a_route_is_answered_in_its_form_too() -> None:
    async with site(with_page(None, {"match": {"path": "/only"}})) as running:
        status, fields, body = await failing(running, b"application/json")
        page = await failing(running, BROWSER)
    assert (status, fields["vary"], json.loads(body)["title"]) == (404, "Accept", "Not Found")
    assert page[2].startswith(b"<!doctype html>")


async def test_a_body_that_is_too_large_by_its_length_has_an_identifier_to_ask_by() -> None:
    async with site(with_page(None, {"limits": {"body": 10}})) as running:
        _, fields, _ = await failing(running, method=b"POST", fields=b"Content-Length: 11\r\n")
        assert fields["x-request-id"] == running.decisions[0].request_id.decode() != ""


async def test_browsers_see_the_operators_page_from_the_reload_on_that_brings_it() -> None:
    async with site(with_page(None)) as running:
        before = await failing(running, BROWSER)
        await running.apply(with_page("<p>{status} {title} {request_id}"))
        after = await failing(running, BROWSER, fields=b"X-Request-Id: abc\r\n")
        text = await failing(running, b"*/*")
        await running.apply(with_page(None))
        again = await failing(running, BROWSER)
    assert before[2].startswith(b"<!doctype html>")
    assert after[2] == b"<p>502 Bad Gateway abc"
    assert text[2].startswith(b"502 Bad Gateway: ")
    assert again[2].startswith(b"<!doctype html>")


async def test_the_routes_edits_hold_for_errors_and_replace_what_we_say() -> None:
    edits = {"response": {"set": {"Cache-Control": "max-age=1"}, "remove": ["Vary"], "add": {"X-Site": "y"}}}
    async with site(with_page(None, {"headers": edits})) as running:
        raw = await running.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head = raw.partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"cache-control") == 1
    assert b"cache-control: max-age=1\r\n" in head
    assert b"vary" not in head
    assert b"x-site: y" in head


NASTY = [b"<script>alert(1)</script>", b'"><b>', b"{status}", b"%0d%0aX-Evil: 1", b"\x1b[2J", b"\xc2\x9b2J", b"a\tb"]


@pytest.mark.parametrize("accept", [b"*/*", BROWSER, b"application/json"], ids=["text", "html", "json"])
@pytest.mark.parametrize("nasty", NASTY, ids=repr)
async def test_nothing_that_a_client_sends_comes_back_in_an_error(accept: bytes, nasty: bytes) -> None:
    requests = [
        b"GET /%b HTTP/1.1\r\nHost: x\r\n" % nasty,
        b"GET / HTTP/1.1\r\nHost: %b\r\n" % nasty,
        b"%b / HTTP/1.1\r\nHost: x\r\n" % nasty,
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: %b\r\n" % nasty,
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: %b\r\nUser-Agent: %b\r\nReferer: %b\r\n" % (nasty, nasty, nasty),
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: %b\r\n" % nasty,
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %b\r\n" % nasty,
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n" % nasty,
        b"GET / HTTP/1.1\r\nHost: x\r\n%b: y\r\n" % nasty,
        b"GET / HTTP/9.%b\r\nHost: x\r\n" % nasty,
    ]
    async with site(with_page("<p>{status} {title} {detail} {request_id}")) as running:
        for request in requests:
            raw = await running.ask(request + b"Accept: %b\r\nConnection: close\r\n\r\n" % accept)
            assert raw[9:12] in (b"400", b"405", b"417", b"501", b"502", b"505"), request
            assert nasty not in raw
            assert b"nosniff" in raw


async def test_what_is_no_request_is_told_so_in_text() -> None:
    async with site(with_page("mine")) as running:
        raw = await running.ask(b"GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Content-Type: text/plain; charset=utf-8" in head
    assert b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff" in head
    assert body == b"400 Bad Request: exactly one Host field is required\n"


async def test_a_servers_own_error_is_passed_on_as_it_is() -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nmine"
    async with serving(replies(answer)) as [server], site(config({"a": server})) as running:
        status, fields, body = await failing(running, BROWSER)
    assert (status, body) == (502, b"mine")
    assert "vary" not in fields


@pytest.mark.parametrize(
    "answer",
    [
        b"\x1b[2J\r\n\r\n",
        b"HTTP/1.1 200 \x1b[2J\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\x1b[2J: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x1b[2J\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: <b>\x85\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: <b>\r\n\r\n",
    ],
    ids=repr,
)
async def test_nothing_of_a_malformed_answer_reaches_the_client(answer: bytes) -> None:
    async with serving(replies(answer)) as [server], site(config({"a": server})) as running:
        status, _, body = await failing(running)
    assert status == 502
    assert b"\x1b" not in body
    assert b"<b>" not in body
    assert body.startswith(b"502 Bad Gateway: the server failed: ")


async def test_an_answer_that_is_fine_looks_as_before() -> None:
    async with serving(replies(ok())) as [server], site(config({"a": server})) as running:
        status, fields, _ = await failing(running, BROWSER)
    assert status == 200
    assert not {"vary", "cache-control", "x-content-type-options"} & fields.keys()
