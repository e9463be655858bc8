"""What a route's rule changes."""

from __future__ import annotations

from tests.caching.case import NEXT, case, checked, fetch, hit, own, says, stale, theme, unstored

theme("Rules")

KEPT = says("Cache-Control: max-age=3600")


def ruled(prefix: str) -> dict[str, str]:
    return {"site": "ruled", "prefix": f"/{prefix}"}


case(
    "ttl-gives-a-lifetime",
    "rules.ttl",
    "With ttl an answer that says nothing is stored for it.",
    fetch(says()),
    hit(cache={"ttl": (55, 60)}),
    **ruled("ttl"),
)
case(
    "ttl-over-max-age",
    "rules.ttl",
    "Whatever max-age it has.",
    fetch(says("Cache-Control: max-age=0")),
    hit(cache={"ttl": (55, 60)}),
    **ruled("ttl"),
)
unstored("ttl-does-not-force", "rules.ttl", "But no-store stays no-store.", "Cache-Control: no-store", **ruled("ttl"))
unstored(
    "ttl-does-not-share", "rules.ttl", "And private private.", "Cache-Control: private, max-age=60", **ruled("ttl")
)
case(
    "ignored-parameters",
    "rules.ignore_query",
    "Ignored parameters make no other URL.",
    fetch(KEPT, tail="?a=1&utm_source=x"),
    hit(tail="?a=1"),
    hit(tail="?utm_medium=y&a=1&fbclid=z"),
    fetch(NEXT, tail="?a=2&utm_source=x"),
    **ruled("ignore"),
)
case(
    "only-ignored-parameters",
    "rules.ignore_query",
    "A query of nothing else is none.",
    fetch(KEPT),
    hit(tail="?utm_source=x"),
    **ruled("ignore"),
)
case(
    "ignored-parameters-reach-the-server",
    "rules.ignore_query",
    "The server gets them all the same.",
    fetch(says("Cache-Control: no-store"), tail="?utm_source=x"),
    **ruled("ignore"),
)
case(
    "names-that-begin-like-ignored-ones",
    "rules.ignore_query",
    "fbclid2 is not fbclid.",
    fetch(KEPT),
    fetch(NEXT, tail="?fbclid2=1"),
    **ruled("ignore"),
)
case(
    "a-field-in-the-key",
    "rules.key.headers",
    "Fields in the key tell apart, without Vary.",
    fetch(KEPT, "X-Lang: de"),
    fetch(KEPT, "X-Lang: en"),
    fetch(KEPT),
    hit("X-Lang: de", of=1),
    hit("X-Lang: en", of=2),
    hit(of=3),
    **ruled("header"),
)
case(
    "kinds-of-pictures-in-the-key",
    "rules.key.images",
    "Of Accept, which of AVIF and WebP it names tells apart, and nothing else that browsers write there.",
    fetch(says("Cache-Control: max-age=3600", "Vary: Accept"), "Accept: image/avif,image/webp,*/*;q=0.8"),
    fetch(says("Cache-Control: max-age=3600", "Vary: Accept"), "Accept: image/webp,*/*"),
    fetch(says("Cache-Control: max-age=3600", "Vary: Accept")),
    hit("Accept: image/webp, image/png, image/avif;q=0.1", of=1),
    hit("Accept: text/html, image/avif;q=0, image/webp", of=2),
    hit("Accept: */*", of=3),
    hit("Accept: image/*", of=3),
    **ruled("images"),
)
case(
    "what-else-varies-with-pictures-in-the-key",
    "rules.key.images",
    "Other fields of Vary select as ever.",
    fetch(says("Cache-Control: max-age=3600", "Vary: Accept, X-Lang"), "Accept: image/webp", "X-Lang: de"),
    fetch(says("Cache-Control: max-age=3600", "Vary: Accept, X-Lang"), "Accept: image/webp", "X-Lang: en"),
    hit("Accept: image/webp,*/*", "X-Lang: de", of=1),
    **ruled("images"),
)
case(
    "a-cookie-in-the-key",
    "rules.key.cookies",
    "Cookies in the key as well, and no others.",
    fetch(KEPT, "Cookie: theme=dark; id=1"),
    fetch(KEPT, "Cookie: theme=light"),
    hit("Cookie: id=2; theme=dark", of=1),
    hit("Cookie: theme=light", of=2),
    **ruled("cookie"),
)
case(
    "a-field-that-bypasses",
    "rules.bypass.headers",
    "A field may let a request past the cache.",
    fetch(KEPT),
    fetch(KEPT, "X-Preview: 1", cache={"fwd": "bypass"}),
    hit(of=1),
    **ruled("bypass"),
)
case(
    "a-cookie-that-bypasses",
    "rules.bypass.cookies",
    "A cookie as well.",
    fetch(KEPT),
    fetch(KEPT, "Cookie: a=1; session=x"),
    hit("Cookie: a=1", of=1),
    **ruled("bypass"),
)
case(
    "what-bypassed-is-not-stored",
    "rules.bypass",
    "Its answer is not stored.",
    fetch(KEPT, "X-Preview: 1"),
    fetch(NEXT),
    **ruled("bypass"),
)
case(
    "negative-404",
    "rules.negative",
    "A 404 that says nothing is kept when the rule says so.",
    fetch(says(status=404)),
    hit(status=404),
    **ruled("negative"),
)
for code in (500, 502, 503, 504):
    case(
        f"negative-{code}",
        "rules.negative",
        f"5xx stands for {code}.",
        fetch(says(status=code)),
        hit(status=code),
        **ruled("negative"),
    )
