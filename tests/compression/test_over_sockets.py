"""Compression as clients and servers see it, through the running process."""

from __future__ import annotations

import random
import re
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import brotli  # type: ignore[import-untyped]  # it has no stubs
import h11
import pytest

from balancer.compression.packages import zstd
from tests.caching.client import HOST, PATIENCE, Client, Seen
from tests.caching.lab import Site
from tests.caching.server import Answer, Asked, Gate, Place, Server, says
from tests.system.process import KEY

CODINGS = ("gzip", "br", "zstd")
BROWSER = "Accept-Encoding: gzip, deflate, br, zstd"
HTML = "Content-Type: text/html; charset=utf-8"
PAGE = b"".join(b"<li id=%d>an item of a list, and its number is %d</li>\n" % (i, i * 7919) for i in range(1000))
DIGESTS = ("Content-MD5: x", "Content-Digest: sha-256=:x:", "Repr-Digest: sha-256=:x:")
ROUTES = {
    "all": {"pool": "app"},
    "off": {"match": "/off/**", "pool": "app", "compress": False},
    "own": {"match": "/own/**", "pool": "app", "compress": {"codings": ["gzip"], "min_size": 10}},
}

PATIENT = {"defaults": {"limits": {"lag": None}}}
"""However busy the machine is that the tests run on, nobody is turned away."""


class Decoder(Protocol):
    def __call__(self, data: bytes, /) -> bytes: ...


def decoder(coding: str) -> Decoder:
    """Takes a body apart as it comes, by the decoders of others."""
    if coding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS + 16).decompress
    if coding == "br":
        process: Decoder = brotli.Decompressor().process
        return process
    return zstd.ZstdDecompressor().decompress


def text(length: int) -> bytes:
    """Characters that become about half as much, whatever the coding."""
    return random.Random(length).randbytes(length // 2 + 1).hex().encode()[:length]


def one(seen: Seen, name: str) -> str | None:
    values = seen.values(name)
    assert len(values) < 2, f"{name} came {len(values)} times: {values}"
    return values[0] if values else None


def decoded(seen: Seen) -> bytes:
    return decoder(str(one(seen, "content-encoding")))(seen.body)


class Hall:
    """One running balancer and the server behind it."""

    def __init__(self, site: Site, server: Server) -> None:
        self.site = site
        self.server = server

    def client(self) -> Client:
        return Client(self.site.port)

    def place(self, *answers: Answer) -> Place:
        place = self.server.place("page")
        place.plan(*answers)
        return place

    def get(self, answer: Answer, *lines: str, under: str = "", **more: Any) -> tuple[Seen, Asked]:
        """What one client gets of one answer, and what the server was asked."""
        place = self.place(answer)
        client = self.client()
        seen = client.ask(f"{under}/{place.name}", *lines, **more)
        client.close()
        return seen, place.asked[0]


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    server = Server()
    more = {"cache": {"enabled": False}, "compress": True, "routes": ROUTES, **PATIENT}
    site = Site(tmp_path_factory.mktemp("compression"), "quiet", server.port, more)
    site.start()
    yield Hall(site, server)
    site.end()
    server.close()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_page_is_compressed_for_who_takes_it(hall: Hall, coding: str, framing: str) -> None:
    answer = says(HTML, 'ETag: "x"', *DIGESTS, "Accept-Ranges: bytes", body=PAGE, framing=framing)
    seen, asked = hall.get(answer, f"Accept-Encoding: {coding}")
    assert seen.whole
    assert decoded(seen) == PAGE
    assert len(seen.body) < len(PAGE) / 3
    assert one(seen, "content-encoding") == coding
    assert one(seen, "vary") == "Accept-Encoding"
    assert one(seen, "etag") == f'"x~{coding}"'
    assert one(seen, "transfer-encoding") == "chunked"
    assert one(seen, "content-length") is None
    assert one(seen, "accept-ranges") == "none"
    assert [name for name in ("content-md5", "content-digest", "repr-digest") if seen.values(name)] == []
    assert asked.values("accept-encoding") == [coding]


def test_the_best_coding_that_a_browser_takes_is_used(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, body=PAGE), BROWSER)
    assert one(seen, "content-encoding") == "zstd"
    seen, _ = hall.get(says(HTML, body=PAGE), "Accept-Encoding: gzip, zstd;q=0.9, br;q=0")
    assert one(seen, "content-encoding") == "gzip"


