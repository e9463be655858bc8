"""What makes stored answers go: RFC 9111 section 4.4, RFC 9875."""

from __future__ import annotations

from tests.caching.case import NEXT, case, fetch, hit, says, theme
from tests.caching.server import Answer

theme("Invalidation")

SECTION = "RFC 9111 section 4.4"
KEPT = says("Cache-Control: max-age=3600")


def done(*lines: str, status: int = 200) -> Answer:
    return says("Cache-Control: no-store", *lines, status=status)


for method in ("POST", "PUT", "PATCH", "DELETE", "FOO", "M-SEARCH", "get"):
    case(
        f"{method}-invalidates".replace("get", "lower-case-get"),
        SECTION,
        f"After {method} what is stored of the URL is not used.",
        fetch(KEPT),
        hit(),
        fetch(done(), method=method),
        fetch(NEXT),
    )
case(
    "OPTIONS-does-not-invalidate",
    SECTION,
    "OPTIONS is safe: what is stored stays.",
    fetch(KEPT),
    fetch(done(), method="OPTIONS"),
    hit(of=1),
)
for code in (200, 201, 204, 301, 302, 303, 307):
    case(
        f"an-unsafe-{code}-invalidates",
        SECTION,
        f"{code} is no error: it invalidates.",
        fetch(KEPT),
        fetch(done(status=code), method="POST", gets=b"" if code == 204 else None),
        fetch(NEXT),
    )
for code in (400, 403, 404, 409, 412, 500, 502, 503):
    case(
        f"an-unsafe-{code}-does-not-invalidate",
        SECTION,
        f"{code} is an error: what is stored stays.",
        fetch(KEPT),
        fetch(done(status=code), method="POST"),
        hit(of=1),
    )
case(
    "an-unsafe-request-without-answer",
    SECTION,
    "Nor does a request that got none.",
    fetch(KEPT),
    fetch(says(silent=True), method="POST", status=502, page=True),
    hit(of=1),
)
case(
    "all-variants-go",
    SECTION,
    "All variants of the URL go.",
    fetch(says("Cache-Control: max-age=60", "Vary: Foo"), "Foo: 1"),
    fetch(says("Cache-Control: max-age=60", "Vary: Foo"), "Foo: 2"),
    fetch(done(), method="POST"),
    fetch(NEXT, "Foo: 1"),
    fetch(NEXT, "Foo: 2"),
)
case(
    "another-query-stays",
    SECTION,
    "Another query is another URL.",
    fetch(KEPT, tail="?a=1"),
    fetch(done(), method="POST", tail="?a=2"),
    hit(tail="?a=1", of=1),
)
case(
    "another-host-stays",
    SECTION,
    "Another host is another URL.",
    fetch(KEPT),
    fetch(done(), method="POST", host="other.test"),
    hit(of=1),
)
case(
    "another-spelling-goes",
    "RFC 3986 section 6.2.2",
    "Another spelling of the URL is the same.",
    fetch(KEPT, tail="/~a"),
    fetch(done(), method="POST", tail="/%7ea", host="SITE.test:80"),
    fetch(NEXT, tail="/~a"),
)
for name in ("Location", "Content-Location"):
    case(
        f"{name.lower()}-invalidates",
        SECTION,
        f"{name} invalidates what it names on the same host.",
        fetch(KEPT, tail="/a"),
        fetch(done(f"{name}: {{path}}/a", status=201), method="POST", tail="/b"),
        fetch(NEXT, tail="/a"),
    )
    case(
        f"{name.lower()}-with-a-host-invalidates",
        SECTION,
        f"{name} may be a whole URL.",
        fetch(KEPT, tail="/a"),
        fetch(done(f"{name}: http://site.test{{path}}/a", status=201), method="POST", tail="/b"),
        fetch(NEXT, tail="/a"),
    )
    case(
        f"{name.lower()}-relative-invalidates",
        "RFC 3986 section 5.2",
        f"{name} may be relative to the URL that was asked for.",
        fetch(KEPT, tail="/a"),
        fetch(done(f"{name}: a", status=201), method="POST", tail="/b"),
        fetch(NEXT, tail="/a"),
    )
    case(
        f"{name.lower()}-of-another-host",
        SECTION,
        f"{name} does not reach another host.",
        fetch(KEPT, tail="/a", host="other.test"),
        fetch(done(f"{name}: http://other.test{{path}}/a", status=201), method="POST", tail="/b"),
        hit(tail="/a", host="other.test", of=1),
    )
    case(
        f"{name.lower()}-of-an-error",
        SECTION,
        f"{name} of an error invalidates nothing.",
        fetch(KEPT, tail="/a"),
        fetch(done(f"{name}: {{path}}/a", status=500), method="POST", tail="/b"),
        hit(tail="/a", of=1),
    )
    case(
        f"{name.lower()}-of-a-safe-request",
        SECTION,
        f"{name} of a GET invalidates nothing.",
        fetch(KEPT, tail="/a"),
        fetch(done(f"{name}: {{path}}/a", status=201), tail="/b"),
        hit(tail="/a", of=1),
    )
