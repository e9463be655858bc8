"""What is stored and what is compressed: one answer of a server, as each client takes it."""

from __future__ import annotations

import gzip
import zlib
from typing import Final

import brotli
import pytest

from tests.caching.case import proves
from tests.caching.client import Client, Seen
from tests.caching.lab import Lab
from tests.caching.server import Gate, Place, says

THEME = "Compression"
BODY: Final = b"".join(b"<p>line %d of a page</p>\n" % number for number in range(500))
TYPE: Final = "Content-Type: text/html"
LASTING: Final = ("Cache-Control: max-age=3600", TYPE, 'ETag: "a"')


def plain(seen: Seen) -> bytes:
    """The body as it was before it was compressed."""
    coding = ",".join(seen.values("content-encoding"))
    if coding == "gzip":
        return gzip.decompress(seen.body)
    if coding == "br":
        return bytes(brotli.decompress(seen.body))
    assert coding == "", coding
    return seen.body


def ask(client: Client, place: Place, coding: str | None, *lines: str, **more: str) -> Seen:
    wanted = (f"Accept-Encoding: {coding}",) if coding is not None else ()
    return client.ask(f"/squeezed/{place.name}", *wanted, *lines, **more)


@proves(
    THEME,
    "RFC 9110 section 12.5.3",
    "One answer of the server is served in each coding that clients take, and as it is.",
)
def test_one_answer_serves_all_codings(lab: Lab) -> None:
    place = lab.place("codings")
    place.plan(says(*LASTING, body=BODY))
    client = lab.client("ruled")
    codings = []
    for coding in ("gzip", "br", None, "identity", "gzip;q=0.5, br;q=0", "gzip", "br", None):
        seen = ask(client, place, coding)
        assert plain(seen) == BODY
        codings.append(",".join(seen.values("content-encoding")))
    assert codings == ["gzip", "br", "", "", "gzip", "gzip", "br", ""]
    assert len(place.asked) == 1


@proves(THEME, "RFC 9110 section 12.5.5", "What is compressed for some says Vary: Accept-Encoding to all.")
def test_all_codings_vary(lab: Lab) -> None:
    place = lab.place("varies")
    place.plan(says(*LASTING, body=BODY))
    client = lab.client("ruled")
    for coding in ("gzip", None, "gzip", None):
        assert "accept-encoding" in ",".join(ask(client, place, coding).values("vary")).lower()


@proves(THEME, "RFC 9110 section 8.8.3", "Codings of one answer have ETags of their own, or weak ones.")
def test_codings_have_their_own_etags(lab: Lab) -> None:
    place = lab.place("etags")
    place.plan(says(*LASTING, body=BODY))
    client = lab.client("ruled")
    etags = {coding: ask(client, place, coding).values("etag") for coding in ("gzip", "br", None)}
    assert etags[None] == ['"a"']
    for coding in ("gzip", "br"):
        (etag,) = etags[coding]
        assert etag.startswith("W/") or etag not in ('"a"', *(e for c in etags if c != coding for e in etags[c]))


@pytest.mark.parametrize("coding", ["gzip", "br", None])
@proves(THEME, "RFC 9110 section 13.1.2", "A client gets a 304 for the ETag that it was given, whatever the coding.")
def test_the_etag_of_a_coding_is_known_again(lab: Lab, coding: str | None) -> None:
    place = lab.place("known-again")
    place.plan(says(*LASTING, body=BODY))
    client = lab.client("ruled")
    first = ask(client, place, coding)
    (etag,) = first.values("etag")
    seen = ask(client, place, coding, f"If-None-Match: {etag}")
    assert seen.status == 304
    assert seen.values("etag") == [etag]
    assert ask(client, place, coding, 'If-None-Match: "b"').status == 200
    assert len(place.asked) == 1


@pytest.mark.parametrize("coding", ["gzip", None])
@proves(THEME, "RFC 9111 section 4.3.1", "The server is asked about its own ETag, not about that of a coding.")
def test_the_server_is_asked_about_its_own_etag(lab: Lab, coding: str | None) -> None:
    place = lab.place("own-etag")
    place.plan(
        says("Cache-Control: max-age=60", "Age: 100", TYPE, 'ETag: "a"', body=BODY),
        says("Cache-Control: max-age=60", 'ETag: "a"', status=304),
    )
    client = lab.client("ruled")
    (etag,) = ask(client, place, coding).values("etag")
    seen = ask(client, place, coding, f"If-None-Match: {etag}")
    assert place.asked[1].values("if-none-match") == ['"a"']
    assert seen.status == 304
    again = ask(client, place, coding)
    assert plain(again) == BODY
    assert len(place.asked) == 2


@pytest.mark.parametrize("order", [("gzip", None), (None, "gzip")])
@proves(THEME, "RFC 9110 section 14.2", "A part is of what its ETag names: never bytes of one coding called another.")
def test_a_part_is_of_what_its_etag_names(lab: Lab, order: tuple[str | None, str | None]) -> None:
    place = lab.place("part")
    place.plan(says(*LASTING, body=BODY))
    client = lab.client("ruled")
    wholes = {coding: ask(client, place, coding) for coding in order}
    for coding in order:
        whole = wholes[coding]
        seen = ask(client, place, coding, "Range: bytes=10-19")
        if seen.status == 206:
            same = [w for w in wholes.values() if w.values("content-encoding") == seen.values("content-encoding")]
            assert seen.body == same[0].body[10:20]
            assert seen.values("content-range") == [f"bytes 10-19/{len(same[0].body)}"]
            assert seen.values("etag") == same[0].values("etag")
        else:
            assert (seen.status, plain(seen)) == (200, BODY)
        if whole.values("etag")[0].startswith("W/"):
            seen = ask(client, place, coding, "Range: bytes=10-19", f"If-Range: {whole.values('etag')[0]}")
            assert (seen.status, plain(seen)) == (200, BODY)
    assert len(place.asked) == 1


