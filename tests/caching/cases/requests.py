"""What a request may ask of the cache: RFC 9111 section 5.2.1."""

from __future__ import annotations

from tests.caching.case import NEXT, UNCHANGED, case, checked, fetch, hit, own, says, theme

theme("Cache-Control of requests")

FRESH = says("Cache-Control: max-age=3600", 'ETag: "a"')
AGED = says("Cache-Control: max-age=3600", "Age: 1800", 'ETag: "a"')
OLD = says("Cache-Control: max-age=3600", "Age: 3620", 'ETag: "a"')

case(
    "no-cache-is-asked-anew",
    "RFC 9111 section 5.2.1.4",
    "A request with no-cache is not answered without the server.",
    fetch(FRESH),
    fetch(says("Cache-Control: max-age=60"), "Cache-Control: no-cache", cache={"fwd": "request"}),
)
case(
    "no-cache-may-be-a-check",
    "RFC 9111 section 5.2.1.4",
    "It may be answered with what is stored once the server has said that it holds.",
    fetch(FRESH),
    checked(UNCHANGED, "Cache-Control: no-cache", asked=('If-None-Match: "a"',)),
)
case(
    "no-cache-renews-what-is-stored",
    "RFC 9111 section 4.3.3",
    "What a reload brings is stored for all.",
    fetch(FRESH),
    fetch(FRESH, "Cache-Control: no-cache"),
    hit(of=2),
)
case(
    "no-store-of-a-request",
    "RFC 9111 section 5.2.1.5",
    "The answer to a request with no-store is not stored.",
    fetch(FRESH, "Cache-Control: no-store"),
    fetch(NEXT, asked=("!If-None-Match",)),
)
case(
    "no-store-beside-another",
    "RFC 9111 section 5.2.1.5",
    "Also beside other directives, in any letters.",
    fetch(FRESH, "Cache-Control: max-age=10, No-Store"),
    fetch(NEXT, asked=("!If-None-Match",)),
)
case(
    "max-age-of-a-request-too-old",
    "RFC 9111 section 5.2.1.1",
    "What is older than the request's max-age is asked anew.",
    fetch(AGED),
    fetch(NEXT, "Cache-Control: max-age=60", cache={"fwd": "request"}),
)
case(
    "max-age-of-a-request-young-enough",
    "RFC 9111 section 5.2.1.1",
    "What is not is used.",
    fetch(AGED),
    hit("Cache-Control: max-age=1900", age=(1800, 1801)),
)
case(
    "max-age-zero-of-a-request",
    "RFC 9111 section 5.2.1.1",
    "max-age=0 is a check each time.",
    fetch(FRESH),
    checked(UNCHANGED, "Cache-Control: max-age=0", asked=('If-None-Match: "a"',)),
)
case(
    "max-age-of-a-request-does-not-lengthen",
    "RFC 9111 section 5.2.1.1",
    "It makes nothing fresh that is stale.",
    fetch(OLD),
    checked(UNCHANGED, "Cache-Control: max-age=9999"),
)
case(
    "min-fresh-too-short",
    "RFC 9111 section 5.2.1.3",
    "What will not stay fresh for min-fresh is asked anew.",
    fetch(AGED),
    fetch(NEXT, "Cache-Control: min-fresh=2000"),
)
case(
    "min-fresh-long-enough",
    "RFC 9111 section 5.2.1.3",
    "What will is used.",
    fetch(AGED),
    hit("Cache-Control: min-fresh=1000"),
)
case(
    "max-stale-with-a-value",
    "RFC 9111 section 5.2.1.2",
    "max-stale takes what is stale by less.",
    fetch(OLD),
    hit("Cache-Control: max-stale=600", age=(3620, 3621)),
)
case(
    "max-stale-exceeded",
    "RFC 9111 section 5.2.1.2",
    "But nothing that is stale by more.",
    fetch(OLD),
    checked(UNCHANGED, "Cache-Control: max-stale=10"),
)
case(
    "max-stale-without-a-value",
    "RFC 9111 section 5.2.1.2",
    "max-stale alone takes anything.",
    fetch(OLD),
    hit("Cache-Control: max-stale"),
)
for strict in ("must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=3600"):
    name = strict.partition("=")[0]
    case(
        f"max-stale-against-{name}",
        "RFC 9111 section 4.2.4",
        f"Nothing stale is taken against {name}.",
        fetch(says(f"Cache-Control: max-age=3600, {strict}", "Age: 3620", 'ETag: "a"')),
        checked(UNCHANGED, "Cache-Control: max-stale=600"),
    )