@pytest.mark.parametrize("lines", [(), ("Accept-Encoding: ",), ("Accept-Encoding: deflate, gzip;q=0",)])
def test_who_takes_none_gets_it_as_it_is_and_caches_are_told(hall: Hall, lines: tuple[str, ...]) -> None:
    seen, _ = hall.get(says(HTML, 'ETag: "x"', "Accept-Ranges: bytes", body=PAGE), *lines)
    assert seen.body == PAGE
    assert one(seen, "content-encoding") is None
    assert one(seen, "content-length") == str(len(PAGE))
    assert one(seen, "etag") == '"x"'
    assert one(seen, "accept-ranges") == "bytes"
    assert one(seen, "vary") == "Accept-Encoding"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Origin", ["Origin", "Accept-Encoding"]),
        ("accept-encoding", ["accept-encoding"]),
        ("Origin, Accept-Encoding", ["Origin, Accept-Encoding"]),
        ("*", ["*"]),
    ],
)
def test_vary_names_accept_encoding_once(hall: Hall, said: str, told: list[str]) -> None:
    seen, _ = hall.get(says(HTML, f"Vary: {said}", body=PAGE), BROWSER)
    assert seen.values("vary") == told


@pytest.mark.parametrize("lines", [(BROWSER,), ()])
def test_the_answer_to_a_head_has_the_head_of_that_to_a_get(hall: Hall, lines: tuple[str, ...]) -> None:
    answer = says(HTML, 'ETag: "x"', "X-Same: 1", body=PAGE)
    by_get, _ = hall.get(answer, *lines)
    by_head, _ = hall.get(answer, *lines, method="HEAD")
    told = {"date", "x-request-id", "transfer-encoding"}  # the last is of a message that has a body
    assert [pair for pair in by_head.fields if pair[0] not in told] == [p for p in by_get.fields if p[0] not in told]
    assert by_head.whole
    assert by_head.body == b""


LEFT_ALONE = {
    "a small one": says(HTML, body=b"x" * 1000),
    "one of another type": says("Content-Type: image/png", body=PAGE),
    "one without a type": says(body=PAGE),
    "one with two types": says(HTML, HTML, body=PAGE),
    "one with a coding": says(HTML, "Content-Encoding: gzip", body=PAGE),
    "one with a coding nobody knows": says(HTML, "Content-Encoding: x", body=PAGE, framing="chunked"),
    "one not to be transformed": says(HTML, "Cache-Control: public, No-Transform", body=PAGE),
    "one without content": says(HTML, status=204),
    "a 304": says(HTML, 'ETag: "x"', status=304),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_an_answer_that_does_not_suit_is_left_alone(hall: Hall, name: str) -> None:
    answer = LEFT_ALONE[name]
    seen, _ = hall.get(answer, BROWSER)
    assert seen.whole
    assert seen.body == (answer.body or b"")
    for line in answer.lines:
        assert line.split(": ", 1)[1] in seen.values(line.split(":")[0])
    assert seen.values("vary") == []
    if answer.framing == "length" and answer.body:
        assert one(seen, "content-length") == str(len(PAGE if answer.body == PAGE else answer.body))


def test_interim_answers_are_left_alone(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, body=PAGE, interim=("103 Hints\r\nLink: </a>; rel=preload",)), BROWSER)
    assert seen.interim == [103]
    assert decoded(seen) == PAGE


