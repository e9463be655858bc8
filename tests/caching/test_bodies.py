"""Answers that break off or go wrong: never stored, and visible as such to the client."""

from __future__ import annotations

import pytest

from tests.caching.case import proves
from tests.caching.lab import Lab
from tests.caching.server import Gate, says

THEME = "Bodies"
BODY = b"0123456789" * 100


@pytest.mark.parametrize("cut", [0, 1, 500, 999])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@proves(THEME, "RFC 9111 section 3.3", "A body that breaks off is never stored, however its end would have been told.")
def test_a_cut_body_is_never_stored(lab: Lab, framing: str, cut: int) -> None:
    place = lab.place("cut")
    place.plan(says("Cache-Control: max-age=60", 'ETag: "a"', framing=framing, body=BODY, cut=cut))
    client = lab.client()
    assert not client.ask(f"/{place.name}").whole
    place.plan(says("Cache-Control: max-age=60", body=BODY))
    seen = client.ask(f"/{place.name}")
    assert (seen.whole, seen.body) == (True, BODY)
    assert place.asked[-1].values("if-none-match") == []


@proves(THEME, "RFC 9111 section 3.3", "What was stored stays when its renewal breaks off.")
def test_a_cut_renewal_does_not_harm_what_is_stored(lab: Lab) -> None:
    place = lab.place("cut-renewal")
    place.plan(says("Cache-Control: max-age=3600"))
    client = lab.client()
    client.ask(f"/{place.name}")
    place.plan(says("Cache-Control: max-age=3600", body=BODY, cut=500))
    assert not client.ask(f"/{place.name}", "Cache-Control: no-cache").whole
    seen = client.ask(f"/{place.name}")
    assert (seen.whole, seen.body) in ((True, place.body_of(1)), (True, b"nobody had planned this answer"))