case(
    "max-stale-beside-max-age",
    "RFC 9111 section 5.2.1.1",
    "max-age of a request holds beside max-stale no older answers than both allow.",
    fetch(OLD),
    checked(UNCHANGED, "Cache-Control: max-age=3600, max-stale=5"),
)
case(
    "only-if-cached-without",
    "RFC 9111 section 5.2.1.7",
    "only-if-cached is 504 when nothing is stored, and the server is not asked.",
    own(504, "Cache-Control: only-if-cached"),
)
case(
    "only-if-cached-with",
    "RFC 9111 section 5.2.1.7",
    "And what is stored when it is fresh.",
    fetch(FRESH),
    hit("Cache-Control: only-if-cached"),
)
case(
    "only-if-cached-stale",
    "RFC 9111 section 5.2.1.7",
    "And 504 when it is stale.",
    fetch(OLD),
    own(504, "Cache-Control: only-if-cached"),
)
case(
    "only-if-cached-and-max-stale",
    "RFC 9111 section 5.2.1.7",
    "Unless that may be stale.",
    fetch(OLD),
    hit("Cache-Control: only-if-cached, max-stale"),
)
case(
    "only-if-cached-and-no-cache",
    "RFC 9111 section 5.2.1.4",
    "Together with no-cache there is nothing that can be answered.",
    fetch(FRESH),
    own(504, "Cache-Control: only-if-cached, no-cache"),
)
case(
    "request-directives-in-capitals",
    "RFC 9111 section 5.2",
    "Directives of requests are the same in any letters.",
    fetch(FRESH),
    fetch(NEXT, "Cache-Control: NO-CACHE"),
)
case(
    "request-directives-in-quotes",
    "RFC 9111 section 5.2",
    'A request may say max-age="60".',
    fetch(AGED),
    fetch(NEXT, 'Cache-Control: max-age="60"'),
)
case(
    "unknown-directives-of-requests",
    "RFC 9111 section 5.2.3",
    "Unknown directives of requests are passed over.",
    fetch(FRESH),
    hit('Cache-Control: foo, bar=1, baz="no-cache"'),
)
case(
    "request-directives-on-two-lines",
    "RFC 9110 section 5.3",
    "Two Cache-Control lines of a request are one list.",
    fetch(FRESH),
    fetch(NEXT, "Cache-Control: max-age=9999", "Cache-Control: no-cache"),
)
case(
    "no-transform-of-a-request",
    "RFC 9111 section 5.2.1.6",
    "no-transform does not keep from answering.",
    fetch(FRESH),
    hit("Cache-Control: no-transform"),
)

theme("Pragma")

case(
    "pragma-no-cache",
    "RFC 9111 section 5.4",
    "Pragma: no-cache of a request is no-cache, for clients that know nothing else.",
    fetch(FRESH),
    fetch(NEXT, "Pragma: no-cache"),
)
case(
    "pragma-beside-cache-control",
    "RFC 9111 section 5.4",
    "Beside Cache-Control it says nothing.",
    fetch(FRESH),
    hit("Pragma: no-cache", "Cache-Control: max-age=9999"),
)
case("pragma-unknown", "RFC 9111 section 5.4", "Another Pragma says nothing.", fetch(FRESH), hit("Pragma: foo"))
case(
    "pragma-of-an-answer",
    "RFC 9111 section 5.4",
    "Pragma of an answer says nothing.",
    fetch(says("Cache-Control: max-age=60", "Pragma: no-cache")),
    hit(),
)
case(
    "pragma-of-an-answer-is-no-lifetime",
    "RFC 9111 section 5.4",
    "Not even a lifetime.",
    fetch(says("Pragma: max-age=60")),
    fetch(NEXT),
)
