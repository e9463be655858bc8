"""Parts of what is stored whole: RFC 9110 section 14."""

from __future__ import annotations

from tests.caching.case import ANY, Step, case, fetch, hit, own, says, theme
from tests.caching.server import Answer

theme("Ranges")

R = "RFC 9110 section 14.2"
BODY = b"0123456789"
TEN = says("Cache-Control: max-age=3600", 'ETag: "a"', "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", body=BODY)


def part(value: str, gets: bytes, content_range: str, *lines: str, **more: object) -> Step:
    return hit(
        f"Range: {value}",
        *lines,
        status=206,
        gets=gets,
        has=(f"Content-Range: bytes {content_range}/10", f"Content-Length: {len(gets)}"),
        **more,
    )


def whole(*lines: str, answer: Answer = TEN) -> tuple[Step, Step]:
    return fetch(answer), hit(*lines, has=("!Content-Range",))


case(
    "the-first-bytes",
    R,
    "A range of what is stored whole is served from it, as 206.",
    fetch(TEN),
    part("bytes=0-3", b"0123", "0-3"),
)
case("bytes-between", R, "From the middle as well.", fetch(TEN), part("bytes=4-6", b"456", "4-6"))
case("one-byte", R, "One byte is a range.", fetch(TEN), part("bytes=9-9", b"9", "9-9"))
case("to-the-end", R, "A range may be open.", fetch(TEN), part("bytes=5-", b"56789", "5-9"))
case("beyond-the-end", R, "One that goes beyond the end ends there.", fetch(TEN), part("bytes=5-99", b"56789", "5-9"))
case(
    "the-last-bytes",
    "RFC 9110 section 14.1.2",
    "The last bytes may be asked for.",
    fetch(TEN),
    part("bytes=-3", b"789", "7-9"),
)
case(
    "more-last-bytes-than-there-are",
    "RFC 9110 section 14.1.2",
    "More of them than there are is all of them.",
    fetch(TEN),
    part("bytes=-99", BODY, "0-9"),
)
case(
    "the-unit-in-capitals",
    "RFC 9110 section 14.1",
    "Units are the same in any letters.",
    fetch(TEN),
    part("BYTES=0-3", b"0123", "0-3"),
)
case(
    "a-range-has-the-fields",
    "RFC 9110 section 15.3.7",
    "A 206 has Date, Cache-Control, ETag, Age.",
    fetch(TEN),
    hit(
        "Range: bytes=0-0",
        status=206,
        gets=b"0",
        has=("Date", "Cache-Control: max-age=3600", 'ETag: "a"', "Age", "!Transfer-Encoding"),
    ),
)
case(
    "a-range-behind-the-end",
    "RFC 9110 section 15.5.17",
    "A range behind the end is 416, with the length.",
    fetch(TEN),
    own(416, "Range: bytes=10-", has=("Content-Range: bytes */10",)),
)
case(
    "no-last-bytes",
    "RFC 9110 section 14.1.2",
    "So is the last none of bytes.",
    fetch(TEN),
    own(416, "Range: bytes=-0", has=("Content-Range: bytes */10",)),
)
for name, value in (
    ("backwards", "bytes=5-2"),
    ("no-number", "bytes=a-b"),
    ("another-unit", "items=0-3"),
    ("no-range", "bytes="),
    ("a-single-number", "bytes=5"),
    ("negative", "bytes=--5"),
    ("huge", "bytes=" + "9" * 30 + "-1"),
):
    case(f"a-range-that-is-{name}", R, f"Range: {value[:20]} is passed over.", *whole(f"Range: {value}"))