def test_a_part_is_sent_as_it_is_and_caches_are_told(hall: Hall) -> None:
    answer = says(HTML, 'ETag: "x"', body=PAGE, honest=True)
    seen, _ = hall.get(answer, BROWSER, "Range: bytes=10-99")
    assert seen.status == 206
    assert seen.body == PAGE[10:100]
    assert one(seen, "etag") == '"x"'
    assert one(seen, "content-encoding") is None
    assert one(seen, "vary") == "Accept-Encoding"


@pytest.mark.parametrize("line", ["Range: bytes=0-9", "Cache-Control: no-transform"])
def test_who_asks_for_a_range_or_no_change_gets_it_as_it_is(hall: Hall, line: str) -> None:
    seen, _ = hall.get(says(HTML, body=PAGE), BROWSER, line)
    assert seen.body == PAGE
    assert one(seen, "content-encoding") is None


def test_a_client_of_http_1_0_gets_it_as_it_is(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, body=PAGE), BROWSER, version="1.0")
    assert seen.body == PAGE
    assert one(seen, "content-length") == str(len(PAGE))
    assert one(seen, "vary") == "Accept-Encoding"


def test_errors_of_servers_are_compressed_too(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, body=PAGE, status=404), BROWSER)
    assert seen.status == 404
    assert decoded(seen) == PAGE


def test_a_route_may_say_it_for_itself(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, body=PAGE), BROWSER, under="/off")
    assert (one(seen, "content-encoding"), one(seen, "vary")) == (None, None)
    seen, _ = hall.get(says(HTML, body=PAGE[:100]), BROWSER, under="/own")
    assert one(seen, "content-encoding") == "gzip"
    assert decoded(seen) == PAGE[:100]


# Entity tags.


def test_a_client_that_has_the_compressed_page_is_told_so(hall: Hall) -> None:
    answer = says(HTML, 'ETag: "x"', body=PAGE, honest=True)
    place = hall.place(answer, answer)
    client = hall.client()
    first = client.ask(f"/{place.name}", BROWSER)
    tag = one(first, "etag")
    second = client.ask(f"/{place.name}", BROWSER, f"If-None-Match: {tag}")
    assert place.asked[1].values("if-none-match") == ['"x"']
    assert second.status == 304
    assert one(second, "etag") == tag
    assert one(second, "vary") == "Accept-Encoding"
    client.close()


def test_a_client_that_has_the_plain_page_is_told_so(hall: Hall) -> None:
    answer = says(HTML, 'ETag: "x"', body=PAGE, honest=True)
    seen, asked = hall.get(answer, BROWSER, 'If-None-Match: "x"')
    assert asked.values("if-none-match") == ['"x"']
    assert (seen.status, one(seen, "etag")) == (304, '"x"')


def test_conditions_of_changes_name_what_the_server_knows(hall: Hall) -> None:
    seen, asked = hall.get(says(status=204), 'If-Match: "x~zstd", W/"y~gzip", "z"', method="PUT", body=b"new")
    assert asked.values("if-match") == ['"x", W/"y", "z"']
    assert seen.status == 204


def test_a_weak_tag_stays_what_it_is(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, 'ETag: W/"x"', body=PAGE), BROWSER)
    assert decoded(seen) == PAGE
    assert one(seen, "etag") == 'W/"x"'


def test_a_compressed_page_is_not_continued_with_plain_bytes(hall: Hall) -> None:
    seen, asked = hall.get(says(HTML, 'ETag: "x"', body=PAGE), BROWSER, "Range: bytes=500-", 'If-Range: "x~zstd"')
    assert asked.values("if-range") == ['"x~zstd"']  # which is not the server's, so it sends the whole
    assert (seen.status, seen.body) == (200, PAGE)


# Bodies as they come.


