"""Which fields are stored and served: RFC 9111 section 3.1; and what Cache-Status says: RFC 9211."""

from __future__ import annotations

from tests.caching.case import NEXT, UNCHANGED, case, checked, fetch, hit, says, theme

theme("Stored fields")

S = "RFC 9111 section 3.1"
CC = "Cache-Control: max-age=3600"

case(
    "unknown-fields-are-stored",
    S,
    "Fields that nobody knows are stored.",
    fetch(says(CC, "X-Foo: 1")),
    hit(has=("X-Foo: 1",)),
)
case(
    "known-fields-are-stored",
    S,
    "Those that are known as well.",
    fetch(
        says(
            CC,
            "Content-Type: text/x",
            "Content-Language: de",
            "Link: </a>; rel=next",
            "Server: s",
            "Content-Disposition: inline",
            "Retry-After: 5",
            "Strict-Transport-Security: max-age=1",
        )
    ),
    hit(
        has=(
            "Content-Type: text/x",
            "Content-Language: de",
            "Link: </a>; rel=next",
            "Server: s",
            "Content-Disposition: inline",
            "Retry-After: 5",
            "Strict-Transport-Security: max-age=1",
        )
    ),
)
case(
    "lines-of-one-name-are-stored",
    S,
    "Several lines of one name stay several.",
    fetch(says(CC, "Set-Cookie: a=1", "X-Two: 1", "Set-Cookie: b=2", "X-Two: 2")),
    hit(has=("Set-Cookie: a=1", "Set-Cookie: b=2", "X-Two: 1", "X-Two: 2")),
)
case("empty-fields-are-stored", S, "So are empty ones.", fetch(says(CC, "X-Empty:")), hit(has=("X-Empty:",)))
case(
    "bytes-over-127-are-stored",
    S,
    "And bytes that are no ASCII.",
    fetch(says(CC, "X-Name: J\xfcrgen")),
    hit(has=("X-Name: J\xfcrgen",)),
)
for name, value in (
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authenticate", 'Basic realm="x"'),
    ("Proxy-Authentication-Info", "x=y"),
    ("Proxy-Authorization", "Basic eDp5"),
    ("TE", "trailers"),
    ("Upgrade", "foo/1"),
):
    case(
        f"{name.lower()}-is-not-stored",
        S,
        f"{name} is of the hop, and is not stored.",
        fetch(says(CC, f"{name}: {value}", "X-Kept: 1")),
        hit(has=(f"!{name}", "X-Kept: 1")),
    )
case(
    "nominated-fields-are-not-stored",
    S,
    "Nor are those that Connection names.",
    fetch(says(CC, "Connection: X-Hop, x-other", "X-Hop: 1", "X-Other: 2", "X-Kept: 3"), has=("!X-Hop", "!X-Other")),
    hit(has=("!X-Hop", "!X-Other", "X-Kept: 3")),
)
case(
    "connection-does-not-hide-a-lifetime",
    S,
    "Connection cannot take away what forbids to store.",
    fetch(says("Connection: Cache-Control", "Cache-Control: private, max-age=3600")),
    fetch(NEXT),
)
case(
    "date-is-kept",
    "RFC 9110 section 6.6.1",
    "Date stays as the server gave it.",
    fetch(says("Date: Wed, 01 Jan 2020 00:00:00 GMT", "Cache-Control: max-age=999999999")),
    hit(has=("Date: Wed, 01 Jan 2020 00:00:00 GMT",)),
)
case(
    "date-is-added",
    "RFC 9110 section 6.6.1",
    "One without gets the time of its arrival.",
    fetch(says(CC, date=None)),
    hit(has=("Date",)),
)
case(
    "a-length-for-what-came-in-chunks",
    "RFC 9110 section 8.6",
    "What came in chunks is served with its length.",
    fetch(says(CC, framing="chunked", body=b"0123456789")),
    hit(has=("Content-Length: 10", "!Transfer-Encoding")),
)
case(
    "an-empty-body",
    "RFC 9110 section 8.6",
    "An empty body is one.",
    fetch(says(CC, body=b"")),
    hit(gets=b"", has=("Content-Length: 0",)),
    hit(gets=b""),
)
case(
    "a-large-body",
    "RFC 9111 section 3",
    "A body of half a megabyte is stored.",
    fetch(says(CC, body=b"0123456789abcdef" * 32768)),
    hit(),
    hit(),
)
case(
    "a-body-of-any-bytes",
    "RFC 9111 section 3",
    "Bytes are stored as they are.",
    fetch(says(CC, body=bytes(range(256)) * 4)),
    hit(),
)
case(
    "a-coding-of-the-server",
    "RFC 9110 section 8.4",
    "What the server has encoded stays so.",
    fetch(says(CC, "Content-Encoding: x-own", "Vary: Accept-Encoding", 'ETag: "a"')),
    hit(has=("Content-Encoding: x-own", 'ETag: "a"')),
)
case(
    "fields-for-caches-behind-pass",
    S,
    "What is meant for caches of others is stored as any field.",
    fetch(says(CC, "Surrogate-Control: no-store")),
    hit(has=("Surrogate-Control: no-store",)),
)
case(
    "trailers-are-not-fields",
    "RFC 9110 section 6.5.1",
    "Trailers do not become fields of what is stored.",
    fetch(says(CC, "Trailer: X-Trail", framing="chunked", trailers=("X-Trail: 1", "Cache-Control: no-store"))),
    hit(has=("!X-Trail", "!Trailer", "Cache-Control: max-age=3600")),
)