case(
    "several-ranges",
    "RFC 9110 section 14.2",
    "Several ranges get the whole, which a server may always give.",
    *whole("Range: bytes=0-1, 3-4"),
)
case(
    "many-ranges",
    "RFC 9110 section 14.2",
    "So do a hundred.",
    *whole("Range: bytes=" + ",".join(f"{n}-{n}" for n in range(100))),
)
case(
    "if-range-holds",
    "RFC 9110 section 13.1.5",
    "If-Range with the ETag gets the part.",
    fetch(TEN),
    part("bytes=0-3", b"0123", "0-3", 'If-Range: "a"'),
)
case(
    "if-range-does-not-hold",
    "RFC 9110 section 13.1.5",
    "With another it gets the whole.",
    *whole("Range: bytes=0-3", 'If-Range: "b"'),
)
case(
    "if-range-weak",
    "RFC 9110 section 13.1.5",
    "With a weak one as well: only strong ones compare.",
    *whole("Range: bytes=0-3", 'If-Range: W/"a"'),
)
case(
    "if-range-of-a-weak-etag",
    "RFC 9110 section 13.1.5",
    "Also when the stored one is weak.",
    *whole("Range: bytes=0-3", 'If-Range: W/"a"', answer=says("Cache-Control: max-age=3600", 'ETag: W/"a"', body=BODY)),
)
case(
    "if-range-date-holds",
    "RFC 9110 section 13.1.5",
    "If-Range with the very Last-Modified gets the part.",
    fetch(TEN),
    part("bytes=0-3", b"0123", "0-3", "If-Range: Wed, 01 Jan 2020 00:00:00 GMT"),
)
case(
    "if-range-date-earlier",
    "RFC 9110 section 13.1.5",
    "With an earlier date it gets the whole.",
    *whole("Range: bytes=0-3", "If-Range: Tue, 31 Dec 2019 00:00:00 GMT"),
)
case(
    "if-range-date-later",
    "RFC 9110 section 13.1.5",
    "With a later one as well: it has to be the same.",
    *whole("Range: bytes=0-3", "If-Range: Thu, 02 Jan 2020 00:00:00 GMT"),
)
case(
    "if-range-date-not-strong",
    "RFC 9110 section 8.8.2.2",
    "A Last-Modified within the second of Date is weak, and gets the whole.",
    *whole(
        "Range: bytes=0-3",
        "If-Range: Fri, 01 Jan 2021 00:00:00 GMT",
        answer=says(
            "Cache-Control: max-age=999999999",
            "Date: Fri, 01 Jan 2021 00:00:00 GMT",
            "Last-Modified: Fri, 01 Jan 2021 00:00:00 GMT",
            body=BODY,
        ),
    ),
)
case(
    "if-range-without-range", "RFC 9110 section 13.1.5", "If-Range without Range says nothing.", *whole('If-Range: "b"')
)
case(
    "head-has-no-range",
    "RFC 9110 section 14.2",
    "Ranges are of GET: HEAD gets the head of the whole.",
    fetch(TEN),
    hit("Range: bytes=0-3", method="HEAD", has=("Content-Length: 10", "!Content-Range")),
)
case(
    "the-condition-comes-first",
    "RFC 9110 section 13.2.2",
    "If-None-Match is looked at before Range.",
    fetch(TEN),
    hit("Range: bytes=0-3", 'If-None-Match: "a"', status=304),
)
case(
    "a-condition-that-differs-and-a-range",
    "RFC 9110 section 13.2.2",
    "When it does not match the part is served.",
    fetch(TEN),
    part("bytes=0-3", b"0123", "0-3", 'If-None-Match: "b"'),
)
case(
    "a-range-of-an-error",
    "RFC 9110 section 14.2",
    "Of what is no 200 there are no parts.",
    fetch(says("Cache-Control: max-age=60", status=404, body=BODY)),
    hit("Range: bytes=0-3", status=404, has=("!Content-Range",)),
)
case(
    "a-range-of-what-came-in-chunks",
    R,
    "Chunks do not matter.",
    fetch(says("Cache-Control: max-age=60", framing="chunked", body=BODY)),
    part("bytes=0-3", b"0123", "0-3"),
)
case(
    "a-range-of-a-variant",
    R,
    "A part is of the variant that the request selects.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", body=b"abcdefghij"), "Foo: 1"),
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", body=BODY), "Foo: 2"),
    part("bytes=0-3", b"abcd", "0-3", "Foo: 1"),
)
case(
    "a-part-does-not-become-the-whole",
    "RFC 9111 section 3.3",
    "What a request for a part brought is never served for the whole.",
    Step(
        ("Range: bytes=0-3",),
        answers=(says("Cache-Control: max-age=3600", 'ETag: "a"', body=BODY, honest=True),),
        status=206,
        gets=b"0123",
    ),
    Step(answers=(says("Cache-Control: max-age=3600", 'ETag: "a"', body=BODY, honest=True),), reaches=ANY, gets=BODY),
)
case(
    "a-server-that-knows-no-ranges",
    "RFC 9110 section 14.2",
    "Where the server answers a Range with the whole, that is stored.",
    Step(("Range: bytes=0-3",), answers=(TEN,), status=200),
    hit(),
)