case(
    "location-of-another-port",
    SECTION,
    "Another port is another origin.",
    fetch(KEPT, tail="/a", host="site.test:8080"),
    fetch(done("Location: http://site.test:8080{path}/a", status=201), method="POST", tail="/b"),
    hit(tail="/a", host="site.test:8080", of=1),
)
case(
    "a-broken-location",
    SECTION,
    "A Location that is no URL does no harm.",
    fetch(KEPT),
    fetch(done("Location: http://[::1", status=201), method="POST", tail="/b"),
    hit(of=1),
)
case(
    "the-url-is-stored-anew",
    SECTION,
    "After that the URL is stored anew.",
    fetch(KEPT),
    fetch(done(), method="POST"),
    fetch(KEPT),
    hit(of=3),
)
case(
    "invalidated-on-a-route-with-rules",
    SECTION,
    "Parameters that a rule ignores make no other URL here either.",
    fetch(KEPT, tail="?a=1&utm_source=x"),
    fetch(done(), method="POST", tail="?a=1"),
    fetch(NEXT, tail="?a=1&utm_source=y"),
    site="ruled",
    prefix="/ignore",
)

theme("Cache groups")

G = "RFC 9875 section 2"
X = "RFC 9875 section 3"


def grouped(groups: str) -> Answer:
    return says("Cache-Control: max-age=3600", f"Cache-Groups: {groups}")


case(
    "a-group-is-invalidated",
    X,
    "Cache-Group-Invalidation of an unsafe request invalidates the members of the group.",
    fetch(grouped('"one"'), tail="/a"),
    fetch(grouped('"one"'), tail="/b"),
    fetch(done('Cache-Group-Invalidation: "one"'), method="POST", tail="/c"),
    fetch(NEXT, tail="/a"),
    fetch(NEXT, tail="/b"),
)
case(
    "a-group-behind-a-proxy",
    X,
    "Behind a trusted proxy the group is of the URL that this was asked for.",
    fetch(grouped('"one"'), "X-Forwarded-Proto: https", tail="/a"),
    fetch(done('Cache-Group-Invalidation: "one"'), "X-Forwarded-Proto: https", method="POST", tail="/c"),
    fetch(NEXT, "X-Forwarded-Proto: https", tail="/a"),
    site="trusting",
)
case(
    "another-group-stays",
    X,
    "And of no other.",
    fetch(grouped('"one"'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "two"'), method="POST", tail="/c"),
    hit(tail="/a", of=1),
)
case(
    "one-of-several-groups",
    G,
    "An answer may be in several groups, and several may be named.",
    fetch(grouped('"zero", "one"'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "two", "one"'), method="POST", tail="/c"),
    fetch(NEXT, tail="/a"),
)
case(
    "groups-on-two-lines",
    "RFC 9651 section 4.2",
    "A list may come on two lines.",
    fetch(says("Cache-Control: max-age=3600", 'Cache-Groups: "zero"', 'Cache-Groups: "one"'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "one"'), method="POST", tail="/c"),
    fetch(NEXT, tail="/a"),
)
case(
    "a-group-in-other-letters",
    G,
    "Names of groups are compared letter by letter.",
    fetch(grouped('"one"'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "ONE"'), method="POST", tail="/c"),
    hit(tail="/a", of=1),
)
case(
    "a-group-of-another-host",
    G,
    "A group is of one host.",
    fetch(grouped('"one"'), tail="/a", host="other.test"),
    fetch(done('Cache-Group-Invalidation: "one"'), method="POST", tail="/c"),
    hit(tail="/a", host="other.test", of=1),
)
case(
    "a-group-named-by-a-safe-request",
    X,
    "In the answer to a safe request Cache-Group-Invalidation says nothing.",
    fetch(grouped('"one"'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "one"'), tail="/c"),
    hit(tail="/a", of=1),
)
case(
    "groups-that-do-not-parse",
    "RFC 9651 section 4.2",
    "A field that does not parse says nothing.",
    fetch(grouped('"one"'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "one", two"'), method="POST", tail="/c"),
    hit(tail="/a", of=1),
)
case(
    "a-group-that-is-a-token",
    X,
    "A token is no name of a group.",
    fetch(grouped("one"), tail="/a"),
    fetch(done("Cache-Group-Invalidation: one"), method="POST", tail="/c"),
    hit(tail="/a", of=1),
)
case(
    "parameters-of-groups",
    X,
    "Parameters of groups are passed over.",
    fetch(grouped('"one";x=1'), tail="/a"),
    fetch(done('Cache-Group-Invalidation: "one";y'), method="POST", tail="/c"),
    fetch(NEXT, tail="/a"),
)
case(
    "thirty-two-groups",
    G,
    "At least 32 groups with 32 characters are understood.",
    fetch(grouped(", ".join(f'"{n:032d}"' for n in range(32))), tail="/a"),
    fetch(done(f'Cache-Group-Invalidation: "{31:032d}"'), method="POST", tail="/c"),
    fetch(NEXT, tail="/a"),
)
case("groups-reach-clients", G, "The field is passed on.", fetch(grouped('"one"')), hit(has=('Cache-Groups: "one"',)))
