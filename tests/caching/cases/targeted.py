"""Cache control for this cache in particular: RFC 9213."""

from __future__ import annotations

from tests.caching.case import UNCHANGED, case, checked, fetch, fresh, hit, says, stale, theme, unstored

theme("Targeted fields")

T = "RFC 9213 section 2.2"
SF = "RFC 9213 section 2.1"

fresh("cdn-max-age", T, "CDN-Cache-Control gives a lifetime.", "CDN-Cache-Control: max-age=60")
fresh(
    "cdn-over-no-store",
    T,
    "It holds in the place of Cache-Control.",
    "CDN-Cache-Control: max-age=60",
    "Cache-Control: no-store",
)
fresh(
    "cdn-over-a-shorter-max-age",
    T,
    "Also of a shorter lifetime.",
    "CDN-Cache-Control: max-age=60",
    "Cache-Control: max-age=0",
)
fresh("cdn-over-s-maxage", T, "And of s-maxage.", "CDN-Cache-Control: max-age=60", "Cache-Control: s-maxage=0")
stale(
    "cdn-over-a-longer-max-age", T, "And of a longer one.", "CDN-Cache-Control: max-age=0", "Cache-Control: max-age=60"
)
stale("cdn-over-expires", T, "And of Expires.", "CDN-Cache-Control: max-age=0", "Expires: {+60}")
fresh("cdn-over-a-past-expires", T, "Also of one that is past.", "CDN-Cache-Control: max-age=60", "Expires: {-60}")
unstored("cdn-no-store", T, "no-store is understood in it.", "CDN-Cache-Control: no-store", "Cache-Control: max-age=60")
unstored("cdn-private", T, "private is.", "CDN-Cache-Control: private, max-age=60", "Cache-Control: max-age=60")
stale("cdn-no-cache", T, "no-cache is.", "CDN-Cache-Control: no-cache, max-age=60", 'ETag: "a"')
case(
    "cdn-must-revalidate",
    T,
    "must-revalidate is.",
    fetch(says("CDN-Cache-Control: max-age=60, must-revalidate", "Age: 100", 'ETag: "a"')),
    checked(UNCHANGED, "Cache-Control: max-stale"),
)
case(
    "cdn-stale-while-revalidate",
    T,
    "stale-while-revalidate is.",
    fetch(says("CDN-Cache-Control: max-age=60, stale-while-revalidate=600", "Age: 100", 'ETag: "a"')),
    hit(answers=(says("Cache-Control: max-age=60"),), of=1),
)
case(
    "without-a-directive-that-matters",
    T,
    "A field that says nothing of caching still takes the place of Cache-Control.",
    fetch(says("CDN-Cache-Control: none", "Cache-Control: no-store", "Last-Modified: {-864000}")),
    hit(),
)
fresh(
    "ours-over-cdn",
    T,
    "Balancer-Cache-Control holds before CDN-Cache-Control.",
    "Balancer-Cache-Control: max-age=60",
    "CDN-Cache-Control: no-store",
    "Cache-Control: no-store",
)
unstored(
    "ours-forbids",
    T,
    "Also when it forbids.",
    "Balancer-Cache-Control: no-store",
    "CDN-Cache-Control: max-age=60",
    "Cache-Control: max-age=60",
)
fresh("an-empty-field", SF, "An empty field is none.", "CDN-Cache-Control:", "Cache-Control: max-age=60")
for name, value in (
    ("a-comma-at-the-end", "no-store,"),
    ("capitals", "No-Store"),
    ("two-commas", "no-store,, max-age=0"),
    ("no-value", "no-store, max-age="),
    ("an-open-quote", 'no-store, foo="'),
    ("a-blank-before-the-equals-sign", "no-store, max-age =0"),
    ("a-huge-number", "no-store, max-age=99999999999999999"),
    ("single-quotes", "no-store, max-age='0'"),
    ("a-semicolon-at-the-end", "no-store;"),
):
    fresh(
        f"cdn-with-{name}",
        SF,
        f"{value!r} does not parse: as if it were not there.",
        f"CDN-Cache-Control: {value}",
        "Cache-Control: max-age=60",
    )
fresh(
    "ours-that-does-not-parse",
    SF,
    "The next in line holds then.",
    "Balancer-Cache-Control: no-store,",
    "CDN-Cache-Control: max-age=60",
    "Cache-Control: no-store",
)
stale(
    "cdn-with-a-fraction",
    SF,
    "A lifetime that is no integer is none, and Cache-Control is out of force.",
    "CDN-Cache-Control: max-age=60.5",
    "Cache-Control: max-age=60",
)
stale(
    "cdn-with-a-string",
    SF,
    "Nor is one that is a string.",
    'CDN-Cache-Control: max-age="60"',
    "Cache-Control: max-age=60",
)
stale("cdn-with-a-token", SF, "Nor a token.", "CDN-Cache-Control: max-age=abc", "Cache-Control: max-age=60")
fresh(
    "cdn-with-parameters",
    SF,
    "Parameters of directives are passed over.",
    "CDN-Cache-Control: max-age=60;foo=bar",
    "Cache-Control: no-store",
)
fresh(
    "cdn-with-unknown-directives",
    SF,
    "Unknown directives as well.",
    'CDN-Cache-Control: foo, bar=1, baz="x, no-store", max-age=60',
    "Cache-Control: no-store",
)
fresh(
    "cdn-the-last-of-two",
    "RFC 9651 section 3.2",
    "Of two of one name the last one counts.",
    "CDN-Cache-Control: max-age=0, max-age=60",
)
fresh(
    "cdn-on-two-lines",
    "RFC 9651 section 4.2",
    "Two lines are one field.",
    "CDN-Cache-Control: foo",
    "CDN-Cache-Control: max-age=60",
    "Cache-Control: no-store",
)
case(
    "cdn-reaches-clients",
    T,
    "CDN-Cache-Control is passed on, for caches nearer to the client.",
    fetch(says("CDN-Cache-Control: max-age=60"), has=("CDN-Cache-Control: max-age=60",)),
    hit(has=("CDN-Cache-Control: max-age=60",)),
)
fresh(
    "other-targets",
    T,
    "A field for another cache says nothing.",
    "Other-Cache-Control: no-store",
    "Surrogate-Control: no-store",
    "Cache-Control: max-age=60",
)
case(
    "cdn-and-authorization",
    T,
    "public in it allows to store what came by Authorization.",
    fetch(says("CDN-Cache-Control: public, max-age=60", "Cache-Control: private"), "Authorization: Basic dTpw"),
    hit(),
)