@pytest.mark.parametrize(
    "wrong", ["Content-Length: 5", "Content-Length: 99999", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip"]
)
@proves(THEME, "RFC 9112 section 6.3", "An answer that says two things of its length is no answer, and not stored.")
def test_an_ambiguous_length_is_not_stored(lab: Lab, wrong: str) -> None:
    place = lab.place("ambiguous")
    place.always = says("Cache-Control: max-age=60", wrong, body=BODY)
    client = lab.client()
    assert client.ask(f"/{place.name}").status == 502
    place.always = None
    place.plan(says("Cache-Control: no-store"))
    before = len(place.asked)
    assert client.ask(f"/{place.name}").status == 200
    assert len(place.asked) == before + 1


@proves(
    THEME,
    "RFC 5861 section 4",
    "A server that does not answer in time is an error, and what is stale stands in for it.",
)
def test_stale_in_the_place_of_a_timeout(lab: Lab) -> None:
    place = lab.place("timeout")
    gate = Gate()
    place.plan(says("Cache-Control: max-age=60, stale-if-error=600", "Age: 100", 'ETag: "a"'))
    place.always = says(before=gate)
    client = lab.client("ruled")
    client.ask(f"/slow/{place.name}")
    seen = client.ask(f"/slow/{place.name}")
    gate.open()
    assert (seen.status, seen.body) == (200, place.body_of(1))


@proves(
    THEME, "RFC 9112 section 9.3.2", "Requests on one connection, from the cache and not, are answered in their order."
)
def test_pipelined_hits_and_misses_keep_their_order(lab: Lab) -> None:
    place = lab.place("pipelined")
    place.plan(says("Cache-Control: max-age=60"), says("Cache-Control: no-store"), says("Cache-Control: no-store"))
    client = lab.client()
    client.ask(f"/{place.name}/a")
    for tail in ("a", "b", "a", "a", "c", "a"):
        client.send(f"/{place.name}/{tail}")
    assert [client.answer().body for _ in range(6)] == [place.body_of(n) for n in (1, 2, 1, 1, 3, 1)]


@proves(
    THEME, "RFC 9112 section 9.3", "A hit leaves the connection as its client wants it: closed after Connection: close."
)
def test_a_hit_closes_when_asked_to(lab: Lab) -> None:
    place = lab.place("closing")
    place.plan(says("Cache-Control: max-age=60"))
    client = lab.client()
    client.ask(f"/{place.name}")
    seen = client.ask(f"/{place.name}", "Connection: close")
    assert seen.values("connection") == ["close"]
    assert seen.body == place.body_of(1)


@proves(THEME, "RFC 9112 section 9.3", "To a client of HTTP/1.0 too, without keep-alive.")
def test_a_hit_of_an_old_client_closes(lab: Lab) -> None:
    place = lab.place("old")
    place.plan(says("Cache-Control: max-age=60", framing="chunked"))
    client = lab.client()
    client.ask(f"/{place.name}")
    seen = client.ask(f"/{place.name}", version="1.0")
    assert (seen.whole, seen.body) == (True, place.body_of(1))
    assert "keep-alive" not in [value.lower() for value in seen.values("connection")]


@proves(
    THEME,
    "RFC 9111 section 3",
    "Two answers as they come, one of them stored, have the same fields but Age and what the hop adds.",
)
def test_a_hit_has_the_fields_of_the_miss(lab: Lab) -> None:
    place = lab.place("alike")
    place.plan(says("Cache-Control: max-age=60", 'ETag: "a"', "X-Foo: 1", "Set-Cookie: a=1", "Link: </x>"))
    client = lab.client()
    miss, hit = client.ask(f"/{place.name}"), client.ask(f"/{place.name}")
    ours = {"age", "cache-status", "x-request-id", "traceparent"}
    assert sorted(f for f in hit.fields if f[0] not in ours) == sorted(f for f in miss.fields if f[0] not in ours)


@proves(THEME, "bounds", "An answer with thousands of tags is passed on, and not stored: a purge might miss it.")
def test_an_answer_with_thousands_of_tags_is_not_stored(lab: Lab) -> None:
    place = lab.place("tags")
    tags = " ".join(f"tag-{number}" for number in range(3000))
    tagged = says("Cache-Control: max-age=60", f"Surrogate-Key: {tags[:7000]}", f"Cache-Tag: {'x' * 5000}")
    place.plan(tagged, tagged)
    client = lab.client()
    assert client.ask(f"/{place.name}").body == place.body_of(1)
    assert client.ask(f"/{place.name}").body == place.body_of(2)


@pytest.mark.parametrize("lines", [("Cache-Control: no-store",), ("Cache-Control: max-age=60",)])
@proves(THEME, "cache.max_object", "What is not stored is fetched for its clients only: when they leave it ends.")
def test_what_is_not_stored_ends_with_its_client(lab: Lab, lines: tuple[str, ...]) -> None:
    place = lab.place("ends")
    between = Gate()
    place.plan(says(*lines, framing="chunked", body=b"x" * 40_000_000, between=between))
    client = lab.client("ruled")
    client.send(f"/{place.name}")
    assert client.answer(stop_after=1_000_000).status == 200
    client.close()
    between.open()
    assert place.wait_left(), "the server could send all of it"


@pytest.mark.parametrize(
    "head", ["GET /{0} HTTP/1.0\r\n\r\n", "GET /{0} HTTP/1.0\r\nHost: \r\n\r\n", "GET /{0} HTTP/1.1\r\nHost:\r\n\r\n"]
)
@proves(
    THEME,
    "RFC 9112 section 3.2",
    "Requests without a host are answered or refused, and share nothing with those that have one.",
)
def test_no_host_is_no_other_host(lab: Lab, head: str) -> None:
    place = lab.place("hostless")
    place.always = says("Cache-Control: max-age=60", body=lambda asked: ",".join(asked.values("host")).encode())
    for _ in range(2):
        client = lab.client()
        client.send_bytes(head.format(place.name).encode())
        seen = client.answer()
        assert seen.status in (200, 400), seen
    assert lab.client().ask(f"/{place.name}").body == b"site.test"


@proves(THEME, "RFC 9112 section 9.3", "A stored answer is sent whole to a client that reads it a byte at a time.")
def test_a_slow_client_gets_all_of_a_hit(lab: Lab) -> None:
    place = lab.place("slow")
    body = bytes(range(256)) * 8192
    place.plan(says("Cache-Control: max-age=60", body=body))
    client = lab.client()
    assert client.ask(f"/{place.name}").body == body
    for _ in range(3):
        client.send(f"/{place.name}")
    assert [client.answer().body == body for _ in range(3)] == [True] * 3
