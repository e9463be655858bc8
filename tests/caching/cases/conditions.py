"""Conditions of clients that the cache answers itself: RFC 9110 section 13, RFC 9111 section 4.3.2."""

from __future__ import annotations

from tests.caching.case import case, fetch, hit, says, theme

theme("Conditions of clients")

STRONG = says(
    "Cache-Control: max-age=3600",
    'ETag: "a"',
    "Vary: Foo",
    "Content-Location: /x",
    "Expires: Fri, 01 Jan 2100 00:00:00 GMT",
    "X-Other: 1",
)
WEAK = says("Cache-Control: max-age=3600", 'ETag: W/"a"')
DATED = says("Cache-Control: max-age=3600", "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
BOTH = says("Cache-Control: max-age=3600", 'ETag: "a"', "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT")
INM = "RFC 9110 section 13.1.2"
IMS = "RFC 9110 section 13.1.3"

case(
    "etag-matches",
    INM,
    "If-None-Match with the stored ETag is 304.",
    fetch(STRONG),
    hit('If-None-Match: "a"', status=304),
)
case(
    "a-304-has-what-it-must-have",
    "RFC 9110 section 15.4.5",
    "A 304 has Cache-Control, Content-Location, Date, ETag, Expires and Vary.",
    fetch(STRONG),
    hit(
        'If-None-Match: "a"',
        status=304,
        has=("Cache-Control: max-age=3600", "Content-Location: /x", "Date", 'ETag: "a"', "Expires", "Vary: Foo"),
    ),
)
case(
    "a-304-has-its-age",
    "RFC 9111 section 5.1",
    "And Age.",
    fetch(says("Cache-Control: max-age=3600", 'ETag: "a"', "Age: 30")),
    hit('If-None-Match: "a"', status=304, age=(30, 31)),
)
case("etag-differs", INM, "With another it is the whole answer.", fetch(STRONG), hit('If-None-Match: "b"'))
case("etag-in-a-list", INM, "One of a list is enough.", fetch(STRONG), hit('If-None-Match: "b", "a" , "c"', status=304))
case(
    "etag-on-a-second-line",
    "RFC 9110 section 5.3",
    "On a second line as well.",
    fetch(STRONG),
    hit('If-None-Match: "b"', 'If-None-Match: "a"', status=304),
)
case("etag-not-in-a-list", INM, "None of a list is none.", fetch(STRONG), hit('If-None-Match: "b", "aa", "A"'))
case("any-etag", INM, "* matches whatever is stored.", fetch(STRONG), hit("If-None-Match: *", status=304))
case("any-etag-without-etag", INM, "Also without an ETag.", fetch(DATED), hit("If-None-Match: *", status=304))
case(
    "weak-asks-for-strong",
    "RFC 9110 section 8.8.3.2",
    'W/"a" matches "a".',
    fetch(STRONG),
    hit('If-None-Match: W/"a"', status=304),
)
case(
    "strong-asks-for-weak",
    "RFC 9110 section 8.8.3.2",
    '"a" matches W/"a".',
    fetch(WEAK),
    hit('If-None-Match: "a"', status=304),
)
case(
    "weak-asks-for-weak",
    "RFC 9110 section 8.8.3.2",
    'W/"a" matches W/"a".',
    fetch(WEAK),
    hit('If-None-Match: W/"a"', status=304),
)
case(
    "a-comma-within-an-etag",
    "RFC 9110 section 8.8.3",
    "A comma may stand in an ETag.",
    fetch(says("Cache-Control: max-age=60", 'ETag: "a,b"')),
    hit('If-None-Match: "x", "a,b"', status=304),
    hit('If-None-Match: "a"'),
)
case(
    "part-of-an-etag",
    INM,
    "A part of an ETag is another.",
    fetch(says("Cache-Control: max-age=60", 'ETag: "abc"')),
    hit('If-None-Match: "b"'),
    hit('If-None-Match: "abcd"'),
)
case(
    "an-empty-etag",
    "RFC 9110 section 8.8.3",
    "An ETag may be empty.",
    fetch(says("Cache-Control: max-age=60", 'ETag: ""')),
    hit('If-None-Match: ""', status=304),
    hit('If-None-Match: "a"'),
)
case(
    "no-etag-stored",
    INM,
    "Without an ETag nothing matches.",
    fetch(says("Cache-Control: max-age=60")),
    hit('If-None-Match: "a"'),
)
case("an-etag-in-no-quotes", INM, "What is no ETag matches nothing.", fetch(STRONG), hit("If-None-Match: a"))
case(
    "not-modified-since-then",
    IMS,
    "If-Modified-Since at Last-Modified is 304.",
    fetch(DATED),
    hit("If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT", status=304, has=("Last-Modified",)),
)
case(
    "not-modified-since-later",
    IMS,
    "Later than it as well.",
    fetch(DATED),
    hit("If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT", status=304),
)
case(
    "modified-since",
    IMS,
    "Before it, it is the whole answer.",
    fetch(DATED),
    hit("If-Modified-Since: Tue, 31 Dec 2019 23:59:59 GMT"),
)
case(
    "modified-since-in-an-older-form",
    "RFC 9110 section 5.6.7",
    "Dates come in three forms.",
    fetch(DATED),
    hit("If-Modified-Since: Wednesday, 01-Jan-20 00:00:00 GMT", status=304),
    hit("If-Modified-Since: Wed Jan  1 00:00:00 2020", status=304),
)
case(
    "modified-since-no-date",
    IMS,
    "What is no date is passed over.",
    fetch(DATED),
    hit("If-Modified-Since: yesterday"),
    hit("If-Modified-Since: 2020-01-01"),
)
case(
    "the-etag-decides",
    "RFC 9110 section 13.2.2",
    "Beside If-None-Match, If-Modified-Since says nothing: no 304.",
    fetch(BOTH),
    hit('If-None-Match: "b"', "If-Modified-Since: Thu, 02 Jan 2020 00:00:00 GMT"),
)
case(
    "the-etag-decides-for-304",
    "RFC 9110 section 13.2.2",
    "Nor does it prevent one.",
    fetch(BOTH),
    hit('If-None-Match: "a"', "If-Modified-Since: Tue, 31 Dec 2019 00:00:00 GMT", status=304),
)
case(
    "head-with-a-condition",
    "RFC 9110 section 13.1.2",
    "HEAD gets a 304 as well.",
    fetch(STRONG),
    hit('If-None-Match: "a"', method="HEAD", status=304),
)
case(
    "conditions-of-an-error",
    "RFC 9110 section 13.2.1",
    "For what is no success conditions say nothing.",
    fetch(says("Cache-Control: max-age=60", 'ETag: "a"', status=404)),
    hit('If-None-Match: "a"', status=404),
)
case(
    "conditions-of-a-redirect",
    "RFC 9110 section 13.2.1",
    "Nor for a redirect.",
    fetch(says("Cache-Control: max-age=60", 'ETag: "a"', "Location: /y", status=302)),
    hit('If-None-Match: "a"', status=302),
)
case(
    "if-match-is-for-the-server",
    "RFC 9111 section 4.3.2",
    "If-Match is not for a cache: it goes to the server.",
    fetch(STRONG),
    fetch(says("Cache-Control: no-store", status=412), 'If-Match: "b"', asked=('If-Match: "b"',)),
)
case(
    "if-unmodified-since-is-for-the-server",
    "RFC 9111 section 4.3.2",
    "Nor is If-Unmodified-Since.",
    fetch(DATED),
    fetch(
        says("Cache-Control: no-store", status=412),
        "If-Unmodified-Since: Tue, 31 Dec 2019 00:00:00 GMT",
        asked=("If-Unmodified-Since",),
    ),
)
case(
    "a-condition-of-each-variant",
    "RFC 9111 section 4.3.2",
    "A condition is held against the variant that the request selects.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "1"'), "Foo: 1"),
    fetch(says("Cache-Control: max-age=60", "Vary: Foo", 'ETag: "2"'), "Foo: 2"),
    hit("Foo: 1", 'If-None-Match: "1"', status=304),
    hit("Foo: 2", 'If-None-Match: "1"', of=2),
)
