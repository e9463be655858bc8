"""What is one URL and what are two: RFC 9111 section 2, RFC 3986 section 6.2, RFC 9110 section 4.2.3."""

from __future__ import annotations

from tests.caching.case import NEXT, case, fetch, hit, says, theme

theme("Keys")

KEPT = says("Cache-Control: max-age=3600")
SAME = "RFC 9110 section 4.2.3"
OTHER = "RFC 3986 section 6.2.2"


def same(id: str, rule: str, first: dict[str, str], second: dict[str, str], ref: str = SAME) -> None:  # noqa: A002
    case(id, ref, rule, fetch(KEPT, **first), hit(**second))


def other(id: str, rule: str, first: dict[str, str], second: dict[str, str], ref: str = OTHER) -> None:  # noqa: A002
    case(id, ref, rule, fetch(KEPT, **first), fetch(NEXT, **second), hit(of=1, **first))


same("hosts-in-capitals", "Hosts are the same in any letters.", {"host": "Site.TEST"}, {"host": "site.test"})
same("the-usual-port", "Port 80 of http may be left out.", {"host": "site.test:80"}, {"host": "site.test"})
same("the-port-left-out", "Or be said.", {"host": "site.test"}, {"host": "site.test:80"})
same("a-target-with-its-host", "http://host/path is /path of the host.", {"target": "http://site.test{path}"}, {})
same("a-target-with-a-host-in-capitals", "In any letters.", {"target": "HTTP://SITE.test:80{path}"}, {})
same("unreserved-letters-encoded", "%7E is ~.", {"tail": "/~a"}, {"tail": "/%7Ea"}, OTHER)
same("letters-encoded", "%61 is a.", {"tail": "/%61bc"}, {"tail": "/abc"}, OTHER)
same("unreserved-letters-encoded-in-a-query", "Also in a query.", {"tail": "?q=%7e"}, {"tail": "?q=~"}, OTHER)
same("hexadecimal-in-other-letters", "%2f is %2F.", {"tail": "/a%2fb"}, {"tail": "/a%2Fb"}, OTHER)
other("another-host", "Another host is another URL.", {"host": "site.test"}, {"host": "other.test"}, SAME)
other("another-port", "Another port as well.", {"host": "site.test"}, {"host": "site.test:8080"}, SAME)
other(
    "a-target-with-another-host",
    "The host of the target counts, not Host.",
    {"target": "http://other.test{path}"},
    {},
    "RFC 9112 section 3.2.2",
)
other("the-path-in-capitals", "Paths are not the same in other letters.", {"tail": "/a"}, {"tail": "/A"})
other("a-slash-at-the-end", "A slash at the end makes another URL.", {"tail": "/a"}, {"tail": "/a/"})
other("two-slashes", "Two slashes are not one.", {"tail": "/a/b"}, {"tail": "/a//b"})
other("an-encoded-slash", "%2F is not /.", {"tail": "/a/b"}, {"tail": "/a%2Fb"})
other("an-encoded-question-mark", "%3F is not ?.", {"tail": "/a?b"}, {"tail": "/a%3Fb"})
other("an-encoded-percent", "%2561 is not %61.", {"tail": "/%61"}, {"tail": "/%2561"})
other("encoded-reserved-letters-in-a-query", "%26 is not &.", {"tail": "?a&b"}, {"tail": "?a%26b"})
other("a-plus-in-a-query", "+ is not %20.", {"tail": "?a+b"}, {"tail": "?a%20b"})
other("dot-segments", "What a server makes of dots is its own affair.", {"tail": "/a/../b"}, {"tail": "/b"})
other("a-query", "A query makes another URL.", {"tail": "?a=1"}, {})
other("another-query", "Another one another.", {"tail": "?a=1"}, {"tail": "?a=2"})
other("an-empty-query", "Even an empty one.", {"tail": "?"}, {})
other("parameters-in-another-order", "So does another order of parameters.", {"tail": "?a=1&b=2"}, {"tail": "?b=2&a=1"})
other("a-query-in-capitals", "And other letters.", {"tail": "?A=1"}, {"tail": "?a=1"})
other("a-semicolon", "Parameters of a path belong to it.", {"tail": "/a;b"}, {"tail": "/a"})
other(
    "a-dot-behind-a-host",
    "A dot behind a host makes another name for who serves it.",
    {"host": "site.test."},
    {"host": "site.test"},
    SAME,
)
case(
    "old-clients-and-new",
    "RFC 9111 section 4",
    "A client of HTTP/1.0 gets what one of 1.1 brought.",
    fetch(says("Cache-Control: max-age=3600", framing="chunked")),
    hit(version="1.0", has=("!Transfer-Encoding", "Content-Length")),
)
case(
    "a-long-query",
    "bounds",
    "A long query is a key as others are.",
    fetch(KEPT, tail="?q=" + "x" * 3000),
    hit(tail="?q=" + "x" * 3000),
    fetch(NEXT, tail="?q=" + "x" * 2999 + "y"),
)