def read_until(client: Client, wanted: bytes) -> tuple[Callable[[], bytes], bytes]:
    """Read an answer under way until its text so far ends with `wanted`; the rest can then be had by a call."""
    judge = h11.Connection(h11.CLIENT)
    judge.send(h11.Request(method="GET", target="/", headers=[("Host", HOST)]))
    judge.send(h11.EndOfMessage())
    decode: Decoder | None = None
    shown = b""

    def step() -> bool:
        nonlocal decode, shown
        event = judge.next_event()
        if event is h11.NEED_DATA:
            assert client._sock is not None
            judge.receive_data(client._sock.recv(1 << 18))
        elif isinstance(event, h11.Response):
            decode = decoder(dict(event.headers)[b"content-encoding"].decode())
        elif isinstance(event, h11.Data):
            assert decode is not None
            shown += decode(bytes(event.data))
        return not isinstance(event, h11.EndOfMessage)

    while not shown.endswith(wanted):
        assert step(), shown

    def rest() -> bytes:
        while step():
            pass
        return shown

    return rest, shown


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize(
    ("kind", "framing"), [("text/event-stream", "chunked"), ("text/event-stream", "close"), ("text/html", "chunked")]
)
def test_what_has_come_of_a_stream_arrives_at_once(hall: Hall, coding: str, kind: str, framing: str) -> None:
    gate = Gate()
    events = b"data: the first\n\n", b"data: another\n\n"
    place = hall.place(says(f"Content-Type: {kind}", body=b"".join(events), framing=framing, between=gate))
    client = hall.client()
    client.send(f"/{place.name}", f"Accept-Encoding: {coding}")
    rest, shown = read_until(client, b"data: the first\n\ndata: anoth"[: len(b"".join(events)) // 2])
    assert shown == b"".join(events)[: len(shown)]
    gate.open()
    assert rest() == b"".join(events)
    client.close()


@pytest.mark.parametrize("coding", CODINGS)
def test_what_has_come_of_a_page_arrives_at_once(hall: Hall, coding: str) -> None:
    gate = Gate()
    place = hall.place(says(HTML, body=PAGE, between=gate))
    client = hall.client()
    client.send(f"/{place.name}", f"Accept-Encoding: {coding}")
    rest, _ = read_until(client, PAGE[len(PAGE) // 2 - 40 : len(PAGE) // 2])
    gate.open()
    assert rest() == PAGE
    client.close()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_large_body_arrives_whole(hall: Hall, coding: str, framing: str) -> None:
    body = text(3_000_001)
    seen, _ = hall.get(says(HTML, body=body, framing=framing), f"Accept-Encoding: {coding}")
    assert seen.whole
    assert decoded(seen) == body


def test_a_broken_body_looks_broken(hall: Hall) -> None:
    seen, _ = hall.get(says(HTML, body=text(600_000), cut=300_000), BROWSER)
    assert not seen.whole
    assert seen.fault


def test_a_connection_goes_on_after_a_compressed_answer(hall: Hall) -> None:
    place = hall.place(*[says(HTML, body=PAGE) for _ in range(3)])
    client = hall.client()
    seen = [client.ask(f"/{place.name}", f"Accept-Encoding: {coding}") for coding in CODINGS]
    assert [decoded(one) for one in seen] == [PAGE] * 3
    client.close()


def test_what_compression_saves_is_counted(hall: Hall) -> None:
    before = counted(hall, "br")
    seen, _ = hall.get(says(HTML, body=PAGE), "Accept-Encoding: br")
    after = counted(hall, "br")
    assert [b - a for a, b in zip(before, after, strict=True)] == [len(PAGE), len(seen.body)]


def counted(hall: Hall, coding: str) -> list[int]:
    request = urllib.request.Request(f"http://127.0.0.1:{hall.site.admin}/metrics")
    request.add_header("Authorization", f"Bearer {KEY}")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        page = response.read().decode()
    found = []
    for way in ("input", "output"):
        name = rf'balancer_route_compression_{way}_bytes_total{{route="all",coding="{coding}"}} (\d+)'
        match = re.search(name, page)
        found.append(int(match[1]) if match else 0)
    return found
