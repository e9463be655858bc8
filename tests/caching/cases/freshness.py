"""How long an answer is fresh, and how old it is: RFC 9111 section 4.2."""

from __future__ import annotations

from tests.caching.case import UNCHANGED, case, checked, fetch, fresh, hit, says, stale, theme, unstored

theme("Freshness")

fresh(
    "max-age-is-fresh",
    "RFC 9111 section 5.2.2.1",
    "An answer is used again within its max-age.",
    "Cache-Control: max-age=60",
    age=(0, 1),
)
stale(
    "no-lifetime-is-not-fresh",
    "RFC 9111 section 4.2.1",
    "Without a lifetime, and nothing to guess one from, an answer is not used again.",
)
stale(
    "max-age-zero-is-stale",
    "RFC 9111 section 5.2.2.1",
    "max-age=0 is stale at once.",
    "Cache-Control: max-age=0",
    'ETag: "a"',
)
fresh(
    "s-maxage-overrides-max-age",
    "RFC 9111 section 5.2.2.10",
    "s-maxage wins over max-age.",
    "Cache-Control: max-age=0, s-maxage=60",
)
stale(
    "a-shorter-s-maxage-overrides-max-age",
    "RFC 9111 section 5.2.2.10",
    "s-maxage wins over a longer max-age.",
    "Cache-Control: max-age=60, s-maxage=0",
)
fresh(
    "s-maxage-overrides-expires",
    "RFC 9111 section 5.2.2.10",
    "s-maxage wins over Expires.",
    "Cache-Control: s-maxage=60",
    "Expires: {-60}",
)
fresh(
    "max-age-overrides-expires",
    "RFC 9111 section 5.3",
    "max-age wins over an Expires that is past.",
    "Cache-Control: max-age=60",
    "Expires: {-60}",
)
stale(
    "a-shorter-max-age-overrides-expires",
    "RFC 9111 section 5.3",
    "max-age wins over an Expires to come.",
    "Cache-Control: max-age=0",
    "Expires: {+60}",
)
fresh(
    "max-age-overrides-a-broken-expires",
    "RFC 9111 section 5.3",
    "Beside max-age a broken Expires does not matter.",
    "Cache-Control: max-age=60",
    "Expires: 0",
)
fresh("expires-is-fresh", "RFC 9111 section 5.3", "An answer is used until it expires.", "Expires: {+60}")
stale("a-past-expires-is-stale", "RFC 9111 section 5.3", "An answer that has expired is not used.", "Expires: {-60}")
stale(
    "expires-at-its-own-date-is-stale",
    "RFC 9111 section 4.2.1",
    "Expires at the very time of Date leaves no lifetime.",
    "Date: {0}",
    "Expires: {0}",
)
fresh(
    "expires-without-date-counts-from-arrival",
    "RFC 9110 section 6.6.1",
    "Without Date, the time of arrival stands for it.",
    "Expires: {+60}",
    date=None,
)
stale(
    "expires-counts-from-date",
    "RFC 9111 section 4.2.1",
    "The lifetime is Expires minus Date, whatever our clock says.",
    "Date: {+7200}",
    "Expires: {+3600}",
)
fresh(
    "a-clock-that-is-ahead-is-not-held-against-an-answer",
    "RFC 9111 section 4.2.3",
    "A Date to come makes an answer no younger than new.",
    "Date: {+3600}",
    "Expires: {+7200}",
    age=(0, 1),
)
fresh(
    "public-with-expires",
    "RFC 9111 section 4.2.1",
    "Cache-Control without a lifetime leaves Expires in force.",
    "Cache-Control: public",
    "Expires: {+60}",
)
fresh(
    "the-largest-max-age",
    "RFC 9111 section 1.2.2",
    "2147483648 seconds are a long time.",
    "Cache-Control: max-age=2147483648",
)
fresh(
    "a-max-age-beyond-all-integers",
    "RFC 9111 section 1.2.2",
    "A number too large to hold means for ever.",
    "Cache-Control: max-age=99999999999999999999999999",
)
fresh(
    "an-s-maxage-beyond-all-integers",
    "RFC 9111 section 1.2.2",
    "So does s-maxage.",
    "Cache-Control: s-maxage=99999999999999999999999999",
)

