"""Stored answers of a route that compresses, through the running process."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic, sleep

import pytest

from tests.caching.client import PATIENCE, Seen
from tests.caching.lab import Site
from tests.caching.server import Gate, Server, says
from tests.compression.test_over_sockets import BROWSER, CODINGS, HTML, PAGE, PATIENT, Hall, decoded, one, text

STORED = (HTML, 'ETag: "x"', "Cache-Control: max-age=600")
PNG = ("Content-Type: image/png", "Cache-Control: max-age=600")


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    server = Server()
    site = Site(tmp_path_factory.mktemp("cached"), "plain", server.port, {"compress": True, **PATIENT})
    site.start()
    yield Hall(site, server)
    site.end()
    server.close()


def is_hit(seen: Seen) -> bool:
    cache = seen.cache
    assert cache is not None
    return bool(cache.get("hit"))


def asked(hall: Hall, target: str, *lines: str, method: str = "GET") -> Seen:
    client = hall.client()
    seen = client.ask(target, *lines, method=method)
    client.close()
    return seen


def test_one_stored_page_is_for_all_codings(hall: Hall) -> None:
    place = hall.place(says(*STORED, body=PAGE))
    first = asked(hall, f"/{place.name}", "Accept-Encoding: gzip")
    assert (decoded(first), is_hit(first)) == (PAGE, False)
    for coding in (*CODINGS, *CODINGS):
        seen = asked(hall, f"/{place.name}", f"Accept-Encoding: {coding}")
        assert is_hit(seen)
        assert decoded(seen) == PAGE
        assert one(seen, "content-encoding") == coding
        assert one(seen, "etag") == f'"x~{coding}"'
        assert one(seen, "vary") == "Accept-Encoding"
        assert one(seen, "content-length") == str(len(seen.body))
    plain = asked(hall, f"/{place.name}")
    assert (plain.body, one(plain, "etag"), one(plain, "vary")) == (PAGE, '"x"', "Accept-Encoding")
    assert is_hit(plain)
    assert len(place.asked) == 1


@pytest.mark.parametrize("coding", CODINGS)
def test_a_client_that_has_a_stored_page_is_told_so(hall: Hall, coding: str) -> None:
    place = hall.place(says(*STORED, body=PAGE))
    asked(hall, f"/{place.name}")
    tag = one(asked(hall, f"/{place.name}", f"Accept-Encoding: {coding}"), "etag")
    seen = asked(hall, f"/{place.name}", f"Accept-Encoding: {coding}", f"If-None-Match: {tag}")
    assert (seen.status, seen.body, one(seen, "etag")) == (304, b"", tag)
    assert one(seen, "vary") == "Accept-Encoding"
    other = asked(hall, f"/{place.name}", f"Accept-Encoding: {coding}", 'If-None-Match: "y~gzip"')
    assert other.status == 200
    assert decoded(other) == PAGE
    assert len(place.asked) == 1


def test_a_head_of_a_stored_page_is_that_of_a_get(hall: Hall) -> None:
    place = hall.place(says(*STORED, body=PAGE))
    asked(hall, f"/{place.name}")
    by_get, by_head = (asked(hall, f"/{place.name}", BROWSER, method=method) for method in ("GET", "HEAD"))
    changing = {"date", "age", "x-request-id", "cache-status"}
    assert [p for p in by_head.fields if p[0] not in changing] == [p for p in by_get.fields if p[0] not in changing]
    assert one(by_head, "content-encoding") == "zstd"
    assert by_head.body == b""


def test_a_part_of_a_stored_page_is_plain(hall: Hall) -> None:
    place = hall.place(says(*STORED, body=PAGE))
    asked(hall, f"/{place.name}", BROWSER)
    part = asked(hall, f"/{place.name}", BROWSER, "Range: bytes=10-99")
    assert (part.status, part.body, one(part, "etag")) == (206, PAGE[10:100], '"x"')
    assert one(part, "content-encoding") is None
    assert one(part, "vary") == "Accept-Encoding"
    glued = asked(hall, f"/{place.name}", BROWSER, "Range: bytes=10-99", 'If-Range: "x~zstd"')
    assert glued.status == 200
    assert PAGE in (glued.body, decoded(glued) if one(glued, "content-encoding") else b"")


def test_what_does_not_suit_is_stored_and_sent_as_it_is(hall: Hall) -> None:
    place = hall.place(says(*PNG, body=PAGE))
    for _ in range(2):
        seen = asked(hall, f"/{place.name}", BROWSER)
        assert (seen.body, one(seen, "content-encoding"), one(seen, "vary")) == (PAGE, None, None)
    assert len(place.asked) == 1


def test_a_large_stored_page_is_compressed_before_long(hall: Hall) -> None:
    body = text(1_000_000)
    place = hall.place(says(*STORED, body=body))
    asked(hall, f"/{place.name}")
    end = monotonic() + PATIENCE
    while one(seen := asked(hall, f"/{place.name}", "Accept-Encoding: br"), "content-encoding") is None:
        assert seen.body == body
        assert one(seen, "etag") == '"x"'
        assert monotonic() < end
        sleep(0.02)
    assert decoded(seen) == body
    assert one(seen, "etag") == '"x~br"'
    assert len(place.asked) == 1


def test_those_who_wait_for_one_fetch_each_get_what_they_take(hall: Hall) -> None:
    gate = Gate()
    place = hall.place(says(*STORED, body=PAGE, before=gate))
    lines = ["Accept-Encoding: gzip", "Accept-Encoding: br", "Accept-Encoding: zstd", "X-Nothing: 1"]
    clients = [hall.client() for _ in lines]
    for client, line in zip(clients, lines, strict=True):
        client.send(f"/{place.name}", line)
        assert place.wait(1)
    gate.open()
    seen = [client.answer() for client in clients]
    assert [s.body if one(s, "content-encoding") is None else decoded(s) for s in seen] == [PAGE] * 4
    for answer, line in zip(seen, lines, strict=True):
        assert one(answer, "content-encoding") in (None, line.partition(": ")[2])
    assert len(place.asked) == 1
    for client in clients:
        client.close()


def test_a_page_is_revalidated_by_the_tag_of_its_server(hall: Hall) -> None:
    answer = says(HTML, 'ETag: "x"', "Cache-Control: no-cache", body=PAGE, honest=True)
    place = hall.place(answer, answer, answer)
    first = asked(hall, f"/{place.name}", BROWSER)
    second = asked(hall, f"/{place.name}", BROWSER, f"If-None-Match: {one(first, 'etag')}")
    third = asked(hall, f"/{place.name}", "Accept-Encoding: br")
    assert [a.values("if-none-match") for a in place.asked] == [[], ['"x"'], ['"x"']]
    assert (second.status, one(second, "etag")) == (304, '"x~zstd"')
    assert (decoded(third), one(third, "etag")) == (PAGE, '"x~br"')