case(
    "an-old-server",
    "RFC 9110 section 2.5",
    "What a server of HTTP/1.0 said is served as an answer of HTTP/1.1.",
    fetch(says(CC, line="HTTP/1.0 {status} OK")),
    hit(),
    hit('If-None-Match: "a"'),
)
case(
    "no-reason",
    "RFC 9112 section 4",
    "A status without a reason is one.",
    fetch(says(CC, line="HTTP/1.1 {status} ", status=404)),
    hit(status=404),
)
case(
    "a-server-that-closes",
    "RFC 9112 section 9.6",
    "That a server closes the connection after a whole answer does not keep from storing it.",
    fetch(says(CC, "Connection: close")),
    hit(has=("!Connection: close",)),
)

theme("Cache-Status")

C = "RFC 9211 section 2"
case(
    "a-miss-says-so",
    "RFC 9211 section 2.2",
    "A miss is fwd=uri-miss.",
    fetch(says(CC), cache={"fwd": "uri-miss", "hit": None}),
)
case(
    "a-miss-says-whether-it-is-stored",
    "RFC 9211 section 2.5",
    "It says whether the answer is stored.",
    fetch(says(CC), cache={"fwd": "uri-miss", "stored": True}),
)
case(
    "a-miss-that-is-not-stored",
    "RFC 9211 section 2.5",
    "And when it is not.",
    fetch(says("Cache-Control: no-store"), cache={"fwd": "uri-miss", "stored": None}),
)
case(
    "a-hit-says-so",
    "RFC 9211 section 2.1",
    "A hit is hit, and has no fwd.",
    fetch(says(CC)),
    hit(cache={"hit": True, "fwd": None}),
)
case(
    "a-hit-says-how-long",
    "RFC 9211 section 2.4",
    "It says how long it stays fresh.",
    fetch(says(CC, "Age: 600")),
    hit(cache={"ttl": (2995, 3000)}),
)
case(
    "a-stale-hit-says-since-when",
    "RFC 9211 section 2.4",
    "A stale one since when it is not.",
    fetch(says(CC, "Age: 3700", 'ETag: "a"')),
    hit("Cache-Control: max-stale", cache={"ttl": (-105, -95)}),
)
case(
    "a-request-that-asks-anew",
    "RFC 9211 section 2.2",
    "fwd=request: what was fresh was not to be used.",
    fetch(says(CC)),
    fetch(NEXT, "Cache-Control: no-cache", cache={"fwd": "request"}),
)
case(
    "another-variant-says-so",
    "RFC 9211 section 2.2",
    "fwd=vary-miss: the URL is known, and this variant not.",
    fetch(says(CC, "Vary: Foo"), "Foo: 1"),
    fetch(NEXT, "Foo: 2", cache={"fwd": "vary-miss"}),
)
case(
    "another-method-says-so",
    "RFC 9211 section 2.2",
    "fwd=method: the method is not cached.",
    fetch(says("Cache-Control: no-store"), method="POST", cache={"fwd": "method"}),
)
case(
    "a-stale-one-says-so",
    "RFC 9211 section 2.3",
    "fwd=stale, with the status of the server where another is sent.",
    fetch(says(CC, "Age: 3700", 'ETag: "a"')),
    checked(UNCHANGED, cache={"fwd": "stale", "fwd-status": 304}),
)
case(
    "other-caches-come-first",
    C,
    "What caches nearer to the server said stays, in front of ours.",
    fetch(says(CC, "Cache-Status: Inner; hit; ttl=100"), has=("Cache-Status",), cache={"fwd": "uri-miss"}),
    hit(cache={"hit": True, "fwd": None}),
)
case(
    "what-is-not-stored-says-why",
    "RFC 9211 section 2.8",
    "An answer that may not be stored says why.",
    fetch(says("Cache-Control: no-store"), cache={"fwd": "uri-miss", "stored": None, "detail": "no-store"}),
)
case(
    "what-has-no-lifetime-says-so",
    "RFC 9211 section 2.8",
    "So does one without a lifetime, which is what puzzles people most.",
    fetch(says(), cache={"fwd": "uri-miss", "stored": None, "detail": "no-lifetime"}),
)
case(
    "a-bypassed-request-says-so",
    "RFC 9211 section 2.2",
    "fwd=bypass: a rule lets it pass.",
    fetch(says(CC), "X-Preview: 1", cache={"fwd": "bypass"}),
    site="ruled",
    prefix="/bypass",
)
case(
    "the-key-is-nobodys-affair",
    "RFC 9211 section 6",
    "The key is not told to clients.",
    fetch(says(CC), "Balancer-Debug: key", cache={"key": None}),
    hit("Balancer-Debug: key", cache={"key": None}),
)
case(
    "the-key-on-request",
    "RFC 9211 section 2.7",
    "It is told to those in purge_from that ask for it, by Balancer-Debug: key, with a miss as with a hit.",
    fetch(says(CC), "Balancer-Debug: key", cache={"key": "http://site.test{path}"}),
    hit("Balancer-Debug: key", cache={"key": "http://site.test{path}"}),
    site="ruled",
)
case(
    "where-it-is-switched-off",
    "cache.status_header",
    "With status_header: false nothing is said.",
    fetch(says(CC), has=("!Cache-Status",), hit=None),
    hit(has=("!Cache-Status", "Age"), hit=None),
    site="quiet",
    prefix="/on",
)
case(
    "where-the-cache-is-switched-off",
    "routes.cache",
    "On a route with cache: false nothing is stored or said.",
    fetch(says(CC), has=("!Cache-Status",), hit=None),
    fetch(says(CC), has=("!Cache-Status", "!Age"), hit=None),
    site="ruled",
    prefix="/off",
)
case(
    "off-unless-asked-for",
    "cache.enabled",
    "Without cache: true nothing is cached.",
    fetch(says(CC), has=("!Cache-Status",), hit=None),
    fetch(says(CC), has=("!Cache-Status",), hit=None),
    site="quiet",
)