@proves(THEME, "RFC 9110 section 9.3.2", "HEAD has the head of what GET would get, coding and ETag included.")
def test_head_has_the_head_of_the_coding(lab: Lab) -> None:
    place = lab.place("head")
    place.plan(says(*LASTING, body=BODY))
    client = lab.client("ruled")
    for coding in ("gzip", None):
        ask(client, place, coding)
        got, head = ask(client, place, coding), ask(client, place, coding, method="HEAD")
        for name in ("content-encoding", "content-length", "etag", "content-type", "vary"):
            assert got.values(name) == head.values(name)
    assert len(place.asked) == 1


@proves(THEME, "RFC 9111 section 5.2.2.6", "no-transform keeps from compressing, now and later.")
def test_no_transform_is_not_compressed(lab: Lab) -> None:
    place = lab.place("no-transform")
    place.plan(says("Cache-Control: max-age=3600, no-transform", TYPE, 'ETag: "a"', body=BODY))
    client = lab.client("ruled")
    for _ in range(2):
        seen = ask(client, place, "gzip")
        assert (seen.values("content-encoding"), seen.body, seen.values("etag")) == ([], BODY, ['"a"'])


@proves(
    THEME,
    "RFC 9110 section 8.4",
    "What the server has compressed is not compressed again, and goes to whom it selects.",
)
def test_nothing_is_compressed_twice(lab: Lab) -> None:
    place = lab.place("twice")
    packed = zlib.compress(BODY)
    place.plan(
        says(*LASTING, "Content-Encoding: deflate", "Vary: Accept-Encoding", body=packed),
        says("Cache-Control: max-age=3600", TYPE, 'ETag: "b"', "Vary: Accept-Encoding", body=BODY),
    )
    client = lab.client("ruled")
    for _ in range(2):
        seen = ask(client, place, "deflate, gzip")
        assert (seen.values("content-encoding"), seen.body) == (["deflate"], packed)
    for _ in range(2):
        seen = ask(client, place, None)
        assert (seen.values("content-encoding"), seen.body) == ([], BODY)
    assert len(place.asked) == 2


@proves(THEME, "RFC 9111 section 4", "A crowd of all codings makes one request, and each gets what it can read.")
def test_a_crowd_of_all_codings_makes_one_request(lab: Lab) -> None:
    place = lab.place("crowd")
    gate = Gate()
    place.always = says("Cache-Control: max-age=3600", TYPE, 'ETag: "a"', body=BODY, before=gate)
    codings = ("gzip", None, "br", "gzip", None, "br")
    clients = [lab.client("ruled") for _ in codings]
    for number, (client, coding) in enumerate(zip(clients, codings, strict=True)):
        client.send(f"/squeezed/{place.name}", *((f"Accept-Encoding: {coding}",) if coding else ()))
        if not number:
            assert place.wait(1)
    assert clients[-1].quiet()
    gate.open()
    seen = [client.answer() for client in clients]
    assert [plain(s) for s in seen] == [BODY] * 6
    assert all(",".join(s.values("content-encoding")) in ("", coding) for s, coding in zip(seen, codings, strict=True))
    assert len(place.asked) == 1
    again = [ask(client, place, coding) for client, coding in zip(clients, codings, strict=True)]
    assert [",".join(s.values("content-encoding")) for s in again] == [coding or "" for coding in codings]


@proves(THEME, "RFC 9111 section 4.4", "What is fetched anew is compressed anew.")
def test_a_new_answer_is_compressed_anew(lab: Lab) -> None:
    place = lab.place("anew")
    place.plan(says(*LASTING, body=BODY), says(*LASTING[:2], 'ETag: "b"', body=BODY.upper()))
    client = lab.client("ruled")
    assert plain(ask(client, place, "gzip")) == BODY
    assert plain(ask(client, place, "gzip")) == BODY
    assert plain(ask(client, place, "gzip", "Cache-Control: no-cache")) == BODY.upper()
    assert plain(ask(client, place, "gzip")) == BODY.upper()
    assert ask(client, place, None).body == BODY.upper()


@proves(THEME, "routes.compress", "Small bodies and other types are stored and served as they are.")
def test_what_does_not_pay_is_not_compressed(lab: Lab) -> None:
    client = lab.client("ruled")
    for lines, body in (((TYPE,), b"small"), (("Content-Type: image/png",), BODY)):
        place = lab.place("unpaid")
        place.plan(says("Cache-Control: max-age=3600", *lines, 'ETag: "a"', body=body))
        for _ in range(2):
            seen = ask(client, place, "gzip")
            assert (seen.values("content-encoding"), seen.body, seen.values("etag")) == ([], body, ['"a"'])
        assert len(place.asked) == 1
