"""What is understood of fields that come in other words than usual."""

from __future__ import annotations

from tests.caching.case import fresh, stale, theme, unstored

theme("Parsing Cache-Control")

CC = "RFC 9111 section 5.2"
fresh("directives-in-capitals", CC, "Names of directives are the same in any letters.", "Cache-Control: MAX-AGE=60")
fresh("directives-in-mixed-letters", CC, "Also in mixed ones.", "cAcHe-CoNtRoL: mAx-AgE=60")
unstored("no-store-in-capitals", CC, "NO-STORE is no-store.", "Cache-Control: max-age=60, NO-STORE")
unstored("private-in-mixed-letters", CC, "Private is private.", "Cache-Control: max-age=60, Private")
fresh("a-quoted-number", CC, 'max-age="60" is max-age=60.', 'Cache-Control: max-age="60"')
fresh("leading-zeros", CC, "max-age=0060 is max-age=60.", "Cache-Control: max-age=0060")
fresh("tabs-and-blanks", CC, "White space around members does not matter.", "Cache-Control: \t foo \t,\t max-age=60 \t")
fresh(
    "empty-members",
    "RFC 9110 section 5.6.1",
    "Empty members of a list are passed over.",
    "Cache-Control: ,, max-age=60, ,",
)
fresh(
    "two-lines-are-one-list",
    "RFC 9110 section 5.3",
    "Two Cache-Control lines are one list.",
    "Cache-Control: public",
    "Cache-Control: max-age=60",
)
unstored(
    "no-store-on-a-second-line",
    "RFC 9110 section 5.3",
    "Also when the second one forbids.",
    "Cache-Control: max-age=60",
    "Cache-Control: no-store",
)
fresh(
    "unknown-directives",
    "RFC 9111 section 5.2.3",
    "Unknown directives are passed over, with and without values.",
    'Cache-Control: foo, max-age=60, bar=baz, qux="1, 2"',
)
fresh(
    "no-store-within-quotes",
    CC,
    "What stands in quotes is no directive.",
    'Cache-Control: max-age=60, foo="a, no-store, b"',
)
fresh(
    "no-store-behind-an-escaped-quote",
    "RFC 9110 section 5.6.4",
    "An escaped quote does not end a quoted string.",
    r'Cache-Control: max-age=60, foo="a\", no-store, \"b"',
)
stale("max-age-within-quotes", CC, "Nor is a lifetime in quotes one.", 'Cache-Control: foo="a, max-age=60, b"')
unstored(
    "no-store-behind-a-quoted-string",
    CC,
    "What comes behind a quoted string counts.",
    'Cache-Control: foo="max-age=60", max-age=60, no-store',
)
for name, value in (
    ("a-word", "abc"),
    ("negative", "-60"),
    ("a-fraction", "60.5"),
    ("empty", ""),
    ("in-single-quotes", "'60'"),
    ("followed-by-a-letter", "60s"),
    ("two-numbers", "60 60"),
    ("with-a-sign", "+60"),
    ("hexadecimal", "0x3c"),
    ("followed-by-a-semicolon", "60; public"),
):
    stale(
        f"a-max-age-that-is-{name}",
        "RFC 9111 section 4.2.1",
        f"max-age={value} is no lifetime.",
        f"Cache-Control: max-age={value}",
    )
stale("a-max-age-without-a-value", "RFC 9111 section 4.2.1", "max-age alone is no lifetime.", "Cache-Control: max-age")
stale(
    "a-broken-max-age-beside-expires",
    "RFC 9111 section 4.2.1",
    "A broken max-age makes stale, whatever Expires says.",
    "Cache-Control: max-age=abc",
    "Expires: {+60}",
)
stale(
    "a-broken-s-maxage-beside-max-age",
    "RFC 9111 section 4.2.1",
    "A broken s-maxage makes stale, whatever max-age says.",
    "Cache-Control: s-maxage=abc, max-age=60",
)
stale(
    "a-blank-before-the-equals-sign",
    "RFC 9111 section 4.2.1",
    "max-age =60 is no lifetime.",
    "Cache-Control: max-age =60",
)
stale(
    "a-blank-after-the-equals-sign",
    "RFC 9111 section 4.2.1",
    "max-age= 60 is no lifetime.",
    "Cache-Control: max-age= 60",
)
stale("names-that-end-alike", CC, "x-max-age is another directive.", "Cache-Control: x-max-age=60, nomax-age=60")
stale("names-that-begin-alike", CC, "max-agee is another directive.", "Cache-Control: max-agee=60, max-age2=60")
fresh(
    "no-store-as-a-part-of-a-name", CC, "no-stores is not no-store.", "Cache-Control: max-age=60, no-stores, x-no-store"
)
stale(
    "the-first-of-two-max-ages-is-zero",
    "RFC 9111 section 4.2.1",
    "Of two lifetimes the first counts, or none.",
    "Cache-Control: max-age=0, max-age=60",
)
stale(
    "the-first-of-two-max-ages-is-zero-on-two-lines",
    "RFC 9111 section 4.2.1",
    "On two lines as well.",
    "Cache-Control: max-age=0",
    "Cache-Control: max-age=60",
)
unstored(
    "a-wrong-separator-does-not-hide-no-store",
    CC,
    "What does not parse is never taken to allow more.",
    "Cache-Control: no-store; max-age=60",
    "Cache-Control: max-age=0",
)
unstored(
    "a-wrong-separator-does-not-hide-private",
    CC,
    "Nor to be for all.",
    "Cache-Control: Private; max-age=60",
    "Last-Modified: {-864000}",
)