theme("Age")

fresh(
    "age-of-the-server-counts",
    "RFC 9111 section 4.2.3",
    "The Age that an answer brings is added to ours.",
    "Cache-Control: max-age=3600",
    "Age: 30",
    age=(30, 31),
)
stale(
    "older-than-max-age",
    "RFC 9111 section 4.2.3",
    "An answer may be stale when it arrives.",
    "Cache-Control: max-age=60",
    "Age: 3600",
    'ETag: "a"',
)
stale(
    "as-old-as-max-age-is-stale",
    "RFC 9111 section 4.2",
    "An age equal to the lifetime is stale.",
    "Cache-Control: max-age=60",
    "Age: 60",
    'ETag: "a"',
)
stale(
    "apparent-age-from-date",
    "RFC 9111 section 4.2.3",
    "An old Date is an old answer.",
    "Cache-Control: max-age=60",
    "Date: {-3600}",
    'ETag: "a"',
)
fresh(
    "apparent-age-is-shown",
    "RFC 9111 section 5.1",
    "The age by Date is shown as Age.",
    "Cache-Control: max-age=60",
    "Date: {-30}",
    age=(30, 31),
)
fresh(
    "the-larger-of-age-and-date",
    "RFC 9111 section 4.2.3",
    "Of Age and the age by Date the larger one counts.",
    "Cache-Control: max-age=600",
    "Date: {-10}",
    "Age: 40",
    age=(40, 41),
)
fresh(
    "the-larger-of-date-and-age",
    "RFC 9111 section 4.2.3",
    "Also when that is the age by Date.",
    "Cache-Control: max-age=600",
    "Date: {-40}",
    "Age: 10",
    age=(40, 41),
)
stale(
    "age-eats-expires",
    "RFC 9111 section 4.2",
    "Age counts against Expires as well.",
    "Expires: {+60}",
    "Age: 120",
    'ETag: "a"',
)
fresh(
    "the-first-of-an-age-list-counts",
    "RFC 9111 section 5.1",
    "Of a list in Age the first member counts.",
    "Cache-Control: max-age=3600",
    "Age: 30, 7200",
    age=(30, 31),
)
stale(
    "the-first-of-an-age-list-counts-when-old",
    "RFC 9111 section 5.1",
    "Also when it is the larger one.",
    "Cache-Control: max-age=3600",
    "Age: 7200, 30",
    'ETag: "a"',
)
fresh(
    "the-first-of-two-age-lines-counts",
    "RFC 9111 section 5.1",
    "Of two Age lines the first counts.",
    "Cache-Control: max-age=3600",
    "Age: 30",
    "Age: 7200",
    age=(30, 31),
)
for name, value in (
    ("a-word", "abc"),
    ("negative", "-7200"),
    ("a-fraction", "7200.0"),
    ("with-a-parameter", "7200;x=y"),
    ("empty", ""),
    ("with-a-sign", "+7200"),
):
    fresh(
        f"an-age-that-is-{name}-is-ignored",
        "RFC 9111 section 5.1",
        f"Age: {value or 'nothing'} is no number of seconds.",
        "Cache-Control: max-age=3600",
        f"Age: {value}",
        age=(0, 1),
    )