case(
    "negative-403", "rules.negative", "Another is not kept.", fetch(says(status=403)), fetch(NEXT), **ruled("negative")
)
case(
    "negative-and-no-store",
    "rules.negative",
    "Nor one with no-store.",
    fetch(says("Cache-Control: no-store", status=404)),
    fetch(NEXT),
    **ruled("negative"),
)
case(
    "negative-and-a-lifetime",
    "rules.negative",
    "One that says how long keeps to that.",
    fetch(says("Cache-Control: max-age=3600", status=404)),
    hit(status=404, cache={"ttl": (3590, 3600)}),
    **ruled("negative"),
)
stale(
    "no-guessing",
    "rules.heuristic",
    "With share: 0 no lifetime is guessed.",
    "Last-Modified: {-864000}",
    **ruled("never"),
)
case(
    "another-share",
    "rules.heuristic",
    "Another share guesses otherwise.",
    fetch(says("Last-Modified: {-100}", "Age: 20")),
    hit(cache={"ttl": (28, 30)}),
    **ruled("guess"),
)
case(
    "another-longest",
    "rules.heuristic",
    "Up to another limit.",
    fetch(says("Last-Modified: {-864000}")),
    hit(cache={"ttl": (98, 100)}),
    **ruled("guess"),
)
case(
    "routes-do-not-mix",
    "poisoning",
    "What one route has stored answers no request of another, though the URL is one.",
    fetch(KEPT, "X-Ring: beta"),
    fetch(KEPT),
    hit("X-Ring: beta", of=1),
    hit(of=2),
    **ruled("chosen"),
)
case(
    "an-unsafe-request-invalidates-on-all-routes",
    "RFC 9111 section 4.4",
    "An unsafe request invalidates the URL on every route.",
    fetch(KEPT, "X-Ring: beta"),
    fetch(KEPT),
    fetch(NEXT, method="POST"),
    fetch(NEXT, "X-Ring: beta"),
    fetch(NEXT),
    **ruled("chosen"),
)
case(
    "an-unsafe-request-of-a-route-without-cache",
    "RFC 9111 section 4.4",
    "Also when it took a route that is not cached.",
    fetch(KEPT),
    fetch(NEXT, method="POST", hit=None),
    fetch(NEXT),
    **ruled("written"),
)
case(
    "an-unsafe-error-of-a-route-without-cache",
    "RFC 9111 section 4.4",
    "An error on such a route leaves it.",
    fetch(KEPT),
    fetch(says(status=500), method="POST", hit=None),
    hit(of=1),
    **ruled("written"),
)
case(
    "purge",
    "cache.purge_from",
    "PURGE from an address that may takes the URL out, in whatever spelling.",
    fetch(KEPT, tail="/~a"),
    own(200, method="PURGE", tail="/%7Ea", host="SITE.test:80"),
    fetch(NEXT, tail="/~a", asked=("!If-None-Match",)),
    site="ruled",
)
case(
    "purge-softly",
    "cache.purge_from",
    "With Cache-Purge: soft it is stale, and is checked.",
    fetch(says("Cache-Control: max-age=3600", 'ETag: "a"')),
    own(200, "Cache-Purge: soft", method="PURGE"),
    checked(says("Cache-Control: max-age=3600", 'ETag: "a"', status=304), asked=('If-None-Match: "a"',)),
    hit(),
    site="ruled",
)
case(
    "purge-behind-a-proxy",
    "cache.purge_from",
    "Behind a trusted proxy PURGE is for whom that names, and of the URL that it was asked for.",
    fetch(KEPT, "X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https"),
    own(403, "X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https", method="PURGE"),
    own(403, method="PURGE"),
    hit("X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https", of=1),
    own(200, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https", method="PURGE"),
    fetch(NEXT, "X-Forwarded-For: 198.51.100.9", "X-Forwarded-Proto: https"),
    site="trusting",
)
case(
    "purge-by-nobody",
    "cache.purge_from",
    "Where purge_from has nobody, PURGE is refused, does nothing and reaches no server.",
    fetch(KEPT),
    own(403, method="PURGE"),
    hit(),
)
case(
    "a-parameter-behind-an-ignored-one",
    "poisoning",
    "A parameter that some servers find behind a semicolon is not ignored with the one before it.",
    fetch(KEPT),
    fetch(KEPT, tail="?utm_source=x;a=2"),
    hit(of=1),
    hit(tail="?utm_source=x;a=2", of=2),
    **ruled("ignore"),
)
case(
    "a-cookie-that-comes-twice",
    "poisoning",
    "A cookie in the key that comes twice is neither of the two: servers differ in which they take.",
    fetch(KEPT, "Cookie: theme=light; theme=dark"),
    fetch(KEPT, "Cookie: theme=light"),
    fetch(KEPT, "Cookie: theme=dark"),
    hit("Cookie: theme=light", of=2),
    **ruled("cookie"),
)
case(
    "a-field-that-comes-twice",
    "poisoning",
    "So is a field.",
    fetch(KEPT, "X-Lang: de", "X-Lang: en"),
    fetch(KEPT, "X-Lang: de"),
    fetch(KEPT, "X-Lang: en"),
    **ruled("header"),
)
case(
    "a-cookie-that-bypasses-on-a-second-line",
    "rules.bypass.cookies",
    "A cookie bypasses wherever it stands, whatever it says.",
    fetch(KEPT),
    fetch(KEPT, "Cookie: a=1", "Cookie: session="),
    hit("Cookie: a=session", of=1),
    **ruled("bypass"),
)
