"""Checking what is stored with the server, and what its answer changes: RFC 9111 sections 3.2, 4.3."""

from __future__ import annotations

from tests.caching.case import ANY, NEXT, UNCHANGED, Step, case, checked, fetch, hit, says, theme

theme("Validation")

STALE = ("Cache-Control: max-age=60", "Age: 100")
V = "RFC 9111 section 4.3.1"
U = "RFC 9111 section 3.2"

case(
    "asked-by-etag",
    V,
    "What is stale is checked by its ETag.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(UNCHANGED, asked=('If-None-Match: "a"', "!If-Modified-Since")),
)
case(
    "asked-by-weak-etag",
    V,
    "A weak one is sent as it is.",
    fetch(says(*STALE, 'ETag: W/"a"')),
    checked(UNCHANGED, asked=('If-None-Match: W/"a"',)),
)
case(
    "asked-by-date",
    V,
    "Or by its Last-Modified.",
    fetch(says(*STALE, "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")),
    checked(
        says("Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", status=304),
        asked=("If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT", "!If-None-Match"),
    ),
)
case(
    "asked-by-both",
    V,
    "By both when there are both.",
    fetch(says(*STALE, 'ETag: "a"', "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")),
    checked(
        says('ETag: "a"', status=304), asked=('If-None-Match: "a"', "If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT")
    ),
)
case(
    "asked-without-validator",
    V,
    "Without either it is asked for anew.",
    fetch(says(*STALE)),
    fetch(NEXT, asked=("!If-None-Match", "!If-Modified-Since")),
)
case(
    "a-check-says-so",
    "RFC 9211 section 2.3",
    "Cache-Status says that it was stale, and what the server said.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(UNCHANGED, cache={"fwd": "stale", "fwd-status": 304}),
)
case(
    "a-check-makes-fresh",
    "RFC 9111 section 4.3.4",
    "What was found to hold is fresh again.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304)),
    hit(),
    hit(),
)
case(
    "another-answer-takes-its-place",
    "RFC 9111 section 4.3.3",
    "A 200 takes the place of what is stored.",
    fetch(says(*STALE, 'ETag: "a"')),
    fetch(says("Cache-Control: max-age=60", 'ETag: "b"'), asked=('If-None-Match: "a"',)),
    hit(of=2, has=('ETag: "b"', '!ETag: "a"')),
)
case(
    "an-error-does-not-take-its-place",
    "RFC 9111 section 4.3.3",
    "A 500 is passed on, and what is stored stays to be asked about.",
    fetch(says(*STALE, 'ETag: "a"')),
    fetch(says("Cache-Control: no-store", status=500)),
    checked(UNCHANGED, asked=('If-None-Match: "a"',), of=1),
)
case(
    "gone-takes-its-place",
    "RFC 9111 section 4.3.3",
    "A 404 takes its place.",
    fetch(says(*STALE, 'ETag: "a"')),
    fetch(says("Cache-Control: max-age=60", status=404)),
    hit(status=404, of=2),
)
case(
    "a-304-for-something-else",
    "RFC 9111 section 4.3.4",
    "A 304 with another ETag says nothing of what is stored: it is asked for anew.",
    fetch(says(*STALE, 'ETag: "a"')),
    Step(answers=(says('ETag: "b"', status=304), says("Cache-Control: no-store")), hit=False, of=3),
)
case(
    "a-304-without-etag",
    "RFC 9111 section 4.3.4",
    "A 304 without a validator means the one that was asked about.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", status=304)),
    hit(),
)
case(
    "a-304-to-a-date-without-date",
    "RFC 9111 section 4.3.4",
    "Also when it was asked about by date.",
    fetch(says(*STALE, "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")),
    checked(says("Cache-Control: max-age=60", status=304)),
    hit(),
)
case(
    "a-weak-304-for-a-weak-etag",
    "RFC 9111 section 4.3.4",
    "A weak ETag in the 304 means the stored answer with the same.",
    fetch(says(*STALE, 'ETag: W/"a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: W/"a"', status=304)),
    hit(),
)
case(
    "the-client-asks-too",
    "RFC 9111 section 4.3.2",
    "A client that has the same gets the 304 as well.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304), 'If-None-Match: "a"', status=304),
    hit(of=1),
)
case(
    "the-client-has-another",
    "RFC 9111 section 4.3.2",
    "One that has another gets what is stored.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304), 'If-None-Match: "b"'),
    hit(of=1),
)
case(
    "a-conditional-miss",
    "RFC 9111 section 4.3.1",
    "A client's condition on what is not stored leaves no 304 behind for others.",
    Step(
        ('If-None-Match: "a"',),
        answers=(says("Cache-Control: max-age=60", 'ETag: "a"', honest=True),),
        status=304,
        reaches=ANY,
    ),
    Step(
        answers=(says("Cache-Control: max-age=60", 'ETag: "a"', honest=True),),
        reaches=ANY,
        page=True,
        has=('ETag: "a"',),
    ),
)
case(
    "a-part-of-what-was-checked",
    "RFC 9110 section 14.2",
    "A part of what is stale is served once it was found to hold.",
    fetch(says(*STALE, 'ETag: "a"', body=b"0123456789")),
    Step(
        ("Range: bytes=2-3",),
        answers=(says("Cache-Control: max-age=60", 'ETag: "a"', body=b"0123456789", honest=True),),
        status=206,
        gets=b"23",
        has=("Content-Range: bytes 2-3/10",),
    ),
)
case(
    "all-variants-are-asked-about",
    V,
    "When no variant matches, the server is asked about those there are.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "1"'), "Foo: 1"),
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "2"'), "Foo: 2"),
    checked(says("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "1"', status=304), "Foo: 3", of=1),
    hit("Foo: 3", of=1),
    hit("Foo: 2", of=2),
)
case(
    "head-is-checked",
    V,
    "HEAD of what is stale asks, and is answered from what was found to hold.",
    fetch(says(*STALE, 'ETag: "a"')),
    Step(method="HEAD", answers=(says("Cache-Control: max-age=60", 'ETag: "a"', status=304),), hit=False, reaches=ANY),
)
case(
    "a-head-that-tells-of-another",
    "RFC 9111 section 4.3.5",
    "A HEAD whose ETag is another makes what is stored stale.",
    fetch(says("Cache-Control: max-age=60", 'ETag: "a"')),
    fetch(says("Cache-Control: max-age=60", 'ETag: "b"'), "Cache-Control: no-cache", method="HEAD"),
    fetch(NEXT),
)
case(
    "a-head-that-tells-of-another-length",
    "RFC 9111 section 4.3.5",
    "So does one with another Content-Length.",
    fetch(says("Cache-Control: max-age=60", body=b"0123456789")),
    fetch(says("Cache-Control: max-age=60", body=b"01234"), "Cache-Control: no-cache", method="HEAD", gets=b""),
    fetch(NEXT),
)

case(
    "a-private-answer-is-checked-by-its-client",
    "RFC 9110 section 13.1.2",
    "Where nothing may be stored, a client's condition reaches the server, and its 304 the client.",
    fetch(says("Cache-Control: private, no-cache", 'ETag: "a"')),
    fetch(says('ETag: "a"', status=304), 'If-None-Match: "a"', asked=('If-None-Match: "a"',)),
    fetch(says("Cache-Control: private, no-cache", 'ETag: "b"')),
)

theme("What a 304 changes")

case(
    "a-new-field",
    U,
    "Fields that a 304 brings are stored.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', "X-New: 1", status=304), has=("X-New: 1",)),
    hit(has=("X-New: 1",)),
)
case(
    "a-changed-field",
    U,
    "They take the place of those of the same name.",
    fetch(says(*STALE, 'ETag: "a"', "X-It: old", "X-It: older", "X-Kept: 1")),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', "X-It: new", status=304)),
    hit(has=("X-It: new", "!X-It: old", "!X-It: older", "X-Kept: 1")),
)
case(
    "a-new-lifetime",
    U,
    "Cache-Control among them.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=9999", 'ETag: "a"', status=304)),
    hit(has=("Cache-Control: max-age=9999", "!Cache-Control: max-age=60")),
)
case(
    "a-new-expires",
    U,
    "And Expires.",
    fetch(says("Expires: {-60}", 'ETag: "a"')),
    checked(says("Expires: {+60}", 'ETag: "a"', status=304)),
    hit(),
)
case(
    "a-new-date",
    U,
    "And Date.",
    fetch(says("Cache-Control: max-age=60", "Date: Wed, 01 Jan 2020 00:00:00 GMT", 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304)),
    hit(has=("!Date: Wed, 01 Jan 2020 00:00:00 GMT",), age=(0, 1)),
)
case(
    "a-304-without-date",
    "RFC 9110 section 6.6.1",
    "A 304 without Date is of when it came, and what it makes fresh is as young.",
    fetch(says("Cache-Control: max-age=60", "Date: Wed, 01 Jan 2020 00:00:00 GMT", 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304, date=None)),
    hit(age=(0, 1), has=("!Date: Wed, 01 Jan 2020 00:00:00 GMT",)),
)
case(
    "a-length-is-not-changed",
    U,
    "Content-Length of a 304 is not.",
    fetch(says(*STALE, 'ETag: "a"', body=b"0123456789")),
    checked(
        says("Cache-Control: max-age=60", 'ETag: "a"', "Content-Length: 3", status=304), has=("Content-Length: 10",)
    ),
    hit(has=("Content-Length: 10",)),
)
case(
    "hop-fields-of-a-304",
    U,
    "Nor do fields of the hop get in.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(
        says(
            "Cache-Control: max-age=60",
            'ETag: "a"',
            "Connection: X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            status=304,
        ),
        has=("!X-Hop", "!Keep-Alive"),
    ),
    hit(has=("!X-Hop", "!Keep-Alive")),
)
case(
    "a-304-that-forbids",
    "RFC 9111 section 5.2.2.5",
    "A 304 with no-store ends the storing.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: no-store", 'ETag: "a"', status=304)),
    fetch(NEXT, asked=("!If-None-Match",)),
)
case(
    "a-304-that-is-private",
    "RFC 9111 section 5.2.2.7",
    "So does one that is private.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: private", 'ETag: "a"', status=304)),
    fetch(NEXT, asked=("!If-None-Match",)),
)
case(
    "a-304-without-lifetime-keeps-the-old",
    U,
    "What a 304 does not say stays as it was.",
    fetch(says(*STALE, 'ETag: "a"', "X-Kept: 1")),
    checked(UNCHANGED),
    hit(has=("Cache-Control: max-age=60", "X-Kept: 1")),
)
case(
    "a-coding-is-not-changed",
    U,
    "Content-Encoding of a 304 does not make the stored body another.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', "Content-Encoding: gzip", status=304)),
    hit(has=("!Content-Encoding",)),
)
case(
    "a-range-is-not-changed",
    U,
    "Nor does Content-Range.",
    fetch(says(*STALE, 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', "Content-Range: bytes 0-1/2", status=304)),
    hit(has=("!Content-Range",)),
)
case(
    "only-its-own-variant",
    U,
    "A 304 changes the variant that it names, and no other.",
    fetch(says(*STALE, "Vary: Foo", 'ETag: "1"'), "Foo: 1"),
    fetch(says(*STALE, "Vary: Foo", 'ETag: "2"'), "Foo: 2"),
    checked(says("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "1"', "X-New: 1", status=304), "Foo: 1", of=1),
    hit("Foo: 1", of=1, has=("X-New: 1",)),
    checked(says("Cache-Control: max-age=60", 'ETag: "2"', status=304), "Foo: 2", of=2, has=("!X-New",)),
)