stale(
    "an-age-of-the-largest-number",
    "RFC 9111 section 1.2.2",
    "The largest age is older than anything but for ever.",
    "Cache-Control: max-age=3600",
    "Age: 2147483648",
    'ETag: "a"',
)
stale(
    "an-age-beyond-all-integers",
    "RFC 9111 section 1.2.2",
    "An age too large to hold is the largest.",
    "Cache-Control: max-age=3600",
    "Age: 99999999999999999999999999",
    'ETag: "a"',
)
case(
    "age-is-on-hits-only",
    "RFC 9111 section 5.1",
    "What comes from the server without Age is passed on without, what is stored has one.",
    fetch(says("Cache-Control: max-age=60"), has=("!Age",)),
    hit(has=("Age",)),
)
case(
    "age-after-a-check-is-new",
    "RFC 9111 section 4.3.4",
    "An answer that was found to hold is as young as the 304 says.",
    fetch(says("Cache-Control: max-age=60", "Age: 100", 'ETag: "a"')),
    checked(says("Cache-Control: max-age=60", 'ETag: "a"', status=304)),
    hit(age=(0, 1)),
)
case(
    "waiting-makes-older",
    "RFC 9111 section 4.2.3",
    "Time spent here is age: what is fresh for a second is stale after it.",
    fetch(says("Cache-Control: max-age=1", 'ETag: "a"')),
    hit(),
    checked(UNCHANGED, reaches=1, eventually=True, asked=('If-None-Match: "a"',), hit=None),
    slow=True,
)

theme("Heuristic freshness")

fresh(
    "a-share-of-the-age-of-the-content",
    "RFC 9111 section 4.2.2",
    "Without a lifetime, a tenth of the time since Last-Modified.",
    "Last-Modified: {-864000}",
)
stale("beyond-the-share", "RFC 9111 section 4.2.2", "No longer than that tenth.", "Last-Modified: {-100}", "Age: 20")
stale(
    "no-more-than-a-day",
    "RFC 9111 section 4.2.2",
    "And no longer than a day, however old the content.",
    "Last-Modified: {-94608000}",
    "Age: 86401",
)
fresh("nearly-a-day", "RFC 9111 section 4.2.2", "Up to a day it is.", "Last-Modified: {-94608000}", "Age: 86000")
stale(
    "modified-in-the-future",
    "RFC 9111 section 4.2.2",
    "A Last-Modified to come says nothing.",
    "Last-Modified: {+3600}",
)
stale("a-broken-last-modified", "RFC 9111 section 4.2.2", "Nor does one that is no date.", "Last-Modified: yesterday")
fresh("with-a-query", "RFC 9111 section 4.2.2", "A query does not forbid to guess.", "Last-Modified: {-864000}")
stale(
    "a-broken-expires-is-no-reason-to-guess",
    "RFC 9111 section 5.3",
    "An Expires that is no date is past, and nothing is guessed.",
    "Expires: 0",
    "Last-Modified: {-864000}",
)
stale(
    "max-age-zero-is-no-reason-to-guess",
    "RFC 9111 section 4.2.2",
    "Nothing is guessed beside a lifetime.",
    "Cache-Control: max-age=0",
    "Last-Modified: {-864000}",
)
case(
    "the-share-is-of-date-not-of-now",
    "RFC 9111 section 4.2.2",
    "The time since Last-Modified is counted from Date.",
    fetch(says("Date: {-1000}", "Last-Modified: {-1100}", 'ETag: "a"')),
    checked(UNCHANGED),
)
for code in (203, 300, 301, 308, 404, 405, 410, 414, 501):
    fresh(
        f"guessed-for-{code}",
        "RFC 9110 section 15.1",
        f"A lifetime is guessed for {code}.",
        "Last-Modified: {-864000}",
        status=code,
    )
for code in (201, 202, 299, 302, 303, 307, 400, 403, 422, 429, 451, 499, 500, 502, 503, 504, 599):
    unstored(
        f"not-guessed-for-{code}",
        "RFC 9111 section 4.2.2",
        f"None is guessed for {code}.",
        "Last-Modified: {-864000}",
        status=code,
    )
fresh(
    "guessed-for-what-is-public",
    "RFC 9111 section 5.2.2.9",
    "public allows to guess for any status.",
    "Cache-Control: public",
    "Last-Modified: {-864000}",
    status=403,
)
case(
    "guessed-204",
    "RFC 9110 section 15.1",
    "A lifetime is guessed for 204.",
    fetch(says("Last-Modified: {-864000}", status=204)),
    hit(status=204),
)