theme("Parsing Expires")

EX = "RFC 9111 section 5.3"
fresh("a-date-of-rfc-850", "RFC 9110 section 5.6.7", "The date of RFC 850 is understood.", "Expires: {+3600:rfc850}")
fresh("a-date-of-asctime", "RFC 9110 section 5.6.7", "The date of asctime is understood.", "Expires: {+3600:asctime}")
stale(
    "a-past-date-of-rfc-850",
    "RFC 9110 section 5.6.7",
    "Two digits of a year over fifty years ahead are of the last century.",
    "Expires: Sunday, 06-Nov-94 08:49:37 GMT",
)
stale(
    "a-past-date-of-asctime",
    "RFC 9110 section 5.6.7",
    "An asctime date that is past is stale.",
    "Expires: Sun Nov  6 08:49:37 1994",
)
fresh("the-last-date", "RFC 9110 section 5.6.7", "The year 9999 is to come.", "Expires: Fri, 31 Dec 9999 23:59:59 GMT")
for name, value in (
    ("zero", "0"),
    ("minus-one", "-1"),
    ("empty", ""),
    ("a-word", "never"),
    ("seconds", "4102444800"),
    ("without-zone", "Fri, 01 Jan 2100 00:00:00"),
    ("utc", "Fri, 01 Jan 2100 00:00:00 UTC"),
    ("an-offset", "Fri, 01 Jan 2100 00:00:00 +0000"),
    ("another-zone", "Fri, 01 Jan 2100 00:00:00 EST"),
    ("one-digit-day", "Fri, 1 Jan 2100 00:00:00 GMT"),
    ("two-digit-year", "Fri, 01 Jan 49 00:00:00 GMT"),
    ("dashes", "Fri, 01-Jan-2100 00:00:00 GMT"),
    ("no-weekday", "01 Jan 2100 00:00:00 GMT"),
    ("an-unknown-weekday", "Fre, 01 Jan 2100 00:00:00 GMT"),
    ("no-comma", "Fri 01 Jan 2100 00:00:00 GMT"),
    ("two-blanks", "Fri, 01  Jan 2100 00:00:00 GMT"),
    ("hour-25", "Fri, 01 Jan 2100 25:00:00 GMT"),
    ("minute-60", "Fri, 01 Jan 2100 00:60:00 GMT"),
    ("day-32", "Fri, 32 Jan 2100 00:00:00 GMT"),
    ("the-30th-of-february", "Tue, 30 Feb 2100 00:00:00 GMT"),
    ("no-seconds", "Fri, 01 Jan 2100 00:00 GMT"),
    ("something-behind", "Fri, 01 Jan 2100 00:00:00 GMT x"),
    ("iso", "2100-01-01T00:00:00Z"),
    ("quoted", '"Fri, 01 Jan 2100 00:00:00 GMT"'),
    ("one-digit-hour", "Fri, 01 Jan 2100 0:00:00 GMT"),
    ("dots", "Fri, 01 Jan 2100 00.00.00 GMT"),
):
    stale(f"expires-{name}", EX, f"Expires: {value or 'nothing'} is no date to come.", f"Expires: {value}")
for name, value in (
    ("lower-case-zone", "Fri, 01 Jan 2100 00:00:00 gmt"),
    ("lower-case-month", "Fri, 01 jan 2100 00:00:00 GMT"),
    ("upper-case-day", "FRI, 01 Jan 2100 00:00:00 GMT"),
):
    fresh(f"expires-{name}", "RFC 9111 section 4.2", "Dates are the same in any letters.", f"Expires: {value}")
stale(
    "the-first-of-two-expires-is-past",
    "RFC 9111 section 4.2.1",
    "Of two Expires the first counts, or none.",
    "Expires: {-60}",
    "Expires: {+60}",
)
